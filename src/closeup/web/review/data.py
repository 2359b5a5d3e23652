"""A project's tables in memory, as the review pages need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from closeup.core.config import RunConfig
from closeup.core.errors import ProjectError
from closeup.core.project import SCORES_FILE, Project
from closeup.core.types import Crop, Detection, Example, Photo, Result
from closeup.crops.cut import find_crops
from closeup.dataset.duplicates import Pair
from closeup.evaluate.findings import Evaluation, read_evaluation
from closeup.evaluate.label_issues import LabelIssue
from closeup.pipeline.suggested import Suggested, read_suggested

TABLES = ("photos", "detections", "crops", "dataset", "results", "duplicates", "suggested")
MOST_CANDIDATES = 9
LEAST_SCORE = 0.05


@dataclass(frozen=True, slots=True)
class TrainingInfo:
    """What training found out about one close-up.

    `split` is ``"train"``, ``"test"``, or ``""`` if it is left out for the `reason`. Test close-ups
    have the model's `answer`, and whether it is `misclassified`. `issue_score` is how likely the
    label is wrong, 0 to 1, and `suggested` the most likely right one; 0 and ``""`` for no issue.
    """

    split: str = ""
    reason: str = ""
    answer: str = ""
    confidence: float = 0.0
    misclassified: bool = False
    issue_score: float = 0.0
    suggested: str = ""


NOT_TRAINED = TrainingInfo()


@dataclass(frozen=True, slots=True)
class ProjectData:
    """A project's tables, by photo id, or `training` by close-up id.

    `found` has the close-ups that Closeup finds by itself, and `files`, by file name, what each
    saved one shows (``crops.cut.saved_as``). `stamp` changes whenever a table does. `no_issues`
    says why label issues are withheld, ``""`` where they are not. `waiting` has the photos that
    were suggested for labelling and are no photos of the project yet.
    """

    folder: Path
    config: RunConfig
    photos: Mapping[str, Photo]
    detections: Mapping[str, Sequence[Detection]]
    found: Mapping[str, Sequence[Crop]]
    training: Mapping[str, TrainingInfo]
    files: Mapping[str, str]
    pairs: tuple[Pair, ...]
    stamp: tuple[int, ...]
    no_issues: str = ""
    waiting: Mapping[str, Suggested] = field(default_factory=dict)

    def candidates(self, photo_id: str) -> list[Detection]:
        """The detector's best boxes of a photo, to choose from."""
        photo = self.photos[photo_id]
        inside = [
            (d, d.box.clip(photo.width, photo.height)) for d in self.detections.get(photo_id, ())
        ]
        seen = [d for d, box in inside if d.score >= LEAST_SCORE and box.width >= 1 <= box.height]
        return sorted(seen, key=lambda d: (-d.score, d.rank))[:MOST_CANDIDATES]


def photo_folders(photos: Iterable[Photo]) -> list[str]:
    """The folders that photos are read from: a project's tables may name any on this machine."""
    folders = set()
    for photo in photos:
        below = not photo.path.startswith("/") and ".." not in photo.path.split("/")
        folders.add(photo.root if below else str(photo.file.parent))
    return sorted(folders)


def stamp_of(folder: Path) -> tuple[int, ...]:
    """The modification times of the project's tables, 0 for those that do not exist."""
    stamps = []
    for name in (*(f"{table}.parquet" for table in TABLES), SCORES_FILE):
        try:
            stamps.append((folder / name).stat().st_mtime_ns)
        except FileNotFoundError:
            stamps.append(0)
    return tuple(stamps)


def read_data(folder: Path) -> ProjectData:
    """Read a project; a ProjectError if it is none, has no close-ups or a damaged table."""
    stamp = stamp_of(folder)  # before reading: what changes meanwhile is read again
    project = Project(folder)
    config = project.config()
    photos, crops = project.read("photos", Photo), project.read("crops", Crop)
    if photos is None or crops is None:
        raise ProjectError(
            f"{folder} has no close-ups yet; make them with `closeup crop --out {folder}`"
        )
    by_id = {photo.id: photo for photo in photos.rows}
    waiting = {r.photo_id: r for r in read_suggested(project) if r.photo_id not in by_id}
    by_id |= {name: row.photo for name, row in waiting.items()}
    detections: dict[str, list[Detection]] = {}
    table = project.read("detections", Detection)
    for row in table.rows if table else ():
        detections.setdefault(row.photo_id, []).append(row)
    detections |= {name: [row.detection] for name, row in waiting.items()}
    found: dict[str, list[Crop]] = {}
    for crop in find_crops(by_id.values(), detections, config.crop, config.detect):
        found.setdefault(crop.photo_id, []).append(crop)
    pairs = project.read("duplicates", Pair)
    known = tuple(p for p in (pairs.rows if pairs else ()) if p.a in by_id and p.b in by_id)
    evaluation = read_evaluation(project)
    return ProjectData(
        folder, config, by_id, detections, found, _training(project, evaluation),
        crops.meta.get("files", {}), known, stamp,
        evaluation.findings.no_issues if evaluation else "", waiting,
    )  # fmt: skip


def _training(project: Project, evaluation: Evaluation | None) -> dict[str, TrainingInfo]:
    examples = project.read("dataset", Example)
    results = project.read("results", Result)
    answers = {row.crop_id: row for row in (results.rows if results else ())}
    issues: dict[str, LabelIssue] = {}
    if evaluation is not None and (found := evaluation.findings.label_issues) is not None:
        issues = dict(zip(evaluation.findings.label_issue_crops, found.rows, strict=False))
    known = {}
    for row in examples.rows if examples else ():
        answer, issue = answers.get(row.crop_id), issues.get(row.crop_id)
        known[row.crop_id] = TrainingInfo(
            row.split, row.reason,
            answer.answer if answer else "", answer.confidence if answer else 0.0,
            bool(answer and answer.answer != answer.truth),
            issue.score if issue else 0.0, issue.suggested if issue else "",
        )  # fmt: skip
    return known
