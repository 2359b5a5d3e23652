"""Why an answer was given: the training close-ups that are most alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from closeup.heads.head import Standardiser
from closeup.types import Floats


def nearest(
    train: Floats, test: Floats, blocks: Sequence[int], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The training rows with the largest cosine to each test row.

    Both are standardised first as heads do it, by the mean and the blocks' scales of `train`, so
    that what all close-ups share does not make them alike.

    Parameters
    ----------
    train, test
        ``(n, d)`` and ``(m, d)`` features; n and m may be 0.
    blocks
        Lengths of the parts of a feature vector; empty for one part.
    count
        How many neighbours; fewer where there are fewer rows.

    Returns
    -------
    rows, cosines
        ``(m, min(count, n))`` each, the most alike first, of equal ones the earlier row.
    """
    count = min(count, len(train))
    if not count or not len(test):
        empty = (len(test), count)
        return np.zeros(empty, np.int64), np.zeros(empty)
    standardise = Standardiser.of(train, blocks)
    ours, theirs = _unit(standardise(train)), _unit(standardise(test))
    cosines = (theirs @ ours.T).astype(np.float64)
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit
