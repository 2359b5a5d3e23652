"""The case of a watch: lugs, crown, body, bezel, and the crystal over the dial."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from . import noise
from .designs import Design, Finish
from .noise import Field
from .paint import (
    Board,
    Points,
    bar,
    disc,
    enamel_ramp,
    metal_ramp,
    scaled,
    spoke,
    superellipse,
    toned,
)

_OUTLINES: dict[str, tuple[tuple[float, float], float]] = {
    "round": ((1.0, 1.0), 2.0),
    "cushion": ((1.0, 1.0), 3.2),
    "square": ((0.92, 0.92), 7.0),
    "tonneau": ((0.86, 1.06), 2.8),
    "octagon": ((1.0, 1.0), 2.0),
    "rectangle": ((0.76, 1.02), 8.0),
}


def outline(shape: str) -> Points:
    """Return the case's outline without lugs and crown, Nx2 units."""
    half, power = _OUTLINES[shape]
    if shape == "octagon":
        return spoke(disc(1.05, corners=8), math.pi / 8)
    return superellipse(half, power)


def _conic(board: Board, rng: np.random.Generator, contrast: float) -> Field:
    """Tones of turned, polished metal: bright and dark sectors around the middle, HxW."""
    _, angle = board.polar
    shift, twist = rng.uniform(-0.4, 0.4), rng.uniform(0, 6.3, 2).tolist()
    tone: Field = 0.62 + contrast * 0.32 * np.cos(2 * (angle - board.light - shift))
    tone += contrast * 0.14 * np.cos(3 * angle + twist[0])
    tone += contrast * 0.10 * np.cos(7 * angle + twist[1])
    return tone


def _lugs(board: Board, rng: np.random.Generator, finish: Finish) -> None:
    """Draw four lugs that curve down towards the strap."""
    deep = float(outline(finish.shape)[:, 1].max())
    reach = float(rng.uniform(1.13, 1.22)) * max(1.0, deep)
    tip, belly = float(rng.uniform(0.66, 0.73)), float(rng.uniform(0.03, 0.1))
    t = np.linspace(0, 1, 12)[:, None]
    flank = (
        (1 - t) ** 2 * (0.84, 0.5)
        + 2 * t * (1 - t) * (tip + belly, 0.8 * reach)
        + t**2 * (tip, reach)
    )
    inside = [(tip - 0.03, reach + 0.015), (0.59, reach + 0.015), (0.57, reach - 0.02), (0.56, 0.4)]
    lug = np.concatenate([flank, inside])
    mask = board.stencil([lug * (sx, sy) for sx in (-1, 1) for sy in (-1, 1)])
    x, y = board.grid
    far = np.abs(y)
    tone = 0.55 + 0.16 * math.sin(board.light) * np.sign(y) - 1.1 * np.clip(far - 0.92, 0, 1)
    tone += 0.2 * np.cos(16 * (np.abs(x) - 0.64)) + 0.1 * math.cos(board.light) * np.sign(x)
    board.paint(mask, toned(tone, metal_ramp(finish.metal)), solid=True)
    board.edges(mask, 0.024, 0.8, 0.6)


def _crown_shapes(kind: str, at: float) -> tuple[list[Points], list[Points]]:
    """Return the crown and its guards, the crown's axis along +x from x = ``at``."""
    half, length = {"slim": (0.085, 0.08), "onion": (0.13, 0.17)}.get(kind, (0.12, 0.12))
    start = at - 0.03
    if kind == "onion":
        crown = disc(half, start + 0.12) * (1.0, 1.05)
    else:
        crown = np.array([(start, -half), (start + length + 0.03, -half * 0.94),
                          (start + length + 0.03, half * 0.94), (start, half)])  # fmt: skip
    guards = []
    if kind == "guarded":
        guard = np.array([(at - 0.14, 0.46), (at + 0.07, 0.27), (at + 0.1, 0.15), (at - 0.1, 0.13)])
        guards = [guard, guard * (1, -1)]
    return [crown], guards


def _crown(board: Board, design: Design, finish: Finish) -> None:
    """Draw crown, guards, and the pushers of a chronograph."""
    at = float(outline(finish.shape)[:, 0].max())
    tones = metal_ramp(finish.metal)
    _, y = board.grid
    if design.subdials in ("three_nine", "three_six_nine", "twelve_six"):
        pushers = [spoke(bar(0.94, 1.1, 0.13), math.radians(a)) for a in (62, 118)]
        pushers += [spoke(bar(1.07, 1.13, 0.17), math.radians(a)) for a in (62, 118)]
        mask = board.stencil(pushers)
        board.paint(mask, toned(0.6 - 0.3 * np.cos(y * 22), tones), solid=True)
        board.edges(mask, 0.02)
    crown, guards = _crown_shapes(design.crown, at)
    mask = board.stencil(crown)
    ridges = 0.55 + 0.3 * np.sin(y * (2 * np.pi / 0.036)) - 1.6 * np.abs(y)
    board.paint(mask, toned(ridges, tones), solid=True)
    board.edges(mask, 0.02)
    if design.crown == "cabochon":
        jewel = board.stencil([disc(0.062, at + 0.105)])
        board.paint(jewel, finish.insert, solid=True)
        board.edges(jewel, 0.02, 0.8, 0.5)
    if guards:
        mask = board.stencil(guards)
        board.paint(mask, toned(0.62 + 0.5 * y * math.sin(board.light), tones), solid=True)
        board.edges(mask, 0.02)


def _insert(board: Board, kind: str, ring: tuple[float, float], finish: Finish) -> None:
    """Print the scale of a diver's or a chronograph's bezel insert between two radii."""
    inner, outer = ring
    middle, width = (inner + outer) / 2, outer - inner
    pale = sum(finish.insert) > 330
    ink = (34, 34, 38) if pale else (236, 236, 230)
    if kind == "diver":
        shapes = [
            spoke(bar(middle - 0.3 * width, middle + 0.3 * width, 0.055), i * np.pi / 6)
            for i in range(1, 12)
        ]
        shapes += [
            spoke(bar(middle - 0.3 * width, middle + 0.05 * width, 0.014), i * np.pi / 30)
            for i in range(1, 15)
        ]
        triangle = np.array([(inner + 0.12 * width, 0), (outer - 0.06 * width, 0.11)])
        shapes.append(spoke([*map(tuple, triangle), (outer - 0.06 * width, -0.11)], 0.0))
        board.paint(board.stencil(shapes), ink)
        return
    speeds = ("60", "400", "240", "180", "140", "110", "95", "85", "75", "65")
    texts = [
        (speed, spoke(np.array([(middle, 0.0)]), i * np.pi / 5)[0])
        for i, speed in enumerate(speeds)
    ]
    board.paint(board.lettering(texts, 0.66 * width, bold=True), ink)
    ticks = [
        spoke(bar(inner + 0.03 * width, inner + 0.16 * width, 0.012), i * np.pi / 50)
        for i in range(100)
    ]
    board.paint(board.stencil(ticks), ink)


def _bezel(board: Board, rng: np.random.Generator, design: Design, finish: Finish) -> None:
    """Lay the ring between case and dial in the design's style."""
    body = outline(finish.shape)
    inner = finish.dial_radius + 0.03
    kind = design.bezel
    mask = board.stencil([body * 0.965], [body * inner])
    radius, angle = board.polar
    tones = metal_ramp(finish.metal)
    tone = _conic(board, rng, 1.0)
    if kind == "fluted":
        swell = 0.5 + 0.5 * np.cos(2 * (angle - board.light))
        tone = 0.5 + 0.14 * swell + (0.24 + 0.22 * swell) * np.sin(angle * 80)
    elif kind == "coin":
        edge = radius > 0.965 - 0.35 * (0.965 - inner)
        tone = np.where(edge, 0.5 + 0.4 * np.sin(angle * 110), tone)
    board.shadow(mask, 0.03, 0.5)
    board.paint(mask, toned(tone, tones))
    board.edges(mask, 0.02, 0.6, 0.55)
    if kind == "stepped":
        for part in (0.36, 0.7):
            ring = inner + part * (0.965 - inner)
            step = board.stencil([body * ring], [body * inner])
            board.paint(step, toned(_conic(board, rng, 1.2), tones))
            board.edges(step, 0.022, 0.7, 0.65)
    elif kind in ("diver", "tachymeter"):
        outer_ring, inner_ring = 0.925, inner + 0.02
        insert = board.stencil([body * outer_ring], [body * inner_ring])
        gloss = 0.47 + 0.22 * np.cos(2 * (angle - board.light)) ** 3
        board.paint(insert, toned(gloss, enamel_ramp(finish.insert)))
        _insert(board, kind, (inner_ring, outer_ring), finish)
    elif kind in ("screws", "gems"):
        count, middle = (8, 0.5) if kind == "screws" else (36, 0.5)
        at = inner + middle * (0.965 - inner)
        size = 0.045 if kind == "screws" else 0.3 * (0.965 - inner)
        dots = [disc(size, 0, 0, 12) + spoke(np.array([(at, 0.0)]), (i + 0.5) * 2 * np.pi / count)
                for i in range(count)]  # fmt: skip
        sparkle = 0.6 + 0.4 * np.sin(angle * 97) * np.sin(radius * 160)
        board.relief(board.stencil(dots), toned(sparkle, tones), 0.015)


def draw_case(board: Board, rng: np.random.Generator, design: Design, finish: Finish) -> None:
    """Draw lugs, crown, body and bezel; the dial's hole is filled dark."""
    body = outline(finish.shape)
    if not finish.clock:
        _lugs(board, rng, finish)
        if design.crown != "none":
            _crown(board, design, finish)
    mask = board.stencil([body])
    board.shadow(mask, 0.03, 0.35)
    board.paint(mask, toned(_conic(board, rng, 0.9), metal_ramp(finish.metal)), solid=True)
    board.edges(mask, 0.025, 0.55, 0.55)
    _bezel(board, rng, design, finish)
    well = board.stencil([body * (finish.dial_radius + 0.035)])
    _, angle = board.polar
    wall = 0.34 - 0.26 * np.cos(angle - board.light)
    board.paint(well, toned(wall, metal_ramp(finish.metal)))


def draw_crystal(board: Board, rng: np.random.Generator, finish: Finish, glare: float) -> None:
    """Lay reflections on the glass: a rim light, a soft window or a broad veil (``glare`` 0-1)."""
    face = board.stencil([outline(finish.shape) * finish.dial_radius])
    radius, angle = board.polar
    reach = finish.dial_radius
    rim = np.clip(1 - np.abs(radius / reach - 0.97) / 0.03, 0, 1)
    rim = rim * np.clip(np.cos(angle - board.light), 0, 1) ** 3
    veil = np.clip(np.cos(angle - board.light) * radius / reach, 0, 1) ** 2
    streak = (0.42 * rim + 0.16 * glare * veil) * 255
    light = Image.fromarray(streak.astype(np.uint8))
    if rng.random() < 0.75 * glare + 0.1:
        panes = _window(board, rng, reach)
        light = ImageChops.add(light, scaled(panes, 0.16 + 0.42 * glare * float(rng.random())))
    if rng.random() < 0.3:
        shape = (board.size[1], board.size[0])
        smear = np.clip(noise.smooth(rng, shape, (4, 4)), 0, 2) * 14 * glare
        light = ImageChops.add(light, Image.fromarray(smear.astype(np.uint8)))
    board.paint(ImageChops.multiply(light, face), (250, 252, 255))


def _window(board: Board, rng: np.random.Generator, reach: float) -> Image.Image:
    """Return the soft reflection of a window with panes, on the light's side (mode L)."""
    bars = int(rng.integers(1, 3))
    width, height = rng.uniform(0.34, 0.6, 2) * reach
    lean = rng.uniform(-0.35, 0.35)
    shapes = []
    for column in range(bars):
        for row in range(2):
            x0, x1 = column / bars + 0.02, (column + 1) / bars - 0.02
            y0, y1 = row / 2 + 0.02, (row + 1) / 2 - 0.02
            box = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - 0.5
            box[:, 0] += lean * box[:, 1]
            shapes.append(box * (width, height))
    away = rng.uniform(0.35, 0.6) * reach
    spot = np.array([math.cos(board.light), math.sin(board.light)]) * away
    mask = board.stencil([shape + spot for shape in shapes])
    return mask.filter(ImageFilter.GaussianBlur(max(0.8, 0.012 * board.scale)))
