"""Arrays of pixels, in the forms that people hold photos in, as upright RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.errors import PhotoError
from closeup.core.types import Pixels
from closeup.photos.rgb import to_rgb

_CHANNELS = (1, 3, 4)
_ROUNDING = 1e-3  # resizing leaves values that little beyond 0 and 1


def from_array(array: NDArray[Any], max_pixels: int) -> Pixels:
    """The ``(height, width, 3)`` uint8 RGB pixels of an array, possibly sharing its memory.

    - `array`: ``(h, w)``, ``(h, w, c)`` or ``(c, h, w)`` with 1 (grey), 3 (RGB) or 4 (RGBA)
      channels; uint8, or floats between 0 and 1

    Raises
    ------
    PhotoError
        ``empty``, ``too_large``, or ``unsupported`` where the form or the range of the values is
        another one or could be two.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim != 3:
        extra = "; this looks like a batch: give its photos one by one" if array.ndim == 4 else ""
        raise _refused(array, f"must be (h, w), (h, w, 3) or (3, h, w){extra}")
    else:
        first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
        if first and last:
            raise _refused(array, "may be (h, w, channels) as well as (channels, h, w); give the "
                           "photo as a PIL image")  # fmt: skip
        if not (first or last):
            raise _refused(array, "must have 1, 3 or 4 channels, as (h, w, 3) or (3, h, w)")
        if first:
            array = np.moveaxis(array, 0, 2)
    check_size(array.shape[1], array.shape[0], max_pixels)
    array = np.ascontiguousarray(_as_bytes(array))
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return array if array.shape[2] == 3 else np.asarray(to_rgb(Image.fromarray(array)))


def check_size(width: int, height: int, max_pixels: int) -> None:
    """PhotoError for a picture without pixels, or with more than `max_pixels`."""
    if width < 1 or height < 1:
        raise PhotoError("empty", f"the picture has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise PhotoError(
            "too_large",
            f"the picture is {width} x {height} = {width * height:,} pixels, more than the "
            f"{max_pixels:,} allowed; shrink it, or raise max_pixels (serve: --max-megapixels)",
        )


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise _refused(array, "must be uint8, or floats between 0 and 1; values from 0 to 255 "
                       "become uint8 by .astype('uint8')")  # fmt: skip
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise _refused(array, "holds values that are not finite")
    if low < -_ROUNDING:
        raise _refused(array, f"holds floats from {low:.3g} to {high:.3g}, expected 0 to 1; undo "
                       "the normalisation (times std, plus mean) first")  # fmt: skip
    if high > 1 + _ROUNDING:
        raise _refused(array, f"holds floats up to {high:.3g}, expected 0 to 1; divide by the "
                       "maximum that they could have, such as 255")  # fmt: skip
    scaled: NDArray[np.float64] = np.clip(array, 0, 1).astype(np.float64) * 255
    return np.rint(scaled).astype(np.uint8)


def _refused(array: NDArray[Any], why: str) -> PhotoError:
    return PhotoError("unsupported", f"an array of {array.dtype} {array.shape} {why}")
