"""Non-maximum suppression for graphs that do not include it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
