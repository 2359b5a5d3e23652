"""What the readers of all families share: candidate boxes, in the network's input pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.networks.card import Card, OutputSpec

MOST = 1000
"""Candidates kept before non-maximum suppression, the usual bound of COCO evaluation."""

Outputs = Mapping[str, NDArray[Any]]
"""One photo's outputs, name to array, in the graph's own order."""

STRIDES = (8, 16, 32, 64)
"""Input pixels per cell, of the levels of a network that predicts boxes cell by cell."""


@cache
def grid(width: int, height: int, levels: int) -> NDArray[np.float64]:
    """Column, row and stride of every cell: ``(cells, 3)``, finest level first, row by row."""
    found = []
    for stride in STRIDES[:levels]:
        rows, columns = np.indices((math.ceil(height / stride), math.ceil(width / stride)))
        found.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], 1))
    cells = np.concatenate(found).astype(np.float64)
    cells.flags.writeable = False
    return cells


class Candidates(NamedTuple):
    """``n`` boxes of one photo, best first.

    `boxes` is ``(n, 4)`` float64 XYXY in pixels of the network's input, not clipped; `scores`
    ``(n,)`` float32, 0 to 1, falling; `classes` ``(n,)`` int64, places in the card's class list.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


def corners(
    boxes: NDArray[Any], card: Card, usual: OutputSpec | None = None
) -> NDArray[np.float64]:
    """``(n, 4)`` boxes as XYXY pixels of the input; `usual` counts where the card says nothing."""
    output, values = card.output or usual or OutputSpec(), boxes.astype(np.float64)
    if output.boxes == "yxyx":
        values = values[:, [1, 0, 3, 2]]
    elif output.boxes == "cxcywh":
        centre, half = values[:, :2], values[:, 2:] / 2
        values = np.concatenate([centre - half, centre + half], 1)
    if output.unit == "shares":
        values = values * ([card.input.width, card.input.height] * 2)
    return values


def best_first(
    boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any], floor: float
) -> Candidates:
    """The at most :data:`MOST` boxes that score `floor` or more; ties keep the network's order.

    The arguments are ``(n, 4)``, ``(n,)`` and ``(n,)``, in any order and of any numeric type.
    """
    order = np.argsort(-scores, kind="stable")[:MOST]
    order = order[scores[order] >= floor]
    return Candidates(
        boxes[order].astype(np.float64),
        scores[order].astype(np.float32),
        classes[order].astype(np.int64),
    )


def best_cells(
    scores: NDArray[np.floating[Any]], floor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells and classes of a ``(cells, classes)`` score table worth decoding, best first.

    One cell may stand for several classes: a watch that looks a little more like a phone is still
    found as a clock. Both are ``(n,)``, for the at most :data:`MOST` scores of `floor` or more.
    """
    values = scores.reshape(-1)
    flat = np.flatnonzero(values >= floor)
    if len(flat) > MOST:
        flat = flat[values[flat] >= np.partition(values[flat], -MOST)[-MOST]]
    # Without the stable sort, the order of equal scores would depend on NumPy's build.
    order = flat[np.argsort(-values[flat], kind="stable")[:MOST]]
    cells, classes = np.divmod(order, scores.shape[1])
    return cells, classes


def require_classes(found: int, expected: int) -> None:
    """Raise NetworkDamaged where the graph does not score as many classes as the card names."""
    if found != expected:
        raise NetworkDamaged(
            f"the graph scores {found} categories, but {expected} names were given; "
            "add the network again with its own class list"
        )


def nms(
    boxes: NDArray[np.floating], classes: NDArray[np.integer], iou: float, limit: int
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: the ``(m,)`` increasing positions of the boxes kept.

    A box of `boxes`, ``(n, 4)`` finite XYXY, best first, is dropped if its intersection over union
    with a kept one of its own class is *above* `iou`. At most `limit` are kept, the best ones.
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for i in range(len(boxes)):
        if len(kept) >= limit:
            break
        if not alive[i]:
            continue
        kept.append(i)
        width = np.minimum(x2[i], x2[i + 1 :]) - np.maximum(x1[i], x1[i + 1 :])
        height = np.minimum(y2[i], y2[i + 1 :]) - np.maximum(y1[i], y1[i + 1 :])
        overlap = width.clip(0) * height.clip(0)
        # Multiplied out, so that two boxes without area need no division.
        covered = overlap > iou * (areas[i] + areas[i + 1 :] - overlap)
        alive[i + 1 :] &= ~(covered & (classes[i + 1 :] == classes[i]))
    return np.array(kept, np.int64)
