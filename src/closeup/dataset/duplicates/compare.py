"""How far two aligned pictures are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from closeup.core.types import Floats
from closeup.dataset.duplicates.align import warp

WINDOW = 8
STEP = 4
AGREES = 0.9
CONTRADICTS = 0.3

_BLUR = 0.6  # pixels; without it the grid of a resized JPEG counts as texture
_FLAT, _FULL = 4.0, 20.0  # spread of brightness where texture begins to count, and counts fully
_LEAST = 0.004  # texture of the whole below which a picture is too blank to compare


@dataclass(frozen=True, eq=False)
class Agreement:
    """m pairs of pictures, window by window.

    - `correlation`: ``(m, k, k)`` normalised correlation of brightness in windows of 8 x 8 pixels,
      -1 to 1
    - `texture`: ``(m, k, k)`` weight of each window, 0 (flat in both pictures, or outside) to 1
    """

    correlation: Floats
    texture: Floats

    @property
    def agreeing(self) -> Floats:
        """``(m,)`` share of the texture that is the same in both; 0 where there is too little."""
        total = self.texture.sum((1, 2))
        share = (self.texture * (self.correlation > AGREES)).sum((1, 2)) / np.maximum(total, 1e-6)
        enough = total >= _LEAST * self.texture[0].size
        return np.where(enough, share, 0).astype(np.float32)

    @property
    def contradicting(self) -> Floats:
        """``(m,)`` share of the texture in the middle that differs between the two.

        A watermark leaves much of what is beneath it visible; another watch in the same box does
        not.
        """
        count = self.texture.shape[1]
        quarter = round(count / 4)
        middle = slice(quarter, count - quarter)
        texture, correlation = self.texture[:, middle, middle], self.correlation[:, middle, middle]
        other = (texture * (correlation < CONTRADICTS)).sum((1, 2))
        least = _LEAST * self.texture[0].size
        return np.asarray(other / np.maximum(texture.sum((1, 2)), least))


def agreement(still: Floats, moved: Floats, placed: Floats) -> Agreement:
    """Compare brightness ``(m, s, s)``, 0 to 255, after ``align.warp``."""
    from scipy import ndimage

    still, moved = (ndimage.gaussian_filter(p, (0, _BLUR, _BLUR)) for p in (still, moved))
    over, inside = warp(moved, placed)
    mask = inside.astype(np.float32)
    pool = _windows(still.shape[1])
    covered = pool @ mask @ pool.T

    def mean(values: Floats) -> Floats:
        pooled = np.matmul(np.matmul(pool, values * mask), pool.T)
        return np.asarray(pooled / np.maximum(covered, 1e-6))

    first, second = mean(still), mean(over)
    spread = np.maximum(mean(still * still) - first * first, 0)
    spread_over = np.maximum(mean(over * over) - second * second, 0)
    together = mean(still * over) - first * second
    correlation = together / np.maximum(np.sqrt(spread * spread_over), _FLAT * _FLAT / 2)
    strongest = np.sqrt(np.maximum(spread, spread_over))
    texture = np.minimum(strongest, _FULL) / _FULL * (strongest > _FLAT) * (covered > 0.6)
    return Agreement(correlation, texture.astype(np.float32))


def _windows(side: int) -> Floats:
    """``(k, side)``: each row averages one window."""
    starts = np.arange(0, side - WINDOW + 1, STEP)[:, None]
    places = np.arange(side)
    return (((places >= starts) & (places < starts + WINDOW)) / WINDOW).astype(np.float32)
