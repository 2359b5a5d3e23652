"""YOLO graphs with the boxes decoded in them, before or after suppression.

The YOLOv5 form (YOLOv5, v7, MegaDetector v5, and YOLOX exported with its decoding), the YOLOv8 form
(YOLOv8, v9, YOLO11), and end-to-end graphs (YOLOv10, YOLO26, or a suppression that was exported
with the network).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import (
    Candidates,
    Outputs,
    best_cells,
    best_first,
    corners,
    require_classes,
)
from closeup.networks.card import Card, OutputSpec

NMS_IOU = 0.65
BOXES = OutputSpec(boxes="cxcywh")
COLUMNS: Mapping[str, tuple[slice, int, int]] = {
    "box score class": (slice(0, 4), 4, 5),
    "class score box": (slice(2, 6), 1, 0),
    "batch box class score": (slice(1, 5), 6, 5),
}
"""Where box, score and class stand in an end-to-end graph's rows, by ``OutputSpec.columns``."""


def table(outputs: Outputs) -> NDArray[Any]:
    """The one output of three axes, ``(1, a, b)``; raises NetworkDamaged where there is none.

    YOLOv5's older exports have the raw maps beside it, of five axes.
    """
    found = [values for values in outputs.values() if values.ndim == 3]
    if len(found) != 1 or len(found[0]) != 1:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in outputs.items())
        raise NetworkDamaged(
            f"the outputs are {shapes}, expected one of shape (1, boxes, n) or (1, n, boxes); "
            "export it with a batch of 1"
        )
    values: NDArray[Any] = found[0][0]
    return values


def decode_v5(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``(1, boxes, 5 + classes)``: centre and size in input pixels, objectness, classes.

    A score is objectness times class score. Raises NetworkDamaged where the shape is another.
    """
    rows = table(outputs)
    require_classes(rows.shape[1] - 5, len(card.classes))
    rows = rows[rows[:, 4] >= floor].astype(np.float64)  # a class score is at most 1
    scores = rows[:, 4:5] * rows[:, 5:]
    picked, classes = best_cells(scores, floor)
    boxes = corners(rows[picked, :4], card, BOXES)
    return best_first(boxes, scores[picked, classes], classes, floor)


def decode_v8(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``(1, 4 + classes, boxes)``, or its transpose: centre and size in input pixels, classes.

    Raises NetworkDamaged where neither axis fits the card's classes.
    """
    rows, wanted = table(outputs), 4 + len(card.classes)
    rows = rows.T if rows.shape[0] == wanted else rows
    require_classes(rows.shape[1] - 4, len(card.classes))
    scores = rows[:, 4:]
    picked, classes = best_cells(scores, floor)
    boxes = corners(rows[picked, :4], card, BOXES)
    return best_first(boxes, scores[picked, classes], classes, floor)


def decode_nms(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``(1, n, 6)`` or ``(n, 6)``, seven columns where the batch is one of them.

    XYXY boxes in input pixels, score and class number; rows of a lower score are padding. Raises
    NetworkDamaged where the shape is another.
    """
    output = card.output or OutputSpec()
    box, score, label = COLUMNS[output.columns]
    wide = 7 if output.columns.startswith("batch") else 6
    found = [v for v in outputs.values() if v.ndim in (2, 3) and v.shape[-1] == wide]
    if len(found) != 1 or (found[0].ndim == 3 and len(found[0]) != 1):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in outputs.items())
        raise NetworkDamaged(f"the outputs are {shapes}, expected one of shape (1, n, {wide})")
    rows = found[0].reshape(-1, wide)
    boxes = corners(rows[:, box], card)
    return best_first(boxes, rows[:, score], rows[:, label], floor)
