"""Align a picture with another one that may be a cut-out of it.

The pictures are squeezed into squares, so cutting off margins, resizing and stretching all become
one scale and one shift along each axis. Both are found by Gauss-Newton steps on pictures of
normalised contrast, from coarse to fine (Lucas and Kanade 1981; Baker and Matthews 2004).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats

LARGEST_SCALE = 1.2
LARGEST_SHIFT = 0.2
"""In half sides; larger ones are not searched for and would align different things."""

Mask = NDArray[np.bool_]


def unmoved(count: int) -> Floats:
    """``(count, 4)`` placements that change nothing: scale and shift in x, then in y."""
    return np.tile(np.array([1, 0, 1, 0], np.float32), (count, 1))


def inverse(placed: Floats) -> Floats:
    """The placements ``(m, 4)`` of the still pictures over the moved ones."""
    back = np.empty_like(placed)
    back[:, 0::2] = 1 / placed[:, 0::2]
    back[:, 1::2] = -placed[:, 1::2] / placed[:, 0::2]
    return back


def downsample(pictures: Floats | NDArray[np.uint8], side: int) -> Floats:
    """``(m, s, s)`` or ``(m, s, s, c)`` averaged down to `side`, which divides s."""
    step = pictures.shape[1] // side
    # Whole slices one after the other: many times as fast as a mean over axes of a few numbers.
    rows = pictures[:, ::step].astype(np.float32)
    for number in range(1, step):
        rows += pictures[:, number::step]
    small = rows[:, :, ::step].copy()
    for number in range(1, step):
        small += rows[:, :, number::step]
    small /= step * step
    return small


def normalise_contrast(pictures: Floats) -> Floats:
    """``(m, s, s)`` minus the local mean, divided by the local spread."""
    from scipy import ndimage

    near = (0, pictures.shape[1] // 4 + 1, pictures.shape[1] // 4 + 1)
    centred = pictures - ndimage.uniform_filter(pictures, near)
    spread = ndimage.uniform_filter(centred * centred, near)
    return np.asarray(centred / np.sqrt(np.maximum(spread, 0) + 16))


def refine(still: Floats, moved: Floats, placed: Floats, steps: int) -> Floats:
    """Better placements of the pictures `moved` over `still`, both of normalised contrast.

    - `still`, `moved`: ``(m, s, s)``, as :func:`normalise_contrast` gives
    - `placed`: ``(m, 4)``: the initial placements. ``(a, t)`` says that the point x of `still`,
      from -1 to 1 across the picture, shows what `moved` shows at ``a * x + t``.
    """
    side = still.shape[1]
    grid = _grid(side)
    for _ in range(steps):
        over, inside = warp(moved, placed)
        both: Floats = np.mean((over, still), axis=0)
        across, down = _slopes(both, inside)
        terms = (across * grid, across, down * grid[:, None], down)
        slope = np.stack(terms, axis=1).reshape(len(still), 4, -1)
        # Bounded, so that a watermark does not pull.
        off = np.clip(still - over, -1.5, 1.5) * inside
        curve = slope @ slope.transpose(0, 2, 1)
        pull = slope @ off.reshape(len(still), -1, 1)
        damp = 1e-3 + 1e-3 / 4 * np.trace(curve, axis1=1, axis2=2)
        curve += damp[:, None, None] * np.eye(4, dtype=np.float32)
        step = np.clip(np.linalg.solve(curve, pull)[:, :, 0], -0.15, 0.15)
        scale, shift = placed[:, 0::2], placed[:, 1::2]
        placed = np.empty_like(placed)
        placed[:, 0::2] = np.clip(scale * (1 + step[:, 0::2]), 1 / LARGEST_SCALE, LARGEST_SCALE)
        placed[:, 1::2] = np.clip(shift + scale * step[:, 1::2], -LARGEST_SHIFT, LARGEST_SHIFT)
    return placed


def warp(pictures: Floats, placed: Floats) -> tuple[Floats, Mask]:
    """The pictures ``(m, s, s)`` or ``(m, s, s, c)`` as placed, and which pixels they cover."""
    side = pictures.shape[1]
    across, in_x = _sampling(placed[:, 0], placed[:, 1], side)
    down, in_y = _sampling(placed[:, 2], placed[:, 3], side)
    inside = in_y[:, :, None] & in_x[:, None, :]
    across = across.transpose(0, 2, 1)
    if pictures.ndim == 3:
        over: Floats = np.matmul(np.matmul(down, pictures), across)
        return over, inside
    colours = np.matmul(down[:, None], pictures.transpose(0, 3, 1, 2))
    planes: Floats = np.matmul(colours, across[:, None])
    return planes.transpose(0, 2, 3, 1), inside


def _sampling(scale: Floats, shift: Floats, side: int) -> tuple[Floats, Mask]:
    """``(m, side, side)`` matrices that interpolate a row, and which points lie inside it."""
    points = (scale[:, None] * _grid(side) + shift[:, None] + 1) * (side / 2) - 0.5
    inside = (points >= -0.5) & (points <= side - 0.5)
    points = np.clip(points, 0, side - 1)
    distance = np.abs(points[:, :, None] - np.arange(side, dtype=np.float32))
    weights: Floats = np.maximum(0, 1 - distance)
    return weights, inside


def _grid(side: int) -> Floats:
    """Centres of `side` pixels from -1 to 1."""
    return ((np.arange(side) + 0.5) * (2 / side) - 1).astype(np.float32)


def _slopes(pictures: Floats, inside: Mask) -> tuple[Floats, Floats]:
    """Gradients across and down, by half a side; 0 at the border and outside."""
    quarter = np.float32(pictures.shape[1] / 4)
    across, down = np.zeros_like(pictures), np.zeros_like(pictures)
    across[:, :, 1:-1] = (pictures[:, :, 2:] - pictures[:, :, :-2]) * quarter
    down[:, 1:-1] = (pictures[:, 2:] - pictures[:, :-2]) * quarter
    return across * inside.astype(np.float32), down * inside.astype(np.float32)
