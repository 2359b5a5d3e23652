"""The types of Closeup: one frozen dataclass per kind of row.

Coordinates are float ``(x1, y1, x2, y2)`` in pixels of the **EXIF-upright** photo, everywhere:
x to the right, y down, the origin at the outer corner of the top-left pixel, so a box over the
whole photo is ``(0, 0, width, height)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A decoded photo: ``(height, width, 3)`` uint8, RGB, EXIF-upright."""

Floats = NDArray[np.float32]

ANY = "any"
"""As the parent: the best box of whatever category."""


class Box(NamedTuple):
    """An axis-aligned rectangle in pixels of the upright photo.

    >>> Box(0, 0, 4, 2).area
    8
    >>> round(Box(0, 0, 2, 2).iou(Box(1, 0, 3, 2)), 4)
    0.3333
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        """Width in pixels; negative if the corners are swapped."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Height in pixels; negative if the corners are swapped."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Area in square pixels, 0 for an empty or inverted box."""
        return max(0, self.width) * max(0, self.height)

    def clip(self, width: float, height: float) -> Box:
        """The part of the box inside a ``width`` x ``height`` photo (possibly of area 0)."""
        return Box(
            min(max(self.x1, 0), width),
            min(max(self.y1, 0), height),
            min(max(self.x2, 0), width),
            min(max(self.y2, 0), height),
        )

    def iou(self, other: Box) -> float:
        """Intersection over union with `other`, 0 to 1; 0 where both are empty."""
        overlap = Box(
            max(self.x1, other.x1),
            max(self.y1, other.y1),
            min(self.x2, other.x2),
            min(self.y2, other.y2),
        ).area
        union = self.area + other.area - overlap
        return overlap / union if union > 0 else 0.0


def values_of(row: Any) -> tuple[Any, ...]:
    """The values of a dataclass's fields, in order; nested dataclasses are left as they are.

    ``dataclasses.astuple`` copies everything recursively, which takes many times as long.
    """
    return tuple(getattr(row, name) for name in row.__dataclass_fields__)


class PhotoState(StrEnum):
    """What became of a file when it was read."""

    READABLE = "readable"
    UNREADABLE = "unreadable"


class CropState(StrEnum):
    """What became of a photo in the search for its object."""

    CROPPED = "cropped"
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Photo:
    """One file of the collection, readable or not.

    Attributes
    ----------
    id
        Unique, stable, safe as a file name: ``STEM-HASH``, the hash over `split` and `path`, so
        two photos of the same name in two folders never collide.
    root, path
        `path` is relative to the folder `root` (POSIX slashes); an absolute `path` stands alone.
    label
        The class, or ``""`` where none is known (photos to predict on).
    group
        Photos of one non-empty group stay on one side of every split.
    split
        ``""``, ``"test"`` for photos of the user's own test folder, or ``"train"`` for photos that
        were suggested for labelling: being no random sample, they are never tested.
    state, code, reason
        `code` and `reason` say why a file is ``unreadable``; empty otherwise.
    width, height
        Size in pixels of the upright photo; 0 where it could not be read.
    bytes, mtime_ns, sha256
        The file's size, modification time and content hash (``""`` where it could not be read).
    attributes
        Further things to tell apart, as :mod:`closeup.photos.attributes` keeps them.
    """

    id: str
    root: str
    path: str
    label: str
    group: str
    split: str
    state: PhotoState
    code: str
    reason: str
    width: int
    height: int
    bytes: int
    mtime_ns: int
    sha256: str
    attributes: str = ""

    @property
    def file(self) -> Path:
        """Path of the photo on disk."""
        return Path(self.root) / self.path


@dataclass(frozen=True, slots=True)
class Rights:
    """Whose a photo is and on which terms it may be used, as a list or a source says it.

    Texts are as they were given, ``""`` where nothing was; :mod:`closeup.photos.licences` reads the
    licence. `url` is the address that the photo was collected from, `landing_page` the page that
    shows it, `attribution` a ready credit line. A photo without any of these has no row.
    """

    photo_id: str
    licence: str
    licence_url: str
    creator: str
    landing_page: str
    title: str
    attribution: str
    source: str
    url: str

    @property
    def told(self) -> bool:
        """Whether it says on which terms the photo may be used, or that it is somebody else's."""
        return bool(self.licence or self.licence_url or self.landing_page or self.url)


@dataclass(frozen=True, slots=True)
class Detection:
    """One box in a photo, from a detector or the user's own boxes file.

    `rank` counts from 0 in order of decreasing `score` within the photo; `score` is 0 to 1.
    """

    photo_id: str
    rank: int
    category: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Crop:
    """One close-up, or the row that says why a photo has none.

    Attributes
    ----------
    id
        Unique: the photo's id, with ``-2``, ``-3`` … for further objects of one photo.
    state, reason
        A photo without a found object has exactly one row, ``not_found`` or ``unreadable``.
    stand_in
        Whether the whole photo stands in for an object that was not found.
    box
        The object, in pixels of the upright photo; the whole photo for a stand-in; zeros where
        there are no pixels.
    window
        The pixels cut out: integer corners inside the photo, ``box`` padded and squared.
    side
        Side of the square close-up in pixels; larger than the window where it is letterboxed,
        smaller where an enormous or very narrow window is shrunk.
    category, score
        The detector's category and score; ``""`` and 0 where nothing was found.
    file
        The saved close-up, relative to the project folder; ``""`` where there is none.
    """

    id: str
    photo_id: str
    label: str
    state: CropState
    reason: str
    stand_in: bool
    box: Box
    window: Box
    side: int
    category: str
    score: float
    file: str


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the dataset: a crop with its label, group and side of the split.

    `split` is ``"train"``, ``"test"`` or ``""`` for a row that is left out, with its `reason`.
    `group` is never empty, and no group is ever divided between splits or folds. `fold` is that of
    a training row in cross-validation, -1 where it has none.
    """

    crop_id: str
    photo_id: str
    label: str
    group: str
    split: str
    found: bool
    reason: str
    fold: int = -1


@dataclass(frozen=True, slots=True)
class Result:
    """The answer for one example of the test part, given once, after training."""

    crop_id: str
    photo_id: str
    truth: str
    answer: str
    confidence: float
    found: bool


UNKNOWN = "unknown"
"""The label of an answer that a model withholds."""

NONE = "none"
"""The label of objects that are none of the classes: a model learns it, and answers "unknown"."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training close-up similar to an answer's: its id, label, and cosine (-1 to 1)."""

    crop: str
    label: str
    similarity: float


class Attribute(NamedTuple):
    """What a model says of one attribute of an object: its most probable value."""

    name: str
    value: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one object in a photo.

    Attributes
    ----------
    label, confidence
        The most probable label and its probability; ``"unknown"`` where the answer is withheld.
    top
        The most probable labels with their probabilities, best first, withheld or not.
    reason
        Why the answer is withheld, ``""`` where it is given.
    likely
        Labels that include the true one with the probability the model was made for (0.9); empty
        where the model was made from too few photos to know.
    alike
        The most similar training close-ups, the nearest first; empty unless requested.
    attributes
        One for each attribute that the model knows, by name; given also where the label is
        withheld.
    """

    box: Box
    parent: str
    parent_score: float
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    reason: str = ""
    likely: tuple[str, ...] = ()
    alike: tuple[Neighbour, ...] = ()
    attributes: tuple[Attribute, ...] = ()
