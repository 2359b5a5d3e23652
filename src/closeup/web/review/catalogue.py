"""What a project's tables say, in memory: the ground on which people decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from closeup.core.config import RunConfig
from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.types import (
    Crop,
    Detection,
    Example,
    Photo,
    Result,
)
from closeup.crops.cut import find_crops
from closeup.dataset.duplicates import Pair
from closeup.decisions import DECISIONS_FILE

TABLES = ("photos", "detections", "crops", "dataset", "results", "duplicates")
SCORES_FILE = "scores.json"
MOST_CANDIDATES = 9
LEAST_SCORE = 0.05


@dataclass(frozen=True, slots=True)
class Fact:
    """What training found out about one close-up.

    Attributes
    ----------
    part
        ``"train"``, ``"test"``, or ``""`` where it is left out, for the `reason`.
    answer, confidence
        The model's answer on the test part, ``""`` elsewhere.
    suspicion, suggested
        How likely the label is wrong, 0 to 1, and the likeliest other one; 0 and ``""`` where it
        is not doubted.
    """

    part: str = ""
    reason: str = ""
    answer: str = ""
    confidence: float = 0.0
    mistaken: bool = False
    suspicion: float = 0.0
    suggested: str = ""


UNKNOWN = Fact()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A project's tables.

    Attributes
    ----------
    found
        By photo id, the close-ups that Closeup finds by itself.
    facts
        By close-up id.
    files
        What each saved close-up shows (``pipeline.stages.saved_as``), by its file.
    stamp
        Changes when a table does.
    """

    folder: Path
    config: RunConfig
    photos: Mapping[str, Photo]
    detections: Mapping[str, Sequence[Detection]]
    found: Mapping[str, Sequence[Crop]]
    facts: Mapping[str, Fact]
    files: Mapping[str, str]
    pairs: tuple[Pair, ...]
    stamp: tuple[int, ...]

    def candidates(self, photo_id: str) -> list[Detection]:
        """The detector's best boxes of a photo, to choose from."""
        photo = self.photos[photo_id]
        inside = [
            (d, d.box.clip(photo.width, photo.height)) for d in self.detections.get(photo_id, ())
        ]
        seen = [d for d, box in inside if d.score >= LEAST_SCORE and box.width >= 1 <= box.height]
        return sorted(seen, key=lambda d: (-d.score, d.rank))[:MOST_CANDIDATES]


def places_of(photos: Iterable[Photo]) -> list[str]:
    """The folders that photos are read from: a project's tables may name any on this machine."""
    folders = set()
    for photo in photos:
        below = not photo.path.startswith("/") and ".." not in photo.path.split("/")
        folders.add(photo.root if below else str(photo.file.parent))
    return sorted(folders)


def stamp_of(folder: Path) -> tuple[int, ...]:
    """Changes when a table of the project does."""
    files = [folder / f"{name}.parquet" for name in TABLES] + [folder / SCORES_FILE]
    stamps = []
    for file in files:
        try:
            stamps.append(file.stat().st_mtime_ns)
        except FileNotFoundError:
            stamps.append(0)
    return tuple(stamps)


def read_catalogue(folder: Path) -> Catalogue:
    """Read a project.

    Raises
    ------
    ProjectError
        Where `folder` is no project, has no close-ups yet, or a table is damaged.
    """
    stamp = stamp_of(folder)  # before reading: what changes meanwhile is read again
    project = Project(folder)
    config = project.config()
    photos, crops = project.read("photos", Photo), project.read("crops", Crop)
    if photos is None or crops is None:
        raise ProjectError(
            f"{folder} holds no close-ups yet; make them with `closeup crop --out {folder}`"
        )
    by_id = {photo.id: photo for photo in photos.rows}
    detections: dict[str, list[Detection]] = {}
    table = project.read("detections", Detection)
    for row in table.rows if table else ():
        detections.setdefault(row.photo_id, []).append(row)
    found: dict[str, list[Crop]] = {}
    for crop in find_crops(photos.rows, detections, config.crop, config.detect):
        found.setdefault(crop.photo_id, []).append(crop)
    pairs = project.read("duplicates", Pair)
    shown = [pair for pair in (pairs.rows if pairs else ())
             if pair.a in by_id and pair.b in by_id]  # fmt: skip
    return Catalogue(
        folder, config, by_id, detections, found, _facts(project),
        crops.meta.get("files", {}), tuple(shown), stamp,
    )  # fmt: skip


def _facts(project: Project) -> dict[str, Fact]:
    examples = project.read("dataset", Example)
    results = project.read("results", Result)
    answers = {row.crop_id: row for row in (results.rows if results else ())}
    findings = (project.read_json(SCORES_FILE) or {}).get("findings") or {}
    suspects = (findings.get("suspects") or {}).get("rows", ())
    doubted = dict(zip(findings.get("suspect_crops", ()), suspects, strict=False))
    facts = {}
    for row in examples.rows if examples else ():
        answer, doubt = answers.get(row.crop_id), doubted.get(row.crop_id, {})
        facts[row.crop_id] = Fact(
            row.split, row.reason,
            answer.answer if answer else "", answer.confidence if answer else 0.0,
            bool(answer and answer.answer != answer.truth),
            float(doubt.get("score", 0.0)), str(doubt.get("suggested", "")),
        )  # fmt: skip
    return facts


__all__ = [
    "DECISIONS_FILE",
    "UNKNOWN",
    "Catalogue",
    "Fact",
    "places_of",
    "read_catalogue",
    "stamp_of",
]
