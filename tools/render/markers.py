"""The hour markers of a dial: applied bars, dots and wedges, painted numerals."""

import math

import numpy as np
from PIL import Image, ImageChops

from .designs import Finish
from .paint import Board, Points, bar, disc, metal_ramp, spoke, toned

_ROMAN = ("XII", "I", "II", "III", "IIII", "V", "VI", "VII", "VIII", "IX", "X", "XI")


def _roman(text: str, height: float) -> list[Points]:
    """Return a Roman numeral as polygons, x across and y down, centred on (0, 0)."""
    thick, thin = 0.26 * height, 0.12 * height
    widths = {"I": 0.36 * height, "V": 0.72 * height, "X": 0.72 * height}
    total = sum(widths[letter] for letter in text)
    x, h, shapes = -total / 2, height / 2, []
    for letter in text:
        w = widths[letter]
        middle, left, right = x + w / 2, x + 0.06 * height, x + w - 0.06 * height
        if letter == "I":
            strokes = [(middle, middle, thick)]
        elif letter == "V":
            strokes = [(left, middle, thick), (right, middle, thin)]
        else:
            strokes = [(left, right, thick), (right, left, thin)]
        for top, foot, width in strokes:
            b = width / 2
            shapes.append(np.array([(top - b, -h), (top + b, -h), (foot + b, h), (foot - b, h)]))
        x += w
    serif = 0.05 * height
    for y in (-h, h):
        shapes.append(
            np.array([(-total / 2, y - serif), (total / 2, y - serif),
                      (total / 2, y + serif), (-total / 2, y + serif)])
        )  # fmt: skip
    return shapes


def _numerals(board: Board, hours: list[int], radius: float, height: float) -> Image.Image:
    """Return a mask of upright Arabic numerals around the dial."""
    spots = [spoke(np.array([(radius, 0.0)]), hour * np.pi / 6)[0] for hour in hours]
    texts = [(str(hour or 12), spot) for hour, spot in zip(hours, spots, strict=True)]
    return board.lettering(texts, height, bold=True)


def _shape(kind: str, hour: int, rim: float) -> tuple[list[Points], list[Points]]:
    """Return one applied marker (outwards, across): its metal and its luminous filling."""
    main = hour % 3 == 0
    if kind == "dots":
        if hour == 0:
            wedge = np.array([(rim - 0.2, 0.0), (rim, 0.1), (rim, -0.1)])
            inner = np.array([(rim - 0.15, 0.0), (rim - 0.025, 0.066), (rim - 0.025, -0.066)])
            return [wedge], [inner]
        if main:
            return [bar(rim - 0.19, rim, 0.085)], [bar(rim - 0.17, rim - 0.02, 0.05)]
        return [disc(0.066, rim - 0.07)], [disc(0.045, rim - 0.07)]
    if kind == "wedge":
        length = 0.25 if main else 0.19
        return [np.array([(rim - length, 0.0), (rim, 0.055), (rim, -0.055)])], []
    if kind == "double":
        return [bar(rim - 0.2, rim, 0.03) + np.array((0, s)) for s in (-0.028, 0.028)], []
    if kind == "diamond":
        a = 0.1 if main else 0.075
        return [
            np.array([(-a, 0), (0, a * 0.72), (a, 0), (0, -a * 0.72)]) + np.array((rim - 0.09, 0))
        ], []
    if kind == "blocks":
        return [bar(rim - 0.17, rim, 0.1)], [bar(rim - 0.155, rim - 0.015, 0.072)]
    if kind == "ticks":
        return [bar(rim - (0.1 if main else 0.06), rim + 0.01, 0.02)], []
    if kind == "quarters" and main:
        return [], []
    width = 0.05 if kind == "baton" else 0.036
    if hour == 0 and kind == "baton":
        return [bar(rim - 0.22, rim, width) + np.array((0, s)) for s in (-0.036, 0.036)], []
    return [bar(rim - (0.22 if main else 0.2), rim, width)], []


def _painted(board: Board, kind: str, hours: list[int], rim: float) -> Image.Image | None:
    """Return the mask of printed numerals, None where the style has none."""
    if kind == "arabic":
        return _numerals(board, hours, rim - 0.085, 0.2)
    if kind == "quarters":
        return _numerals(board, [h for h in hours if h % 3 == 0], rim - 0.095, 0.23)
    if kind == "roman":
        shapes = []
        for hour in hours:
            turn = hour * math.pi / 6
            for part in _roman(_ROMAN[hour], 0.17):
                # Numerals stand on the centre: their feet point inwards.
                local = np.stack([rim - 0.09 - part[:, 1], part[:, 0]], axis=1)
                shapes.append(spoke(local, turn))
        return board.stencil(shapes)
    return None


def draw_markers(board: Board, kind: str, finish: Finish, taken: frozenset[int]) -> None:
    """Draw the hour markers; hours in ``taken`` (1 to 12) belong to sub-dials and the date."""
    rim = 0.91 * finish.dial_radius
    hours = [h for h in range(12) if (h or 12) not in taken]
    painted = _painted(board, kind, hours, rim)
    if painted is not None:
        applied = sum(finish.dial_colour) % 2 == 0
        if applied:
            board.relief(painted, finish.trim, 0.012, 0.008)
        else:
            board.paint(painted, finish.print_colour)
    if kind in ("arabic", "roman"):
        return
    metal, lume = [], []
    for hour in hours:
        body, filling = _shape(kind, hour, rim)
        metal += [spoke(p, hour * np.pi / 6) for p in body]
        lume += [spoke(p, hour * np.pi / 6) for p in filling]
    mask = board.stencil(metal)
    if kind == "ticks":
        board.paint(mask, finish.print_colour)
        return
    _, angle = board.polar
    # Facets: markers that face the light gleam, those at right angles to it are darker.
    gleam = 0.62 + 0.28 * np.cos(2 * (angle - board.light))
    board.relief(mask, toned(gleam, metal_ramp(finish.trim)), 0.02)
    if lume:
        filling_mask = ImageChops.multiply(mask, board.stencil(lume))
        board.paint(filling_mask, finish.lume)
