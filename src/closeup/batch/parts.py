"""The finished parts: which photos they hold, and that each photo is held once.

A part is known by its name, ``RUN-HASH.parquet``. The manifest repeats which photos the parts hold,
so that a later run need not open them all; it is only ever an index, made again from the parts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.batch.files import Store, one_line
from closeup.batch.source import PLACE_BYTES
from closeup.batch.worker import PARTS
from closeup.core.errors import ProjectError
from closeup.core.parallel import ordered_map
from closeup.core.tables import decode_parquet, encode_parquet
from closeup.core.types import UNKNOWN

MANIFEST = "manifest.parquet"
NOT_FOUND, UNREADABLE = "not found", "unreadable"
TRY_AGAIN = ("io_error", "missing", "no_permission")
"""Codes of photos that may be readable another time; each run tries them again."""
_ID = "S16"
_FORMAT = 1
# What reading a file that is no part may raise, apart from Arrow's own errors.
_NO_PART = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
Ids = NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Part:
    """What one part holds: each photo's id once, whether to try it again, and counts."""

    ids: Ids
    again: NDArray[np.bool_]
    counts: Mapping[str, int]


@dataclass(slots=True)
class Parts:
    """All finished parts, by name."""

    held: dict[str, Part] = field(default_factory=dict)

    @property
    def run(self) -> int:
        """The number of the next run."""
        return 1 + max((int(name[:5]) for name in self.held), default=0)

    @property
    def photos(self) -> int:
        """How many photos they hold."""
        return sum(len(part.ids) for part in self.held.values())

    def done(self) -> Ids:
        """The ids of all photos that need not be answered again, sorted."""
        ids = [part.ids[~part.again] for part in self.held.values()]
        return np.sort(np.concatenate(ids)) if ids else np.zeros(0, _ID)

    def counts(self) -> dict[str, int]:
        """How many objects got each label, and how many photos have no object or no answer.

        Without a model, objects are counted by the category as which they were found.
        """
        total: Counter[str] = Counter()
        for part in self.held.values():
            total.update(part.counts)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def missing_from(done: Ids, ids: Ids) -> NDArray[np.bool_]:
    """Which of `ids` are not among the sorted `done`."""
    if not len(done):
        return np.ones(len(ids), bool)
    places = np.minimum(np.searchsorted(done, ids), len(done) - 1)
    return np.asarray(done[places] != ids, bool)


def read_parts(store: Store, known: Mapping[str, Part] | None = None) -> Parts:
    """The finished parts of a folder: those `known`, by default to the manifest, and the others.

    Raises ProjectError where a part is damaged.
    """
    names = [name for name in store.names(PARTS)
             if name.endswith(".parquet") and name[:5].isdigit()]  # fmt: skip
    known = _read_manifest(store) if known is None else known
    new = [name for name in names if name not in known]
    read = dict(zip(new, ordered_map(lambda name: _read_part(store, name), new), strict=True))
    held = {name: known.get(name) or read[name] for name in names}
    return Parts({name: part for name, part in held.items() if part is not None})


def settle(store: Store, parts: Parts) -> None:
    """See that each photo is held once, then write the manifest.

    Where a photo is held twice (it was changed or tried again, or a run was killed while its
    workers went on), the later run's answer stays. What is killed here, the next run does.
    """
    names = sorted(parts.held)
    for name, drop in _superseded(parts, names).items():
        table = _table_of(store, name)
        keep = ~np.isin(_ids_of(table), drop)
        if keep.any():
            left = table.filter(keep)
            store.write(f"{PARTS}/{name}", encode_parquet(left))
            parts.held[name] = _part_of(left)
        else:
            store.remove(f"{PARTS}/{name}")
            del parts.held[name]
    store.write(MANIFEST, _manifest(parts))


def _superseded(parts: Parts, names: list[str]) -> dict[str, Ids]:
    """The ids that each part should no longer hold."""
    if not names:
        return {}
    ids = np.concatenate([parts.held[name].ids for name in names])
    owner = np.repeat(np.arange(len(names)), [len(parts.held[name].ids) for name in names])
    places = ids.view(np.uint8).reshape(len(ids), -1)[:, :PLACE_BYTES]
    places = np.ascontiguousarray(places).view(f"S{PLACE_BYTES}").ravel()
    order = np.lexsort((owner, places))
    old = order[:-1][places[order[:-1]] == places[order[1:]]]
    losers = np.unique(owner[old])
    return {names[place]: ids[old[owner[old] == place]] for place in losers}


def _read_part(store: Store, name: str) -> Part | None:
    import pyarrow as pa

    try:
        with store.opened(f"{PARTS}/{name}") as stream:
            if stream.size() > _WHOLE:  # pictures or vectors, which are not needed here
                # Where that fails, reading all of it tells a damaged file from a store that fails.
                with suppress(OSError):
                    return _part_of(decode_parquet(stream, _NEEDED))
                stream.seek(0)
            data = stream.read()
        return _part_of(decode_parquet(data, _NEEDED))
    except FileNotFoundError:
        return None
    except (pa.ArrowException, *_NO_PART) as err:
        raise ProjectError(
            f"{store.folder}/{PARTS}/{name} is damaged ({one_line(err)}); delete it and run again "
            "to answer for its photos anew"
        ) from err


_WHOLE = 1 << 20
"""Parts up to so many bytes are read at once, which is one request to a store."""
_NEEDED = ["label", "parent", "reason", "error_code", "id"]


def _table_of(store: Store, name: str) -> Any:
    data = store.read(f"{PARTS}/{name}")
    if data is None:
        raise ProjectError(f"{store.folder}/{PARTS}/{name} has vanished; run again")
    return decode_parquet(data)


def _ids_of(table: Any) -> Ids:
    """The id of each row."""
    return np.array([bytes.fromhex(text) for text in table.column("id").to_pylist()], _ID)


def _part_of(table: Any) -> Part:
    ids, first = np.unique(_ids_of(table), return_index=True)
    codes = table.column("error_code").to_pylist()
    again = np.array([codes[place] in TRY_AGAIN for place in first], bool)
    label = "label" if "label" in table.column_names else "parent"
    labels, reasons = (table.column(name).to_pylist() for name in (label, "reason"))
    counts = Counter(
        UNREADABLE if code else NOT_FOUND if not label else UNKNOWN if reason else label
        for code, label, reason in zip(codes, labels, reasons, strict=True)
    )
    return Part(ids, again, counts)


def _manifest(parts: Parts) -> bytes:
    import pyarrow as pa

    names = list(parts.held)
    held = parts.held.values()
    ids = np.concatenate([part.ids for part in held]) if names else np.zeros(0, _ID)
    again = np.concatenate([part.again for part in held]) if names else np.zeros(0, bool)
    about = [[name, len(part.ids), dict(part.counts)] for name, part in parts.held.items()]
    facts = {"format": _FORMAT, "parts": about}
    buffer = pa.py_buffer(np.ascontiguousarray(ids).tobytes())
    column = pa.Array.from_buffers(pa.binary(16), len(ids), [None, buffer])
    schema = pa.schema([("id", pa.binary(16)), ("again", pa.bool_())],
                       metadata={"closeup": json.dumps(facts)})  # fmt: skip
    return encode_parquet(pa.table([column, pa.array(again)], schema=schema))


def _read_manifest(store: Store) -> dict[str, Part]:
    """The parts that the manifest knows; none where it is missing or damaged."""
    import pyarrow as pa

    try:
        data = store.read(MANIFEST)
        if data is None:
            return {}
        table = decode_parquet(data)
        facts = json.loads((table.schema.metadata or {})[b"closeup"])
        if facts["format"] != _FORMAT or table.schema.field("id").type != pa.binary(16):
            return {}
        ids = _fixed(table.column("id"))
        again = np.asarray(table.column("again").to_numpy(), bool)
        sizes = [int(size) for _, size, _ in facts["parts"]]
        if sum(sizes) != len(ids):
            return {}
        ends = np.cumsum(sizes)
        return {
            str(name): Part(ids[end - size : end], again[end - size : end],
                            {str(label): int(count) for label, count in counts.items()})
            for (name, size, counts), end in zip(facts["parts"], ends, strict=True)
        }  # fmt: skip
    except (pa.ArrowException, *_NO_PART):
        return {}


def _fixed(column: Any) -> Ids:
    """A column of 16 bytes as an array, without a Python object for each."""
    arrays = [np.frombuffer(one.buffers()[1], _ID, len(one), one.offset * 16)
              for one in column.chunks]  # fmt: skip
    return np.concatenate(arrays) if arrays else np.zeros(0, _ID)
