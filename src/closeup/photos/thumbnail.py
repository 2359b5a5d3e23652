"""Small pictures that travel inside the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from closeup.core.types import Box, Pixels
from closeup.photos.picture import Picture


def thumbnail(
    photo: Pixels | Picture | Image.Image, box: Box | None = None, size: int = 320
) -> str:
    """A small picture as a ``data:image/webp`` URI.

    - `photo`: ``(height, width, 3)`` uint8 RGB, or as an image, which is not changed
    - `box`: drawn onto the picture, in pixels of `photo`; None or an empty box draws nothing
    - `size`: the longer side in pixels, at most; a smaller picture keeps its size
    """
    if isinstance(photo, np.ndarray):
        photo = Image.fromarray(photo)
    width, height = photo.size
    picture = (photo.small[0] if isinstance(photo, Picture) else photo).copy()
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    if box is not None and box.area > 0:
        _draw(picture, box, picture.width / width, picture.height / height)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _draw(picture: Image.Image, box: Box, scale_x: float, scale_y: float) -> None:
    """A light line with a dark one around it: it shows on any ground."""
    inside = Box(box.x1 * scale_x, box.y1 * scale_y, box.x2 * scale_x, box.y2 * scale_y)
    x1, y1, x2, y2 = (round(v) for v in inside.clip(picture.width - 1, picture.height - 1))
    pen = ImageDraw.Draw(picture)
    for inset, colour in ((0, "#14202b"), (1, "#ffc933"), (2, "#ffc933")):
        if x2 - x1 > 2 * inset and y2 - y1 > 2 * inset:
            pen.rectangle((x1 + inset, y1 + inset, x2 - inset, y2 - inset), outline=colour)
