"""What may be wrong with the photos or the model, as coded checks.

Each check turns plain facts into a verdict. Codes never change their meaning:

===== ==========================================================================
CU101 copies on both sides of a split that the user gave
CU102 classes of very different size
CU103 too few test photos for a useful interval
CU104 labels that may be wrong
CU201 the detector misses the object of some class more often than of others
CU202 the close-up does not clearly help
CU301 probabilities that cannot be believed
CU302 the answer survives when the object is covered: a shortcut
CU303 pairs of classes taken for each other far more often than for the rest
===== ==========================================================================

A verdict is ``issue`` only where chance hardly explains it (at 5 %, corrected by Holm's method
where several classes are tried) and where it is large enough to matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from closeup.core.exact import bounds_of_share, chance_of_so_few, chance_of_so_many
from closeup.evaluate.calibration import Calibration
from closeup.evaluate.label_issues import LabelIssues
from closeup.evaluate.scores import Interval

K = TypeVar("K")

LEVEL = 0.05
UNEVEN = 5.0
"""From this ratio of the largest to the smallest class on, CU102 is an issue."""
WIDE = 0.15
"""From this width of the interval of macro-F1 on, CU103 is an issue."""
FEW = 10
"""A class with fewer test photos makes CU103 an issue."""
DOUBTED = 0.01
"""CU104: from this share of wrong labels on."""
MISSED = 0.05
"""CU201: by so much the rate of detection must lie below that of the rest."""
MISJUDGED = 0.05
"""CU301: so large the calibration error must be."""
CONFUSED = 5
"""CU303: so many photos of the pair must be confused."""

TITLES: Mapping[str, str] = {
    "CU101": "Copies across the split",
    "CU102": "Class sizes",
    "CU103": "Enough test photos",
    "CU104": "Labels",
    "CU201": "Detection by class",
    "CU202": "Close-up against whole photo",
    "CU301": "Calibration",
    "CU302": "Shortcut beside the object",
    "CU303": "Confused classes",
}


class CheckState(StrEnum):
    """The verdict of a check.

    ``not_applicable`` where the question does not arise, ``skipped`` where it was not measured.
    """

    ISSUE = "issue"
    PASSED = "passed"
    NOT_APPLICABLE = "not_applicable"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict: what was found, and what to do about it (``""`` where there is nothing)."""

    code: str
    title: str
    state: CheckState
    detail: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Check:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        TypeError, ValueError
            Where it is something else.
        """
        check = cls(**value)
        return cls(check.code, check.title, CheckState(check.state), check.detail, check.advice)


def skipped(code: str, why: str, advice: str = "") -> Check:
    """The verdict of a check that was not made.

    Raises
    ------
    KeyError
        For an unknown code.
    """
    return Check(code, TITLES[code], CheckState.SKIPPED, why, advice)


def check_leak(pairs: Sequence[tuple[str, str]] | None, left_out: int = 0) -> Check:
    """CU101, from the copies ``(training photo, test photo)`` across the user's own split.

    None where there is no such split: the one that Closeup makes keeps copies together. Of the
    pairs the training photo was trained on. The `left_out` others do the score no harm, but whoever
    made the split should know of them.
    """
    if pairs is None:
        return _not_applicable("CU101", "the split was made here, copies stay on one side")
    if not pairs and left_out:
        return _issue(
            "CU101",
            f"left out of training as copies of test photos, or as of one group with them: "
            f"{_count(left_out, 'photo')}; the score holds, as none was trained on",
            "take them out of one of the two folders",
        )
    if not pairs:
        return _passed("CU101", "no photo of the test folder has a copy among the training photos")
    tests = len({test for _, test in pairs})
    first = ", ".join(f"{test} = {train}" for train, test in list(pairs)[:3])
    return _issue(
        "CU101",
        f"{_count(tests, 'test photo')} with a copy or near copy in training: "
        f"{first}{' …' if len(pairs) > 3 else ''}",
        "take the copies out of one side; scores of photos that were trained on say nothing",
    )


def check_sizes(counts: Mapping[str, int]) -> Check:
    """CU102, from the number of different training photos of each label."""
    if len(counts) < 2:
        return _not_applicable("CU102", "there are fewer than 2 classes")
    small, large = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    noun = "different training photo"
    detail = f"{small} has {_count(counts[small], noun)}, {large} {counts[large]}"
    if counts[small] == counts[large]:
        detail = f"each of the {len(counts)} classes has {_count(counts[small], noun)}"
    if counts[large] < UNEVEN * max(counts[small], 1):
        return _passed("CU102", detail)
    return _issue(
        "CU102", detail,
        f"add photos of {small} first; read macro-F1 and the scores by class, not accuracy",
    )  # fmt: skip


def check_precision(score: Interval, support: Mapping[str, int]) -> Check:
    """CU103, from macro-F1 on the test part and the test photos of each label."""
    n, width = sum(support.values()), score.high - score.low
    detail = f"macro-F1 {score} from {n} test photos"
    few = sorted(label for label, count in support.items() if count < FEW)
    if width < WIDE and not few:
        return _passed("CU103", detail)
    advice = []
    if width >= WIDE:
        # The width goes down with the root of the number of photos.
        needed = round(n * (width / WIDE) ** 2)
        advice.append(f"for an interval narrower than {WIDE} test on about {needed} photos")
    if few:
        named = ", ".join(f"{label} ({support[label]})" for label in few)
        detail += f"; fewer than {FEW} test photos of {_short(named)}"
        advice.append("do not read much into the scores of the smallest classes; add photos")
    return _issue("CU103", detail, "; ".join(advice))


def check_labels(suspects: LabelIssues | None, disputed: int = 0) -> Check:
    """CU104, from the suspects and the number of groups of copies that hold several labels.

    Copies show one picture; photos that the user grouped are none.

    An issue from an estimated share of wrong labels of 0.01 on, and wherever copies contradict
    each other. None where labels were not doubted.
    """
    if suspects is None and not disputed:
        return skipped("CU104", "labels were not doubted")
    found = []
    if disputed:
        found.append(f"{_count(disputed, 'group')} of copies with different labels")
    if suspects is not None:
        found.append(
            f"{len(suspects.rows)} of {suspects.n} labels are worth a look, about "
            f"{100 * suspects.share:.1f} % seem wrong (fewer, where the classes are hard)"
        )
    few = suspects is None or suspects.share < DOUBTED or not suspects.rows
    if few and not disputed:
        return _passed("CU104", "; ".join(found))
    return _issue(
        "CU104", "; ".join(found),
        "look at them, the likeliest first, and move photos that lie in the wrong folder",
    )  # fmt: skip


def check_detection(found: Mapping[str, tuple[int, int]] | None) -> Check:
    """CU201, from ``(found, photos)`` for each label; None where all boxes were given.

    A class is named where Fisher's exact test (1935) of its misses against those of the rest
    stays significant after Holm's correction (1979) and the rate is lower by 0.05 or more.
    """
    if found is None:
        return _not_applicable("CU201", "the boxes were given, no detector was used")
    if len(found) < 2:
        return _not_applicable("CU201", "there are fewer than 2 classes")
    hits, total = (sum(pair[i] for pair in found.values()) for i in (0, 1))
    chances, gaps = {}, {}
    for label, (hit, count) in found.items():
        rest, others = hits - hit, total - count
        chances[label] = chance_of_so_few(hit, count, rest, others)
        gaps[label] = rest / max(others, 1) - hit / max(count, 1)
    worse = [label for label in _holm(chances) if gaps[label] >= MISSED]
    detail = f"the object was found in {hits} of {total} photos"
    if not worse:
        return _passed("CU201", f"{detail}, in no class clearly less often than in the rest")
    named = ", ".join(f"{label} ({found[label][0]} of {found[label][1]})" for label in worse)
    return _issue(
        "CU201", f"{detail}, clearly less often for {_short(named)}",
        "lower --threshold, name more categories with --parent, or give boxes for these classes "
        "with --boxes; `closeup scout` shows what fires on them",
    )  # fmt: skip


def check_crop(gain: Interval | None) -> Check:
    """CU202, from the gain in macro-F1 of close-ups over whole photos, paired."""
    if gain is None:
        return skipped("CU202", "whole photos were not tried", "run with --compare-photo")
    detail = f"close-ups give {gain.value:+.3f} macro-F1 ({gain.low:+.3f} to {gain.high:+.3f})"
    if gain.low > 0:
        return _passed("CU202", detail)
    if gain.high < 0:
        advice = "the whole photo tells more: the background may give the class away (see CU302)"
    else:
        advice = "a smaller or larger --pad may help; so may more test photos to tell"
    return _issue("CU202", detail, advice)


def check_calibration(calibration: Calibration | None) -> Check:
    """CU301, from the calibration on the test part."""
    if calibration is None:
        return skipped("CU301", "calibration was not measured")
    ece = calibration.ece
    detail = (
        f"calibration error {ece} on {calibration.n} photos, where perfect calibration would show "
        f"{calibration.floor:.3f}"
    )
    if ece.value <= MISJUDGED or calibration.chance >= LEVEL:
        return _passed("CU301", detail)
    sounds = "surer" if calibration.confidence > calibration.accuracy else "less sure"
    return _issue(
        "CU301", f"{detail}: the model sounds {sounds} than it is",
        "do not act on the probabilities alone; test photos may differ from those of training",
    )  # fmt: skip


def check_shortcut(covered: tuple[int, int] | None, majority: float, accuracy: float) -> Check:
    """CU302, from ``(right, photos)`` of the test part with the object covered.

    Parameters
    ----------
    majority
        The share of the largest class among these photos: what answering always the same gives.
    accuracy
        With the object in sight.

    An issue where the exact lower bound (Clopper and Pearson 1934) lies above `majority`.
    """
    if covered is None:
        return skipped("CU302", "no photo was answered with its object covered")
    right, n = covered
    if n == 0:
        return _not_applicable("CU302", "there is no photo whose object can be covered")
    low = bounds_of_share(right, n)[0]
    detail = (
        f"with the object covered {right / n:.3f} are right ({accuracy:.3f} in sight, "
        f"{majority:.3f} by always giving the largest class)"
    )
    if low <= majority:
        return _passed("CU302", detail)
    return _issue(
        "CU302", detail,
        "the surroundings give the class away, which new photos will not do; use a smaller --pad, "
        "or photos of all classes from the same sources",
    )  # fmt: skip


def check_confusions(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Check:
    """CU303, from ``confusion[i][j]`` photos of ``labels[i]`` that were answered ``labels[j]``.

    A pair is named where its share of both classes' errors is larger than errors spread evenly
    over the other classes would give (binomial test, Holm's correction), from 5 photos on.
    """
    k = len(labels)
    if k < 3:
        return _not_applicable("CU303", "there are fewer than 3 classes")
    errors = [sum(row) - row[i] for i, row in enumerate(confusion)]
    between = {(i, j): confusion[i][j] + confusion[j][i] for i in range(k) for j in range(i + 1, k)}
    chances = {
        (i, j): chance_of_so_many(count, errors[i] + errors[j], 1 / (k - 1))
        for (i, j), count in between.items()
    }
    pairs = sorted(
        (pair for pair in _holm(chances) if between[pair] >= CONFUSED), key=lambda p: -between[p]
    )
    if not pairs:
        return _passed("CU303", "errors are spread over the classes")
    named = ", ".join(f"{labels[i]} / {labels[j]} ({between[i, j]} photos)" for i, j in pairs)
    return _issue(
        "CU303", f"taken for each other: {_short(named)}",
        "check the labels of these classes, add photos that show their difference, or join them",
    )  # fmt: skip


def _holm(chances: Mapping[K, float]) -> list[K]:
    """The keys whose hypotheses are rejected together at the level, the surest first."""
    rejected = []
    for place, key in enumerate(sorted(chances, key=lambda key: chances[key])):
        if chances[key] * (len(chances) - place) > LEVEL:
            break
        rejected.append(key)
    return rejected


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _passed(code: str, detail: str) -> Check:
    return Check(code, TITLES[code], CheckState.PASSED, detail, "")


def _not_applicable(code: str, detail: str) -> Check:
    return Check(code, TITLES[code], CheckState.NOT_APPLICABLE, detail, "")


def _issue(code: str, detail: str, advice: str) -> Check:
    return Check(code, TITLES[code], CheckState.ISSUE, detail, advice)
