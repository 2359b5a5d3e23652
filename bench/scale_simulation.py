"""The books of 10 million photos: ``python -m bench.scale_simulation [--photos 10000000]``.

No photo is read and no network run: parts of made-up answers are written as a run would write them,
by the code that it uses, and then what a later run does with them is timed: the manifest, finding
out what is done, resuming after a kill (no manifest: every part is opened), a second day with one
photo in a hundred new. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.machine import describe
from closeup.batch.asks import Predict, rows_of
from closeup.batch.files import Store
from closeup.batch.parts import MANIFEST, Ids, missing_from, read_parts, settle
from closeup.batch.run import WINDOW
from closeup.batch.source import Listed
from closeup.batch.worker import PARTS, encode_part, part_name
from closeup.core.types import Answer, Box
from closeup.model.prediction import Prediction

SHARD = Predict.shard
LABELS = [f"label {n}" for n in range(20)]
T = TypeVar("T")


def listed(first: int, count: int) -> list[Listed]:
    """Photos as a bucket lists them."""
    names = (f"s3://photos/2026/{n // 1000:05}/{n:08}.jpg" for n in range(first, first + count))
    return [Listed(name, name, 123_456, 1_790_000_000_000_000_000) for name in names]


def answer(photo: str, rng: np.random.Generator) -> Prediction:
    """An answer with numbers that do not repeat, one in a hundred without."""
    if rng.random() < 0.01:
        return Prediction(photo, False, (), "truncated", "the end of the picture is missing")
    x, y, share = rng.uniform(0, 500), rng.uniform(0, 500), rng.random()
    label = LABELS[int(rng.integers(len(LABELS)))]
    one = Answer(Box(x, y, x + 200, y + 200), "clock", rng.random(), label, share,
                 ((label, share),), "", ())  # fmt: skip
    return Prediction(photo, True, (one,))


def write(store: Store, run: int, first: int, count: int) -> None:
    """The parts of so many photos; only names and ids differ from one part to the next."""
    rng = np.random.default_rng(0)
    some = listed(0, SHARD)
    answers = rows_of([answer(one.photo, rng) for one in some])
    made = encode_part(answers, [b""] * SHARD, [one.id for one in some])
    template = pq.read_table(pa.BufferReader(made))
    for start in range(first, first + count, SHARD):
        photos = listed(start, min(SHARD, first + count - start))
        ids, names = [one.id for one in photos], pa.array([one.photo for one in photos])
        table = template.slice(0, len(photos))
        for name, column in (("photo", names), ("source", names),
                             ("id", pa.array([one.hex() for one in ids]))):  # fmt: skip
            table = table.set_column(table.column_names.index(name), name, column)
        file = Path(store.folder) / PARTS / part_name(run, ids)
        pq.write_table(table, file, compression="zstd")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _windows(count: int) -> Iterator[Ids]:
    for first in range(0, count, WINDOW):
        yield np.array([one.id for one in listed(first, min(WINDOW, count - first))], "S16")


def left(done: Ids, count: int) -> int:
    """How many photos of the list are not done, found window by window as a run does."""
    return sum(int(missing_from(done, ids).sum()) for ids in _windows(count))


def main() -> None:
    """Write, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10_000_000)
    count = parser.parse_args().photos
    folder = Path(tempfile.mkdtemp(prefix="closeup-scale-"))
    (folder / PARTS).mkdir()
    store = Store(str(folder))
    try:
        write(store, 1, 0, count)
        parts, cold = timed(lambda: read_parts(store))
        _, settling = timed(lambda: settle(store, parts))
        parts, warm = timed(lambda: read_parts(store))
        done, sorting = timed(parts.done)
        more = count + count // 100
        new, comparing = timed(lambda: left(done, more))
        assert new == count // 100
        write(store, 2, count, count // 100)
        parts, second = timed(lambda: read_parts(store))
        assert parts.photos == more
        _, again = timed(lambda: settle(store, parts))
        sizes = [file.stat().st_size for file in (folder / PARTS).iterdir()]
        manifest = (folder / MANIFEST).stat().st_size
    finally:
        shutil.rmtree(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(describe(), end="\n\n")
    print(f"| {count:,} photos | |\n| --- | --- |")
    for name, value in (
        ("parts", f"{len(sizes):,} of {np.mean(sizes) / 1000:.0f} kB"),
        ("bytes an answer", f"{sum(sizes) / more:.0f}"),
        ("the manifest", f"{manifest / 1e6:.0f} MB, {manifest / more:.1f} bytes a photo"),
        ("to resume with the manifest", f"{warm + sorting:.1f} s"),
        ("to resume without it, every part opened", f"{cold + sorting:.1f} s"),
        ("to list by name and leave out what is done", f"{comparing:.1f} s"),
        ("to open a day's new parts (1 in 100)", f"{second:.1f} s"),
        ("to settle and write the manifest", f"{settling:.1f} s, {again:.1f} s the second day"),
        ("most memory of all this", f"{memory:.0f} MB"),
    ):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
