"""What a run gives: counts, scores, checks and review, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from closeup.core.serialization import to_json
from closeup.core.text import visible
from closeup.core.types import NONE, Crop, CropState, Photo, PhotoState, Result
from closeup.decisions.kinds import Kind
from closeup.detect.scouting import Scouted
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.checks import Check
from closeup.evaluate.findings import Evaluation
from closeup.evaluate.rights import RightsCount
from closeup.evaluate.scores import ClassScore, Scores
from closeup.evaluate.trust import Trust
from closeup.model.history import Training
from closeup.networks import Network


@dataclass(frozen=True, slots=True)
class Counts:
    """Every photo of a run, by what became of it: ``photos`` is the sum of the other four.

    A photo with several found objects counts once, or, in `labels` and the rates, once for each of
    its labels. `rejected` are readable photos whose close-ups were all rejected in review; `labels`
    and the rates do not count them. `objects` are the objects found, by label.
    """

    photos: int
    cropped: int
    not_found: int
    unreadable: int
    labels: dict[str, int]
    found_per_label: dict[str, float]
    rejected: int = 0
    objects: dict[str, int] = field(default_factory=dict)

    @property
    def detection_rate(self) -> float:
        """Share of the readable photos, less those rejected, in which the object was found."""
        readable = self.cropped + self.not_found
        return self.cropped / readable if readable else 0.0


def count(photos: Sequence[Photo], crops: Sequence[Crop]) -> Counts:
    """Count photos by state and by label."""
    found = {crop.photo_id for crop in crops if crop.state is CropState.CROPPED}
    labels_of: dict[str, set[str]] = {}
    for crop in crops:
        if crop.state is not CropState.REJECTED:
            labels_of.setdefault(crop.photo_id, set()).add(crop.label)
    readable = [p.id for p in photos if p.state is PhotoState.READABLE]
    kept = [name for name in readable if name in labels_of]
    labels = Counter(label for name in kept for label in labels_of[name])
    hits = Counter(label for name in kept if name in found for label in labels_of[name])
    objects = Counter(crop.label for crop in crops if crop.state is CropState.CROPPED)
    return Counts(
        photos=len(photos),
        cropped=sum(name in found for name in kept),
        not_found=sum(name not in found for name in kept),
        unreadable=len(photos) - len(readable),
        labels=dict(sorted(labels.items())),
        found_per_label={name: hits[name] / n for name, n in sorted(labels.items())},
        rejected=len(readable) - len(kept),
        objects=dict(sorted(objects.items())),
    )


@dataclass(frozen=True, slots=True)
class State:
    """A project at one time: found close-ups, labels trained on, and the score on its test part.

    `macro_f1` is None, and `n` 0, where nothing was held out. `settings` changes with anything in
    the configuration that changes the score.
    """

    closeups: int
    labels: int
    n: int
    settings: str
    macro_f1: Interval | None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The active decisions, and what they changed.

    - `kinds`: how many active decisions of each kind there are, including those without an effect
    - `undone`: how many were undone
    - `relabelled`, `redrawn`, `left_out`, `emptied`: close-ups with another label than their
      photo's; photos with boxes drawn by a person; rejected close-ups; photos marked as without an
      object
    - `before`: the project before the first decision; None where it had not been trained by then
    """

    kinds: Annotated[Mapping[Kind, int], Field(alias="decisions")]
    undone: int
    relabelled: int
    redrawn: int
    left_out: int
    emptied: int
    before: State | None
    after: State


@dataclass(frozen=True)
class Trained(Evaluation):
    """What training gave: the evaluation and what was evaluated.

    Attributes
    ----------
    results
        One row for each test example that has an answer.
    networks
        The detector, where there is one, and the backbone.
    model
        The folder of the model in use: this one, unless `training` says that it was not put to use.
    training
        Its entry in the history.
    """

    results: tuple[Result, ...]
    networks: tuple[Network, ...]
    model: Path
    training: Training | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class RunResult(Trained):
    """What ``closeup run`` gives: what training gave, and counts, checks, times and the report.

    Attributes
    ----------
    counts
        The photos by what became of them.
    checks
        What may be wrong with the photos or the model.
    seconds
        Wall-clock seconds of each stage, in order.
    notes
        Warnings, one sentence each.
    report
        The HTML page.
    reviewed
        What people decided in review; None where they have not.
    parent, scouted
        The detector's categories that are accepted; how they were chosen, None where a person did.
    rights
        The licences of the photos; None where nothing is known of any.
    """

    counts: Counts
    checks: tuple[Check, ...]
    seconds: dict[str, float]
    notes: tuple[str, ...]
    report: Path
    reviewed: Reviewed | None = None
    parent: tuple[str, ...] = ()
    scouted: Scouted | None = None
    rights: RightsCount | None = None

    @property
    def usefulness(self) -> str:
        """What the model can be used for, in a sentence or two; ``""`` where that is not known."""
        return "" if self.trust is None else self.trust.sentence(self.noun)

    @property
    def noun(self) -> str:
        """What the test part is made of: photos, the objects in them, or close-ups."""
        every = self.scores is None or self.scores.n == self.scores.n_end_to_end
        if self.by_photo[1] < len(self.results):
            return "objects"
        return "photos" if every else "close-ups"

    @property
    def none(self) -> ClassScore | None:
        """The score of what is none of the classes; None where nothing of it was tested."""
        rows = self.scores.per_class if self.scores else ()
        return next((row for row in rows if row.label == NONE and row.support), None)

    @property
    def by_photo(self) -> tuple[int, int]:
        """In how many photos of the test part every answer is right, and out of how many."""
        wrong = {row.photo_id for row in self.results if row.answer != row.truth}
        photos = {row.photo_id for row in self.results}
        return len(photos) - len(wrong), len(photos)

    def to_json(self) -> dict[str, Any]:
        """The stable object of ``run --json`` (docs/formats.md).

        Examples
        --------
        >>> result = closeup.train("closeup-demo/watches")  # nothing is left to do
        >>> facts = result.to_json()
        >>> facts["photos"], facts["test"]["n"], facts["training"]["number"]
        (200, 40, 1)
        """
        gain = {} if self.crop_gain is None else {"crop_gain": to_json(self.crop_gain)}
        issues = None if self.findings.no_issues else len(self.findings.label_issue_crops)
        return {
            "photos": self.counts.photos,
            "cropped": self.counts.cropped,
            "not_found": self.counts.not_found,
            "unreadable": self.counts.unreadable,
            "rejected": self.counts.rejected,
            "labels": self.counts.labels,
            "objects": self.counts.objects,
            "detection_rate": round(self.counts.detection_rate, 6),
            "parent": list(self.parent),
            "scouted": None if self.scouted is None else to_json(self.scouted),
            "test": None if self.scores is None else _test_part(self.scores, self),
            "attributes": [to_json(row) for row in self.attributes],
            "compared": [to_json(row) for row in self.compared],
            "trust": None if self.trust is None else _trust(self.trust),
            "usefulness": self.usefulness or None,
            "checks": [to_json(check) for check in self.checks],
            "label_issues": issues,
            "withheld": self.findings.no_issues or None,
            "more_photos": self.findings.curve.sentence if self.findings.curve else None,
            **gain,
            "rights": None if self.rights is None else to_json(self.rights),
            "review": None if self.reviewed is None else to_json(self.reviewed),
            "training": None if self.training is None else to_json(self.training),
            "seconds": self.seconds,
            "notes": list(self.notes),
            "model": str(self.model),
            "report": str(self.report),
        }

    def to_dict(self) -> dict[str, Any]:
        """The same as :meth:`to_json`, by the name that predictions have it under."""
        return self.to_json()

    def __repr__(self) -> str:
        return "\n".join(f"{name + ':':<10}{visible(what)}" for name, what in self._summary())

    def _repr_html_(self) -> str:
        """For a notebook: the same as a table."""
        cells = "".join(f"<tr><th>{name}</th><td>{escape(visible(what))}</td></tr>"
                        for name, what in self._summary())  # fmt: skip
        return f"<table><tbody>{cells}</tbody></table>"

    def _summary(self) -> list[tuple[str, str]]:
        """What came of the photos, the score, and where model and report are."""
        c = self.counts
        rows = {"photos": f"{c.photos}, of which {c.cropped} cropped, {c.not_found} not found, "
                          f"{c.unreadable} unreadable, {c.rejected} rejected"}  # fmt: skip
        if self.scores is not None:
            f1 = self.scores.macro_f1
            rows["macro-F1"] = (f"{f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f}) "
                                f"on {self.scores.n} test close-ups")  # fmt: skip
        if self.usefulness:
            rows["use"] = self.usefulness
        rows |= {"model": str(self.model), "report": str(self.report)}
        return list(rows.items())


def _test_part(s: Scores, result: RunResult) -> dict[str, Any]:
    by_photo, none = result.by_photo, result.none
    return {
        "n": s.n,
        "photos": by_photo[1],
        "photos_right": by_photo[0],
        "none": None
        if none is None
        else {"n": none.support, "recall": none.recall, "precision": none.precision},
        "macro_f1": s.macro_f1.value,
        "macro_f1_low": s.macro_f1.low,
        "macro_f1_high": s.macro_f1.high,
        "accuracy": s.accuracy.value,
        "macro_f1_end_to_end": s.macro_f1_end_to_end.value,
    }


def _trust(t: Trust) -> dict[str, Any]:
    return {
        "ece": t.calibration.ece.value,
        "ece_low": t.calibration.ece.low,
        "ece_high": t.calibration.ece.high,
        "answered": t.answered.value,
        "accuracy_answered": t.accuracy_answered.value,
        "unsure": t.unsure,
        "unlike": t.out_of_distribution,
        "accuracy_at_70": t.selective.at_70.value,
        "gain_at_70": t.selective.gain_70.value,
        "set_coverage": t.sets.coverage.value,
        "set_size": t.sets.size.value,
        "at_accuracy": None if t.at_accuracy is None else to_json(t.at_accuracy),
    }
