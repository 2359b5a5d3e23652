"""A small drawing board: antialiased shapes, tone ramps, relief and shadows on an RGBA raster.

Coordinates are in units of the watch's case radius, x to the right, y down, (0, 0) in the middle of
the board. Angles of the clock run clockwise from twelve.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .noise import Field

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
Points = NDArray[np.floating[Any]]
"""Nx2 points x, y."""

OVERSAMPLE = 2


def disc(radius: float, x: float = 0.0, y: float = 0.0, corners: int = 0) -> Points:
    """Return a circle as a polygon, Nx2."""
    count = corners or max(24, int(96 * math.sqrt(min(radius, 1.0))))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def superellipse(half: tuple[float, float], power: float, corners: int = 128) -> Points:
    """Return |x/a|^p + |y/b|^p = 1 as a polygon, Nx2: 2 is an ellipse, 6 nearly a rectangle."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    cos, sin = np.cos(angles), np.sin(angles)
    radius = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1.0 / power)
    return np.stack([half[0] * radius * cos, half[1] * radius * sin], axis=1)


def spoke(points: Sequence[tuple[float, float]] | Points, angle: float) -> Points:
    """Turn points (outwards, across) to the clock angle ``angle`` (radians from twelve), Nx2."""
    local = np.asarray(points, dtype=np.float64)
    turn = angle - math.pi / 2
    cos, sin = math.cos(turn), math.sin(turn)
    return np.stack(
        [local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos], axis=1
    )


def bar(start: float, end: float, width: float, end_width: float | None = None) -> Points:
    """Return a bar from ``start`` to ``end`` outwards, of these full widths across, 4x2."""
    a, b = width / 2, (width if end_width is None else end_width) / 2
    return np.array([(start, -a), (end, -b), (end, b), (start, a)], dtype=np.float64)


def ramp(stops: Sequence[tuple[float, tuple[float, ...]]]) -> NDArray[np.uint8]:
    """Return a tone ramp, 256x3 uint8, through ``stops`` (tone 0 to 1, colour 0 to 255)."""
    tones = np.linspace(0, 1, 256)
    places = [stop[0] for stop in stops]
    channels = [np.interp(tones, places, [stop[1][c] for stop in stops]) for c in range(3)]
    return np.clip(np.stack(channels, axis=1), 0, 255).astype(np.uint8)


def metal_ramp(tint: Colour) -> NDArray[np.uint8]:
    """Return the ramp of a polished metal, 256x3: nearly black, the tint, a white highlight."""

    def shade(gain: float, white: float = 0.0) -> tuple[float, ...]:
        return tuple((1 - white) * gain * c + white * 255 for c in tint)

    return ramp(
        [
            (0.0, shade(0.08)),
            (0.22, shade(0.36)),
            (0.5, shade(0.76)),
            (0.72, shade(0.98, 0.04)),
            (0.88, shade(1.0, 0.4)),
            (1.0, shade(1.0, 0.94)),
        ]
    )


def enamel_ramp(colour: Colour) -> NDArray[np.uint8]:
    """Return the ramp of a painted surface, 256x3: the colour is at tone 0.5."""
    dark = tuple(0.18 * c for c in colour)
    light = tuple(c + 0.55 * (255 - c) for c in colour)
    return ramp([(0.0, dark), (0.5, colour), (1.0, light)])


def toned(field: Field, tones: NDArray[np.uint8]) -> Image.Image:
    """Colour a field of tones (0 to 1, HxW) with a ramp (256x3): an RGB picture."""
    grey = Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    return Image.merge("RGB", [grey.point(tones[:, c].tolist()) for c in range(3)])


def scaled(mask: Image.Image, strength: float) -> Image.Image:
    """Multiply a mask (mode L) by ``strength``, saturating at 255."""
    return mask.point(_gains(round(strength, 2)))


@functools.lru_cache(maxsize=128)
def _gains(strength: float) -> list[int]:
    return [min(255, round(strength * value)) for value in range(256)]


@functools.lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font at ``size`` pixels."""
    return ImageFont.load_default(size)


class Board:
    """An RGBA raster of ``2 * half`` units at ``scale`` pixels per unit, lit from one side.

    ``light`` is the clock-free angle (radians, from +x towards +y) *towards* the light.
    """

    def __init__(
        self,
        half: tuple[float, float],
        scale: float,
        light: float,
        ground: Colour = (120, 120, 120),
    ) -> None:
        self.half = half
        self.scale = scale
        self.light = light
        self.size = (max(8, round(2 * half[0] * scale)), max(8, round(2 * half[1] * scale)))
        self.rgb = Image.new("RGB", self.size, ground)
        self.alpha = Image.new("L", self.size, 0)

    @functools.cached_property
    def grid(self) -> tuple[Field, Field]:
        """x and y (units) of every pixel's centre, two HxW arrays."""
        width, height = self.size
        xs = (np.arange(width, dtype=np.float32) + 0.5) / self.scale - self.half[0]
        ys = (np.arange(height, dtype=np.float32) + 0.5) / self.scale - self.half[1]
        x, y = np.meshgrid(xs.astype(np.float32), ys.astype(np.float32))
        return x, y

    @functools.cached_property
    def polar(self) -> tuple[Field, Field]:
        """Radius (units) and angle (radians from +x towards +y) of every pixel, two HxW arrays."""
        x, y = self.grid
        return np.hypot(x, y), np.arctan2(y, x)

    def to_pixels(self, points: Points) -> list[float]:
        """Convert Nx2 units to pixels of the oversampled raster, as one list x, y, x, y …"""
        pixels = (points + np.asarray(self.half)) * (self.scale * OVERSAMPLE) - 0.5
        result: list[float] = pixels.ravel().tolist()
        return result

    def stencil(self, shapes: Sequence[Points], holes: Sequence[Points] = ()) -> Image.Image:
        """Return an antialiased mask (mode L) of the union of polygons, less ``holes``."""
        big = Image.new("L", (self.size[0] * OVERSAMPLE, self.size[1] * OVERSAMPLE), 0)
        draw = ImageDraw.Draw(big)
        for shape in shapes:
            draw.polygon(self.to_pixels(shape), fill=255)
        for hole in holes:
            draw.polygon(self.to_pixels(hole), fill=0)
        return big.reduce(OVERSAMPLE)

    def lettering(
        self, texts: Sequence[tuple[str, Points]], height: float, *, bold: bool = False
    ) -> Image.Image:
        """Return a mask (mode L) of upright texts, each centred on a point, ``height`` units."""
        big = Image.new("L", (self.size[0] * OVERSAMPLE, self.size[1] * OVERSAMPLE), 0)
        draw = ImageDraw.Draw(big)
        face = font(max(6, round(height * self.scale * OVERSAMPLE)))
        for text, point in texts:
            x, y = self.to_pixels(point)
            draw.text((x, y), text, 255, face, "mm", stroke_width=int(bold))
        return big.reduce(OVERSAMPLE)

    def paint(
        self, mask: Image.Image, colour: Colour | Image.Image, *, solid: bool = False
    ) -> None:
        """Lay a colour or an RGB picture of the board's size on the masked pixels.

        ``solid`` also makes them opaque; without it only what is already there is painted over.
        """
        box = mask.getbbox()
        if box is None:
            return
        part = mask.crop(box)
        if isinstance(colour, Image.Image):
            self.rgb.paste(colour.crop(box), box, part)
        else:
            self.rgb.paste(colour, box, part)
        if solid:
            self.alpha.paste(ImageChops.lighter(self.alpha.crop(box), part), box)

    def moved(self, mask: Image.Image, distance: float) -> Image.Image:
        """Shift a mask by ``distance`` units away from the light, at least by one pixel."""
        pixels = distance * self.scale
        dx, dy = -pixels * math.cos(self.light), -pixels * math.sin(self.light)
        longest = max(abs(dx), abs(dy))
        if longest < 1:
            dx, dy = dx / (longest or 1), dy / (longest or 1)
        return ImageChops.offset(mask, round(dx), round(dy))

    def _around(self, mask: Image.Image, margin: float) -> tuple[int, int, int, int] | None:
        """Return the pixels that a mask and ``margin`` units around it cover."""
        box = mask.getbbox()
        if box is None:
            return None
        m = math.ceil(margin * self.scale) + 2
        width, height = self.size
        return (
            max(0, box[0] - m),
            max(0, box[1] - m),
            min(width, box[2] + m),
            min(height, box[3] + m),
        )

    def shadow(self, mask: Image.Image, height: float, strength: float = 0.5) -> None:
        """Darken what lies under a part that stands ``height`` units above it."""
        box = self._around(mask, 1.5 * height)
        if box is None:
            return
        soft = self.moved(mask.crop(box), height)
        soft = soft.filter(ImageFilter.BoxBlur(max(0.6, 0.45 * height * self.scale)))
        self.rgb.paste((6, 6, 10), box, scaled(soft, strength))

    def edges(self, mask: Image.Image, width: float, light: float = 0.6, dark: float = 0.5) -> None:
        """Bevel a part's rim: bright towards the light, dark away from it (``width`` in units)."""
        box = self._around(mask, abs(width))
        if box is None:
            return
        part = mask.crop(box)
        bright = ImageChops.subtract(part, self.moved(part, width))
        dim = ImageChops.subtract(part, self.moved(part, -width))
        self.rgb.paste((10, 10, 14), box, scaled(dim, dark))
        self.rgb.paste((255, 255, 252), box, scaled(bright, light))

    def relief(
        self, mask: Image.Image, colour: Colour | Image.Image, height: float, width: float = 0.012
    ) -> None:
        """Lay a raised part: its shadow, its colour, its bevelled rim."""
        self.shadow(mask, height, 0.55)
        self.paint(mask, colour)
        self.edges(mask, width)

    def finished(self) -> Image.Image:
        """Return the board as an RGBA picture."""
        result = self.rgb.copy()
        result.putalpha(self.alpha)
        return result
