"""What people decided in review, and what it changed, beside what was there before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from closeup.core.errors import ProjectError
from closeup.core.project import SCORES_FILE, Table, key_of
from closeup.core.types import (
    Crop,
    CropState,
    Example,
    Photo,
)
from closeup.decisions import Current, Kind
from closeup.evaluate.scores import Interval, Scores
from closeup.pipeline.stages import Job
from closeup.pipeline.trained import Trained

BEFORE_FILE = "before-review.json"


@dataclass(frozen=True, slots=True)
class State:
    """What a project holds: found close-ups, labels trained on, and the score on its test part.

    `macro_f1` is None, and `n` 0, where nothing was held out. `settings` changes with anything in
    the configuration that changes the score.
    """

    closeups: int
    labels: int
    n: int
    macro_f1: Interval | None
    settings: str

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        score = self.macro_f1
        return {
            "closeups": self.closeups, "labels": self.labels, "n": self.n,
            "settings": self.settings,
            "macro_f1": None if score is None else
            {"value": score.value, "low": score.low, "high": score.high},
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> State:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError
            Where it is something else.
        """
        score = value["macro_f1"]
        return cls(value["closeups"], value["labels"], value["n"],
                   None if score is None else Interval(**score), value["settings"])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The decisions that hold, and what they changed.

    Attributes
    ----------
    kinds
        How many decisions of each kind hold, those that are not used included.
    undone
        How many were taken back.
    relabelled, redrawn, left_out, emptied
        Close-ups of another label than their photo's; photos with a person's boxes; close-ups that
        were rejected; photos in which nothing is to be found.
    before
        The project before the first decision; None where it had not been trained by then.
    """

    kinds: Mapping[Kind, int]
    undone: int
    relabelled: int
    redrawn: int
    left_out: int
    emptied: int
    before: State | None
    after: State

    def to_json(self) -> dict[str, Any]:
        """The object under ``review`` of ``run --json`` (docs/formats.md)."""
        return {
            "decisions": {str(kind): n for kind, n in self.kinds.items()},
            "undone": self.undone, "relabelled": self.relabelled, "redrawn": self.redrawn,
            "left_out": self.left_out, "emptied": self.emptied,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json(),
        }  # fmt: skip


def remember_before(job: Job) -> None:
    """Keep what a project was before its first decision; call before any stage runs.

    Without decisions nothing needs to be kept: the project itself is that state.
    """
    project = job.project
    stored = project.read_json(BEFORE_FILE)
    if not job.decisions:
        if stored is not None:
            project.remove([BEFORE_FILE])
        return
    if stored is None and project.folder.is_dir():
        state = _stored_state(job)
        project.write_json(BEFORE_FILE, {"state": state.to_json() if state else None})


def _stored_state(job: Job) -> State | None:
    """What the last run left; None where there was none, or not all of it is there."""
    project = job.project
    stored = project.read_json(SCORES_FILE)
    crops, examples = project.read("crops", Crop), project.read("dataset", Example)
    if stored is None or "scores" not in stored or crops is None or examples is None:
        return None
    try:
        settings = _settings(job, project.config())
        scores = Scores.from_json(stored["scores"]) if stored["scores"] else None
    except (KeyError, TypeError, ProjectError):
        return None
    return _state(crops, examples, scores, settings)


def _settings(job: Job, config: Any = None) -> str:
    config = config or job.config
    sections = (config.photos, config.detect, config.crop, config.split, config.train)
    return key_of("settings", 1, [section.model_dump() for section in sections])


def _state(
    crops: Table[Crop], examples: Table[Example], scores: Scores | None, settings: str
) -> State:
    return State(
        sum(crop.state is CropState.CROPPED for crop in crops.rows),
        len({row.label for row in examples.rows if row.split}),
        scores.n if scores else 0,
        scores.macro_f1 if scores else None,
        settings,
    )


def reviewed(
    job: Job, tables: tuple[Table[Photo], Table[Crop], Table[Example]], trained: Trained
) -> Reviewed | None:
    """What people decided and what it changed; None where nothing was ever decided and kept."""
    decisions: Current = job.decisions
    if not decisions:
        return None
    photos, crops, examples = tables
    label_of = {photo.id: photo.label for photo in photos.rows}
    stored = (job.project.read_json(BEFORE_FILE) or {}).get("state")
    readable = {c.photo_id for c in crops.rows if c.state is not CropState.UNREADABLE}
    used = {name: boxes for name, boxes in decisions.boxes.items() if name in readable}
    return Reviewed(
        decisions.counts(),
        decisions.undone,
        relabelled=sum(crop.label != label_of[crop.photo_id] for crop in crops.rows),
        redrawn=sum(bool(boxes) for boxes in used.values()),
        left_out=sum(crop.state is CropState.REJECTED for crop in crops.rows),
        emptied=sum(not boxes for boxes in used.values()),
        before=State.from_json(stored) if stored else None,
        after=_state(crops, examples, trained.scores, _settings(job)),
    )
