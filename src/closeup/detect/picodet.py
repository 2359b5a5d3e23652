"""PicoDet and its kind: per cell, a distribution over the distance to each side of the box.

Generalised focal loss (Li et al. 2020, https://arxiv.org/abs/2006.04388); PicoDet (Yu et al. 2021,
https://arxiv.org/abs/2111.00902).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.detect.candidates import Candidates, Outputs, best_cells, best_first, require_classes
from closeup.errors import NetworkDamaged
from closeup.zoo.card import Card

NMS_IOU = 0.6
STRIDES = (8, 16, 32, 64)


def centres(width: int, height: int, stride: int) -> NDArray[np.float64]:
    """The cells' centres in input pixels: ``(cells, 2)``, row by row."""
    rows, columns = np.indices((math.ceil(height / stride), math.ceil(width / stride)))
    middles: NDArray[np.float64] = (np.stack([columns.ravel(), rows.ravel()], 1) + 0.5) * stride
    return middles


def distances(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The expected left, top, right, bottom distance in strides.

    `logits` is ``(n, 4 * bins)``; bin ``i`` stands for a distance of ``i``. Returns ``(n, 4)``.
    """
    bins = logits.reshape(len(logits), 4, logits.shape[1] // 4).astype(np.float64)
    weights = np.exp(bins - bins.max(2, keepdims=True))
    expected: NDArray[np.float64] = (weights @ np.arange(bins.shape[2])) / weights.sum(2)
    return expected


def _level(
    scores: NDArray[Any], logits: NDArray[Any], card: Card, stride: int, floor: float
) -> Candidates:
    where = centres(card.input.width, card.input.height, stride)
    cells = len(where)
    if (
        scores.ndim != 3
        or logits.ndim != 3
        or scores.shape[:2] != (1, cells)
        or logits.shape[:2] != (1, cells)
        or logits.shape[2] % 4
        or logits.shape[2] < 8
    ):
        raise NetworkDamaged(
            f"at stride {stride} the outputs are {scores.shape} and {logits.shape}, expected "
            f"(1, {cells}, categories) and (1, {cells}, 4 x bins) for a "
            f"{card.input.width}x{card.input.height} input; export it without post-processing"
        )
    require_classes(scores.shape[2], len(card.classes))
    picked, classes = best_cells(scores[0], floor)
    away = distances(logits[0, picked]) * stride
    boxes = np.concatenate([where[picked] - away[:, :2], where[picked] + away[:, 2:]], 1)
    return best_first(boxes, scores[0, picked, classes], classes, floor)


def decode(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read the score maps ``(1, cells, classes)``, then as many distance maps, finest level first.

    Raises
    ------
    NetworkDamaged
        Where the outputs are not pairs of such maps at strides 8, 16, 32 and perhaps 64.
    """
    maps = list(outputs.values())
    levels = len(maps) // 2
    if len(maps) % 2 or not 3 <= levels <= len(STRIDES):
        raise NetworkDamaged(
            f"the graph has {len(maps)} outputs, expected score maps and as many distance maps at "
            "strides 8, 16, 32 and perhaps 64; export it without post-processing"
        )
    found = [
        _level(scores, logits, card, stride, floor)
        for scores, logits, stride in zip(
            maps[:levels], maps[levels:], STRIDES[:levels], strict=True
        )
    ]
    boxes, scores, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return best_first(boxes, scores, classes, floor)
