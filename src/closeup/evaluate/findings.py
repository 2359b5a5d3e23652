"""What training measured, the contents of ``scores.json``, and the checks of photos and model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

from closeup.core.project import SCORES_FILE, Project
from closeup.core.serialization import from_json
from closeup.core.types import Crop, CropState, Example, Photo, PhotoState
from closeup.crops.cut import too_small
from closeup.dataset.groups import REJECTED, group_photos, labelled
from closeup.evaluate import checks, crop_checks
from closeup.evaluate.checks import Check
from closeup.evaluate.compare import Compared
from closeup.evaluate.label_issues import LabelIssues
from closeup.evaluate.learning_curve import LearningCurve
from closeup.evaluate.limits import Limits, check_chance
from closeup.evaluate.rights import RightsCount, check_rights
from closeup.evaluate.scores import AttributeScore, Difference, Scores
from closeup.evaluate.trust import Trust


@dataclass(frozen=True, slots=True)
class Padding:
    """Macro-F1 in cross-validation with a padding: mean and standard error over the folds."""

    pad: float
    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What training found out about the photos.

    - `label_issues`: labels of the training part that may be wrong; None where nothing could be
      held out
    - `label_issue_crops`: the crop id of each of their rows
    - `curve`: the score against the number of photos; None where there are too few
    - `covered`: ``(right, n)`` answers on the test part with the object covered; None where not
      tried
    - `pads`: the compared paddings
    - `alike`: by crop id, for the worst mistakes on the test part: the most similar training
      close-ups
    - `limits`: whether the heads know enough for the first three, and why they are None where they
      do not; None in findings from before there were limits
    """

    label_issues: Annotated[LabelIssues | None, Field(alias="suspects")]
    label_issue_crops: Annotated[tuple[str, ...], Field(alias="suspect_crops")]
    curve: LearningCurve | None
    covered: tuple[int, int] | None
    pads: tuple[Padding, ...]
    alike: Mapping[str, tuple[str, ...]]
    limits: Limits | None = None

    @property
    def no_issues(self) -> str:
        """Why label issues are withheld; ``""`` where they are not."""
        return self.limits.no_issues if self.limits else ""


def without_settled(findings: Findings, settled: Collection[str]) -> Findings:
    """The findings without label issues that a person has settled (`settled` are crop ids)."""
    issues = findings.label_issues
    if issues is None or not settled:
        return findings
    pairs = zip(issues.rows, findings.label_issue_crops, strict=True)
    kept = [(row, name) for row, name in pairs if name not in settled]
    rows, names = tuple(row for row, _ in kept), tuple(name for _, name in kept)
    return replace(findings, label_issues=replace(issues, rows=rows), label_issue_crops=names)


@dataclass(frozen=True)
class Evaluation:
    """What training measured: the contents of ``scores.json``.

    Attributes
    ----------
    key
        Changes with anything that goes into training.
    scores
        Measured on the test part; None where there were too few photos for one.
    log
        How the head was chosen: its cross-validation or epoch table.
    compared
        A row for each combination of backbone, view and head, one of them picked; empty where
        nothing could be held out.
    trust
        How well calibrated the answers on the test part are, and what withholding some gains;
        None without a test part or from too few photos.
    findings
        Label issues, the learning curve, and whether the object is needed at all.
    crop_gain
        By how much close-ups beat whole photos; None where that was not asked for.
    attributes
        A row for each attribute that was learned beside the label.
    training_notes
        Sentences on what was tried and decided while training.
    """

    key: str
    scores: Scores | None
    log: dict[str, Any]
    compared: tuple[Compared, ...]
    trust: Trust | None
    findings: Findings
    crop_gain: Difference | None
    attributes: tuple[AttributeScore, ...] = field(default=(), kw_only=True)
    training_notes: tuple[str, ...] = field(default=(), kw_only=True)


def read_evaluation(project: Project, name: str = SCORES_FILE) -> Evaluation | None:
    """The evaluation in a file of the project; None where there is none or it is damaged."""
    stored = project.read_json(name)
    try:
        return from_json(Evaluation, stored) if stored else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks need to know beside the evaluation.

    - `detector`: whether a detector looked for the objects; False where their boxes were given
    - `own_test`: whether the user brought the test part
    - `pairs`: ids of photos that show the same picture, as found and as people decided; photos of
      identical bytes need not be among them
    - `rights`: the licences of the photos; None where nothing is known of any
    """

    photos: Sequence[Photo]
    crops: Sequence[Crop]
    examples: Sequence[Example]
    detector: bool
    own_test: bool
    pairs: Sequence[tuple[str, str]] = ()
    rights: RightsCount | None = None


def run_checks(facts: Facts, evaluation: Evaluation) -> list[Check]:
    """Every check, in the order of their codes."""
    scores, trust, gain = evaluation.scores, evaluation.trust, evaluation.crop_gain
    findings, picture_of = evaluation.findings, _pictures(facts)
    limits = findings.limits
    untested = "nothing was held out to test on"
    return [
        checks.check_leak(*_leaks(facts)) if facts.own_test else checks.check_leak(None),
        checks.check_sizes(_sizes(facts.examples, picture_of)),
        checks.check_precision(scores.macro_f1, {c.label: c.support for c in scores.per_class})
        if scores else checks.skipped("CU103", untested, "add photos"),
        checks.check_labels(findings.label_issues, _disputed(facts.examples, picture_of),
                            withheld(findings, findings.no_issues)),
        check_rights(facts.rights),
        crop_checks.check_detection(_found(facts) if facts.detector else None),
        crop_checks.check_crop(gain.delta if gain else None),
        crop_checks.check_tiny(_sides(facts), too_small(facts.crops)),
        checks.check_calibration(trust.calibration if trust else None),
        checks.check_shortcut(findings.covered, majority_share(scores),
                              scores.accuracy.value if scores else 0.0,
                              withheld(findings, limits.withheld if limits else "")),
        checks.check_confusions(scores.labels, scores.confusion)
        if scores else checks.skipped("CU303", untested, "add photos"),
        check_chance(limits),
    ]  # fmt: skip


def _pictures(facts: Facts) -> dict[str, str]:
    """By photo id, the picture that it shows: copies share one, the user's groups do not."""
    # An example's group also joins the user's groups, which may hold several pictures and labels.
    alone = [replace(photo, group="") for photo in facts.photos]
    there = {photo.id for photo in alone}
    return group_photos(alone, pairs=[p for p in facts.pairs if there.issuperset(p)]).group_of


def _sizes(examples: Sequence[Example], picture_of: Mapping[str, str]) -> dict[str, int]:
    """Different training photos of each label: copies count once."""
    pairs = {(e.label, picture_of[e.photo_id]) for e in examples if e.split == "train"}
    return dict(sorted(Counter(label for label, _ in pairs).items()))


def _disputed(examples: Sequence[Example], picture_of: Mapping[str, str]) -> int:
    """How many pictures have copies with different labels.

    A photo whose close-ups have several labels is not a copy of itself.
    """
    labels: dict[str, set[str]] = {}
    for example in examples:
        if example.label and example.reason != REJECTED:
            labels.setdefault(example.photo_id, set()).add(example.label)
    copies: dict[str, set[frozenset[str]]] = {}
    for name, mine in labels.items():
        copies.setdefault(picture_of[name], set()).add(frozenset(mine))
    return sum(len(found) > 1 for found in copies.values())


def withheld(findings: Findings, why: str) -> str:
    """`why`, or where CU304 says so already, a word that leads there."""
    return "withheld, see CU304" if why and findings.limits and findings.limits.withheld else why


def _sides(facts: Facts) -> dict[str, tuple[float, float]]:
    """Width and height of the smallest box of each photo in which the object was found."""
    path_of = {photo.id: photo.path for photo in facts.photos}
    sides: dict[str, tuple[float, float]] = {}
    for crop in facts.crops:
        if crop.state is CropState.CROPPED:
            mine = (crop.box.width, crop.box.height)
            name = path_of[crop.photo_id]
            sides[name] = min(mine, sides.get(name, mine), key=min)
    return sides


def majority_share(scores: Scores | None) -> float:
    """Accuracy of always predicting the most frequent label of the test part; 0 without one."""
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
    """The user's training photos that share a group with one of their test photos.

    Those that were trained on, each with its test photo, by names that differ; and how many others
    there are, which the dataset leaves out of training.
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
