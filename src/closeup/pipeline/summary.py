"""What a run ends with: the counts and scores, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closeup.checks import Check
from closeup.evaluate import Difference, Scores
from closeup.pipeline.compare import Compared
from closeup.pipeline.findings import Findings
from closeup.pipeline.trust import Trust
from closeup.types import Crop, CropState, Photo, PhotoState


@dataclass(frozen=True, slots=True)
class Counts:
    """Every photo of a run, by what became of it: ``photos`` is the sum of the other three.

    A photo with several found objects counts once. `rejected` photos are those a person ruled
    out in review; they count among the `not_found`.
    """

    photos: int
    cropped: int
    not_found: int
    unreadable: int
    labels: dict[str, int]
    found_per_label: dict[str, float]

    @property
    def detection_rate(self) -> float:
        """Share of the readable photos in which the object was found; 0 where none is readable."""
        readable = self.cropped + self.not_found
        return self.cropped / readable if readable else 0.0


def count(photos: tuple[Photo, ...], crops: tuple[Crop, ...]) -> Counts:
    """Count photos by state and by label."""
    found = {crop.photo_id for crop in crops if crop.state is CropState.CROPPED}
    readable = [p for p in photos if p.state is PhotoState.READABLE]
    labels = Counter(p.label for p in readable)
    hits = Counter(p.label for p in readable if p.id in found)
    return Counts(
        photos=len(photos),
        cropped=sum(p.id in found for p in readable),
        not_found=sum(p.id not in found for p in readable),
        unreadable=len(photos) - len(readable),
        labels=dict(sorted(labels.items())),
        found_per_label={name: hits[name] / n for name, n in sorted(labels.items())},
    )


@dataclass(frozen=True, slots=True)
class RunResult:
    """What ``closeup run`` gives: counts, scores on the test part, times, and where things lie.

    `scores` is None where there were too few photos to hold any out. `compared` has a row for
    each combination of backbone, view and head, one of them picked. `trust` is None where there
    were too few photos to measure it. `checks` say what may be wrong with the photos or the model,
    `findings` which labels look wrong and what more photos would bring.
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

    def to_json(self) -> dict[str, Any]:
        """The stable object of ``run --json`` (docs/formats.md)."""
        gain = {} if self.crop_gain is None else {"crop_gain": self.crop_gain.to_json()}
        return {
            "photos": self.counts.photos,
            "cropped": self.counts.cropped,
            "not_found": self.counts.not_found,
            "unreadable": self.counts.unreadable,
            "labels": self.counts.labels,
            "detection_rate": round(self.counts.detection_rate, 6),
            "test": None if self.scores is None else _test_part(self.scores),
            "compared": [row.to_json() for row in self.compared],
            "trust": None if self.trust is None else _trust(self.trust),
            "checks": [check.to_json() for check in self.checks],
            "suspects": 0 if self.findings.suspects is None else len(self.findings.suspects.rows),
            "more_photos": self.findings.curve.sentence if self.findings.curve else None,
            **gain,
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
