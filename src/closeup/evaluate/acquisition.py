"""Active learning: which of many unlabelled photos to label next.

A labelled photo speaks for those that look like it. So photos are taken one after another, each
the one that adds most to how well the labelled ones cover all others, where a photo counts by how
unsure the model is of it: facility location (Wei, Iyer and Bilmes 2015) weighted by the entropy of
the answer, as in information density (Settles and Craven 2008). Adding the best one at a time comes
within 1 - 1/e of the best choice (Nemhauser et al. 1978). A copy of a labelled photo adds nothing.
``python -m bench.suggest`` compares it with random photos, with uncertainty alone and with others.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats

REACH = 0.1
"""One minus the cosine at which a photo covers another by 1/e."""

Values = NDArray[np.float64]


def uncertainty(probabilities: Values) -> Values:
    """``(n,)`` entropies of ``(n, k)`` probabilities, 0 to 1: 1 where all labels are as likely."""
    p = np.maximum(probabilities, 1e-12)
    return np.asarray(-(p * np.log(p)).sum(axis=1) / np.log(max(p.shape[1], 2)))


def directions(embeddings: Floats) -> Floats:
    """``(n, d)`` embeddings after a signed square root, which evens out bursts, at length 1."""
    rows = np.sign(embeddings) * np.sqrt(np.abs(embeddings))
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def choose_next(
    weights: Values, embeddings: Floats, known: Floats, count: int
) -> tuple[list[int], list[float]]:
    """The rows to label next, the most useful first, and what each adds, 0 to 1 in all.

    - `weights`: ``(n,)`` how much each unlabelled photo matters, see :func:`uncertainty`
    - `embeddings`: ``(n, d)`` of the unlabelled photos; takes 4 n² bytes
    - `known`: ``(m, d)`` of the labelled ones; m may be 0
    """
    n = len(embeddings)
    if not n:
        return [], []
    rows = directions(embeddings)
    covers = _covers(rows, rows)
    best = _covers(rows, directions(known)).max(axis=1) if len(known) else np.zeros(n, np.float32)
    weights = (weights / max(weights.sum(), 1e-12)).astype(np.float32)

    def gain(row: int) -> float:
        return float(weights @ np.maximum(covers[row] - best, 0))

    # What a photo adds only shrinks as others are taken: an old value is an upper bound (Minoux).
    heap = [(-gain(row), row) for row in range(n)]
    heapq.heapify(heap)
    chosen: list[int] = []
    gains: list[float] = []
    while heap and len(chosen) < count:
        row = heapq.heappop(heap)[1]
        now = gain(row)
        if heap and (-now, row) > heap[0]:
            heapq.heappush(heap, (-now, row))
            continue
        chosen.append(row)
        gains.append(now)
        best = np.maximum(best, covers[row])
    return chosen, gains


def _covers(rows: Floats, others: Floats) -> Floats:
    """``(n, m)``: how well each of `others` speaks for each of `rows`, 1 for the same direction."""
    return np.asarray(np.exp((rows @ others.T - 1) / REACH, dtype=np.float32))


def look_alikes(embeddings: Floats, answers: NDArray[np.int64], size: int = 8) -> NDArray[np.int64]:
    """The number of the group of each of ``(n, d)`` embeddings: photos to look at side by side.

    Photos of the same one of ``(n,)`` `answers` join one another, the most similar first (average
    linkage), as long as a group holds at most `size`. Numbers count from 0 in the order of each
    group's first row.
    """
    rows = directions(embeddings)
    groups = {row: [row] for row in range(len(rows))}
    sums = (rows @ rows.T).astype(np.float64)
    sums[answers[:, None] != answers[None]] = -np.inf
    np.fill_diagonal(sums, -np.inf)
    sizes = np.ones(len(rows))
    while groups:
        means = sums / np.outer(sizes, sizes)
        means[np.add.outer(sizes, sizes) > size] = -np.inf
        low, high = sorted(map(int, np.unravel_index(int(means.argmax()), means.shape)))
        if not np.isfinite(means[low, high]):
            break
        groups[low] += groups.pop(high)
        sums[low] += sums[high]
        sums[:, low] = sums[low]
        sums[high] = sums[:, high] = -np.inf
        sums[low, low] = -np.inf
        sizes[low] += sizes[high]
    numbers = np.zeros(len(rows), np.int64)
    for number, first in enumerate(sorted(groups)):
        numbers[groups[first]] = number
    return numbers
