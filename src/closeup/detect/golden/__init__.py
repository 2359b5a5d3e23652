"""Photos that ship with the package, with what a detector must find in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from closeup.core.types import Box
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Golden:
    """A photo's name, and the category and box, in its pixels, of the object in it."""

    name: str
    category: str
    box: Box

    def picture(self) -> Picture:
        """The photo, decoded."""
        return read_picture(_FOLDER / self.name)


GOLDEN = (
    Golden("chelsea.webp", "cat", Box(0, 0, 430, 300)),
    Golden("coffee.webp", "cup", Box(170, 16, 415, 290)),
    Golden("astronaut.webp", "person", Box(12, 14, 366, 509)),
)
"""Objects that COCO, Objects365 and Pascal VOC name alike; see LICENCE.md for the photos' terms."""
