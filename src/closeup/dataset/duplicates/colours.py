"""Whether one recolouring of a whole picture explains the colours of another.

A copy may be brighter, paler, tinted, of other hues or grey, but the change is one and the same
everywhere. A blue dial and a black one in the same case of grey steel are not one picture
recoloured, however well their edges agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from closeup.core.types import Floats
from closeup.dataset.duplicates.align import Mask, downsample, warp
from closeup.dataset.duplicates.compare import Agreement

# Brightness as most tools take it, and two axes across it.
_AXES = np.array(
    [[0.299, 0.587, 0.114], [0.7071, -0.7071, 0], [0.4082, 0.4082, -0.8165]], np.float32
)
_BACK = np.linalg.inv(_AXES).astype(np.float32)

_COLOURED = 1.0  # levels of colour; a picture is grey where at most this share exceeds it
_GREY = 0.1
_CONTRADICTED = 0.5
_WHITE = 240
_CLIPPED = (5, 250)
_FREE, _SLOPE = 12.0, 0.3  # levels allowed everywhere, and for each level of an edge nearby
_FREE_GREY = 8.0
_STEPS = 5
_SOFT = 8.0  # levels off from which a pixel counts less in the fit (Cauchy weights)
_RIDGE = 20.0
_TURN = 0.5  # cosine: hues may turn by 60 degrees
_STRONG = 12.0  # levels of colour from which a pixel has a hue to speak of
_KNEES = (128.0, 192.0)
_HUE_RIDGE = 100.0  # hues may change brightness a little, as turning them in HSV does
_HUE_RIDGE_GREY = 10_000.0  # but what turns grey keeps its brightness


@dataclass(frozen=True, eq=False)
class Pictures:
    """m pictures: `luma` ``(m, s, s)`` and `colour` ``(m, c, c, 3)``, 0 to 255."""

    luma: Floats
    colour: Floats


def odd_colours(still: Pictures, moved: Pictures, placed: Floats, agreed: Agreement) -> Floats:
    """Share of the texture, 0 to 1, whose colour no single recolouring explains, ``(m,)``.

    A recolouring is fitted from the one picture to the other and back. Mostly the better of the
    two counts, as clipping and loss of colour cannot be undone; a picture that is truly grey is
    only fitted to. Nothing is compared where brightness contradicts (a watermark) or is blown out.

    - `placed`: ``(m, 4)``, see :func:`closeup.dataset.duplicates.align.refine`
    """
    colour = still.colour
    over, inside = warp(moved.colour, placed)
    blown = _blown(still) | (warp(_blown(moved).astype(np.float32), placed)[0] > 0.5)
    contradicted = (agreed.correlation < _CONTRADICTED) & (agreed.texture > 0)
    flat = (len(colour), -1)
    usable = (inside & (_spread(contradicted.astype(np.float32)) == 0)).reshape(flat)
    usable = usable.astype(np.float32)
    weight = usable * (_spread(agreed.texture) * ~blown).reshape(flat)
    grey_still, grey_moved = _is_grey(colour, weight), _is_grey(over, weight)
    there = _unexplained(_Recolouring(colour, over, usable, weight, grey_moved))
    back = _unexplained(_Recolouring(over, colour, usable, weight, grey_still))
    odd = 0.75 * np.minimum(there, back) + 0.25 * np.maximum(there, back)
    return np.asarray(np.where(grey_moved, there, np.where(grey_still, back, odd)), np.float32)


@dataclass(frozen=True, eq=False)
class _Recolouring:
    """Fit `target` from `source`, ``(m, c, c, 3)``; weights are ``(m, c * c)``, `grey` ``(m,)``."""

    source: Floats
    target: Floats
    usable: Floats
    weight: Floats
    grey: Mask


def _spread(windows: Floats) -> Floats:
    """``(m, k, k)`` as ``(m, k + 1, k + 1)``: overlapping windows, each over 2 x 2 cells."""
    padded = np.pad(windows, ((0, 0), (1, 1), (1, 1)))
    rows = np.maximum(padded[:, 1:], padded[:, :-1])
    return np.asarray(np.maximum(rows[:, :, 1:], rows[:, :, :-1]))


def _blown(pictures: Pictures) -> Mask:
    """Cells in which more than a tenth is nearly white, as after too much light or contrast."""
    bright = (pictures.luma >= _WHITE).astype(np.float32)
    return downsample(bright, pictures.colour.shape[1]) > 0.1


def _is_grey(pictures: Floats, weight: Floats) -> Mask:
    """Which pictures have no colour where they are compared (a coloured watermark is not)."""
    colour = np.linalg.norm(pictures @ _AXES[1:].T, axis=3).reshape(weight.shape)
    share = ((colour > _COLOURED) * weight).sum(1) / np.maximum(weight.sum(1), 1)
    return np.asarray(share < _GREY)


def _unexplained(fit: _Recolouring) -> Floats:
    """Weighted share of pixels off by more than the recolouring and edges nearby explain."""
    from scipy import ndimage

    weight, target = fit.weight, fit.target
    off = _misfit(fit)
    off = np.where(_turned(fit.source, target).reshape(weight.shape), np.inf, off)
    near = (1, 3, 3, 1)
    span = ndimage.maximum_filter(target, near) - ndimage.minimum_filter(target, near)
    free = np.where(fit.grey, _FREE_GREY, _FREE)[:, None]
    allowed = free + _SLOPE * span.max(axis=3).reshape(weight.shape)
    return np.asarray(((off > allowed) * weight).sum(1) / np.maximum(weight.sum(1), 1))


def _turned(source: Floats, target: Floats) -> Mask:
    """Where a strong colour has become another one: blue has become green, say, not paler."""
    one, other = source @ _AXES[1:].T, target @ _AXES[1:].T
    strength, other_strength = (np.linalg.norm(c, axis=3) for c in (one, other))
    cosine = (one * other).sum(axis=3) / np.maximum(strength * other_strength, 1)
    return np.asarray((cosine < _TURN) & (np.minimum(strength, other_strength) > _STRONG))


def _misfit(fit: _Recolouring) -> Floats:
    """Distances ``(m, c * c)`` in RGB after a robust fit, by reweighting.

    Brightness may follow any rising or falling line with bends, as clipping and gamma bend it.
    Colour may turn, swell and fade, and take a tint that grows with brightness, but black stays
    black: else a black dial would pass for a blue one. What is clipped in the target may lie
    beyond.
    """
    usable = fit.usable
    shape = (*usable.shape, 3)
    source, target = fit.source.reshape(shape), fit.target.reshape(shape)
    known = source @ _AXES.T
    light = known[:, :, :1]
    constant = np.full_like(light, 128)
    bends = [np.maximum(0, light - knee) for knee in _KNEES]
    bent = np.concatenate([known, constant, *bends], axis=2)
    ridge = np.full((len(usable), bent.shape[2]), _RIDGE)
    ridge[:, 1:3] += np.where(fit.grey, _HUE_RIDGE_GREY, _HUE_RIDGE)[:, None]
    ridge *= usable.shape[1]
    bent_ridge = (np.eye(bent.shape[2]) * ridge[:, None]).astype(np.float32)
    known_ridge = np.eye(3, dtype=np.float32) * (_RIDGE * usable.shape[1])
    now, wanted = usable, target
    low, high = target <= _CLIPPED[0], target >= _CLIPPED[1]
    for _ in range(_STEPS):
        aim = wanted @ _AXES.T
        brightness = _fit(bent, aim[:, :, :1], now, bent_ridge)
        colour = _fit(known, aim[:, :, 1:], now, known_ridge)
        guess = np.concatenate([brightness, colour], axis=2) @ _BACK.T
        wanted = np.where(high, np.maximum(guess, target), target)
        wanted = np.where(low, np.minimum(guess, target), wanted)
        off: Floats = np.linalg.norm(wanted - guess, axis=2)
        now = usable / (1 + (off / _SOFT) ** 2)
    return off


def _fit(known: Floats, aim: Floats, weight: Floats, ridge: Floats) -> Floats:
    turned = (known * weight[:, :, None]).transpose(0, 2, 1)
    return np.asarray(known @ np.linalg.solve(turned @ known + ridge, turned @ aim))
