"""Boxes of clocks and watches in unlabelled photos, as two COCO detectors see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import EngineConfig
from closeup.core.types import Box, Pixels
from closeup.detect import Detector, Found
from closeup.networks import COCO80, Card, Network, file_hash
from closeup.networks.preprocess import InputSpec

CATEGORY = "clock"
Scored = list[tuple[NDArray[np.float64], float]]
_SAME = 0.6  # IoU from which the two teachers mean one object

_INPUTS = {
    "yolox_nano.coco.onnx": (
        "yolox",
        InputSpec(width=416, height=416, resize="letterbox", color="bgr", scale="byte"),
    ),
    "picodet_s_416.coco.onnx": (
        "picodet",
        InputSpec(
            width=416,
            height=416,
            resize="stretch",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
    ),
}


def teacher(folder: Path, file: str, config: EngineConfig = EngineConfig()) -> Detector:  # noqa: B008
    """One of the detectors whose boxes are learnt from: YOLOX-Nano or PicoDet-S on COCO.

    Parameters
    ----------
    folder
        Holds the ONNX file.
    file
        ``yolox_nano.coco.onnx`` or ``picodet_s_416.coco.onnx``.
    """
    family, spec = _INPUTS[file]
    path = folder / file
    card = Card.model_validate(
        {
            "name": path.stem,
            "kind": "detector",
            "family": family,
            "graph": file,
            "sha256": file_hash(path),
            "bytes": path.stat().st_size,
            "input": spec,
            "batch": 1,
            "classes": COCO80,
            "licence": "Apache-2.0",
        }
    )
    return Detector(Network(card, folder), config)


def clocks(detector: Detector, photos: Iterable[Pixels], floor: float) -> list[list[Found]]:
    """The clocks that a detector finds in each photo with a score of at least `floor`."""
    found = detector.detect(photos, floor=floor)
    return [[one for one in each if one.category == CATEGORY] for each in found]


def agree(first: Sequence[Found], second: Sequence[Found]) -> Scored:
    """Two teachers' boxes of one photo as one list of (XYXY box, best score), best first.

    Boxes that overlap by an IoU above 0.6 are one object: their corners are averaged by score.
    A weaker box of which more than half lies in a stronger one, or the other way round, is left
    out: it is a sub-dial, or the watch with its strap.
    """
    rest = sorted([*first, *second], key=lambda one: -one.score)
    merged: Scored = []
    while rest:
        best = rest[0]
        same = [one for one in rest if one is best or one.box.iou(best.box) > _SAME]
        weights = np.array([one.score for one in same])
        corners = np.array([tuple(one.box) for one in same], np.float64)
        merged.append(((corners * weights[:, None]).sum(0) / weights.sum(), best.score))
        rest = [one for one in rest if _shared(one.box, best.box) <= 0.5]
    return merged


def _shared(box: Box, other: Box) -> float:
    """The common area of two boxes as a share of the smaller one."""
    width = min(box.x2, other.x2) - max(box.x1, other.x1)
    height = min(box.y2, other.y2) - max(box.y1, other.y1)
    return max(0.0, width) * max(0.0, height) / max(min(box.area, other.area), 1e-9)


def pseudo_boxes(teachers: Path, photos: Sequence[Pixels], floor: float) -> list[Scored]:
    """For each photo what :func:`agree` makes of both teachers' clocks above `floor`."""
    config = EngineConfig()
    found = [clocks(teacher(teachers, file, config), photos, floor) for file in _INPUTS]
    return [agree(one, other) for one, other in zip(*found, strict=True)]
