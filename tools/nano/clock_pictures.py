"""The pictures nano-clock is trained on, made once and kept as arrays in a work folder.

Four kinds: generated scenes, photos of watches, those watches pasted onto other photos, and
pictures without any watch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import render as renderer
from ..render.scenes import render, render_negative
from .archives import read_archive
from .paste import Cutout, cut_out, paste
from .pseudo_boxes import pseudo_boxes

SIDE = 320
"""Side of a stored picture in pixels."""
MOST = 8
"""Boxes kept per picture."""
WATCHES = "watch"
"""Caltech-101's folder of wrist watches."""
SURE, DOUBTFUL = 0.3, 0.1
"""A teacher's score from which a watch is believed, and from which a photo is no sure negative."""

Kinds = dict[str, "Pictures"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of one kind.

    Attributes
    ----------
    pixels
        ``(n, SIDE, SIDE, 3)`` uint8 RGB, letterboxed at the top left with grey 114.
    boxes
        ``(n, MOST, 4)`` float32 XYXY in those pixels; the rows of absent objects are NaN.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many pictures of each kind are made; photos of watches are taken as they come."""

    scenes: int = 5000
    empty_scenes: int = 2500
    pasted: int = 2500
    negatives: int = 4000


def renderer_hash() -> str:
    """Twelve digits that change with the source of the scene generator."""
    sources = sorted(Path(renderer.__path__[0]).glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]


def letterbox(
    pixels: NDArray[np.uint8], boxes: Iterable[Sequence[float] | NDArray[np.float64]]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One picture and its XYXY boxes as a row of :class:`Pictures`."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.full((SIDE, SIDE, 3), 114, np.uint8)
    canvas[: size[1], : size[0]] = np.asarray(
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    )
    rows = np.full((MOST, 4), np.nan, np.float32)
    found = np.array([tuple(box) for box in boxes], np.float32).reshape(-1, 4)[:MOST] * scale
    rows[: len(found)] = found
    return canvas, rows


def _scene(seed: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rng = np.random.default_rng([seed, index, 11])
    size = int(rng.choice([320, 480, 640], p=[0.5, 0.3, 0.2]))
    clutter = float(rng.uniform(0.3, 1.6))
    scene = render(seed, index, size=size, clutter=clutter, style="random")
    return letterbox(scene.pixels, scene.boxes)


def _empty_scene(seed: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return letterbox(render_negative(seed, index, size=SIDE).pixels, ())


def _pasted(
    seed: int, cutouts: Sequence[Cutout], grounds: NDArray[np.uint8], index: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rng = np.random.default_rng([seed, index, 12])
    canvas = grounds[int(rng.integers(len(grounds)))].copy()
    boxes: list[NDArray[np.float64]] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.75, 0.18, 0.07]))):
        box = paste(canvas, cutouts[int(rng.integers(len(cutouts)))], boxes, rng)
        if box is not None:
            boxes.append(box)
    return letterbox(canvas, boxes)


def _cached(
    file: Path, make: Callable[[], Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]]
) -> Pictures:
    boxes_file = file.with_suffix(".boxes.npy")
    if not boxes_file.exists():
        rows = list(make())
        np.save(file, np.stack([pixels for pixels, _ in rows]))
        np.save(boxes_file, np.stack([boxes for _, boxes in rows]))
    return Pictures(np.load(file, mmap_mode="r"), np.load(boxes_file))


def load_pictures(
    work: Path, archives: tuple[Path, Path], teachers: Path, seed: int, amounts: Amounts
) -> Kinds:
    """All pictures by kind: ``scenes``, ``watches``, ``pasted``, ``negatives``, ``empty_scenes``.

    Parameters
    ----------
    work
        Where they are kept; made if absent. What is there is used again where seed, amounts and
        the scene generator's source are the same.
    archives
        Caltech-101 and the Grocery Store Dataset.
    teachers
        The folder of the two detectors whose boxes are taken for true.
    seed
        Of the draws; the scenes are series ``1_000_000 + seed``.
    """
    work.mkdir(parents=True, exist_ok=True)
    series, key = 1_000_000 + seed, f"{seed}-{renderer_hash()}"
    with ProcessPoolExecutor() as pool:
        many = partial(pool.map, chunksize=8)
        kinds = {
            "scenes": _cached(
                work / f"scenes-{amounts.scenes}-{key}.npy",
                lambda: many(partial(_scene, series), range(amounts.scenes)),
            ),
            "empty_scenes": _cached(
                work / f"empty-{amounts.empty_scenes}-{key}.npy",
                lambda: many(partial(_empty_scene, series), range(amounts.empty_scenes)),
            ),
        }
        kinds["watches"] = _cached(work / "watches.npy", lambda: _watches(archives[0], teachers))
        kinds["negatives"] = _cached(
            work / f"negatives-{amounts.negatives}-{seed}.npy",
            lambda: _negatives(archives, teachers, seed, amounts.negatives),
        )
    kinds["pasted"] = _cached(
        work / f"pasted-{amounts.pasted}-{key}.npy",
        lambda: _all_pasted(kinds, series, amounts.pasted),
    )
    return kinds


def _all_pasted(
    kinds: Kinds, series: int, count: int
) -> Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Watches from photos that show a single one, in photos and scenes that show none."""
    watches = kinds["watches"]
    alone = np.isfinite(watches.boxes[:, 0]).all(1) & np.isnan(watches.boxes[:, 1]).all(1)
    cutouts = [cut_out(watches.pixels[i], watches.boxes[i, 0]) for i in np.flatnonzero(alone)]
    grounds = np.concatenate([kinds["negatives"].pixels[::4], kinds["empty_scenes"].pixels[::3]])
    return (_pasted(series, cutouts, grounds, index) for index in range(count))


def _watches(
    caltech: Path, teachers: Path
) -> Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Photos of watches in which a teacher is sure of at least one."""
    photos = [photo.pixels for photo in read_archive(caltech, f"{WATCHES}/")]
    for pixels, found in zip(photos, pseudo_boxes(teachers, photos, SURE), strict=True):
        if found:
            yield letterbox(pixels, [box for box, _ in found])


def _negatives(
    archives: tuple[Path, Path], teachers: Path, seed: int, count: int
) -> Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Photos of anything else in which no teacher even suspects a clock."""
    photos = [
        photo.pixels
        for archive in archives
        for photo in read_archive(archive)
        if photo.label != WATCHES
    ]
    order = np.random.default_rng([seed, 13]).permutation(len(photos))[:count]
    chosen = [photos[i] for i in order]
    for pixels, found in zip(chosen, pseudo_boxes(teachers, chosen, DOUBTFUL), strict=True):
        if not found:
            yield letterbox(pixels, ())
