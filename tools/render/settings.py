"""What a watch is worn on or kept in: a wrist with a sleeve, a cushion in an open box."""

import math

import numpy as np
from PIL import Image, ImageFilter

from . import noise
from .designs import pick
from .paint import Board, Colour, enamel_ramp, metal_ramp, ramp, superellipse, toned

_SKINS: tuple[Colour, ...] = (
    (236, 196, 170), (224, 182, 156), (206, 160, 132), (168, 122, 96), (122, 84, 66), (86, 60, 48),
)  # fmt: skip
_CLOTHS: tuple[Colour, ...] = (
    (40, 48, 70), (232, 234, 238), (60, 60, 62), (120, 130, 150), (96, 70, 56), (70, 92, 78),
    (150, 60, 60), (190, 184, 170),
)  # fmt: skip


def wrist(
    rng: np.random.Generator, radius: float, length: float, scale: float, light: float
) -> tuple[Image.Image, tuple[float, float]]:
    """Draw a forearm along x, ``length`` long and twice ``radius`` thick, a sleeve at one end.

    Lengths are in case radii, ``light`` in the arm's own frame. Returns an RGBA picture and its
    half sizes.
    """
    half = (length / 2, radius * 1.5)
    board = Board(half, scale * 0.6, light)
    x, y = board.grid
    shape = x.shape
    side = 1.0 if rng.random() < 0.5 else -1.0
    width = radius * (
        1 + 0.05 * np.clip(side * x - 1.2, 0, 3) + 0.03 * np.clip(-side * x - 1, 0, 5)
    )
    bend = np.clip(y / width, -1, 1)
    lit = np.sqrt(1 - bend**2)
    tone = 0.5 + 0.3 * (lit - 0.82) + 0.13 * bend * math.sin(light)
    tone += 0.018 * noise.fractal(rng, shape, (8, 20), 4, 0.7)
    tone += 0.008 * rng.standard_normal(shape, dtype=np.float32)
    red, green, blue = pick(rng, _SKINS)
    tones = ramp(
        [
            (0.0, (0.22 * red, 0.12 * green, 0.1 * blue)),
            (0.3, (0.66 * red, 0.52 * green, 0.47 * blue)),
            (0.5, (red, green, blue)),
            (
                0.8,
                (red + 0.4 * (255 - red), green + 0.45 * (255 - green), blue + 0.45 * (255 - blue)),
            ),
            (1.0, (255, 248, 240)),
        ]
    )
    cover = np.clip((width - np.abs(y)) * board.scale + 0.5, 0, 1)
    mask = Image.fromarray((cover * 255).astype(np.uint8))
    board.paint(mask, toned(tone.astype(np.float32), tones), solid=True)
    _sleeve(board, rng, radius, -side)
    return board.finished(), half


def _sleeve(board: Board, rng: np.random.Generator, radius: float, side: float) -> None:
    """Pull a sleeve over the arm from the end at ``side`` (-1 or 1) towards the watch."""
    x, y = board.grid
    start = float(rng.uniform(1.35, 2.6))
    edge = side * x - start - 0.12 * np.cos(y / radius * 1.4)
    wide = radius * 1.24
    bend = np.clip(y / wide, -1, 1)
    folds = noise.fractal(rng, x.shape, (3, 16), 3, 0.6)
    tone = 0.5 + 0.34 * (np.sqrt(1 - bend**2) - 0.8) + 0.1 * bend * math.sin(board.light)
    tone += 0.06 * folds + 0.03 * np.sin(x * 60) * np.sin(y * 60)
    tone -= 0.1 * (np.abs(edge - 0.32) < 0.025)
    cover = np.clip(edge * board.scale, 0, 1) * np.clip((wide - np.abs(y)) * board.scale, 0, 1)
    mask = Image.fromarray((cover * 255).astype(np.uint8))
    shade = mask.filter(ImageFilter.GaussianBlur(0.12 * board.scale))
    board.paint(shade.point([round(0.6 * v) for v in range(256)]), (14, 8, 8))
    board.paint(mask, toned(tone.astype(np.float32), enamel_ramp(pick(rng, _CLOTHS))), solid=True)


def case_box(
    rng: np.random.Generator, cushion: float, scale: float, light: float
) -> tuple[Image.Image, tuple[float, float]]:
    """Draw an open watch box from above with a cushion of half height ``cushion`` (case radii).

    Returns an RGBA picture and its half sizes in case radii.
    """
    half = (float(rng.uniform(2.3, 3.0)), float(rng.uniform(2.6, 3.2)))
    board = Board((half[0] + 0.1, half[1] + 0.1), scale * 0.7, light)
    x, y = board.grid
    shape = x.shape
    shell = pick(rng, ((92, 52, 34), (28, 28, 32), (120, 84, 54), (36, 56, 48), (70, 26, 30)))
    lining = pick(
        rng, ((226, 216, 196), (30, 32, 40), (120, 28, 34), (196, 190, 184), (36, 60, 88))
    )
    outer = board.stencil([superellipse(half, 26)])
    grain = 0.5 + 0.03 * noise.fractal(rng, shape, (40, 4), 3)
    board.paint(outer, toned(grain, enamel_ramp(shell)), solid=True)
    board.edges(outer, 0.05, 0.4, 0.5)
    inner_half = (half[0] - 0.32, half[1] - 0.32)
    inner = board.stencil([superellipse(inner_half, 30)])
    velvet = 0.4 + 0.02 * rng.standard_normal(shape, dtype=np.float32)
    velvet += 0.04 * noise.smooth(rng, shape, (5, 5))
    board.paint(inner, toned(velvet, enamel_ramp(lining)))
    if rng.random() < 0.5:
        hem = board.stencil(
            [superellipse((half[0] - 0.1, half[1] - 0.1), 28)],
            [superellipse((half[0] - 0.15, half[1] - 0.15), 28)],
        )
        board.paint(hem, toned(0.5 + 0.3 * np.sin(x + y), metal_ramp((214, 180, 110))))
    board.shadow(board.stencil([superellipse(half, 26)], [superellipse(inner_half, 30)]), 0.28, 0.6)
    pillow_half = (min(1.5, inner_half[0] - 0.1), cushion)
    pillow = board.stencil([superellipse(pillow_half, 5)])
    board.shadow(pillow, 0.22, 0.65)
    bend = np.clip(y / cushion, -1, 1)
    puff = 0.42 + 0.26 * np.sqrt(1 - bend**2) + 0.1 * bend * math.sin(light)
    puff -= 0.2 * np.abs(np.clip(x / pillow_half[0], -1, 1)) ** 6
    puff += 0.018 * rng.standard_normal(shape, dtype=np.float32)
    board.paint(pillow, toned(puff.astype(np.float32), enamel_ramp(lining)))
    return board.finished(), board.half
