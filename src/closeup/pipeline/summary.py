"""What a run ends with: the counts and scores, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closeup.core.types import (
    Crop,
    CropState,
    Photo,
    PhotoState,
)
from closeup.evaluate.checks import Check
from closeup.evaluate.compare import Compared
from closeup.evaluate.findings import Findings
from closeup.evaluate.scores import Difference, Scores
from closeup.evaluate.trust import Trust
from closeup.pipeline.reviewed import Reviewed


@dataclass(frozen=True, slots=True)
class Counts:
    """Every photo of a run, by what became of it: ``photos`` is the sum of the other four.

    A photo with several found objects counts once. `rejected` are readable photos of which a
    person left nothing in review; `labels` and the rates are without them.
    """

    photos: int
    cropped: int
    not_found: int
    unreadable: int
    labels: dict[str, int]
    found_per_label: dict[str, float]
    rejected: int = 0

    @property
    def detection_rate(self) -> float:
        """Share of photos, of those readable and not rejected, with the object; 0 where none is."""
        readable = self.cropped + self.not_found
        return self.cropped / readable if readable else 0.0


def count(photos: tuple[Photo, ...], crops: tuple[Crop, ...]) -> Counts:
    """Count photos by state and by label."""
    found = {crop.photo_id for crop in crops if crop.state is CropState.CROPPED}
    label_of = {crop.photo_id: crop.label for crop in crops if crop.state is not CropState.REJECTED}
    readable = [p.id for p in photos if p.state is PhotoState.READABLE]
    kept = [name for name in readable if name in label_of]
    labels = Counter(label_of[name] for name in kept)
    hits = Counter(label_of[name] for name in kept if name in found)
    return Counts(
        photos=len(photos),
        cropped=sum(name in found for name in kept),
        not_found=sum(name not in found for name in kept),
        unreadable=len(photos) - len(readable),
        labels=dict(sorted(labels.items())),
        found_per_label={name: hits[name] / n for name, n in sorted(labels.items())},
        rejected=len(readable) - len(kept),
    )


@dataclass(frozen=True, slots=True)
class RunResult:
    """What ``closeup run`` gives: counts, scores on the test part, times, and where things lie.

    `scores` is None where there were too few photos to hold any out. `compared` has a row for
    each combination of backbone, view and head, one of them picked. `trust` is None where there
    were too few photos to measure it. `checks` say what may be wrong with the photos or the model,
    `findings` which labels look wrong and what more photos would bring. `reviewed` is what people
    decided in review, None where they have not.
    """

    counts: Counts
    scores: Scores | None
    compared: tuple[Compared, ...]
    trust: Trust | None
    checks: tuple[Check, ...]
    findings: Findings
    crop_gain: Difference | None
    seconds: dict[str, float]
    notes: tuple[str, ...]
    model: Path
    report: Path
    reviewed: Reviewed | None = None

    def to_json(self) -> dict[str, Any]:
        """The stable object of ``run --json`` (docs/formats.md)."""
        gain = {} if self.crop_gain is None else {"crop_gain": self.crop_gain.to_json()}
        return {
            "photos": self.counts.photos,
            "cropped": self.counts.cropped,
            "not_found": self.counts.not_found,
            "unreadable": self.counts.unreadable,
            "rejected": self.counts.rejected,
            "labels": self.counts.labels,
            "detection_rate": round(self.counts.detection_rate, 6),
            "test": None if self.scores is None else _test_part(self.scores),
            "compared": [row.to_json() for row in self.compared],
            "trust": None if self.trust is None else _trust(self.trust),
            "checks": [check.to_json() for check in self.checks],
            "suspects": 0 if self.findings.suspects is None else len(self.findings.suspects.rows),
            "more_photos": self.findings.curve.sentence if self.findings.curve else None,
            **gain,
            "review": None if self.reviewed is None else self.reviewed.to_json(),
            "seconds": self.seconds,
            "notes": list(self.notes),
            "model": str(self.model),
            "report": str(self.report),
        }


def _test_part(s: Scores) -> dict[str, Any]:
    return {
        "n": s.n,
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
        "unlike": t.unlike,
        "accuracy_at_70": t.selective.at_70.value,
        "gain_at_70": t.selective.gain_70.value,
        "set_coverage": t.sets.coverage.value,
        "set_size": t.sets.size.value,
    }
