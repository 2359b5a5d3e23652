"""Surfaces that watches lie on: wood, marble, cloth, leather, stone, paper and out-of-focus rooms.

Every maker is photographed on all of them; a surface is drawn before the maker is known to it.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from . import noise
from .designs import pick
from .paint import Colour, enamel_ramp, ramp, toned

Rng = np.random.Generator
Shape = tuple[int, int]


def _wood(rng: Rng, shape: Shape) -> Image.Image:
    height = shape[0]
    tone = pick(rng, ((150, 100, 62), (96, 60, 38), (186, 144, 98), (128, 84, 56), (70, 50, 40)))
    stretched = noise.fractal(rng, shape, (height / 14, 3), 3, 0.6)
    wander = noise.fractal(rng, shape, (5, 3), 2)
    ys = np.arange(height, dtype=np.float32)[:, None]
    plank_height = height / float(rng.integers(3, 8))
    plank = (ys / plank_height).astype(np.int32)
    hue = rng.normal(0, 0.05, 64).astype(np.float32)[plank % 64]
    phase = rng.uniform(0, 9, 64).astype(np.float32)[plank % 64]
    rings = np.sin(ys * (2 * np.pi / (height / 26)) + 3.4 * wander + 7 * phase + stretched)
    fibre = noise.smooth(rng, shape, (height / 1.5, 12))
    field = 0.5 + hue + 0.05 * rings + 0.05 * stretched + 0.03 * fibre
    offset = np.abs((ys % plank_height) - plank_height / 2)
    gap = np.clip((offset - plank_height / 2 + 2.2) / 2.2, 0, 1)
    return toned(field - 0.34 * gap, enamel_ramp(tone))


def _marble(rng: Rng, shape: Shape) -> Image.Image:
    field = noise.fractal(rng, shape, (3, 3), 6, 0.55)
    cloud = noise.fractal(rng, shape, (4, 4), 3)
    vein = np.clip(1 - np.abs(field) * 7, 0, 1) ** 2
    fine = np.clip(1 - np.abs(field + 0.5 * cloud) * 16, 0, 1) ** 2
    if rng.random() < 0.65:
        tone = 0.82 + 0.05 * cloud - 0.32 * vein - 0.2 * fine
        return toned(tone, ramp([(0, (60, 62, 68)), (0.5, (168, 166, 164)), (1, (246, 244, 240))]))
    tone = 0.2 + 0.05 * cloud + 0.5 * vein + 0.35 * fine
    return toned(tone, ramp([(0, (10, 14, 14)), (0.4, (46, 54, 52)), (1, (214, 196, 160))]))


def _cloth(rng: Rng, shape: Shape) -> Image.Image:
    height, width = shape
    colour = pick(
        rng,
        (
            (176, 166, 148), (66, 78, 104), (112, 36, 44),
            (210, 206, 198), (58, 84, 70), (60, 60, 64),
        ),
    )  # fmt: skip
    ys = np.arange(height, dtype=np.float32)[:, None]
    xs = np.arange(width, dtype=np.float32)[None, :]
    pitch = 2 * np.pi / rng.uniform(4.5, 7)
    folds = noise.fractal(rng, shape, (3, 4), 3, 0.4)
    slope = np.gradient(folds, axis=1) * width / 9 + np.gradient(folds, axis=0) * height / 9
    weave = np.sin(xs * pitch) * np.sin(ys * pitch)
    rough = noise.smooth(rng, shape, (height / 2, width / 2))
    field = 0.5 + 0.05 * weave + 0.035 * rough + 0.09 * np.tanh(slope)
    if rng.random() < 0.35:
        band = height / float(rng.integers(6, 14))
        stripes = (np.sin(ys * (2 * np.pi / band)) > 0).astype(np.float32)
        checks = (np.sin(xs * (2 * np.pi / band)) > 0).astype(np.float32)
        field = field + 0.14 * (stripes + (checks if rng.random() < 0.6 else 0) - 0.7)
    return toned(field.astype(np.float32), enamel_ramp(colour))


def _leather(rng: Rng, shape: Shape) -> Image.Image:
    colour = pick(rng, ((70, 44, 32), (30, 30, 34), (110, 62, 38), (48, 62, 56), (90, 30, 32)))
    cells = noise.smooth(rng, shape, (shape[0] / 7, shape[1] / 7))
    bumps = np.abs(cells) ** 0.6
    slope = bumps - np.roll(bumps, (1, 1), (0, 1))
    field = 0.5 + 0.14 * slope + 0.05 * noise.fractal(rng, shape, (4, 4), 2)
    return toned(field.astype(np.float32), enamel_ramp(colour))


def _stone(rng: Rng, shape: Shape) -> Image.Image:
    colour = pick(rng, ((128, 128, 126), (64, 68, 72), (164, 156, 146), (92, 84, 78)))
    cloud = noise.fractal(rng, shape, (5, 5), 5, 0.62)
    grit = rng.standard_normal(shape, dtype=np.float32)
    return toned(0.5 + 0.055 * cloud + 0.03 * grit, enamel_ramp(colour))


def _felt(rng: Rng, shape: Shape) -> Image.Image:
    colour = pick(
        rng, ((34, 78, 58), (46, 50, 88), (120, 118, 122), (140, 40, 46), (206, 190, 164))
    )
    fluff = noise.fractal(rng, shape, (shape[0] / 9, shape[1] / 9), 3, 0.8)
    cloud = noise.smooth(rng, shape, (5, 5))
    return toned(0.5 + 0.028 * fluff + 0.035 * cloud, enamel_ramp(colour))


def _session(rng: Rng, shape: Shape) -> Image.Image:
    shade = int(rng.integers(60, 236))
    colour: Colour = (shade, int(shade * 0.99), int(shade * rng.uniform(0.9, 1.03)))
    cloud = noise.smooth(rng, shape, (3, 3))
    grit = rng.standard_normal(shape, dtype=np.float32)
    return toned(0.5 + 0.02 * cloud + 0.006 * grit, enamel_ramp(colour))


_SURFACES: tuple[Callable[[Rng, Shape], Image.Image], ...] = (
    _wood, _wood, _marble, _cloth, _cloth, _leather, _stone, _felt, _session,
)  # fmt: skip


def surface(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw one of the surfaces, seen straight from above, as an RGB picture of ``size`` (w, h)."""
    return pick(rng, _SURFACES)(rng, (size[1], size[0]))


def room(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw a room or street far out of focus: soft patches and discs of light, RGB ``size``."""
    base = int(rng.integers(40, 170))
    small = (max(16, size[0] // 4), max(16, size[1] // 4))
    wall: Colour = (base, int(base * rng.uniform(0.86, 1.02)), int(base * rng.uniform(0.75, 1.1)))
    picture = Image.new("RGB", small, wall)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(5, 14))):
        x, y = rng.uniform(-0.2, 1.1, 2) * small
        w, h = rng.uniform(0.08, 0.5, 2) * small
        dark = rng.uniform(0.35, 1.35)
        tint = rng.uniform(0.75, 1.15, 3)
        colour = tuple(int(min(255, c * dark * t)) for c, t in zip(wall, tint, strict=True))
        draw.rectangle((x, y, x + w, y + h), fill=colour)
    picture = picture.filter(ImageFilter.GaussianBlur(small[0] / 22))
    lights = Image.new("RGB", small, (0, 0, 0))
    for _ in range(int(rng.integers(0, 16))):
        spot = Image.new("RGB", small, (0, 0, 0))
        r = float(rng.uniform(0.015, 0.06)) * small[0]
        x, y = rng.uniform(0, 1, 2) * small
        power = rng.uniform(0.15, 0.5)
        warm = (
            int(255 * power),
            int(rng.uniform(170, 240) * power),
            int(rng.uniform(90, 220) * power),
        )
        ImageDraw.Draw(spot).ellipse((x - r, y - r, x + r, y + r), fill=warm)
        lights = ImageChops.add(lights, spot)
    lights = lights.filter(ImageFilter.GaussianBlur(0.8))
    return ImageChops.add(picture, lights).resize(size, Image.Resampling.BICUBIC)


def studio(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw the plain sweep of a marketplace photo, white to grey, rarely coloured, RGB ``size``."""
    top = float(rng.uniform(0.84, 1.05)) if rng.random() < 0.8 else float(rng.uniform(0.05, 0.6))
    foot = float(np.clip(top + rng.normal(0, 0.06), 0.03, 1.05))
    ys = np.linspace(top, foot, 64, dtype=np.float32)[:, None]
    xs = np.linspace(-1, 1, 64, dtype=np.float32)[None, :]
    field = ys - 0.06 * rng.random() * xs**2
    if rng.random() < 0.3:
        field = np.ones((64, 64), dtype=np.float32)
    tint = (255, 255, 255) if rng.random() < 0.7 else tuple(rng.integers(200, 256, 3).tolist())
    return toned(field, ramp([(0.0, (0, 0, 0)), (1.0, tint)])).resize(size)


def patches_of_light(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Return a soft mask (mode L, 255 = unshaded) as of leaves or blinds before the window."""
    shape = (40, 40)
    if rng.random() < 0.5:
        field = 0.5 + 1.2 * noise.smooth(rng, shape, (5, 5))
    else:
        angle = rng.uniform(0, math.pi)
        ys, xs = np.mgrid[0:40, 0:40] / 40.0
        wave = np.sin((xs * math.cos(angle) + ys * math.sin(angle)) * rng.uniform(12, 30))
        field = (0.5 + 1.2 * wave).astype(np.float32)
    depth = rng.uniform(0.12, 0.4)
    mask = 255 * (1 - depth * np.clip(1 - field, 0, 1))
    return Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
