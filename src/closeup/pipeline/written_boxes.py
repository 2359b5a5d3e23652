"""Boxes that a detector in PyTorch draws once: a COCO file in the project, used like one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, FiniteFloat

from closeup.core.config import DetectConfig
from closeup.core.errors import PhotosError, UsageError
from closeup.core.progress import Progress, silent, track
from closeup.core.serialization import from_json, to_json
from closeup.core.types import Box, Photo, PhotoState
from closeup.detect.candidates import nms
from closeup.networks import Network, find
from closeup.networks.words import OPEN_VOCABULARY, tidy_words
from closeup.photos.listing import Entry, known_photos
from closeup.photos.listing import look as look_at_file
from closeup.photos.reading import read_picture_again

if TYPE_CHECKING:
    from pathlib import Path

    from closeup.networks.convert.open_vocabulary import Grounded
    from closeup.photos.picture import Picture
    from closeup.pipeline.stages import Job

BOXES_FILE = "boxes.json"
EVERY = 30.0
"""Seconds after which what has been found is written; a kill loses no more."""
MOST_BOXES = 30
_NMS_IOU = 0.7


def find_detector(detect: DetectConfig, progress: Progress = silent) -> Network:
    """The detector of a configuration; of an open vocabulary, one that looks for the parent."""
    return find(detect.detector, "detector", words=detect.parent, progress=progress)


def require_writer(name: str) -> None:
    """Raise UsageError where `name` is none of the detectors that write boxes."""
    writers = [name for name, recipe in OPEN_VOCABULARY.items() if not recipe.exports]
    if name not in writers:
        raise UsageError(
            f"--boxes-by takes {' or '.join(writers)}, not {name!r}; other detectors run by "
            f"themselves: --detector {name}"
        )


@dataclass(frozen=True, slots=True)
class _Info:
    """Who drew the boxes, and of what."""

    network: str
    weights: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Image:
    """A photo that was looked at; `sha256` is of its bytes."""

    id: int
    file_name: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Annotation:
    """A box: x, y, width and height in pixels of the upright photo."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    score: float = Field(ge=0, le=1)


@dataclass(frozen=True, slots=True)
class _Category:
    """One of the words."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class BoxesFile:
    """``boxes.json``: COCO's layout, with who drew the boxes as its `info`."""

    info: _Info
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


_Drawn = Sequence[tuple[str, float, Box]]
"""Word, score and box, best first."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """A photo, its name in the file, and what was drawn on it."""

    name: str
    photo: Photo | _Image
    drawn: _Drawn


def read_boxes_file(value: Any) -> BoxesFile | None:
    """What ``boxes.json`` holds, from its JSON; None where that is something else."""
    try:
        found = from_json(BoxesFile, value)
    except ValueError:
        return None
    names = {one.id: one.name for one in found.categories}
    sound = set(names.values()) == set(found.info.words)
    return found if sound and all(a.category_id in names for a in found.annotations) else None


class BoxesWriter:
    """Has the detector of ``--boxes-by`` draw boxes for the words, and keeps them in the project.

    Raises UsageError where the configuration names no such detector, or no words.
    """

    def __init__(self, job: Job) -> None:
        detect = job.config.detect
        require_writer(detect.boxes_by)
        if detect.boxes:
            raise UsageError(
                f"--boxes {detect.boxes} and --boxes-by {detect.boxes_by} are both in use; take "
                "one back with '' (--boxes-by '')"
            )
        words = tidy_words(detect.boxes_by, detect.parent)
        job.change_detect(parent=words)
        weights = OPEN_VOCABULARY[detect.boxes_by].sha256
        self._job, self._info = job, _Info(detect.boxes_by, weights, words)
        self._grounded: Grounded | None = None

    def write(self, entries: Sequence[Entry]) -> Path:
        """Bring ``boxes.json`` up to date and return its path.

        Photos whose bytes it has seen with these words are not looked at again.

        Raises
        ------
        PhotosError
            Where not one box was found.
        NetworkError
            Where PyTorch or the detector is needed and absent, or its files are damaged.
        """
        job, known = self._job, self._known()
        paths = [entry.path for entry in entries]
        same = len(set(paths)) < len(paths)  # in the photos' folder and in that of the test
        done: dict[str, _Looked] = {}
        with job.timed("boxes"):
            saved = time.monotonic()
            opened = self._open(entries)
            for photo, picture in track(opened, "boxes", len(entries), job.progress):
                if photo.state is not PhotoState.READABLE:
                    continue
                before = known.get(photo.sha256)
                drawn = before.drawn if before else self._draw(picture, photo)
                name = photo.file.as_posix() if same else photo.path
                known[photo.sha256] = done[name] = _Looked(name, photo, drawn)
                if before is None and time.monotonic() - saved > EVERY:
                    # What an earlier call drew and this one has not come to is kept as well.
                    self._save([*done.values(), *(k for k in known.values() if k.name not in done)])
                    saved = time.monotonic()
            file = self._save([*done.values()])
        if done and not any(looked.drawn for looked in done.values()):
            raise PhotosError(
                f"{self._info.network} found no {' or '.join(self._info.words)} in any of the "
                f"{len(done)} photos; try other words for --parent"
            )
        return file

    def _known(self) -> dict[str, _Looked]:
        """What an earlier call drew, by the photo's sha256."""
        old = read_boxes_file(self._job.project.read_json(BOXES_FILE))
        if old is None or old.info != self._info:
            return {}
        names = {one.id: one.name for one in old.categories}
        drawn: dict[int, list[tuple[str, float, Box]]] = {}
        for one in old.annotations:
            x, y, width, height = one.bbox
            row = (names[one.category_id], one.score, Box(x, y, x + width, y + height))
            drawn.setdefault(one.image_id, []).append(row)
        return {
            image.sha256: _Looked(image.file_name, image, drawn.get(image.id, ()))
            for image in old.images
        }

    def _open(self, entries: Sequence[Entry]) -> Iterator[tuple[Photo, Picture | None]]:
        table = self._job.project.read("photos", Photo)
        known: Mapping[Any, Photo] = known_photos(table.rows if table else ())
        for entry in entries:
            yield look_at_file(entry, known, self._job.config.photos.max_pixels)

    def _draw(self, picture: Picture | None, photo: Photo) -> _Drawn:
        if self._grounded is None:
            from closeup.networks.convert.open_vocabulary import Grounded

            self._grounded = Grounded(self._info.network, self._info.words, self._job.progress)
        found = self._grounded.find((picture or read_picture_again(photo)).upright)
        boxes = np.array([box for _, _, box in found], np.float64).reshape(-1, 4)
        kept = nms(boxes, np.zeros(len(boxes), np.int64), _NMS_IOU, MOST_BOXES)
        return [found[number] for number in kept]

    def _save(self, looked: Sequence[_Looked]) -> Path:
        """Write the file with what was drawn so far."""
        numbers = {word: number for number, word in enumerate(self._info.words, 1)}
        images: list[_Image] = []
        annotations: list[_Annotation] = []
        for number, one in enumerate(looked, 1):
            photo = one.photo
            images.append(_Image(number, one.name, photo.width, photo.height, photo.sha256))
            for word, score, box in one.drawn:
                x, y, width, height = (round(v, 2) for v in (box.x1, box.y1, box.width, box.height))
                place = (x, y, width, height)
                annotations.append(
                    _Annotation(len(annotations) + 1, number, numbers[word], place, round(score, 4))
                )
        categories = tuple(_Category(number, word) for word, number in numbers.items())
        content = BoxesFile(self._info, tuple(images), tuple(annotations), categories)
        data = json.dumps(to_json(content)).encode() + b"\n"
        return self._job.project.write_bytes(BOXES_FILE, data)
