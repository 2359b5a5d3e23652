"""Write rendered photos: a folder per maker, as a person would hand them to ``closeup run``."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from closeup.core.errors import UsageError
from closeup.core.progress import Progress, silent
from closeup.core.project import write_atomically

from .scenes import MAKERS, Scene, render

VERSION = 1
"""Raised when equal arguments give other photos than before, so that old sets are replaced."""

_NOTE = "demo.json"
_BOXES = "boxes.csv"
# Photos to predict on are drawn from numbers that no set reaches.
_FRESH = 10_000_000
_ORIENTATION = 0x0112
_WEBP_QUALITY = 75
# What a viewer must not see: the stored pixels, turned the other way round than the tag says.
_TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True, slots=True)
class _Order:
    """One photo to be written."""

    file: Path
    maker: str
    seed: int
    index: int
    size: int


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table of true boxes."""

    path: str
    x1: float
    y1: float
    x2: float
    y2: float
    label: str


def _encode(scene: Scene, rng: np.random.Generator, suffix: str = ".jpg") -> bytes:
    """Return the photo as JPEG, or as WebP where `suffix` is ``.webp``.

    Every fourth is stored turned, with the EXIF tag that says so.
    """
    photo = Image.fromarray(scene.pixels)
    exif = Image.Exif()
    if rng.random() < 0.25:
        orientation = int(rng.choice(list(_TURNS)))
        photo = photo.transpose(_TURNS[orientation])
        exif[_ORIENTATION] = orientation
    with io.BytesIO() as stream:
        if suffix == ".webp":
            photo.save(stream, "WEBP", quality=_WEBP_QUALITY, method=6, exif=exif)
        else:
            photo.save(stream, "JPEG", quality=int(rng.integers(72, 96)), exif=exif)
        return stream.getvalue()


def _write(order: _Order) -> list[_Row]:
    """Render and write one photo; return the rows of its true boxes."""
    scene = render(order.seed, order.index, order.maker, order.size)
    data = _encode(scene, np.random.default_rng([order.seed, order.index, 11]),
                   order.file.suffix)  # fmt: skip
    write_atomically(order.file, data, durable=False)
    path = f"{order.file.parent.name}/{order.file.name}"
    return [
        _Row(path, round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2), order.maker)
        for x1, y1, x2, y2 in scene.boxes
    ]


def _orders(out: Path, per_maker: int, seed: int, size: int, suffix: str) -> list[_Order]:
    """List the photos of a set; a larger set contains the smaller one of the same seed."""
    return [
        _Order(
            out / maker / f"{number + 1:04d}{suffix}", maker, seed, number * len(MAKERS) + m, size
        )
        for m, maker in enumerate(MAKERS)
        for number in range(per_maker)
    ]


def _follow_the_parent() -> None:
    """Leave interrupts to it, and end with it: a killed parent cannot say that there is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _written(orders: list[_Order], workers: int) -> Iterator[list[_Row]]:
    """Write all photos, in order, here or in ``workers`` processes."""
    if workers <= 1:
        yield from map(_write, orders)
        return
    # Fresh processes: a fork would copy the locks of whatever threads the caller has started.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _follow_the_parent)
    try:
        yield from pool.map(_write, orders)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _table(rows: list[_Row]) -> bytes:
    with io.StringIO(newline="") as text:
        writer = csv.DictWriter(text, list(_Row.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        return text.getvalue().encode()


def _note_of(out: Path) -> dict[str, object] | None:
    """Read the note that an earlier run left; None where there is none."""
    try:
        note = json.loads((out / _NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _make_room(out: Path, orders: list[_Order]) -> None:
    """Prepare the folder; photos of another set of the demo go, anything else stops the run."""
    note = _note_of(out)
    if note is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out}: expected an empty or new folder for rendered photos, found other files"
        )
    wanted = {order.file for order in orders}
    for maker in MAKERS:
        (out / maker).mkdir(parents=True, exist_ok=True)
        leftover = set((out / maker).glob("[0-9][0-9][0-9][0-9].*")) - wanted
        # What a killed run was about to rename.
        leftover |= set((out / maker).glob(".writing-*"))
        for file in leftover:
            file.unlink()


def write_photos(
    out: Path,
    *,
    per_maker: int = 40,
    seed: int = 0,
    size: int = 640,
    suffix: str = ".jpg",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write ``out/MAKER/0001.jpg`` … and ``out/boxes.csv``; return ``out``.

    The table has the columns path, x1, y1, x2, y2, label: true boxes as float pixels in the photo
    turned upright by its EXIF tag, see :class:`tools.render.scenes.Scene`. A complete set of the
    same arguments is kept as it is; an interrupted one is rendered again.

    Parameters
    ----------
    per_maker
        Photos per maker, 1 to 9999.
    seed
        The set; equal seeds give equal bytes whatever the number of workers.
    size
        The photos' longer side in pixels.
    suffix
        ``.jpg``, or ``.webp`` for smaller files.
    workers
        Processes; None for one per available processor, at most 8. More than one starts fresh
        Python processes: a script must then call this under ``if __name__ == "__main__":``.
    progress
        Called as ``progress("photos", done, total)``.

    Raises
    ------
    UsageError
        An argument is out of range, or `out` holds files that are not the demo's.
    """
    if not 1 <= per_maker <= 9999 or seed < 0 or size < 64:
        raise UsageError(
            f"expected 1 to 9999 photos per maker, a seed of at least 0 and a size of at least 64; "
            f"got {per_maker}, {seed} and {size}"
        )
    report = progress or silent
    orders = _orders(out, per_maker, seed, size, suffix)
    note = {"version": VERSION, "seed": seed, "size": size, "per_maker": per_maker,
            "suffix": suffix}  # fmt: skip
    files = [out / _BOXES, *(order.file for order in orders)]
    if _note_of(out) == {**note, "complete": True} and all(file.is_file() for file in files):
        report("photos", len(orders), len(orders))
        return out
    _make_room(out, orders)
    write_atomically(out / _NOTE, json.dumps({**note, "complete": False}).encode())
    rows: list[_Row] = []
    count = workers if workers is not None else min(8, os.cpu_count() or 1)
    report("photos", 0, len(orders))
    for done, boxes in enumerate(_written(orders, min(count, len(orders))), 1):
        rows += boxes
        report("photos", done, len(orders))
    write_atomically(out / _BOXES, _table(rows))
    write_atomically(out / _NOTE, json.dumps({**note, "complete": True}).encode())
    return out


def write_fresh_photo(path: Path, *, maker: str, seed: int = 0, size: int = 640) -> Scene:
    """Write one photo that is in no set, as JPEG to ``path``, and return what is true of it.

    ``maker`` is one of :data:`tools.render.scenes.MAKERS`, else ValueError. The file may be stored
    turned; the scene's pixels and boxes are upright.
    """
    scene = render(seed, _FRESH, maker, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = _encode(scene, np.random.default_rng([seed, _FRESH, 11]))
    write_atomically(path, data, durable=False)
    return scene
