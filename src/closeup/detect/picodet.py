"""PicoDet and its kind: per cell, a distribution over the distance to each side of the box.

Generalised focal loss (Li et al. 2020, https://arxiv.org/abs/2006.04388); PicoDet (Yu et al. 2021,
https://arxiv.org/abs/2111.00902).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import (
    STRIDES,
    Candidates,
    Outputs,
    best_cells,
    best_first,
    grid,
    require_classes,
)
from closeup.networks.card import Card

NMS_IOU = 0.6


def distances(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The expected left, top, right, bottom distance in strides.

    `logits` is ``(n, 4 * bins)``; bin ``i`` stands for a distance of ``i``. Returns ``(n, 4)``.
    """
    bins = logits.reshape(len(logits), 4, logits.shape[1] // 4).astype(np.float64)
    weights = np.exp(bins - bins.max(2, keepdims=True))
    expected: NDArray[np.float64] = (weights @ np.arange(bins.shape[2])) / weights.sum(2)
    return expected


def _stack(maps: list[NDArray[Any]]) -> NDArray[Any]:
    if any(values.ndim != 3 or len(values) != 1 for values in maps):
        shapes = ", ".join(str(values.shape) for values in maps)
        raise NetworkDamaged(
            f"the outputs are {shapes}, expected (1, cells, n) each; "
            "export it with a batch of 1 and without post-processing"
        )
    widths = {values.shape[2] for values in maps}
    if len(widths) > 1:
        raise NetworkDamaged(
            f"maps of one kind have {sorted(widths)} values per cell, expected as many at every "
            "stride; score maps come first, then distance maps"
        )
    return np.concatenate([values[0] for values in maps])


def decode(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read the score maps ``(1, cells, classes)``, then as many distance maps, finest level first.

    Raises NetworkDamaged where they are not such maps at strides 8, 16, 32, 64 or the first of
    these.
    """
    maps = list(outputs.values())
    levels = len(maps) // 2
    if len(maps) % 2 or not 1 <= levels <= len(STRIDES):
        raise NetworkDamaged(
            f"the graph has {len(maps)} outputs, expected score maps and as many distance maps, "
            "at most one of each at the strides 8, 16, 32 and 64; export it without post-processing"
        )
    scores, logits = _stack(maps[:levels]), _stack(maps[levels:])
    require_classes(scores.shape[1], len(card.classes))
    where = grid(card.input.width, card.input.height, levels)
    if not len(scores) == len(logits) == len(where) or logits.shape[1] % 4:
        raise NetworkDamaged(
            f"the maps have {len(scores)} rows of scores and {len(logits)} of {logits.shape[1]} "
            f"distances, expected {len(where)} of each, the distances 4 x bins, for a "
            f"{card.input.width}x{card.input.height} input; export it without post-processing"
        )
    picked, classes = best_cells(scores, floor)
    cell, stride = np.split(where[picked], [2], axis=1)
    centre = (cell + 0.5) * stride
    away = distances(logits[picked]) * stride
    boxes = np.concatenate([centre - away[:, :2], centre + away[:, 2:]], 1)
    return best_first(boxes, scores[picked, classes], classes, floor)
