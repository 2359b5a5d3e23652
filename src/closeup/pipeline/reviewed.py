"""What people decided in review, and what it changed since before."""

from __future__ import annotations

from closeup.core.config import RunConfig
from closeup.core.errors import ProjectError
from closeup.core.project import Table, key_of
from closeup.core.serialization import from_json, to_json
from closeup.core.types import Crop, CropState, Example, Photo
from closeup.evaluate.findings import Evaluation, read_evaluation
from closeup.evaluate.scores import Scores
from closeup.pipeline.stages import Job
from closeup.report.result import Reviewed, State

BEFORE_FILE = "before-review.json"


def remember_before(job: Job) -> None:
    """Keep the state of a project before its first decision; call before any stage runs.

    Without decisions there is nothing to keep: the project itself is in that state.
    """
    project = job.project
    stored = project.read_json(BEFORE_FILE)
    if not job.decisions:
        if stored is not None:
            project.remove([BEFORE_FILE])
        return
    if stored is None and project.folder.is_dir():
        state = _stored_state(job)
        project.write_json(BEFORE_FILE, {"state": to_json(state) if state else None})


def _stored_state(job: Job) -> State | None:
    """The state after the last run; None where there was none, or not all of it is there."""
    project = job.project
    evaluation = read_evaluation(project)
    crops, examples = project.read("crops", Crop), project.read("dataset", Example)
    if evaluation is None or crops is None or examples is None:
        return None
    try:
        return _state(crops, examples, evaluation.scores, project.config())
    except ProjectError:
        return None


def _state(
    crops: Table[Crop], examples: Table[Example], scores: Scores | None, config: RunConfig
) -> State:
    sections = (config.photos, config.detect, config.crop, config.split, config.train)
    return State(
        closeups=sum(crop.state is CropState.CROPPED for crop in crops.rows),
        labels=len({row.label for row in examples.rows if row.split}),
        n=scores.n if scores else 0,
        settings=key_of("settings", 1, [section.model_dump() for section in sections]),
        macro_f1=scores.macro_f1 if scores else None,
    )


def reviewed(
    job: Job, tables: tuple[Table[Photo], Table[Crop], Table[Example]], evaluation: Evaluation
) -> Reviewed | None:
    """What people decided and what it changed; None where there is no decision."""
    decisions = job.decisions
    if not decisions:
        return None
    photos, crops, examples = tables
    label_of = {photo.id: photo.label for photo in photos.rows}
    by_box = job.config.detect.labels_from == "boxes"
    readable = {c.photo_id for c in crops.rows if c.state is not CropState.UNREADABLE}
    used = {name: boxes for name, boxes in decisions.boxes.items() if name in readable}
    return Reviewed(
        decisions.counts(),
        decisions.undone,
        relabelled=sum(
            crop.label != (crop.category if by_box else label_of[crop.photo_id])
            for crop in crops.rows
        ),
        redrawn=sum(bool(boxes) for boxes in used.values()),
        left_out=sum(crop.state is CropState.REJECTED for crop in crops.rows),
        emptied=sum(not boxes for boxes in used.values()),
        before=_before(job),
        after=_state(crops, examples, evaluation.scores, job.config),
    )


def _before(job: Job) -> State | None:
    stored = (job.project.read_json(BEFORE_FILE) or {}).get("state")
    try:
        return from_json(State, stored) if stored else None
    except ValueError:  # damaged
        return None
