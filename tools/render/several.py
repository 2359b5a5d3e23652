"""Photos of several watches of different makers, with the true box and maker of each."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .camera import develop
from .designs import MAKERS, draw_finish, maker_design
from .scenes import clipped
from .stage import BoxTuple, Lie, empty_stage

_APART = 3.3
"""Least distance between two watches, in case radii: heads do not touch."""


@dataclass(frozen=True, slots=True)
class Group:
    """A photo of several watches: pixels as in :class:`Scene`, and the makers of the boxes."""

    pixels: NDArray[np.uint8]
    boxes: tuple[BoxTuple, ...]
    makers: tuple[str, ...]


def render_group(seed: int, index: int, makers: Sequence[str], size: int = 800) -> Group:
    """Render one watch of each of `makers` on one table; equal arguments give equal bytes.

    - `seed`, `index`: the series and the photo's number in it
    - `size`: the photo's longer side in pixels
    """
    rng = np.random.default_rng([seed, index, 21])
    across = bool(rng.random() < 0.6)
    photo_size = (size, size * 3 // 4) if across else (size * 3 // 4, size)
    # Heads of 2.5 case radii, in a photo of about 12 by 9.
    scale = size / float(rng.uniform(11.5, 13.5))
    stage = empty_stage(rng, photo_size, scale, min(0.4, abs(float(rng.normal(0, 0.2)))))
    stage.cover(rng)
    spots = _spots(rng, stage.camera.size, stage.camera.centre, scale, len(makers))
    stage.taken += [(x, y, 2.1) for x, y in spots]
    stage.scatter(rng, int(rng.poisson(3)), 0.0)
    boxes = []
    for spot, maker in zip(spots, makers, strict=True):
        own = np.random.default_rng([seed, index, 22, MAKERS.index(maker)])
        how = Lie(float(own.normal(0, 0.5)), 1.8, 1.75, float(own.beta(1.2, 2.2)), at=spot,
                  size=float(own.uniform(0.85, 1.1)))  # fmt: skip
        boxes.append(stage.put_watch(own, maker_design(own, maker), draw_finish(own), how))
    stage.light_up(rng)
    pixels = develop(stage.photo, rng, float(rng.uniform(0.3, 1.0)), plain=False)
    kept = [(box, maker) for b, maker in zip(boxes, makers, strict=True)
            if (box := clipped(b, photo_size)) is not None]  # fmt: skip
    return Group(pixels, tuple(box for box, _ in kept), tuple(maker for _, maker in kept))


def _spots(
    rng: np.random.Generator,
    size: tuple[int, int],
    centre: tuple[float, float],
    scale: float,
    count: int,
) -> list[tuple[float, float]]:
    """Places in case radii from the middle of the scene, inside the photo and apart."""
    low = [(1.5 * scale - c) / scale for c in centre]
    high = [(side - 1.5 * scale - c) / scale for side, c in zip(size, centre, strict=True)]
    while True:
        spots: list[tuple[float, float]] = []
        for _ in range(60):
            x, y = (float(rng.uniform(a, b)) for a, b in zip(low, high, strict=True))
            if all(math.hypot(x - a, y - b) >= _APART for a, b in spots):
                spots.append((x, y))
            if len(spots) == count:
                return spots


def write_groups(out: Path, photos: int, *, seed: int = 0, each: int = 3) -> Path:
    """Write ``out/photos/0001.jpg`` …, without folders of labels, and ``out/coco.json``.

    Each photo shows `each` different makers' watches; the COCO file's categories are the makers.
    """
    (out / "photos").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(photos):
        chosen = np.random.default_rng([seed, number, 23]).permutation(len(MAKERS))[:each]
        group = render_group(seed, number, [MAKERS[i] for i in chosen])
        name = f"{number + 1:04d}.jpg"
        Image.fromarray(group.pixels).save(out / "photos" / name, quality=90)
        height, width = group.pixels.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for (x1, y1, x2, y2), maker in zip(group.boxes, group.makers, strict=True):
            box = [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)]
            annotations.append({"id": len(annotations), "image_id": number, "bbox": box,
                                "category_id": MAKERS.index(maker)})  # fmt: skip
    categories = [{"id": number, "name": maker} for number, maker in enumerate(MAKERS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (out / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    return out
