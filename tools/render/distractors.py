"""Things that lie about and resemble a watch from afar: coins, plates, buttons, wheels, cups."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .designs import pick
from .noise import Field
from .paint import (
    Board,
    Colour,
    Points,
    bar,
    disc,
    enamel_ramp,
    metal_ramp,
    spoke,
    superellipse,
    toned,
)

Rng = np.random.Generator

_METALS: tuple[Colour, ...] = ((206, 209, 214), (226, 188, 112), (196, 130, 92), (150, 150, 150))
_PAINTS: tuple[Colour, ...] = (
    (232, 230, 224), (240, 238, 232), (58, 82, 120), (40, 42, 46), (176, 60, 48), (90, 120, 96),
    (210, 170, 90), (150, 110, 80),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thing:
    """A drawn object: RGBA picture, its half sizes and height above the table, in case radii."""

    picture: Image.Image
    half: tuple[float, float]
    height: float


def _rings(board: Board) -> Field:
    """Tones of something turned on a lathe, HxW."""
    _, angle = board.polar
    away = angle - board.light
    tone: Field = 0.58 + 0.2 * np.cos(2 * away) + 0.12 * np.cos(away)
    return tone


def _board(radius: float, scale: float, light: float) -> Board:
    return Board((radius * 1.06, radius * 1.06), scale, light)


def _coin(rng: Rng, scale: float, light: float) -> Thing:
    r = float(rng.uniform(0.4, 0.62))
    board = _board(r, scale, light)
    tones = metal_ramp(pick(rng, _METALS))
    body = board.stencil([disc(r)])
    board.paint(body, toned(_rings(board), tones), solid=True)
    board.edges(body, 0.03)
    inner = board.stencil([disc(0.86 * r)])
    board.edges(inner, -0.02, 0.4, 0.4)
    beads = board.stencil([spoke(bar(0.89 * r, 0.93 * r, 0.03), i * np.pi / 20) for i in range(40)])
    board.edges(beads, 0.012, 0.5, 0.5)
    head = superellipse((0.3 * r, 0.4 * r), 2.2) + np.array((0, -0.12 * r))
    bust = np.array([(-0.45, 0.7), (-0.2, 0.2), (0.2, 0.2), (0.5, 0.7)]) * r
    board.edges(board.stencil([head, bust]), 0.03, 0.6, 0.6)
    return Thing(board.finished(), board.half, 0.05)


def _plate(rng: Rng, scale: float, light: float) -> Thing:
    r = float(rng.uniform(1.5, 2.6))
    board = _board(r, scale * 0.7, light)
    tones = enamel_ramp(pick(rng, _PAINTS))
    radius, angle = board.polar
    slope = np.where(radius > 0.68 * r, -0.12, np.where(radius > 0.6 * r, 0.16, 0.02))
    tone = 0.52 + slope * np.cos(angle - light)
    body = board.stencil([disc(r)])
    board.paint(body, toned(tone, tones), solid=True)
    if rng.random() < 0.6:
        ring = board.stencil([disc(0.95 * r)], [disc((0.9 if rng.random() < 0.5 else 0.93) * r)])
        board.paint(ring, pick(rng, _PAINTS + _METALS))
    if rng.random() < 0.35:
        dots = [spoke(disc(0.03 * r, 0.82 * r, 0, 12), i * np.pi / 6) for i in range(12)]
        board.paint(board.stencil(dots), pick(rng, _PAINTS))
    board.edges(body, 0.04, 0.5, 0.4)
    return Thing(board.finished(), board.half, 0.2)


def _button(rng: Rng, scale: float, light: float) -> Thing:
    r = float(rng.uniform(0.28, 0.5))
    board = _board(r, scale, light)
    tones = enamel_ramp(pick(rng, _PAINTS))
    holes = [disc(0.1 * r, x * r, y * r, 16) for x in (-0.2, 0.2) for y in (-0.2, 0.2)]
    body = board.stencil([disc(r)], holes)
    board.paint(body, toned(_rings(board) - 0.1, tones), solid=True)
    board.edges(body, 0.03)
    board.edges(board.stencil([disc(0.7 * r)], holes), -0.03, 0.4, 0.4)
    return Thing(board.finished(), board.half, 0.1)


def _gear(rng: Rng, scale: float, light: float) -> Thing:
    r = float(rng.uniform(0.4, 0.95))
    teeth = int(rng.integers(14, 32))
    board = _board(r, scale, light)
    tones = metal_ramp(pick(rng, _METALS))
    shapes: list[Points] = [disc(0.88 * r)]
    shapes += [spoke(bar(0.8 * r, r, 1.9 * r / teeth * 1.5), i * 2 * np.pi / teeth)
               for i in range(teeth)]  # fmt: skip
    arms = int(rng.integers(3, 7))
    holes = [spoke(disc(0.2 * r, 0.48 * r, 0, 24), i * 2 * np.pi / arms) for i in range(arms)]
    body = board.stencil(shapes, [*holes, disc(0.1 * r)])
    board.paint(body, toned(_rings(board), tones), solid=True)
    board.edges(body, 0.025)
    return Thing(board.finished(), board.half, 0.1)


def _ring(rng: Rng, scale: float, light: float) -> Thing:
    r = float(rng.uniform(0.4, 0.6))
    board = _board(r * 1.1, scale, light)
    tones = metal_ramp(pick(rng, _METALS[:3]))
    body = board.stencil([disc(r)], [disc(0.84 * r)])
    board.paint(body, toned(_rings(board), tones), solid=True)
    board.edges(body, 0.03, 0.8, 0.6)
    if rng.random() < 0.4:
        jewel = board.stencil([disc(0.16 * r, 0.92 * r, 0, 8)])
        board.paint(jewel, (210, 226, 240), solid=True)
        board.edges(jewel, 0.03, 0.9, 0.6)
    return Thing(board.finished(), board.half, 0.12)


def _cup(rng: Rng, scale: float, light: float) -> Thing:
    r = float(rng.uniform(0.95, 1.25))
    saucer = 1.75 * r
    board = _board(saucer, scale * 0.8, light)
    china = enamel_ramp(pick(rng, _PAINTS))
    radius, angle = board.polar
    body = board.stencil([disc(saucer)])
    slope = np.where(radius > 0.72 * saucer, -0.1, 0.1) * np.cos(angle - light)
    board.paint(body, toned(0.52 + slope, china), solid=True)
    board.edges(body, 0.04, 0.5, 0.4)
    handle = board.stencil([bar(0.9 * r, 1.5 * r, 0.26 * r)])
    cup = board.stencil([disc(r)])
    board.shadow(cup, 0.35, 0.5)
    board.relief(handle, toned(0.56 + 0 * radius, china), 0.12, 0.03)
    board.paint(cup, toned(0.56 + 0.1 * np.cos(angle - light), china))
    board.edges(cup, 0.04, 0.6, 0.4)
    drink = board.stencil([disc(0.88 * r)])
    brew = pick(rng, ((62, 38, 24), (120, 76, 44), (150, 74, 28), (188, 150, 110)))
    board.paint(drink, toned(0.5 - 0.22 * np.cos(angle - light) * radius / r, enamel_ramp(brew)))
    board.edges(drink, -0.05, 0.2, 0.6)
    return Thing(board.finished(), board.half, 0.3)


def _pen(rng: Rng, scale: float, light: float) -> Thing:
    half = (float(rng.uniform(1.6, 2.2)), 0.16)
    board = Board(half, scale, light)
    _, across = board.grid
    n = half[0]
    upper = [(-n, -0.06), (-n + 0.1, -0.1), (0.72 * n, -0.1), (n, -0.01)]
    lower = [(x, -y) for x, y in reversed(upper)]
    body = board.stencil([np.array([*upper, *lower])])
    round_ = 0.5 + 0.35 * np.cos((across / 0.1 - 0.4 * math.sin(light)) * 2.2)
    board.paint(body, toned(round_ - 0.1, enamel_ramp(pick(rng, _PAINTS))), solid=True)
    trim = metal_ramp(pick(rng, _METALS))
    bands = [np.array([(a, -0.11), (b, -0.11), (b, 0.11), (a, 0.11)]) * (n, 1)
             for a, b in ((0.05, 0.1), (0.72, 0.78), (-0.95, -0.9))]  # fmt: skip
    board.paint(board.stencil(bands), toned(round_, trim))
    return Thing(board.finished(), half, 0.15)


def _card(rng: Rng, scale: float, light: float) -> Thing:
    """A book, a phone, a sheet with lines of writing: flat and rectangular."""
    half = (float(rng.uniform(0.8, 2.4)), float(rng.uniform(0.8, 1.8)))
    board = Board((half[0] + 0.04, half[1] + 0.04), scale * 0.7, light)
    kind = int(rng.integers(3))
    body = board.stencil([superellipse(half, 60 if kind == 2 else 24)])
    x, y = board.grid
    colour = pick(rng, ((238, 236, 228), (26, 27, 30), pick(rng, _PAINTS)))
    glossy = 0.5 + 0.08 * np.cos((x * math.cos(light) + y * math.sin(light)) * 1.2)
    board.paint(body, toned(glossy, enamel_ramp(colour)), solid=True)
    if kind == 0:
        ink = (70, 70, 76) if sum(colour) > 380 else (200, 198, 190)
        rows = []
        for row in np.arange(-half[1] * 0.8, half[1] * 0.8, 0.16):
            end = half[0] * float(rng.uniform(0.3, 0.85))
            rows.append(np.array([(-half[0] * 0.85, row), (end, row),
                                  (end, row + 0.045), (-half[0] * 0.85, row + 0.045)]))  # fmt: skip
        board.paint(board.stencil(rows), ink)
    board.edges(body, 0.03, 0.4, 0.4)
    return Thing(board.finished(), board.half, 0.06 if kind == 2 else 0.16)


def _lid(rng: Rng, scale: float, light: float) -> Thing:
    """A jar's lid, a lamp's shade or a bottle cap: a disc with a ribbed rim and a spot of light."""
    r = float(rng.uniform(0.5, 1.3))
    board = _board(r, scale * 0.8, light)
    radius, angle = board.polar
    tones = (metal_ramp if rng.random() < 0.5 else enamel_ramp)(pick(rng, _PAINTS + _METALS))
    body = board.stencil([disc(r)])
    ribs = np.where(radius > 0.88 * r, 0.16 * np.sin(angle * 60), 0.0)
    board.paint(body, toned(_rings(board) - 0.06 + ribs, tones), solid=True)
    board.edges(body, 0.04)
    for part in rng.uniform(0.2, 0.86, int(rng.integers(1, 4))):
        board.edges(board.stencil([disc(float(part) * r)]), 0.025, 0.35, 0.35)
    return Thing(board.finished(), board.half, 0.25)


_THINGS: tuple[Callable[[Rng, float, float], Thing], ...] = (
    _coin, _coin, _plate, _button, _gear, _ring, _cup, _pen, _card, _card, _lid,
)  # fmt: skip


def draw_thing(rng: Rng, scale: float, light: float) -> Thing:
    """Draw any one object at ``scale`` pixels per case radius, lit from ``light`` (own frame)."""
    return pick(rng, _THINGS)(rng, scale, light)
