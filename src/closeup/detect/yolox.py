"""YOLOX: raw outputs, one row per grid cell (Ge et al. 2021, https://arxiv.org/abs/2107.08430)."""

from __future__ import annotations

import numpy as np

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import (
    Candidates,
    Outputs,
    best_cells,
    best_first,
    grid,
    require_classes,
)
from closeup.networks.card import Card

NMS_IOU = 0.65


def decode(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``(1, cells, 5 + classes)``: centre, log size, objectness, class scores.

    A box is ``(centre + cell) * stride`` and ``exp(size) * stride``; its score is objectness times
    class score. Raises NetworkDamaged where the output has another shape.
    """
    raw = next(iter(outputs.values()))
    size = card.input.width, card.input.height
    grids = {len(cells): cells for cells in (grid(*size, levels) for levels in (3, 4))}
    if raw.ndim != 3 or len(raw) != 1 or raw.shape[1] not in grids or raw.shape[2] < 6:
        raise NetworkDamaged(
            f"the output is {raw.shape}, expected (1, {' or '.join(map(str, grids))}, 5 + "
            f"categories) for a {size[0]}x{size[1]} input with strides 8, 16, 32 and perhaps 64; "
            "export it without decoding in the graph"
        )
    cells = grids[raw.shape[1]]
    require_classes(raw.shape[2] - 5, len(card.classes))
    # A class score is at most 1, so a cell whose objectness is below the floor cannot reach it.
    likely = np.flatnonzero(raw[0, :, 4] >= floor)
    rows = raw[0, likely]
    scores = rows[:, 4:5] * rows[:, 5:]
    picked, classes = best_cells(scores, floor)
    values = rows[picked, :4].astype(np.float64)
    column_row, stride = np.split(cells[likely[picked]], [2], axis=1)
    centre = (values[:, :2] + column_row) * stride
    with np.errstate(over="ignore"):  # an infinite size is dropped with the other useless boxes
        half = np.exp(values[:, 2:]) * stride / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    return best_first(boxes, scores[picked, classes], classes, floor)
