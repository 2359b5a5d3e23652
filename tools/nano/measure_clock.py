"""How well nano-clock finds clocks: in generated scenes that are new to it, and in real photos."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from closeup.core.config import EngineConfig
from closeup.core.types import Box, Pixels
from closeup.detect import Detector, Found
from closeup.networks import Network

from ..render.scenes import render, render_negative
from .pseudo_boxes import clocks, teacher

TEST_SERIES = 9_000_000
"""Series of generated scenes that nothing is trained on."""
THRESHOLD = 0.55
"""The operating threshold stated on the card."""
_IOU = 0.5
_SURE = 0.5
_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class Seen:
    """The true boxes of one picture, and what was found in it, best first."""

    truth: tuple[Box, ...]
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Hits:
    """``recall``: found share of the true boxes; ``false``: unmatched boxes per picture."""

    recall: float
    false: float


def hits(pictures: Sequence[Seen], threshold: float) -> Hits:
    """Match found boxes with true ones, best score first, one to one, from an IoU of 0.5."""
    true = matched = false = 0
    for picture in pictures:
        left = list(picture.truth)
        true += len(left)
        for one in picture.found:
            if one.score < threshold:
                continue
            best = max(left, key=one.box.iou, default=None)
            if best is not None and one.box.iou(best) >= _IOU:
                left.remove(best)
                matched += 1
            else:
                false += 1
    return Hits(matched / max(true, 1), false / max(len(pictures), 1))


def _scene(style: str, size: int, index: int) -> tuple[Pixels, tuple[Box, ...]]:
    scene = (
        render_negative(TEST_SERIES, index, size)
        if style == "empty"
        else render(TEST_SERIES, index, size=size, style=style)
    )
    return scene.pixels, tuple(Box(*box) for box in scene.boxes)


def scenes(detector: Detector, style: str, count: int, size: int) -> list[Seen]:
    """What a detector finds in fresh scenes: ``maker``, ``random`` or ``empty``."""
    with ProcessPoolExecutor() as pool:
        made = list(pool.map(partial(_scene, style, size), range(count), chunksize=4))
    found = clocks(detector, (pixels for pixels, _ in made), _FLOOR)
    return [Seen(truth, tuple(f)) for (_, truth), f in zip(made, found, strict=True)]


def measure_scenes(network: Network, count: int, size: int) -> dict[str, float]:
    """Recall and false boxes per scene at :data:`THRESHOLD`, for each style of scene."""
    detector = Detector(network, EngineConfig())
    scores: dict[str, float] = {"threshold": THRESHOLD}
    for style in ("maker", "random", "empty"):
        at = hits(scenes(detector, style, count, size), THRESHOLD)
        if style != "empty":
            scores[f"{style}_scenes_recall_iou50"] = round(at.recall, 4)
        scores[f"{style}_scenes_false_boxes"] = round(at.false, 4)
    return scores


def measure_photos(network: Network, shared: Path) -> dict[str, float]:
    """The share of real photos in which nano-clock agrees with YOLOX-Nano about the best clock.

    Counted are photos in which YOLOX-Nano (COCO) is at least 0.5 sure of a clock; nano-clock
    agrees where one of its boxes overlaps that clock by an IoU of at least 0.5, at its operating
    threshold, and at 0.05 (the package's default when photos are cropped).
    """
    files = sorted((shared / "photos" / "watches").glob("*/*.jpg"))
    photos = [_read(file) for file in files]
    sure = clocks(teacher(shared / "weights", "yolox_nano.coco.onnx"), photos, _SURE)
    found = clocks(Detector(network, EngineConfig()), photos, _FLOOR)
    asked = [(a[0].box, b) for a, b in zip(sure, found, strict=True) if a]
    best = sum(bool(b) and b[0].box.iou(box) >= _IOU for box, b in asked)
    scores = {"photos": float(len(photos)), "photos_sure": float(len(asked))}
    for name, floor in (("", THRESHOLD), ("_at_005", 0.05)):
        agreed = sum(
            any(f.score >= floor and f.box.iou(box) >= _IOU for f in b) for box, b in asked
        )
        scores[f"photos_agreement{name}"] = round(agreed / max(len(asked), 1), 4)
        any_found = sum(any(f.score >= floor for f in b) for b in found)
        scores[f"photos_found{name}"] = round(any_found / max(len(photos), 1), 4)
    scores["photos_best_box_agreement"] = round(best / max(len(asked), 1), 4)
    return scores


def _read(file: Path) -> Pixels:
    with Image.open(file) as photo:
        return np.asarray(photo.convert("RGB"))
