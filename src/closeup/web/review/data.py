"""A project's tables in memory, as the review pages need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from closeup.core.config import RunConfig
from closeup.core.errors import ModelError, ProjectError
from closeup.core.project import SCORES_FILE, Project
from closeup.core.types import ANY, Crop, Detection, Example, Photo, Result
from closeup.crops.cut import find_crops
from closeup.dataset.duplicates import Pair
from closeup.evaluate.findings import Evaluation, read_evaluation
from closeup.evaluate.label_issues import LabelIssue
from closeup.evaluate.neighbours import Known, beside
from closeup.evaluate.unknown import UnknownRule
from closeup.model.card import CARD_FILE, UNKNOWN_FILE, check_inside, read_card
from closeup.model.history import MODEL
from closeup.model.parts import KNOWN_FILE, read_references
from closeup.photos.rights import TABLE as RIGHTS
from closeup.photos.rights import read_rights
from closeup.pipeline.suggested import CORRECTED, Suggested, read_suggested

TABLES = ("photos", "detections", "crops", "dataset", "results", "duplicates", "suggested",
          RIGHTS)  # fmt: skip
MOST_CANDIDATES = 9
LEAST_SCORE = 0.05
SAME_BOX = 0.9  # IoU of two boxes of which one is enough to choose from
MOST_SIMILAR = 4


@dataclass(frozen=True, slots=True)
class TrainingInfo:
    """What training found out about one close-up.

    `split` is ``"train"``, ``"test"``, or ``""`` if it is left out for the `reason`. Test close-ups
    have the model's `answer`, and whether it is `misclassified`. `issue_score` is how likely the
    label is wrong, 0 to 1, and `suggested` the most likely right one; 0 and ``""`` for no issue.
    `p_given` and `p_suggested` are what a model gives the two that has not seen the close-up.
    """

    split: str = ""
    reason: str = ""
    answer: str = ""
    confidence: float = 0.0
    misclassified: bool = False
    issue_score: float = 0.0
    suggested: str = ""
    p_given: float = 0.0
    p_suggested: float = 0.0


NOT_TRAINED = TrainingInfo()


@dataclass(frozen=True, slots=True)
class ProjectData:
    """A project's tables, by photo id, or `training` by close-up id.

    `found` has the close-ups that Closeup finds by itself, and `files`, by file name, what each
    saved one shows (``crops.cut.saved_as``). `stamp` changes whenever a table does. `no_issues`
    says why label issues are withheld, ``""`` where they are not. `waiting` has the photos that
    were suggested for labelling and are no photos of the project yet. `alike` has, for the worst
    mistakes, the most similar training close-ups, and `references` tells those of the others.
    `collected` has the ids of photos that were fetched from an address.
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
    alike: Mapping[str, Sequence[str]] = field(default_factory=dict)
    references: tuple[UnknownRule, Known] | None = None
    collected: frozenset[str] = frozenset()

    def is_parent(self, detection: Detection) -> bool:
        """Whether the detection is of the parent category, where there is one."""
        return ANY not in self.config.detect.parent and (
            detection.category in self.config.detect.parent
        )

    def similar(self, crop_id: str) -> list[str]:
        """The training close-ups that are most similar to a close-up, as far as that is known."""
        if crop_id in self.alike:
            return list(self.alike[crop_id])
        if self.references is None:
            return []
        return [found.crop for found in beside(*self.references, crop_id, MOST_SIMILAR)]

    def candidates(self, photo_id: str) -> list[Detection]:
        """The detector's best boxes of a photo, to choose from: those of the parent come first.

        Of boxes that are all but the same, one is enough.
        """
        photo = self.photos[photo_id]
        inside = [
            (d, d.box.clip(photo.width, photo.height)) for d in self.detections.get(photo_id, ())
        ]
        seen = [d for d, box in inside if d.score >= LEAST_SCORE and box.width >= 1 <= box.height]
        chosen: list[Detection] = []
        for d in sorted(seen, key=lambda d: (not self.is_parent(d), -d.score, d.rank)):
            if len(chosen) < MOST_CANDIDATES and all(d.box.iou(c.box) < SAME_BOX for c in chosen):
                chosen.append(d)
        return chosen


def photo_folders(photos: Iterable[Photo]) -> list[str]:
    """The folders that photos are read from: a project's tables may name any on this machine."""
    folders = set()
    for photo in photos:
        below = not photo.path.startswith("/") and ".." not in photo.path.split("/")
        folders.add(photo.root if below else str(photo.file.parent))
    return sorted(folders)


def stamp_of(folder: Path) -> tuple[int, ...]:
    """When the project's tables and corrected photos changed, 0 for those that do not exist."""
    stamps = []
    for name in (
        *(f"{table}.parquet" for table in TABLES), SCORES_FILE, CORRECTED, f"{MODEL}/{CARD_FILE}",
    ):  # fmt: skip
        try:
            stamps.append((folder / name).stat().st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
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
        evaluation.findings.alike if evaluation else {}, _references(project),
        frozenset(name for name, row in read_rights(project).items() if row.url),
    )  # fmt: skip


def _references(project: Project) -> tuple[UnknownRule, Known] | None:
    """What tells which training close-ups are similar; None where no model in use can."""
    folder = project.place(MODEL)
    try:
        card = read_card(folder)
        for name in (UNKNOWN_FILE, KNOWN_FILE):
            check_inside(folder, name)
        rule, known = read_references(folder, card)
    except ModelError:
        return None
    return (rule, known) if rule is not None and known is not None else None


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
            *((issue.score, issue.suggested, issue.p_given, issue.p_suggested) if issue else ()),
        )  # fmt: skip
    return known
