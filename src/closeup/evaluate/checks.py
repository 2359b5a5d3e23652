"""What may be wrong with the photos or the model, as coded checks.

Each check turns plain facts into a verdict. CU105 is made in ``rights.py``, CU201 to CU203 in
``crop_checks.py``, CU304 in ``limits.py``. Codes never change their meaning:

===== ==========================================================================
CU101 copies on both sides of a split that the user gave
CU102 classes of very different size
CU103 too few test photos for a useful interval
CU104 labels that may be wrong
CU105 photos without a known licence, or with one that limits their use
CU201 the detector misses the object of some class more often than of others
CU202 the close-up does not clearly help
CU203 close-ups of a few pixels
CU301 unreliable probabilities
CU302 the answers stay right when the object is covered: a shortcut
CU303 pairs of classes confused far more often than others
CU304 answers near chance, or from too few photos to conclude from
CU401 the model is clearly worse than the one that was in use
CU402 the test part has been looked at so often that its score is doubtful
===== ==========================================================================

A verdict is ``issue`` only where chance hardly explains it (at 5 %, corrected by Holm's method
where several classes are tested) and where it is large enough to matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from closeup.core.text import listed
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.calibration import Calibration
from closeup.evaluate.label_issues import LabelIssues

K = TypeVar("K")

LEVEL = 0.05
UNEVEN = 5.0  # CU102 is an issue from this ratio of the largest to the smallest class on
WIDE = 0.15  # CU103 is an issue from this width of the interval of macro-F1 on
FEW = 10  # CU103 is an issue where a class has fewer test photos
WRONG_LABELS = 0.01  # CU104 is an issue from this share of wrong labels on
MISCALIBRATED = 0.05  # CU301 is an issue from this calibration error on
CONFUSED = 5  # CU303 is an issue from this number of confused photos of a pair on


class Titles(NamedTuple):
    """What a check is called where it finds an issue, passes, or was not made."""

    issue: str
    passed: str
    topic: str


TITLES: Mapping[str, Titles] = {
    "CU101": Titles(
        "Copies on both sides of the split", "No copies across the split", "Copies across the split"
    ),
    "CU102": Titles("Uneven class sizes", "Similar class sizes", "Class sizes"),
    "CU103": Titles("Too few test photos", "Enough test photos", "Number of test photos"),
    "CU104": Titles("Labels that may be wrong", "Hardly any doubtful labels", "Labels"),
    "CU105": Titles(
        "Photos with unknown or limiting licences", "Known and open licences", "Licences of photos"
    ),
    "CU201": Titles(
        "Objects missed more often in some classes",
        "Objects found in all classes alike",
        "Detection by class",
    ),
    "CU202": Titles(
        "Close-ups not clearly better than whole photos",
        "Close-ups better than whole photos",
        "Close-ups against whole photos",
    ),
    "CU203": Titles("Tiny close-ups", "No tiny close-ups", "Size of the close-ups"),
    "CU301": Titles("Unreliable probabilities", "Reliable probabilities", "Calibration"),
    "CU302": Titles(
        "Surroundings give the class away",
        "Answers depend on the object",
        "Answers with the object covered",
    ),
    "CU303": Titles("Confused classes", "No pair of confused classes", "Confused classes"),
    "CU304": Titles("Near chance", "Clearly better than chance", "Better than chance"),
    "CU401": Titles(
        "Worse than the model before",
        "Not clearly worse than the model before",
        "Against the model before",
    ),
    "CU402": Titles(
        "Test part used often", "Test part rarely used", "Times the test part was used"
    ),
}


class CheckState(StrEnum):
    """The verdict of a check.

    ``not_applicable`` where the question does not arise, ``skipped`` where nothing was measured.
    """

    ISSUE = "issue"
    PASSED = "passed"
    NOT_APPLICABLE = "not_applicable"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict: what was found, and what to do about it (``""`` where nothing is needed)."""

    code: str
    title: str
    state: CheckState
    detail: str
    advice: str


def skipped(code: str, why: str, advice: str = "") -> Check:
    """The verdict of a check that was not made.

    Raises KeyError for an unknown code.
    """
    return Check(code, TITLES[code].topic, CheckState.SKIPPED, why, advice)


def check_leak(pairs: Sequence[tuple[str, str]] | None, left_out: int = 0) -> Check:
    """CU101, from the copies ``(training photo, test photo)`` across the user's own split.

    None where there is no such split: the one that Closeup makes keeps copies together. The
    training photo of each pair was trained on. The `left_out` other photos do not affect the
    score, but whoever made the split should know about them.
    """
    if pairs is None:
        return not_applicable("CU101", "Closeup made the split and keeps copies on one side")
    if not pairs and left_out:
        return issue(
            "CU101",
            f"{counted(left_out, 'photo')} left out of training as copies of test photos or for "
            "sharing a group with them; the score is valid, as none was trained on",
            "remove them from one of the two folders",
        )
    if not pairs:
        return passed("CU101", "no test photo has a copy among the training photos")
    tests = len({test for _, test in pairs})
    first = ", ".join(f"{test} = {train}" for train, test in list(pairs)[:3])
    return issue(
        "CU101",
        f"{counted(tests, 'test photo')} with a copy or near copy in training: "
        f"{first}{' …' if len(pairs) > 3 else ''}",
        "remove the copies from one side; scores on photos that were trained on mean nothing",
    )


def check_sizes(counts: Mapping[str, int]) -> Check:
    """CU102, from the number of different training photos of each label."""
    if len(counts) < 2:
        return not_applicable("CU102", "there are fewer than 2 classes")
    small, large = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    noun = "different training photo"
    detail = f"{small} has {counted(counts[small], noun)}, {large} {counts[large]}"
    if counts[small] == counts[large]:
        detail = f"each of the {len(counts)} classes has {counted(counts[small], noun)}"
    if counts[large] < UNEVEN * max(counts[small], 1):
        return passed("CU102", detail)
    return issue(
        "CU102", detail,
        f"add photos of {small} first; look at macro-F1 and the scores by class, not at accuracy",
    )  # fmt: skip


def check_precision(score: Interval, support: Mapping[str, int]) -> Check:
    """CU103, from macro-F1 on the test part and the test photos of each label."""
    n, width = sum(support.values()), score.high - score.low
    detail = f"macro-F1 {score} from {n} test photos"
    few = sorted((n, label) for label, n in support.items() if n < FEW)
    if width < WIDE and not few:
        return passed("CU103", detail)
    advice = []
    if width >= WIDE:
        # The width shrinks with the square root of the number of photos.
        needed = round(n * (width / WIDE) ** 2)
        advice.append(f"for an interval narrower than {WIDE}, test on about {needed} photos")
    if few:
        named = listed([f"{label} ({count})" for count, label in few])
        detail += f"; fewer than {FEW} test photos of {named}"
        advice.append("do not rely on the scores of the smallest classes; add photos of them")
    return issue("CU103", detail, "; ".join(advice))


def check_labels(label_issues: LabelIssues | None, disputed: int = 0, withheld: str = "") -> Check:
    """CU104, from the label issues and the number of groups of copies with several labels.

    Copies show the same picture; photos that the user grouped are not copies.

    An issue from an estimated share of wrong labels of 0.01 on, and wherever copies contradict
    each other. None where labels could not be checked, or were not because of what `withheld` says.
    """
    if label_issues is None and not disputed:
        return skipped("CU104", withheld or "labels were not checked")
    found = []
    if disputed:
        found.append(f"{counted(disputed, 'group')} of copies with different labels")
    if label_issues is not None:
        found.append(
            f"{len(label_issues.rows)} of {label_issues.n} labels are worth checking, an estimated "
            f"{100 * label_issues.share:.1f} % are wrong (fewer if the classes are hard to tell "
            "apart)"
        )
    few = label_issues is None or label_issues.share < WRONG_LABELS or not label_issues.rows
    if few and not disputed:
        return passed("CU104", "; ".join(found))
    return issue(
        "CU104",
        "; ".join(found),
        "check them, the likeliest first, and move photos that are in the wrong folder",
    )


def check_calibration(calibration: Calibration | None) -> Check:
    """CU301, from the calibration on the test part."""
    if calibration is None:
        return skipped("CU301", "calibration was not measured")
    ece = calibration.ece
    detail = (
        f"calibration error {ece} on {calibration.n} photos; perfect calibration would show "
        f"{calibration.floor:.3f}"
    )
    if ece.value <= MISCALIBRATED or calibration.chance >= LEVEL:
        return passed("CU301", detail)
    over = "over" if calibration.confidence > calibration.accuracy else "under"
    return issue(
        "CU301",
        f"{detail}; the model is {over}confident",
        "do not rely on the probabilities alone; test photos may differ from training photos",
    )


def check_shortcut(
    covered: tuple[int, int] | None, majority: float, accuracy: float, withheld: str = ""
) -> Check:
    """CU302, from ``(right, photos)`` of the test part with the object covered.

    - `majority`: the share of the largest class among these photos: the accuracy of always
      answering it
    - `accuracy`: with the object visible
    - `withheld`: why the object was covered in none

    An issue where the exact lower bound (Clopper and Pearson 1934) lies above `majority`.
    """
    from scipy.special import betaincinv  # scipy.stats, which calls it too, takes long to import

    if covered is None:
        return skipped("CU302", withheld or "the object was covered in no photo")
    right, n = covered
    if n == 0:
        return not_applicable("CU302", "no photo has an object that could be covered")
    low = betaincinv(right, n - right + 1, LEVEL / 2) if right else 0.0
    detail = (
        f"accuracy {right / n:.3f} with the object covered ({accuracy:.3f} with it visible, "
        f"{majority:.3f} by always answering the largest class)"
    )
    if low <= majority:
        return passed("CU302", detail)
    return issue(
        "CU302",
        detail,
        "the surroundings reveal the class, which they may not do in new photos: photograph all "
        "classes in the same places, or show the model less of them (--view closeup, a smaller "
        "--pad); where more of the same objects lie around the covered one, nothing is wrong",
    )


def check_confusions(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Check:
    """CU303, from ``confusion[i][j]`` photos of ``labels[i]`` that were answered ``labels[j]``.

    A pair is named where its share of both classes' errors is larger than if errors were spread
    evenly over the other classes (binomial test, Holm's correction), from 5 photos on.
    """
    from scipy.special import bdtrc

    k = len(labels)
    if k < 3:
        return not_applicable("CU303", "there are fewer than 3 classes")
    errors = [sum(row) - row[i] for i, row in enumerate(confusion)]
    between = {(i, j): confusion[i][j] + confusion[j][i] for i in range(k) for j in range(i + 1, k)}
    # The chance of so many confused photos or more.
    chances = {
        (i, j): float(bdtrc(count - 1, errors[i] + errors[j], 1 / (k - 1))) if count else 1.0
        for (i, j), count in between.items()
    }
    pairs = sorted(
        (pair for pair in rejected_by_holm(chances) if between[pair] >= CONFUSED),
        key=lambda p: -between[p],
    )
    if not pairs:
        return passed("CU303", "errors are spread over all classes")
    named = listed([f"{labels[i]} / {labels[j]} ({between[i, j]} photos)" for i, j in pairs])
    return issue(
        "CU303",
        f"often confused: {named}",
        "check the labels of these classes, add photos that show the difference, or merge them",
    )


def rejected_by_holm(chances: Mapping[K, float]) -> list[K]:
    """The keys whose hypotheses are rejected together at the level, the least likely first."""
    rejected = []
    for place, key in enumerate(sorted(chances, key=lambda key: chances[key])):
        if chances[key] * (len(chances) - place) > LEVEL:
            break
        rejected.append(key)
    return rejected


def shortened(text: str, most: int = 300) -> str:
    """`text`, at most so many characters of it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(number: int, noun: str) -> str:
    """``1 photo``, ``2 photos``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def passed(code: str, detail: str) -> Check:
    """The verdict of a check that found nothing wrong."""
    return Check(code, TITLES[code].passed, CheckState.PASSED, detail, "")


def not_applicable(code: str, detail: str) -> Check:
    """The verdict of a check whose question does not arise."""
    return Check(code, TITLES[code].topic, CheckState.NOT_APPLICABLE, detail, "")


def issue(code: str, detail: str, advice: str) -> Check:
    """The verdict of a check that found something, and what to do about it."""
    return Check(code, TITLES[code].issue, CheckState.ISSUE, detail, advice)
