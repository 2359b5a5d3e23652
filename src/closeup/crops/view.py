"""What a network is shown of a photo: the close-up or the whole photo, plain or changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from closeup.core.types import Box, Crop, Photo, Pixels
from closeup.crops import augment
from closeup.crops.cut import bounded, content_key, cut_covered, cut_out
from closeup.networks.preprocess import InputSpec
from closeup.photos.picture import Picture

VIEWS = {"closeup": ("closeup",), "photo": ("photo",), "both": ("closeup", "photo")}
"""The single views that make up each choice of ``--view``, in the order of their features."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to show a photo to a backbone; training, prediction and the report share it.

    ``str(view)`` names it in file names and keys.

    Attributes
    ----------
    name
        ``closeup``, or ``photo`` for the whole photo on a grey square.
    number
        Of an augmented view of the close-up; 0 for the plain one.
    covered
        Whether the object is painted over in the mean colour around it.
    pad
        The padding of crops whose windows have another than the project's; None for the project's.
    """

    name: str = "closeup"
    number: int = 0
    covered: bool = False
    pad: float | None = None

    def __str__(self) -> str:
        if self.pad is not None:
            return f"{self.name}-pad{self.pad:g}"
        if self.covered:
            return f"{self.name}-covered"
        return f"{self.name}-augmented{augment.VERSION}-{self.number}" if self.number else self.name

    def crop_of(self, photo: Photo, crop: Crop) -> Crop:
        """`crop` with the window that this view shows: all of its photo for ``photo``."""
        if self.name != "photo":
            return crop
        whole = Box(0, 0, photo.width, photo.height)
        return replace(crop, window=whole, side=bounded(whole, max(photo.width, photo.height)))

    def key(self, photo: Photo, crop: Crop) -> str:
        """Names the pixels that are shown: the photo's bytes, the window, the side."""
        return content_key(photo, self.crop_of(photo, crop))

    def show(self, picture: Picture, crop: Crop, spec: InputSpec) -> Pixels | Image.Image:
        """The square RGB picture that a network with the input `spec` is given.

        `picture` is the whole upright photo, `crop` a close-up of it with pixels (``side > 0``).
        """
        if self.number:
            return augment.augmented(picture, crop, self.number)
        if self.name == "photo":
            return _whole(picture, spec, crop.box if self.covered else None)
        if self.covered:
            return cut_covered(picture, crop.box, crop.window, crop.side)
        return cut_out(picture, crop.window, crop.side)


def views_of(choice: str) -> tuple[View, ...]:
    """The single views that make up a choice of ``--view``.

    >>> [str(view) for view in views_of("both")]
    ['closeup', 'photo']
    """
    return tuple(View(name) for name in VIEWS[choice])


def _whole(picture: Picture, spec: InputSpec, covered: Box | None) -> Image.Image:
    """The whole photo on a grey square; from its smaller copy where that has enough pixels."""
    small, factor = picture.small
    if factor > 1 and max(small.size) >= max(spec.width, spec.height):
        picture = Picture(small)
    else:
        factor = 1
    whole = Box(0, 0, *picture.size)
    side = bounded(whole, max(picture.size))
    if covered is None:
        return cut_out(picture, whole, side)
    return cut_covered(picture, Box(*(value / factor for value in covered)), whole, side)
