"""The project folder: the only module that writes into one.

Tables are Parquet files whose schema metadata holds the format version, the key of the stage that
made them, and a small JSON of further facts. A file is written beside its place and renamed, so a
reader sees the old one or the new one, never half. The key of a stage is the hash of what went
in; where it is unchanged there is nothing to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from closeup.config import CONFIG_FILE, RunConfig, resolve, to_toml
from closeup.errors import ProjectError, UsageError
from closeup.types import Box

FORMAT = 1
_BOX_FIELDS = ("x1", "y1", "x2", "y2")
_ROWS_PER_BYTE = 8
_UNPACKED = 1000
_LITTLE = 10_000_000
_BATCH = 4_096
# What reading a file that is no table may raise beside Arrow's own.
_NO_TABLE = (OSError, LookupError, ValueError, TypeError, ArithmeticError, RuntimeError)

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """Rows with the key of the stage that made them."""

    rows: tuple[R, ...]
    key: str
    meta: dict[str, Any]


def key_of(stage: str, version: int, *parts: object) -> str:
    """The hash of what goes into a stage: its name, its version, and any JSON-able parts.

    Dataclass rows, tuples, enums and paths count by value; the order of mapping keys does not.

    >>> key_of("crop", 1, {"a": 1, "b": 2}) == key_of("crop", 1, {"b": 2, "a": 1})
    True
    """
    text = json.dumps([stage, version, *parts], sort_keys=True, default=_plain, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.astuple(value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be part of a stage key")


def write_atomically(
    file: Path, data: bytes | Iterable[bytes | memoryview], *, durable: bool = True
) -> None:
    """Replace `file` by `data` in one step, safe against a kill at any moment.

    Parameters
    ----------
    data
        The file's bytes, whole or in parts.
    durable
        Also wait until the bytes are on the disk, which guards against a power cut.

    Raises
    ------
    ProjectError
        Where the folder cannot be written (full, read-only), naming the file.
    """
    temporary = ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".writing-")
        with os.fdopen(handle, "wb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except OSError as err:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        reason = err.strerror or str(err)
        raise ProjectError(
            f"cannot write {file}: {reason}; free the space or rights it needs and run again"
        ) from err


def place_in(folder: Path, name: str) -> Path:
    """As :meth:`Project.place`, for whoever knows no more than the project's folder."""
    file = folder / name
    inside = os.path.realpath(folder)
    if os.path.commonpath([inside, os.path.realpath(file)]) != inside:
        raise ProjectError(
            f"{file} leads outside the project; remove the link or the table that names it"
        )
    return file


class Project:
    """A project folder, made by ``closeup run … --out FOLDER``.

    Parameters
    ----------
    folder
        A project, or a path where there is none yet (it is made by the first write).

    Raises
    ------
    ProjectError
        Where `folder` is a file, or a folder that holds something but is no project: nothing of
        the user's is ever mixed with ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise ProjectError(f"{folder} is a file; give a folder to --out")
        if folder.is_dir() and not self.config_file.exists() and any(folder.iterdir()):
            raise ProjectError(
                f"{folder} holds files but no {CONFIG_FILE}, so it is no Closeup project; "
                "give --out a new folder"
            )

    def place(self, name: str) -> Path:
        """Where the file `name` of the project lies, whether it is there or not.

        Raises
        ------
        ProjectError
            Where that is outside the folder: by the name itself, or through a link. A project may
            be a stranger's, and nothing outside it is ever written, removed or taken for its own.
        """
        return place_in(self.folder, name)

    @property
    def config_file(self) -> Path:
        """Where the resolved configuration lies."""
        return self.place(CONFIG_FILE)

    def write_config(self, config: RunConfig) -> None:
        """Write ``closeup.toml`` where it differs from what is there."""
        text = to_toml(config).encode()
        if not self.config_file.exists() or self.config_file.read_bytes() != text:
            write_atomically(self.config_file, text)

    def config(self) -> RunConfig:
        """The configuration of the last run.

        Raises
        ------
        ProjectError
            Where there is none (the folder is no project) or it cannot be used.
        """
        if not self.config_file.exists():
            raise ProjectError(
                f"{self.folder} is no Closeup project (no {CONFIG_FILE}); "
                "make one with `closeup run PHOTOS --out FOLDER`"
            )
        try:
            return resolve({}, self.config_file)
        except UsageError as err:
            raise ProjectError(f"{self.config_file}: {err}") from err

    def read(self, name: str, row: type[R]) -> Table[R] | None:
        """The table `name` as rows of the dataclass `row`, or None where there is none.

        Raises
        ------
        ProjectError
            Where the file is damaged, or of a later format.
        """
        file = self.place(f"{name}.parquet")
        return read_table(file, row) if file.exists() else None

    def write(
        self, name: str, row: type[R], rows: Sequence[R], key: str, meta: Mapping[str, Any] = {}
    ) -> Table[R]:
        """Write `rows` as the table `name`, replacing the old one in one step."""
        self.write_bytes(f"{name}.parquet", encode_table(row, rows, key, meta))
        return Table(tuple(rows), key, dict(meta))

    def stage(
        self,
        name: str,
        row: type[R],
        key: str,
        compute: Callable[[Table[R] | None], Iterable[R]],
    ) -> Table[R]:
        """The table of a stage: read where its key is `key`, computed and written where not.

        `compute` gets the old table (or None) and may reuse rows of it.
        """
        old = self.read(name, row)
        if old is not None and old.key == key:
            return old
        return self.write(name, row, list(compute(old)), key)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The JSON object in the file `name`, or None where there is none or it is damaged."""
        try:
            value = json.loads(self.place(name).read_text(encoding="utf8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object in one step."""
        self.write_bytes(name, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def write_bytes(
        self, name: str, data: bytes | Iterable[bytes | memoryview], *, durable: bool = True
    ) -> Path:
        """Write a file below the project, in one step; returns where it lies.

        Raises
        ------
        ProjectError
            Where it cannot be written, or the name leads outside the project.
        """
        file = self.place(name)
        write_atomically(file, data, durable=durable)
        return file

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that an earlier run of ours wrote below the project, if still there."""
        for name in names:
            self.place(name).unlink(missing_ok=True)


def _fields(row: type) -> dict[str, type]:
    hints = get_type_hints(row)
    return {field.name: hints[field.name] for field in dataclasses.fields(row)}


def encode_table(row: type[R], rows: Sequence[R], key: str, meta: Mapping[str, Any]) -> bytes:
    """`rows` as the bytes of a Parquet file; a Box becomes ``box_x1`` … ``box_y2`` columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[type, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    kinds[bool] = pa.bool_()
    columns: dict[str, Any] = {}
    for name, kind in _fields(row).items():
        values = [getattr(item, name) for item in rows]
        if kind is Box:
            for place, corner in enumerate(_BOX_FIELDS):
                column = pa.array([float(box[place]) for box in values], pa.float64())
                columns[f"{name}_{corner}"] = column
        elif issubclass(kind, StrEnum):
            columns[name] = pa.array([str(value) for value in values], pa.string())
        else:
            columns[name] = pa.array(values, kinds[kind])
    facts = {"format": FORMAT, "row": row.__name__, "key": key, "meta": dict(meta)}
    table = pa.table(columns).replace_schema_metadata({"closeup": json.dumps(facts)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def read_table(file: Path, row: type[R]) -> Table[R]:
    """Read what :func:`encode_table` wrote.

    Raises
    ------
    ProjectError
        Where the file is damaged, holds other rows, or is of a format that is not read.
    """
    import pyarrow as pa

    again = "delete it and run again: it will be made anew"
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
        raise ProjectError(f"{file} has format {found}, which was never in use; {again}")
    try:
        if kind != row.__name__:
            raise KeyError(f"rows are {kind}, expected {row.__name__}")
        _check_columns(table, row)
        columns = table.to_pydict()
        values = [_decode(columns, name, kind) for name, kind in _fields(row).items()]
    except (pa.ArrowException, *_NO_TABLE) as err:
        raise ProjectError(f"{file} does not hold {row.__name__} rows ({err}); {again}") from err
    return Table(tuple(row(*items) for items in zip(*values, strict=True)), key, meta)


def _check_columns(table: Any, row: type) -> None:
    """Raise ValueError where a column is not of its type, or lacks a value or a finite one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, kind in _columns(row).items():
        column = table.column(name)
        if column.type != kind or column.null_count:
            raise ValueError(f"{name} is {column.type} with {column.null_count} nulls, not {kind}")
        if kind == pa.float64() and not pc.all(pc.is_finite(column), min_count=0).as_py():
            raise ValueError(f"{name} holds numbers that are not finite")


def _columns(row: type) -> dict[str, Any]:
    """The columns of a table of such rows, with their Arrow types."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    found: dict[str, Any] = {}
    for name, kind in _fields(row).items():
        if kind is Box:
            found |= {f"{name}_{corner}": pa.float64() for corner in _BOX_FIELDS}
        else:
            found[name] = pa.string() if issubclass(kind, StrEnum) else kinds[kind]
    return found


def read_parquet(file: Path) -> Any:
    """All of a Parquet file, read by this thread alone and refused where it unpacks enormously.

    ``pyarrow.parquet.read_table`` scans with threads that may still hold the file's Python bytes
    when the interpreter ends; letting go of them then aborts the process. A column of one value
    packs so well that a few kilobytes may hold billions of rows: no table of ours or of photos
    has more than eight rows for each byte of its file, or unpacks to a thousand times its size.

    Raises
    ------
    ValueError
        Where it would unpack to more.
    OSError, pyarrow.ArrowException
        Where it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = file.read_bytes()
    parquet = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
    if parquet.metadata.num_rows > _ROWS_PER_BYTE * len(data):
        raise ValueError(
            f"it says it has {parquet.metadata.num_rows:,} rows, too many for its size"
        )
    groups = (parquet.metadata.row_group(n) for n in range(parquet.metadata.num_row_groups))
    batches, room = [], _UNPACKED * len(data) + _LITTLE
    if sum(group.total_byte_size for group in groups) > room:
        raise ValueError("it unpacks to more than a table of its size can hold")
    for batch in parquet.iter_batches(_BATCH, use_threads=False):
        room -= batch.nbytes
        if room < 0:
            raise ValueError("it unpacks to more than a table of its size can hold")
        batches.append(batch)
    return pa.Table.from_batches(batches, parquet.schema_arrow)


def _decode(columns: dict[str, list[Any]], name: str, kind: type) -> list[Any]:
    if kind is Box:
        corners = [columns[f"{name}_{corner}"] for corner in _BOX_FIELDS]
        return [Box(*values) for values in zip(*corners, strict=True)]
    if issubclass(kind, StrEnum):
        return [kind(value) for value in columns[name]]
    return columns[name]
