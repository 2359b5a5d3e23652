"""Small JPEG pictures for pages."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def open_jpeg(file: Path, size: int) -> Image.Image:
    """A JPEG file, decoded at about `size` pixels or more; OSError if it is not a readable one."""
    with Image.open(file, formats=("JPEG",)) as picture:
        picture.draft("RGB", (size, size))  # decodes large files at a fraction of the work
        return picture.convert("RGB")


def encode_thumbnail(picture: Image.Image, size: int) -> bytes:
    """`picture` as a JPEG file, its longer side at most `size` pixels."""
    picture.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()
