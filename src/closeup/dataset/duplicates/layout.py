"""The layout of edges in a picture, by which candidates for near duplicates are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats
from closeup.dataset.duplicates.align import downsample

CELLS = 8
BINS = 8
LENGTH = CELLS * CELLS * BINS  # numbers in one layout


def layouts(luma: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Histograms of edge directions in 8 x 8 soft cells (Dalal and Triggs 2005).

    Edges are weighted relative to those nearby and directions have no sign, so that contrast and a
    recoloured background hardly matter.

    - `luma`: ``(n, s, s)`` brightness, `s` even. Each result is independent of the other pictures.

    Returns `layouts`: ``(n, 512)`` of unit length, zeros for a blank picture.
    """
    from scipy import ndimage

    n, side = len(luma), luma.shape[1] // 2
    small = downsample(luma, side)
    down, right = np.gradient(ndimage.gaussian_filter(small, (0, 1.0, 1.0)), axis=(1, 2))
    size = np.hypot(right, down)
    size /= ndimage.uniform_filter(size, (1, 17, 17)) + 2.0
    turn = np.arctan2(down, right) % np.float32(np.pi) * np.float32(BINS / np.pi)
    low = np.floor(turn)
    share = (turn - low) * size
    first = low.astype(np.int64)[:, None] % BINS
    spread = np.zeros((n, BINS, side, side), np.float32)
    np.put_along_axis(spread, first, (size - share)[:, None], axis=1)
    np.put_along_axis(spread, (first + 1) % BINS, share[:, None], axis=1)
    pool = _pool(side)
    cells = np.sqrt(pool @ spread @ pool.T).reshape(n, LENGTH)
    lengths = np.sqrt((cells * cells).sum(axis=1, keepdims=True))
    return np.asarray(cells / np.where(lengths > 1e-6, lengths, 1), np.float16)


def _pool(side: int) -> Floats:
    """``(8, side)`` shares of each row of pixels in each row of cells."""
    width = side / CELLS
    centres = (np.arange(CELLS) + 0.5) * width - 0.5
    shares = np.maximum(0, 1 - np.abs(np.arange(side) - centres[:, None]) / width)
    return shares.astype(np.float32)
