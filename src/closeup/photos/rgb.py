"""A decoded picture of any kind as 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """Transparency is put on white; greys of 16 and 32 bits become 8, see :func:`_grey`."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_grey(np.asarray(image)))
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Deep greys ``(h, w)`` as 8 bits.

    16-bit integers keep their upper byte. 32-bit integers are read as 8 or 16 bits where all
    values fit, as such files mostly come from there, else scaled to their maximum. Floats up to 1
    are scaled by 255, beyond 255 to their maximum. Negative and non-finite values become 0.
    """
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    finite = np.maximum(np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0), 0.0)
    top = finite.max()
    if values.dtype.kind == "f":
        scale = 255.0 if top <= 1 else min(1.0, 255.0 / top)
    else:
        scale = 1.0 if top <= 255 else 1 / 256 if top <= 65535 else 255.0 / top
    return (finite * scale).astype(np.uint8)
