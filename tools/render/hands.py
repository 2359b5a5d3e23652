"""The hands of a watch: their outlines and how light falls on their two facets."""

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops

from .designs import Design, Finish
from .paint import Board, Points, bar, disc, metal_ramp, spoke


@dataclass(frozen=True, slots=True)
class _Outline:
    """Polygons in (outwards, across) coordinates."""

    body: list[Points]
    holes: list[Points] = field(default_factory=list)
    lume: list[Points] = field(default_factory=list)


def _points(*pairs: tuple[float, float]) -> Points:
    """Mirror the upper half of an outline (outwards, half width) to a closed polygon."""
    lower = [(x, -y) for x, y in reversed(pairs)]
    return np.array([*pairs, *lower], dtype=np.float64)


def _dauphine(n: float, w: float) -> _Outline:
    return _Outline([_points((-0.16, 0.004), (0.06, 0.95 * w), (n, 0.003))])


def _sword(n: float, w: float) -> _Outline:
    body = _points((0, 0.3 * w), (0.72 * n, 0.9 * w), (n, 0.002))
    lume = _points((0.3 * n, 0.24 * w), (0.7 * n, 0.5 * w), (0.86 * n, 0.08 * w))
    return _Outline([body], lume=[lume])


def _breguet(n: float, w: float) -> _Outline:
    at, ring = 0.7 * n, 1.15 * w
    stem = _points((-0.12, 0.34 * w), (at, 0.26 * w), (at, 0.26 * w))
    tip = _points((at + 0.6 * ring, 0.42 * w), (n, 0.003))
    return _Outline([stem, disc(ring, at), tip], holes=[disc(0.6 * ring, at + 0.16 * ring)])


def _syringe(n: float, w: float) -> _Outline:
    barrel = _points((0, 0.62 * w), (0.66 * n, 0.62 * w), (0.72 * n, 0.16 * w), (n, 0.12 * w))
    lume = bar(0.22 * n, 0.63 * n, 0.66 * w)
    return _Outline([barrel], lume=[lume])


def _lollipop(n: float, w: float) -> _Outline:
    at = 0.76 * n
    stem = _points((-0.14, 0.2 * w), (n, 0.16 * w))
    return _Outline([stem, disc(1.12 * w, at)], lume=[disc(0.72 * w, at)])


def _baton(n: float, w: float) -> _Outline:
    return _Outline([bar(-0.1, n, 1.1 * w)])


def _leaf(n: float, w: float) -> _Outline:
    return _Outline(
        [
            _points(
                (-0.1, 0.16 * w), (0.1, 0.2 * w), (0.34 * n, 0.86 * w), (0.52 * n, 0.94 * w),
                (0.74 * n, 0.5 * w), (n, 0.003),
            )
        ]
    )  # fmt: skip


def _arrow(n: float, w: float) -> _Outline:
    stem = _points((-0.1, 0.26 * w), (0.76 * n, 0.26 * w))
    head = _points((0.68 * n, 1.35 * w), (n, 0.002))
    lume = _points((0.72 * n, 0.8 * w), (0.92 * n, 0.004))
    return _Outline([stem, head], lume=[lume])


def _skeleton(n: float, w: float) -> _Outline:
    body = _points((-0.1, 0.5 * w), (0.12, 0.9 * w), (0.86 * n, 0.8 * w), (n, 0.002))
    return _Outline([body], holes=[_points((0.2, 0.5 * w), (0.8 * n, 0.42 * w))])


_OUTLINES = {
    "dauphine": _dauphine,
    "sword": _sword,
    "breguet": _breguet,
    "syringe": _syringe,
    "lollipop": _lollipop,
    "baton": _baton,
    "leaf": _leaf,
    "arrow": _arrow,
    "skeleton": _skeleton,
}


# One side of a hand's axis, for its two facets.
_HALF = np.array([(-0.5, 0.0), (1.4, 0.0), (1.4, 1.0), (-0.5, 1.0)])


def _lay(board: Board, outline: _Outline, angle: float, finish: Finish, height: float) -> None:
    """Draw one hand: shadow, two facets, rim, luminous filling."""
    mask = board.stencil(
        [spoke(p, angle) for p in outline.body], [spoke(p, angle) for p in outline.holes]
    )
    board.shadow(mask, height, 0.62)
    tones = metal_ramp(finish.trim)
    # The facet's normal leans across the hand: towards the light it shines, away it is dark.
    lean = math.sin(board.light - (angle - math.pi / 2))
    half = board.stencil([spoke(_HALF, angle)])
    for side, part in ((-lean, ImageChops.subtract(mask, half)), (lean, half)):
        tone = int(255 * min(0.96, max(0.22, 0.62 + 0.3 * side)))
        red, green, blue = (int(c) for c in tones[tone])
        board.paint(ImageChops.multiply(mask, part), (red, green, blue))
    board.edges(mask, 0.008, 0.35, 0.4)
    if outline.lume:
        board.paint(board.stencil([spoke(p, angle) for p in outline.lume]), finish.lume)


def draw_hands(board: Board, design: Design, finish: Finish, *, sweep: bool) -> None:
    """Draw hour and minute hand, with ``sweep`` the central seconds hand, and the cannon pinion."""
    hour, minute, second = finish.times
    reach = finish.dial_radius
    make = _OUTLINES[design.hands]
    _lay(board, make(0.57 * reach, 0.078), hour, finish, 0.022)
    _lay(board, make(0.88 * reach, 0.064), minute, finish, 0.034)
    if sweep:
        thin = [spoke(bar(-0.2, 0.92 * reach, 0.02, 0.011), second)]
        thin.append(spoke(disc(0.032, -0.16), second))
        mask = board.stencil(thin)
        board.shadow(mask, 0.045, 0.5)
        board.paint(mask, finish.seconds_colour)
    cap: Image.Image = board.stencil([disc(0.045)])
    board.relief(cap, finish.trim, 0.02)


def small_hand(
    board: Board, at: tuple[float, float], length: float, angle: float, finish: Finish
) -> None:
    """Draw the plain little hand of a sub-dial around ``at`` (units)."""
    body = spoke(bar(-0.3 * length, length, 0.024, 0.012), angle) + at
    mask = board.stencil([body, disc(0.022, *at)])
    board.shadow(mask, 0.018, 0.5)
    board.paint(mask, finish.print_colour)
