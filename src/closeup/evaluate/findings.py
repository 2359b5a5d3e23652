"""What training tells about the photos: doubtful labels, how many more are needed, checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from closeup.core.types import (
    Crop,
    CropState,
    Example,
    Photo,
    PhotoState,
)
from closeup.dataset.groups import REJECTED, group_photos, labelled
from closeup.evaluate import checks
from closeup.evaluate.checks import Check
from closeup.evaluate.label_issues import LabelIssues, find_label_issues
from closeup.evaluate.learning_curve import LearningCurve, LearningTask, learning_curve
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import Difference, Scores
from closeup.evaluate.trust import Trust

LEAST_FOR_CURVE = 4
"""Groups that each label must have in the training part for a learning curve."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Macro-F1 in cross-validation with a padding: mean and standard error over the folds."""

    pad: float
    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What training tells about the photos.

    Attributes
    ----------
    suspects
        Labels of the training part that may be wrong; None where nothing could be held out.
    suspect_crops
        The crop id of each of their rows.
    curve
        The score against the number of photos; None where there are too few.
    covered
        ``(right, n)`` answers on the test part with the object covered; None where not tried.
    pads
        The paddings that were to be compared.
    alike
        For the worst mistakes on the test part, by crop id: the training close-ups most alike.
    """

    suspects: LabelIssues | None
    suspect_crops: tuple[str, ...]
    curve: LearningCurve | None
    covered: tuple[int, int] | None
    pads: tuple[Padding, ...] = ()
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Findings:
        """Read what :meth:`to_json` gave."""
        return cls(
            LabelIssues.from_json(value["suspects"]) if value["suspects"] else None,
            tuple(value["suspect_crops"]),
            LearningCurve.from_json(value["curve"]) if value["curve"] else None,
            tuple(value["covered"]) if value["covered"] else None,
            tuple(Padding(**row) for row in value["pads"]),
            {name: tuple(others) for name, others in value["alike"].items()},
        )


def without_settled(findings: Findings, settled: Collection[str]) -> Findings:
    """The findings without suspects whose label a person has confirmed or given."""
    suspects = findings.suspects
    if suspects is None or not settled:
        return findings
    pairs = zip(suspects.rows, findings.suspect_crops, strict=True)
    kept = [(row, name) for row, name in pairs if name not in settled]
    rows, names = tuple(row for row, _ in kept), tuple(name for _, name in kept)
    return replace(findings, suspects=replace(suspects, rows=rows), suspect_crops=names)


def find(
    judged: Predictions | None,
    task: LearningTask | None,
    crop_ids: Sequence[str],
    covered: tuple[int, int] | None,
    seed: int,
) -> Findings:
    """UncertaintyRule the labels and draw the learning curve, both inside the training part.

    Parameters
    ----------
    judged
        Its out-of-fold probabilities; None where nothing could be held out.
    task
        Its features and the head that was chosen; None where heads fitted on parts of it would
        say nothing.
    crop_ids
        One for each row of `judged`.
    """  # fmt: skip
    if judged is None:
        return Findings(None, (), None, covered)
    suspects = find_label_issues(judged)
    groups: dict[str, set[str]] = {}
    names = tuple(crop_ids[row.index] for row in suspects.rows)
    if task is None:
        return Findings(suspects, names, None, covered)
    for label, group in zip(task.labels, task.groups, strict=True):
        groups.setdefault(label, set()).add(group)
    enough = min(map(len, groups.values())) >= LEAST_FOR_CURVE
    return Findings(
        suspects,
        names,
        learning_curve(task, seed=seed) if enough else None,
        covered,
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks look at, beside the findings.

    `pairs` are the ids of photos that show one picture, as found and as people decided; photos of
    identical bytes need not be among them.
    """

    photos: Sequence[Photo]
    crops: Sequence[Crop]
    examples: Sequence[Example]
    scores: Scores | None
    trust: Trust | None
    gain: Difference | None
    detector: bool
    own_test: bool
    pairs: Sequence[tuple[str, str]] = ()


def run_checks(facts: Facts, findings: Findings) -> list[Check]:
    """Every check, in the order of their codes."""
    scores, picture_of = facts.scores, _pictures(facts)
    calibration = facts.trust.calibration if facts.trust else None
    untested = "nothing was held out to test on"
    return [
        checks.check_leak(*_leaks(facts)) if facts.own_test else checks.check_leak(None),
        checks.check_sizes(_sizes(facts.examples, picture_of)),
        checks.check_precision(scores.macro_f1, {c.label: c.support for c in scores.per_class})
        if scores else checks.skipped("CU103", untested, "add photos"),
        checks.check_labels(findings.suspects, _disputed(facts.examples, picture_of)),
        checks.check_detection(_found(facts) if facts.detector else None),
        checks.check_crop(facts.gain.delta if facts.gain else None),
        checks.check_calibration(calibration),
        checks.check_shortcut(findings.covered, _majority(scores),
                              scores.accuracy.value if scores else 0.0),
        checks.check_confusions(scores.labels, scores.confusion)
        if scores else checks.skipped("CU303", untested, "add photos"),
    ]  # fmt: skip


def _pictures(facts: Facts) -> dict[str, str]:
    """For each photo id that of the picture it shows: copies share one, the user's groups do not.

    An example's group will not do: it joins the user's groups as well, which hold photos of
    different pictures and may hold several labels.
    """
    alone = [replace(photo, group="") for photo in facts.photos]
    there = {photo.id for photo in alone}
    return group_photos(alone, pairs=[p for p in facts.pairs if there.issuperset(p)]).group_of


def _sizes(examples: Sequence[Example], picture_of: Mapping[str, str]) -> dict[str, int]:
    """Different training photos of each label: copies count once."""
    pairs = {(e.label, picture_of[e.photo_id]) for e in examples if e.split == "train"}
    return dict(sorted(Counter(label for label, _ in pairs).items()))


def _disputed(examples: Sequence[Example], picture_of: Mapping[str, str]) -> int:
    """Pictures of which several copies are there that carry different labels.

    One photo whose close-ups have several labels is no copy of itself.
    """
    labels: dict[str, set[str]] = {}
    for example in examples:
        if example.label and example.reason != REJECTED:
            labels.setdefault(example.photo_id, set()).add(example.label)
    copies: dict[str, set[frozenset[str]]] = {}
    for name, mine in labels.items():
        copies.setdefault(picture_of[name], set()).add(frozenset(mine))
    return sum(len(found) > 1 for found in copies.values())


def _majority(scores: Scores | None) -> float:
    return max(map(sum, scores.confusion), default=0) / max(scores.n, 1) if scores else 0.0


def _found(facts: Facts) -> dict[str, tuple[int, int]]:
    hit = {crop.photo_id for crop in facts.crops if crop.state is CropState.CROPPED}
    kept = {crop.photo_id for crop in facts.crops if crop.state is not CropState.REJECTED}
    readable = [p for p in labelled(facts.photos, facts.crops)
                if p.state is PhotoState.READABLE and p.label and p.id in kept]  # fmt: skip
    total = Counter(photo.label for photo in readable)
    found = Counter(photo.label for photo in readable if photo.id in hit)
    return {label: (found[label], count) for label, count in sorted(total.items())}


def _leaks(facts: Facts) -> tuple[list[tuple[str, str]], int]:
    """What of the user's own training photos is in one group with a test photo.

    Returns
    -------
    pairs
        Those that were trained on, and the test photo, as names that differ.
    left_out
        How many others there are, which were not trained on, as the dataset promises.
    """
    photos: Mapping[str, Photo] = {photo.id: photo for photo in facts.photos}
    tests: dict[str, Photo] = {}
    for example in facts.examples:
        if photos[example.photo_id].split == "test":
            tests.setdefault(example.group, photos[example.photo_id])
    across = [(photos[e.photo_id], tests[e.group], e.split == "train") for e in facts.examples
              if photos[e.photo_id].split != "test" and e.group in tests]  # fmt: skip
    pairs = dict.fromkeys(
        (str(mine.file), str(test.file)) if mine.path == test.path else (mine.path, test.path)
        for mine, test, used in across if used
    )  # fmt: skip
    left_out = {mine.id for mine, _, _ in across} - {mine.id for mine, _, used in across if used}
    return list(pairs), len(left_out)


def covered_answers(truth: Sequence[str], labels: Sequence[str], shares: Any) -> tuple[int, int]:
    """Right answers and their number, from ``(n, k)`` probabilities; n may be 0."""
    if not len(truth):
        return 0, 0
    best = np.asarray(shares).argmax(axis=1)
    return sum(labels[i] == label for i, label in zip(best, truth, strict=True)), len(truth)
