"""What runs on the cluster: a worker holds the model, answers a shard, writes its part."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.batch.files import Store, file_system, is_url, one_line, patiently
from closeup.core.config import EngineConfig
from closeup.core.errors import PhotoError, ProjectError
from closeup.core.parallel import ordered_map
from closeup.core.serialization import to_json
from closeup.core.tables import encode_parquet
from closeup.model.answers import to_table
from closeup.model.model import Model, load_model
from closeup.model.prediction import Prediction
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
    """What every worker is told: where to write, which run it is, how to answer."""

    out: str
    run: int
    always: bool
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


def pack(folder: Path) -> dict[str, bytes]:
    """The files of a model folder, by relative name, to be sent to each node."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*")) if file.is_file()
    }  # fmt: skip


def unpack(fetch: Any, key: str) -> Path:
    """The model folder on this node, written by the first worker that gets there."""
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
    """Loads the model once; called with shards, writes their answers and reports."""

    def __init__(self, packed: Sequence[Any], key: str, job: Job) -> None:
        import ray

        folder = unpack(lambda: ray.get(packed[0]), key)
        self.model, self.job = load_model(folder, job.engine), job

    def __call__(self, shards: Any) -> Any:
        """A table with one row for each shard: its part, and what became of its photos."""
        import pyarrow as pa

        reports = [
            to_json(answer_shard(self.model, self.job, row["photo"], row["source"], row["id"]))
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
    model: Model, job: Job, photos: Sequence[bytes], sources: Sequence[bytes], ids: Sequence[bytes]
) -> Report:
    """Answer for the photos of one shard and write its part, whole or not at all.

    Where it cannot be written even after some attempts, the report says why, and the photos are
    left to the next run. Reading runs ahead of the networks by a few photos.
    """
    names = [os.fsdecode(name) for name in sources]
    remote = any(map(is_url, names))
    read = ordered_map(read_source, names, workers=READERS if remote else 0)
    answers = [
        replace(answer, photo=os.fsdecode(photo))
        for answer, photo in zip(model.predict_many(read, always=job.always), photos, strict=True)
    ]
    part, store, failed = part_name(job.run, ids), Store(job.out), ""
    data = encode_part(answers, sources, ids, sorted(model.card.attributes))
    try:
        patiently(lambda: store.write(f"{PARTS}/{part}", data), ProjectError)
    except ProjectError as err:
        failed = one_line(err)
    return Report(part, len(answers), sum(bool(one.error_code) for one in answers), failed)


def encode_part(
    answers: Sequence[Prediction],
    sources: Sequence[bytes],
    ids: Sequence[bytes],
    attributes: Sequence[str] = (),
) -> bytes:
    """The columns of ``closeup predict --parquet``, then `source` and `id` (hexadecimal).

    Each part has the columns of all the model's `attributes`, so that all parts are one table.
    """
    import pyarrow as pa

    rows = [max(1, len(one.objects)) for one in answers]
    table = to_table(answers, attributes)
    for name, values in (
        ("source", [source.decode("utf8", "replace") for source in sources]),
        ("id", [one.hex() for one in ids]),
    ):
        cells = [value for value, count in zip(values, rows, strict=True) for _ in range(count)]
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
