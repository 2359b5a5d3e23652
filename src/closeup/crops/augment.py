"""Augmented views of a close-up, for training only: the same ones every time."""

from __future__ import annotations

import math
import zlib

import numpy as np
from PIL import Image, ImageEnhance

from closeup.core.types import Box, Crop, Pixels
from closeup.crops.cut import bounded
from closeup.photos.picture import Picture

VERSION = 1
ANGLE = 8.0
"""Degrees of rotation, at most, either way."""
ZOOM = (0.85, 1.08)
"""Side of the view over that of the close-up."""
SHIFT = 0.06
"""Of the close-up's side, at most, either way."""
LIGHT = 0.2
"""Change of brightness and of contrast, at most, as a share; half as much again of colour."""


def augmented(photo: Picture, crop: Crop, number: int) -> Pixels:
    """View `number` of a close-up with pixels: slightly turned, moved, scaled and otherwise lit.

    Each crop and number gives the same view every time. Mirroring is left out: it would teach that
    a text or a hand's side does not matter.
    """
    rng = np.random.default_rng([zlib.crc32(crop.id.encode()), number])
    window = crop.window
    side = max(window.width, window.height)
    half = max(side * rng.uniform(*ZOOM) / 2, 0.5)
    x = (window.x1 + window.x2) / 2 + side * rng.uniform(-SHIFT, SHIFT)
    y = (window.y1 + window.y2) / 2 + side * rng.uniform(-SHIFT, SHIFT)
    angle = rng.uniform(-ANGLE, ANGLE)
    light, contrast, colour = 1 + LIGHT * rng.uniform(-1, 1, 3) * (1, 1, 1.5)
    # Only what the turned view can reach is looked at: photos may be large.
    reach = half * 1.5
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    right, bottom = max(left + 1, int(x + reach)), max(top + 1, int(y + reach))
    near = np.asarray(photo.crop(Box(left, top, right, bottom)))
    fill = tuple(int(value) for value in np.median(near.reshape(-1, 3), axis=0))
    x, y = x - left, y - top
    shrunk = bounded(window, math.ceil(2 * half)) / math.ceil(2 * half)
    if shrunk < 1:
        size_ = (max(1, round(near.shape[1] * shrunk)), max(1, round(near.shape[0] * shrunk)))
        near = np.asarray(Image.fromarray(near).resize(size_, Image.Resampling.BOX))
        x, y, half = x * shrunk, y * shrunk, half * shrunk
    way = Image.Resampling.BILINEAR
    view = Image.fromarray(near).rotate(angle, way, center=(x, y), fillcolor=fill)
    size = max(1, round(2 * half))
    canvas = Image.new("RGB", (size, size), fill)
    canvas.paste(view, (-round(x - half), -round(y - half)))
    canvas = ImageEnhance.Brightness(canvas).enhance(float(light))
    canvas = ImageEnhance.Contrast(canvas).enhance(float(contrast))
    canvas = ImageEnhance.Color(canvas).enhance(float(colour))
    return np.asarray(canvas)
