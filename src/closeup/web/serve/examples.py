"""Pictures from the project that made a model: its training close-ups, small, and test photos."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

from closeup.core.errors import CloseupError, ProjectError
from closeup.core.project import Project
from closeup.core.types import Crop, Photo, Result
from closeup.evaluate.findings import read_evaluation
from closeup.model.model import Model
from closeup.photos.reading import read_picture_again
from closeup.web.thumbnails import encode_thumbnail, open_jpeg

SIDE = 192
"""Longest side of a picture, in pixels."""
_KEPT = 2000
MOST_SAMPLES = 6
SAMPLE_SIDE = 1280
"""Longest side of a sample photo, in pixels."""


class Examples:
    """The saved close-ups of a project folder, by their ids; of None, no pictures at all.

    Raises a ProjectError if the folder is no project with close-ups, or its table is damaged.
    """

    def __init__(self, project: Path | None) -> None:
        self._files: dict[str, Path] = {}
        if project is not None:
            table = Project(project).read("crops", Crop)
            if table is None:
                raise ProjectError(f"{project} is no project with close-ups")
            base = project.resolve()
            files = {crop.id: (base / crop.file).resolve() for crop in table.rows if crop.file}
            self._files = {k: f for k, f in files.items() if f.is_relative_to(base)}
        self._picture = lru_cache(_KEPT)(_thumbnail)

    def __contains__(self, crop: str) -> bool:
        return crop in self._files

    def picture(self, crop: str) -> bytes | None:
        """The close-up as a JPEG of at most ``SIDE`` pixels; None if there is none."""
        try:
            return self._picture(self._files[crop])
        except (KeyError, OSError):  # not in the project, or its file is missing or damaged
            return None


def _thumbnail(file: Path) -> bytes:
    return encode_thumbnail(open_jpeg(file, SIDE), SIDE)


@dataclass(frozen=True, slots=True)
class Sample:
    """A test photo to try the model on, and its label."""

    photo: Photo
    label: str


class Samples:
    """A few test photos of a project, drawn at random from as many labels; of None, none.

    They are what the model was not trained on. Drawn at random, not by their answers: the page must
    not look better than the model. Raises a ProjectError if a table is damaged.
    """

    def __init__(self, project: Path | None) -> None:
        self.rows = () if project is None else _drawn(Project(project))
        self._picture = lru_cache(MOST_SAMPLES)(_sample)

    def picture(self, number: int) -> bytes | None:
        """The photo as a JPEG of at most ``SAMPLE_SIDE`` pixels without metadata.

        None if there is none, or its file has changed since the project was made.
        """
        try:
            return self._picture(self.rows[number].photo)
        except (IndexError, CloseupError):
            return None


def _drawn(project: Project) -> tuple[Sample, ...]:
    results, photos = project.read("results", Result), project.read("photos", Photo)
    by_id = {photo.id: photo for photo in (photos.rows if photos else ())}
    rows = [row for row in (results.rows if results else ()) if row.photo_id in by_id]
    random.Random(0).shuffle(rows)
    rounds: dict[str, int] = {}
    order = []
    for row in rows:
        rounds[row.truth] = rounds.get(row.truth, 0) + 1
        order.append((rounds[row.truth], row))
    order.sort(key=itemgetter(0))  # one of each label before a second of any
    chosen: dict[str, Sample] = {}
    for _, row in order:
        photo = by_id[row.photo_id]
        if len(chosen) < MOST_SAMPLES and row.photo_id not in chosen and photo.file.is_file():
            chosen[row.photo_id] = Sample(photo, row.truth)
    return tuple(chosen.values())


def _sample(photo: Photo) -> bytes:
    picture = read_picture_again(photo)
    small, _ = picture.small
    return encode_thumbnail(
        small if max(small.size) >= SAMPLE_SIDE else picture.upright, SAMPLE_SIDE
    )


def project_of(folder: Path, model: Model) -> Path | None:
    """The project that made a model, if the model is still in its folder; else None."""
    around = folder.resolve().parent
    try:
        stored = read_evaluation(Project(around))
        has_crops = (around / "crops.parquet").is_file()
    except ProjectError:
        return None
    return around if has_crops and stored and stored.key == model.card.key else None
