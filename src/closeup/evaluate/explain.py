"""Why an answer was given: the most similar training close-ups, and the region that decided it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.types import Floats, Pixels
from closeup.evaluate.unknown import unit_rows
from closeup.learn.heads.head import Standardiser

LUMA = np.array([0.299, 0.587, 0.114])
HEAT = (0.0, 0.5, 1.0)
HUES = ((255, 255, 214), (225, 140, 16), (110, 30, 39))
"""Red, green and blue of what decided nothing, half as much as the most, and most."""


def nearest(
    train: Floats, test: Floats, blocks: Sequence[int], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The training rows with the largest cosine to each test row.

    Both are standardised first as heads do it, by the mean and the blocks' scales of `train`, so
    that what all close-ups share does not make them similar.

    - `train`, `test`: ``(n, d)`` and ``(m, d)`` features; n and m may be 0
    - `blocks`: lengths of the parts of a feature vector; empty for one part
    - `count`: how many neighbours; fewer where there are fewer rows

    Returns `rows`, `cosines`: ``(m, min(count, n))`` each, the most similar first, of equal ones
    the earlier row.
    """
    count = min(count, len(train))
    if not count or not len(test):
        empty = (len(test), count)
        return np.zeros(empty, np.int64), np.zeros(empty)
    standardise = Standardiser.of(train, blocks)
    ours, theirs = unit_rows(standardise(train)), unit_rows(standardise(test))
    cosines = (theirs @ ours.T).astype(np.float64)
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def occlusion_map(
    answer: Callable[[Iterable[Pixels]], NDArray[np.float64]], closeup: Pixels, grid: int = 8
) -> NDArray[np.float64]:
    """How far the probability of the answer falls when each part of the close-up is covered.

    A grey patch of two cells a side is put over each cell in turn (Zeiler and Fergus 2014).

    - `answer`: from n close-ups to the ``(n,)`` probabilities of the answer in question
    - `closeup`: ``(h, w, 3)``, at least 1 x 1
    - `grid`: cells a side

    Returns `drops`: ``(grid, grid)``, from the top left; below 0 where covering raises the
    probability.
    """
    height, width = closeup.shape[:2]
    grey = closeup.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)

    def views() -> Iterator[Pixels]:
        yield closeup
        for row, column in np.ndindex(grid, grid):
            covered = closeup.copy()
            top, bottom = _reach(row, grid, height)
            left, right = _reach(column, grid, width)
            covered[top:bottom, left:right] = grey
            yield covered

    probabilities = np.asarray(answer(views()), np.float64)
    return np.reshape(probabilities[0] - probabilities[1:], (grid, grid))


def _reach(cell: int, grid: int, side: int) -> tuple[int, int]:
    """First and last pixel of a patch of two cells around the middle of one."""
    middle, half = (cell + 0.5) * side / grid, side / grid
    first = max(0, int(middle - half))
    return first, min(side, max(first + 1, round(middle + half)))


def overlay(closeup: Pixels, drops: NDArray[np.float64]) -> Pixels:
    """The close-up in grey, yellow to red where it decided the answer.

    All of it is grey where no covered part lowers the probability by 0.01.
    """
    height, width = closeup.shape[:2]
    top = float(drops.max())
    heat = np.clip(drops / top, 0, 1) if top >= 0.01 else np.zeros_like(drops)
    small = Image.fromarray((heat * 255).astype(np.uint8))
    mask = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float64) / 255
    hue = np.stack([np.interp(mask, HEAT, channel) for channel in HUES], axis=-1)
    grey = 0.85 * (closeup @ LUMA)[:, :, None]
    share = 0.7 * np.sqrt(mask)[:, :, None]  # of the colour: what decided a little shows, too
    shown: Pixels = (grey * (1 - share) + hue * share).round().astype(np.uint8)
    return shown
