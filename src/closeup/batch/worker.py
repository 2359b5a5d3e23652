"""What runs on the cluster: a worker holds the networks, answers a shard, writes its part."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.batch.asks import Answerer, Ask, Rows
from closeup.batch.files import Store, file_system, is_url, one_line, patiently
from closeup.core.config import EngineConfig
from closeup.core.errors import PhotoError, ProjectError
from closeup.core.parallel import ordered_map
from closeup.core.serialization import to_json
from closeup.core.tables import encode_parquet
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture

if TYPE_CHECKING:
    from closeup.batch.source import Listed

PARTS = "answers"
MOST_BYTES = 1 << 30
"""Larger objects of a store are not fetched: no photo has as many bytes."""
READERS = 8
"""Photos of a store that a worker fetches at once."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker is told: where to write, which run it is, what is asked, how to answer."""

    out: str
    run: int
    ask: Ask
    engine: EngineConfig


def shard_of(photos: Sequence[Listed]) -> Any:
    """Photos as one row of an Arrow table, whose names need not be UTF-8."""
    import pyarrow as pa

    columns = {
        "photo": [os.fsencode(one.photo) for one in photos],
        "source": [os.fsencode(one.source) for one in photos],
        "id": [one.id for one in photos],
    }
    kind = pa.list_(pa.binary())
    return pa.table({name: pa.array([cells], kind) for name, cells in columns.items()})


def part_name(run: int, ids: Sequence[bytes]) -> str:
    """The file of a shard's answers; a shard that is done again in the same run replaces it."""
    return f"{run:05d}-{hashlib.blake2b(b''.join(ids), digest_size=12).hexdigest()}.parquet"


def unpack(fetch: Any, key: str) -> Path:
    """The files that are needed on this node, in a folder made by the first worker there."""
    base = Path(
        tempfile.gettempdir(), f"closeup-models-{os.getuid() if hasattr(os, 'getuid') else 0}"
    )
    base.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and base.stat().st_uid != os.getuid():
        raise ProjectError(f"{base} belongs to another user; set TMPDIR to a folder of your own")
    folder = base / key
    if not folder.is_dir():
        files = fetch()
        with tempfile.TemporaryDirectory(dir=base, prefix=".new-") as made:
            whole = Path(made, "model")
            for name, data in files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_bytes(data)
            try:
                whole.rename(folder)
            except OSError as err:
                if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
    return folder


class Worker:
    """Loads the networks once; called with shards, writes their parts and reports."""

    def __init__(self, packed: Sequence[Any], key: str, job: Job) -> None:
        import ray

        folder = unpack(lambda: ray.get(packed[0]), key)
        self.answer, self.job = job.ask.open(folder, job.engine), job

    def __call__(self, shards: Any) -> Any:
        """A table with one row for each shard: its part, and what became of its photos."""
        import pyarrow as pa

        reports = [
            to_json(answer_shard(self.answer, self.job, row["photo"], row["source"], row["id"]))
            for row in shards.to_pylist()
        ]
        return pa.Table.from_pylist(reports)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a shard: its part, its photos, how many cannot be read.

    `failed` says why the part could not be written, ``""`` where it was.
    """

    part: str
    photos: int
    errors: int
    failed: str


def answer_shard(
    answer: Answerer,
    job: Job,
    photos: Sequence[bytes],
    sources: Sequence[bytes],
    ids: Sequence[bytes],
) -> Report:
    """Answer for the photos of one shard and write its part, whole or not at all.

    Where it cannot be written even after some attempts, the report says why, and the photos are
    left to the next run. Reading runs ahead of the networks by a few photos.
    """
    names = [os.fsdecode(name) for name in sources]
    remote = any(map(is_url, names))
    read = ordered_map(read_source, names, workers=READERS if remote else 0)
    rows = answer([os.fsdecode(photo) for photo in photos], read)
    part, store, failed = part_name(job.run, ids), Store(job.out), ""
    data = encode_part(rows, sources, ids)
    try:
        patiently(lambda: store.write(f"{PARTS}/{part}", data), ProjectError)
    except ProjectError as err:
        failed = one_line(err)
    return Report(part, len(names), rows.errors, failed)


def encode_part(rows: Rows, sources: Sequence[bytes], ids: Sequence[bytes]) -> bytes:
    """The columns of the answers, then `source` and `id` (hexadecimal)."""
    import pyarrow as pa

    table = rows.table
    for name, values in (
        ("source", [source.decode("utf8", "replace") for source in sources]),
        ("id", [one.hex() for one in ids]),
    ):
        pairs = zip(values, rows.counts, strict=True)
        cells = [value for value, count in pairs for _ in range(count)]
        table = table.append_column(name, pa.array(cells, pa.string()))
    return encode_parquet(table)


class _NotNow(PhotoError):
    """Reading failed in a way that may pass."""


def read_source(source: str) -> Picture | PhotoError:
    """A photo by its path or URL, or why it cannot be read; a failing disk is given time."""

    def attempt() -> Picture | PhotoError:
        try:
            return read_picture(_fetched(source) if is_url(source) else Path(source))
        except PhotoError as err:
            if err.code == "io_error":
                raise _NotNow(err.code, err.message) from err
            return err

    try:
        return patiently(attempt, _NotNow)
    except _NotNow as err:
        return PhotoError(err.code, err.message)


def _fetched(url: str) -> bytes:
    """An object's bytes; a PhotoError as :func:`closeup.photos.reading.open_photo` raises."""
    try:
        system, path = file_system(url)
        with system.open_input_file(path) as stream:
            if stream.size() > MOST_BYTES:
                raise PhotoError("too_large", f"the object has {stream.size():,} bytes; shrink it")
            data: bytes = stream.read()
    except FileNotFoundError as err:
        raise PhotoError("missing", "there is no such file; check the path") from err
    except OSError as err:
        denied = isinstance(err, PermissionError) or "ACCESS_DENIED" in str(err)
        if denied:
            raise PhotoError(
                "no_permission", "no permission to read the file; check its mode"
            ) from err
        raise PhotoError("io_error", f"the file could not be read: {one_line(err)}") from err
    return data
