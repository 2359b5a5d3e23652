"""Photos -> detections, reusing what an earlier run found in unchanged photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.types import Detection, Photo, PhotoState
from closeup.detect.detector import Detector, Found
from closeup.photos.reading import read_picture_again

FLOOR = 0.01
"""Scores below this are not kept: far under any useful threshold, so that one can be chosen."""


def as_rows(photo_id: str, found: Sequence[Found]) -> list[Detection]:
    """What a detector found in one photo, as ranked rows."""
    return [
        Detection(photo_id, rank, one.category, one.score, one.box)
        for rank, one in enumerate(found)
    ]


def detect_photos(
    photos: Sequence[Photo],
    detector: Detector,
    known: Mapping[str, Sequence[Detection]],
    progress: Progress = silent,
) -> list[Detection]:
    """The detections of all readable photos, in the photos' order.

    Parameters
    ----------
    known
        By photo id: detections that still hold (an empty sequence: known to have none).

    Raises
    ------
    ProjectError
        Where a photo has changed or vanished since it was listed.
    """
    todo = [p for p in photos if p.state is PhotoState.READABLE and p.id not in known]
    found = detector.detect(ordered_map(read_picture_again, todo), floor=FLOOR)
    fresh = {
        photo.id: as_rows(photo.id, many)
        for photo, many in zip(todo, track(found, "detect", len(todo), progress), strict=True)
    }
    return [row for p in photos for row in fresh.get(p.id, known.get(p.id, ()))]
