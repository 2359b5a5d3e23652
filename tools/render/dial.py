"""Everything under the crystal but the hands: dial, markers, sub-dials, emblem, date."""

import math

import numpy as np
from PIL import Image

from .designs import Design, Finish
from .hands import small_hand
from .markers import draw_markers
from .noise import Field
from .paint import Board, Points, bar, disc, enamel_ramp, metal_ramp, spoke, toned

_PLACES = {
    "none": (),
    "six": (6,),
    "three_nine": (3, 9),
    "three_six_nine": (3, 6, 9),
    "moon": (6,),
    "twelve_six": (12, 6),
}


def _sheen(board: Board, rng: np.random.Generator, kind: str, reach: float) -> Field:
    """Tones of the dial's surface, HxW around 0.5."""
    radius, angle = board.polar
    shape = radius.shape
    tone = 0.5 - 0.05 * (radius / reach) ** 2
    if kind in ("sunburst", "fume"):
        strength = 0.2 if kind == "sunburst" else 0.12
        tone += strength * np.cos(2 * (angle - board.light - 0.3)) ** 3
        brush = rng.standard_normal(1024).astype(np.float32)
        turns = ((angle + np.pi) * (1023 / (2 * np.pi))).astype(np.int32)
        tone += 0.018 * brush[turns]
    if kind == "fume":
        tone -= 0.34 * np.clip(radius / reach, 0, 1) ** 3
    if kind == "guilloche":
        x, y = board.grid
        pitch = 2 * np.pi / 0.075
        tone += 0.06 * np.sin(pitch * x) * np.sin(pitch * y)
        tone += 0.08 * np.cos(angle - board.light) * radius / reach
    if kind in ("grain", "matte"):
        tone += (0.05 if kind == "grain" else 0.015) * rng.standard_normal(shape, dtype=np.float32)
        tone += 0.05 * np.cos(angle - board.light) * radius / reach
    return tone.astype(np.float32)


def _track(board: Board, finish: Finish, reach: float) -> None:
    """Print the minute track at the dial's rim."""
    ticks = []
    for minute in range(60):
        long = minute % 5 == 0
        start = reach * (0.93 if long else 0.955)
        ticks.append(
            spoke(bar(start, reach * 0.985, 0.014 if long else 0.008), minute * np.pi / 30)
        )
    board.paint(board.stencil(ticks), finish.print_colour)


def _subdial(
    board: Board, rng: np.random.Generator, at: tuple[float, float], radius: float, finish: Finish
) -> None:
    """Sink a sub-dial with fine rings, a rim, ticks and a little hand."""
    x, y = board.grid
    mask = board.stencil([disc(radius, *at)])
    distance = np.hypot(x - at[0], y - at[1])
    angle = np.arctan2(y - at[1], x - at[0])
    tone = 0.42 + 0.05 * np.sin(distance * (2 * np.pi / 0.03))
    tone += 0.1 * np.cos(2 * (angle - board.light - 0.3))
    board.paint(mask, toned(tone, enamel_ramp(finish.dial_colour)))
    # A sunken floor is dark at the wall towards the light and bright opposite.
    board.edges(mask, -0.02, 0.3, 0.5)
    ring = board.stencil([disc(radius * 1.06, *at)], [disc(radius * 0.97, *at)])
    board.paint(ring, toned(0.6 + 0.3 * np.cos(angle - board.light), metal_ramp(finish.trim)))
    ticks = [
        spoke(bar(radius * (0.7 if i % 3 == 0 else 0.8), radius * 0.92, 0.012), i * np.pi / 6) + at
        for i in range(12)
    ]
    board.paint(board.stencil(ticks), finish.print_colour)
    small_hand(board, at, radius * 0.75, float(rng.uniform(0, 2 * np.pi)), finish)


def _moon(board: Board, rng: np.random.Generator, at: tuple[float, float], radius: float) -> None:
    """Cut the moon's window: night sky, stars, a moon behind two clouds' humps."""
    x, y = at
    window = board.stencil(
        [disc(radius, x, y)],
        [
            np.array([(-1.2, 0.25), (1.2, 0.25), (1.2, 1.2), (-1.2, 1.2)]) * radius + at,
            disc(0.42 * radius, x - 0.58 * radius, y + 0.25 * radius),
            disc(0.42 * radius, x + 0.58 * radius, y + 0.25 * radius),
        ],
    )
    board.paint(window, (18, 28, 70))
    shift = float(rng.uniform(-0.3, 0.3))
    moon = board.stencil([disc(0.36 * radius, x + shift * radius, y - 0.34 * radius)])
    board.paint(Image.composite(moon, Image.new("L", moon.size, 0), window), (240, 214, 140))
    stars = [
        disc(0.05 * radius, x + a * radius, y + b * radius, 8)
        for a, b in ((-0.7, -0.3), (0.66, -0.4), (-0.4, -0.75), (0.36, -0.8))
    ]
    board.paint(board.stencil(stars), (240, 226, 180))
    board.edges(window, -0.018, 0.35, 0.55)


def _emblem(kind: str, size: float) -> tuple[list[Points], list[Points]]:
    """Return the emblem's polygons and holes, around (0, 0), about ``size`` units high."""
    r = size / 2
    if kind == "star":
        rays = [(r if i % 2 == 0 else 0.36 * r, i * np.pi / 4) for i in range(8)]
        return [np.array([(a * math.sin(t), -a * math.cos(t)) for a, t in rays]) * 1.15], []
    if kind == "shield":
        half = [(0.0, -0.75), (0.85, -1.0), (0.85, 0.1), (0.5, 0.7), (0.0, 1.05)]
        points = half + [(-x, y) for x, y in reversed(half[1:-1])]
        hole = [(-0.14, -0.55), (0.14, -0.55), (0.14, 0.6), (-0.14, 0.6)]
        return [np.array(points) * r], [np.array(hole) * r]
    if kind == "lozenge":
        square = np.array([(0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)]) * r
        return [square, square * 0.3], [square * 0.62]
    if kind == "wing":
        rows: list[Points] = []
        for y in (-0.7, 0.0, 0.7):
            w = 1.5 - 0.35 * (y + 0.7)
            half = [(-w, y - 0.42), (0, y + 0.1), (w, y - 0.42), (w, y - 0.1), (0, y + 0.42)]
            rows.append(np.array([*half, (-w, y - 0.1)]) * r)
        return rows, []
    if kind == "crescent":
        return [disc(r * 1.05, 0, 0, 40)], [disc(r * 0.85, r * 0.42, -r * 0.2, 40)]
    if kind == "trident":
        prongs = [np.array([(x - 0.14, -1), (x + 0.14, -1), (x + 0.14, 0.2), (x - 0.14, 0.2)])
                  for x in (-0.7, 0.0, 0.7)]  # fmt: skip
        base = np.array([(-0.84, 0.0), (0.84, 0.0), (0.14, 0.5), (0.14, 1.1), (-0.14, 1.1)])
        shapes: list[Points] = [p * r for p in (*prongs, base)]
        return shapes, []
    if kind == "target":
        return [disc(r, 0, 0, 40), disc(r * 0.3, 0, 0, 24)], [disc(r * 0.66, 0, 0, 40)]
    if kind == "cross":
        arm = np.array([(-0.24, -1), (0.24, -1), (0.24, 1), (-0.24, 1)])
        return [arm * r, arm[:, ::-1] * r], []
    return [], []


def _name(board: Board, text: str, y: float, finish: Finish) -> None:
    """Print the maker's name, too small to read in most photos, centred at height ``y``."""
    mask = board.lettering([(text, np.array([0.0, y]))], 0.062)
    board.paint(mask, finish.print_colour)


def _date(board: Board, rng: np.random.Generator, reach: float, hour: int) -> None:
    """Cut the date window at three (or where the sub-dials leave room)."""
    at = spoke(np.array([(0.66 * reach, 0.0)]), hour * np.pi / 6)[0]
    frame = np.array([(-0.075, -0.06), (0.075, -0.06), (0.075, 0.06), (-0.075, 0.06)])
    board.paint(board.stencil([frame * 1.22 + at]), (170, 170, 172))
    mask = board.stencil([frame + at])
    board.paint(mask, (244, 244, 240))
    board.edges(mask, -0.012, 0.0, 0.5)
    day = str(int(rng.integers(1, 32)))
    board.paint(board.lettering([(day, at)], 0.105), (24, 24, 28))


def draw_dial(
    board: Board, rng: np.random.Generator, design: Design, finish: Finish, face: Points
) -> None:
    """Draw the dial within the outline ``face`` (Nx2 units) and all that is fixed on it."""
    reach = finish.dial_radius
    mask = board.stencil([face])
    tones = enamel_ramp(finish.dial_colour)
    board.paint(mask, toned(_sheen(board, rng, finish.dial, reach), tones))
    # The wall around the dial throws a soft shadow from the light's side.
    wall = board.stencil([face * 1.2], [face])
    board.shadow(wall, 0.05, 0.6)
    _track(board, finish, reach)
    places = _PLACES[design.subdials]
    spots = [spoke(np.array([(0.47 * reach, 0.0)]), hour * np.pi / 6)[0] for hour in places]
    for spot in spots:
        at = (float(spot[0]), float(spot[1]))
        if design.subdials == "moon":
            _moon(board, rng, at, 0.27 * reach)
        else:
            _subdial(board, rng, at, 0.25 * reach, finish)
    taken = set(places)
    if finish.date:
        hour = next(h for h in (3, 6, 4) if h not in taken)
        _date(board, rng, reach, hour)
        taken.add(hour)
    draw_markers(board, design.indices, finish, frozenset(taken))
    if 12 not in places:
        shapes, holes = _emblem(design.glyph, 0.22 * reach)
        lift = np.array([0.0, -0.46 * reach])
        if shapes:
            emblem = board.stencil([s + lift for s in shapes], [h + lift for h in holes])
            board.relief(emblem, finish.trim, 0.014)
        _name(board, design.name, -0.285 * reach, finish)
