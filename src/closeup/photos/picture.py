"""A decoded photo that is turned upright, and made smaller, only as far as it is used."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from closeup.core.types import Box, Pixels

SMALL = 640
"""A photo is averaged down as long as its shorter side keeps this many pixels, which is what most
detectors take. Larger networks use the photo itself."""

_Turn = Image.Transpose
STEPS = {
    _Turn.FLIP_LEFT_RIGHT: (False, True, False),
    _Turn.ROTATE_180: (False, True, True),
    _Turn.FLIP_TOP_BOTTOM: (False, False, True),
    _Turn.TRANSPOSE: (True, False, False),
    _Turn.ROTATE_270: (True, False, True),
    _Turn.TRANSVERSE: (True, True, True),
    _Turn.ROTATE_90: (True, True, False),
}
"""How to get from a pixel of the upright photo to the stored one: whether to swap x and y, then
whether to count x from the right and y from the bottom."""


class Picture:
    """An upright RGB photo, from the one `stored` in a file and the `turn` that makes it upright.

    Turning twelve megapixels takes as long as decoding them, and a close-up is a small part of
    them. Every result is, to the pixel, the same as if the whole photo had been turned first.
    `stored` must not be changed later.
    """

    def __init__(self, stored: Image.Image, turn: Image.Transpose | None = None) -> None:
        self._stored, self._turn = stored, turn

    @classmethod
    def of(cls, pixels: Pixels) -> Picture:
        """From ``(height, width, 3)`` uint8, upright."""
        return cls(Image.fromarray(pixels))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo, in pixels."""
        width, height = self._stored.size
        across = self._turn is not None and STEPS[self._turn][0]
        return (height, width) if across else (width, height)

    @property
    def upright(self) -> Image.Image:
        """All of it. Computed each time for a large photo that is turned, to save memory."""
        return self.small[0] if self._factor == 1 else self._turned()

    @cached_property
    def small(self) -> tuple[Image.Image, int]:
        """The photo averaged down by a power of two, and that number; see :data:`SMALL`.

        A last row or column stands for the remainder.
        """
        factor = self._factor
        if factor == 1:
            return self._turned(), 1
        if self._turn is None or any(side % factor for side in self.size):
            return self._turned().reduce(factor), factor
        return self._stored.reduce(factor).transpose(self._turn), factor

    @property
    def _factor(self) -> int:
        factor = 1
        while min(self.size) >= 2 * factor * SMALL:
            factor *= 2
        return factor

    def _turned(self) -> Image.Image:
        return self._stored if self._turn is None else self._stored.transpose(self._turn)

    def crop(self, window: Box) -> Image.Image:
        """The pixels of `window`, whose corners are integers; what lies outside is left out."""
        x1, y1, x2, y2 = (int(value) for value in window.clip(*self.size))
        x2, y2 = max(x1, x2), max(y1, y2)
        if self._turn is None:
            return self._stored.crop((x1, y1, x2, y2))
        width, height = self._stored.size
        across, from_right, from_bottom = STEPS[self._turn]
        if across:
            x1, y1, x2, y2 = y1, x1, y2, x2
        if from_right:
            x1, x2 = width - x2, width - x1
        if from_bottom:
            y1, y2 = height - y2, height - y1
        return self._stored.crop((x1, y1, x2, y2)).transpose(self._turn)

    def pixels(self) -> Pixels:
        """All of it as ``(height, width, 3)`` uint8, possibly read-only.

        Takes about as long as decoding; use a crop where that is enough.
        """
        return np.asarray(self.upright)
