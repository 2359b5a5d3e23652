"""Small pictures of a model's training close-ups, from the project that made it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.types import Crop
from closeup.evaluate.findings import read_evaluation
from closeup.model.model import Model
from closeup.web.thumbnails import encode_thumbnail, open_jpeg

SIDE = 192
"""Longest side of a picture, in pixels."""
_KEPT = 2000


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


def project_of(folder: Path, model: Model) -> Path | None:
    """The project that made a model, if the model is still in its folder; else None."""
    around = folder.resolve().parent
    try:
        stored = read_evaluation(Project(around))
        has_crops = (around / "crops.parquet").is_file()
    except ProjectError:
        return None
    return around if has_crops and stored and stored.key == model.card.key else None
