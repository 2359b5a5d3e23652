"""From the picture that a box was drawn on to the upright photo, if that can be told.

A box is put into fractions of its picture, turned if that was the photo as it is stored, without
its EXIF orientation, and laid over the upright photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum

from PIL import Image

from closeup.core.config import BoxesFrame
from closeup.core.types import Box, Photo
from closeup.detect.given.box import Given
from closeup.photos.picture import STEPS

_ALMOST_ONE = 1.0 + 1e-3
_SAME_ASPECT = 0.01


class Fit(Enum):
    """How a box was laid over the photo."""

    AS_IT_IS = ""
    SCALED = "were drawn on a picture of another size and are scaled"
    TURNED = "were drawn on the photo as it is stored, and are turned as EXIF says"
    UNKNOWN = "may have been drawn on the photo as it is stored"
    ANOTHER = "were drawn on a picture of other proportions and are not used"


def in_shares(rows: Iterable[Given]) -> bool:
    """Whether what should be pixels is fractions of the picture: no box is as large as a pixel."""
    boxes = [row.box for row in rows if not row.relative]
    return bool(boxes) and all(min(box) >= -0.5 and max(box) <= _ALMOST_ONE for box in boxes)


def laid_over(
    given: Given, photo: Photo, turn: Callable[[], Image.Transpose | None], frame: BoxesFrame
) -> tuple[Box, Fit]:
    """The box in pixels of the upright photo, clipped to it, and how that was done.

    - `turn`: what makes the stored photo upright; asked for only where it matters
    - `frame`: what the user says the boxes were drawn on
    """
    size = (photo.width, photo.height)
    known = frame == "upright" or (frame == "auto" and given.size == size)
    stored = None if known else turn()
    across = stored is not None and STEPS[stored][0]
    lying = size[::-1] if across else size
    drawn_on = given.size
    if frame == "stored" or drawn_on == (0, 0):
        turned = frame == "stored" and stored is not None
        drawn_on = drawn_on if drawn_on != (0, 0) else lying if turned else size
    else:
        turned = across and (
            drawn_on == lying != size or (not _alike(drawn_on, size) and _alike(drawn_on, lying))
        )
    if not _alike(drawn_on, lying if turned else size):
        return given.box, Fit.ANOTHER
    x1, y1, x2, y2 = given.box
    if not given.relative:
        x1, x2, y1, y2 = x1 / drawn_on[0], x2 / drawn_on[0], y1 / drawn_on[1], y2 / drawn_on[1]
    if turned and stored is not None:
        x1, y1, x2, y2 = _turned(Box(x1, y1, x2, y2), stored)
    elif not given.relative and drawn_on == size:
        return given.box.clip(*size), _sure(given, stored, frame)
    box = Box(x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1]).clip(*size)
    if turned:
        return box, Fit.TURNED
    scaled = not given.relative and drawn_on != size
    return box, Fit.SCALED if scaled else _sure(given, stored, frame)


def _sure(given: Given, stored: Image.Transpose | None, frame: BoxesFrame) -> Fit:
    """Whether the frame is known: EXIF says nothing, the user does, or the file does."""
    asked = frame == "auto" and stored is not None and given.size == (0, 0)
    return Fit.UNKNOWN if asked else Fit.AS_IT_IS


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two pictures have one shape, but for what rounding to whole pixels changes."""
    if one == other:
        return True
    rounding = 1 / min(*one, *other) if min(*one, *other) else 1
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= max(_SAME_ASPECT, rounding)


def _turned(box: Box, turn: Image.Transpose) -> Box:
    """In fractions: from the stored photo to the upright one."""
    swap, from_right, from_bottom = STEPS[turn]  # the other way, so in reverse
    x1, y1, x2, y2 = box
    if from_right:
        x1, x2 = 1 - x2, 1 - x1
    if from_bottom:
        y1, y2 = 1 - y2, 1 - y1
    return Box(y1, x1, y2, x2) if swap else Box(x1, y1, x2, y2)


def as_shares(given: Given) -> Given:
    """The same box, said to be in fractions."""
    return replace(given, relative=True)
