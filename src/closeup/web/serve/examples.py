"""Small pictures of a model's training close-ups, where the project that made it is at hand."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from closeup.core.errors import ProjectError
from closeup.core.project import SCORES_FILE, Project
from closeup.core.types import Crop
from closeup.model.model import Model

SIDE = 192
"""Longest side of a picture, in pixels."""
_KEPT = 2000


class Examples:
    """The saved close-ups of a project, by their ids.

    Parameters
    ----------
    project
        A project folder; None for no pictures at all.

    Raises
    ------
    ProjectError
        Where the folder is no project with close-ups, or its table is damaged.
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
        self._picture = lru_cache(_KEPT)(_small)

    def __contains__(self, crop: str) -> bool:
        return crop in self._files

    def picture(self, crop: str) -> bytes | None:
        """The close-up as a JPEG of at most ``SIDE`` pixels; None where there is none."""
        try:
            return self._picture(self._files[crop])
        except (KeyError, OSError):  # not in the project, or its file is gone or damaged
            return None


def _small(file: Path) -> bytes:
    with Image.open(file, formats=("JPEG",)) as picture:
        picture.draft("RGB", (SIDE, SIDE))
        small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def project_of(folder: Path, model: Model) -> Path | None:
    """The project in whose folder a model lies as it was made; None where there is none."""
    around = folder.resolve().parent
    try:
        stored = Project(around).read_json(SCORES_FILE) or {}
        there = (around / "crops.parquet").is_file()
    except ProjectError:
        return None
    return around if there and stored.get("key") == model.card.key else None
