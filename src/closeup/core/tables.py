"""Tables: rows of one dataclass in a Parquet file, with the key of the stage that made them.

A table may come from a stranger, so it is checked column by column when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from closeup.core.errors import ProjectError
from closeup.core.types import Box

FORMAT = 1
_ROWS_PER_BYTE = 8
_UNPACKED = 1000
_LITTLE = 10_000_000
_BATCH = 4_096
# What reading a file that is not a table may raise, apart from Arrow's own errors.
_NO_TABLE = (OSError, LookupError, ValueError, TypeError, ArithmeticError, RuntimeError)
_NUMBER_OR_NONE = int | None

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """Rows with the key of the stage that made them."""

    rows: tuple[R, ...]
    key: str
    meta: dict[str, Any]


def encode_table(row: type[R], rows: Sequence[R], key: str, meta: Mapping[str, Any]) -> bytes:
    """`rows` as the bytes of a Parquet file; a Box becomes ``box_x1`` … ``box_y2`` columns."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    for name, kind in get_type_hints(row).items():
        values = [getattr(item, name) for item in rows]
        if kind is Box:
            for place, corner in enumerate(Box._fields):
                columns[f"{name}_{corner}"] = [float(box[place]) for box in values]
        else:
            columns[name] = values
    facts = {"format": FORMAT, "row": row.__name__, "key": key, "meta": dict(meta)}
    schema = pa.schema(_columns(row), metadata={"closeup": json.dumps(facts)})
    return encode_parquet(pa.table(columns, schema=schema))


def encode_parquet(table: Any) -> bytes:
    """An Arrow table as the bytes of a Parquet file.

    Vectors and files, no two of which are the same, are looked up in no dictionary.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = (pa.types.is_binary, pa.types.is_fixed_size_list)
    words = [one.name for one in table.schema if not any(is_a(one.type) for is_a in plain)]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=words)
    return bytes(sink.getvalue())


def read_table(file: Path, row: type[R]) -> Table[R]:
    """Read what :func:`encode_table` wrote; a column that an older version lacked has its default.

    Raises
    ------
    ProjectError
        Where the file is damaged, holds other rows, or is of a format that is not read.
    """
    import pyarrow as pa

    again = "delete it and run again to recreate it"
    try:
        table = read_parquet(file)
        facts = json.loads((table.schema.metadata or {})[b"closeup"])
        found, kind, key = int(facts["format"]), str(facts["row"]), str(facts["key"])
        meta = dict(facts["meta"])
    except (pa.ArrowException, *_NO_TABLE) as err:
        raise ProjectError(f"{file} is damaged or not Closeup's ({err}); {again}") from err
    if found > FORMAT:
        raise ProjectError(f"{file} has format {found}, this version reads {FORMAT}; upgrade")
    if found < FORMAT:
        raise ProjectError(f"{file} has format {found}, which never existed; {again}")
    try:
        if kind != row.__name__:
            raise KeyError(f"rows are {kind}, expected {row.__name__}")
        table = _with_defaults(table, row)
        _check_columns(table, row)
        columns = table.to_pydict()
        values = [_decode(columns, name, kind) for name, kind in get_type_hints(row).items()]
    except (pa.ArrowException, *_NO_TABLE) as err:
        raise ProjectError(f"{file} does not hold {row.__name__} rows ({err}); {again}") from err
    return Table(tuple(row(*items) for items in zip(*values, strict=True)), key, meta)


def _with_defaults(table: Any, row: type) -> Any:
    """`table` with a column for each field that has a default and no column."""
    import pyarrow as pa

    kinds = _columns(row)
    for field in fields(row):
        if field.default is not MISSING and field.name not in table.column_names:
            values = pa.array([field.default] * table.num_rows, kinds[field.name])
            table = table.append_column(field.name, values)
    return table


def _check_columns(table: Any, row: type) -> None:
    """Raise ValueError where a column is not of its type, or lacks a value or a finite one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nullable = {name for name, kind in get_type_hints(row).items() if kind == _NUMBER_OR_NONE}
    for name, kind in _columns(row).items():
        column = table.column(name)
        if column.type != kind or (column.null_count and name not in nullable):
            raise ValueError(f"{name} is {column.type} with {column.null_count} nulls, not {kind}")
        if kind == pa.float64() and not pc.all(pc.is_finite(column), min_count=0).as_py():
            raise ValueError(f"{name} holds numbers that are not finite")


def _columns(row: type) -> dict[str, Any]:
    """The columns of a table of such rows, with their Arrow types."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(),
             _NUMBER_OR_NONE: pa.int64()}  # fmt: skip
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(row).items():
        if kind is Box:
            found |= {f"{name}_{corner}": pa.float64() for corner in Box._fields}
        else:
            found[name] = pa.string() if _is_word(kind) else kinds[kind]
    return found


def _is_word(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def read_parquet(file: Path) -> Any:
    """A whole Parquet file, read by this thread alone; one that unpacks to too much is refused.

    ``pyarrow.parquet.read_table`` scans with threads that may still hold the file's Python bytes
    when the interpreter exits; releasing them then aborts the process. A column of one value
    packs so well that a few kilobytes may hold billions of rows: no table of ours or of photos
    has more than eight rows for each byte of its file, or unpacks to a thousand times its size.
    Raises ValueError where it does, OSError or ``pyarrow.ArrowException`` where it is not readable.
    """
    return decode_parquet(file.read_bytes())


def decode_parquet(data: Any, columns: Sequence[str] | None = None) -> Any:
    """As :func:`read_parquet`, of a file's bytes; only some `columns` where they are given.

    An open Arrow file will do as well, of which no more is read than these.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = pa.BufferReader(data) if isinstance(data, bytes) else data
    size = stream.size()
    parquet = pq.ParquetFile(stream, pre_buffer=False)
    if parquet.metadata.num_rows > _ROWS_PER_BYTE * size:
        raise ValueError(f"it claims {parquet.metadata.num_rows:,} rows, too many for its size")
    groups = (parquet.metadata.row_group(n) for n in range(parquet.metadata.num_row_groups))
    batches, room = [], _UNPACKED * size + _LITTLE
    too_much = ValueError("it unpacks to more than a table of its size can contain")
    if sum(group.total_byte_size for group in groups) > room:
        raise too_much
    schema = parquet.schema_arrow
    if columns is not None:
        kept = [schema.field(name) for name in schema.names if name in columns]
        schema = pa.schema(kept, schema.metadata)
        columns = schema.names
    for batch in parquet.iter_batches(_BATCH, columns=columns, use_threads=False):
        room -= batch.nbytes
        if room < 0:
            raise too_much
        batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def _decode(columns: dict[str, list[Any]], name: str, kind: type) -> list[Any]:
    if kind is Box:
        corners = [columns[f"{name}_{corner}"] for corner in Box._fields]
        return [Box(*values) for values in zip(*corners, strict=True)]
    if _is_word(kind):
        return [kind(value) for value in columns[name]]
    return columns[name]
