"""Boxes of a file as a run reads them: matched first, then asked for photo by photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from closeup.core.types import Detection, Photo
from closeup.detect.given import GivenBoxes


@dataclass(frozen=True, slots=True)
class Read:
    detections: list[Detection]
    notes: tuple[str, ...]


def read_boxes(file: Path, photos: Sequence[Photo]) -> Read:
    """All boxes of `photos`, in their order, and what could not be used."""
    given = GivenBoxes(file, photos)
    rows = [row for photo in photos for row in given.of(photo)]
    return Read(rows, tuple(given.notes))
