"""When findings about the photos are withheld, because the heads behind them know too little.

Label issues, the learning curve and the answers with the object covered all take heads for judges.
A head that hardly beats guessing calls good labels wrong, and what it needs is said by a check
instead (CU304). Three rules, each by out-of-fold answers alone:

- **Near chance.** Whoever guesses without looking at the photo cannot expect a macro-F1 above
  ``1 / k``: where a class has a share p of the photos and q of the guesses, its F1 is
  ``2 p q / (p + q) <= (p + q) / 2``, and over the k classes these sum to at most 1. Findings are
  withheld where the lower end of the 95 % interval of macro-F1 does not lie above that, or macro-F1
  itself is less than a quarter of the way from there to 1. The first rule is what evidence demands,
  the second a practical floor: below it, fewer than one label issue in five is a wrong label even
  where one label in twenty is wrong (``python -m bench.trust``).
- **Too few photos.** Where half the classes have fewer than five different photos in training, a
  head has seen two or three of a class: being unlike those says nothing about a label.
- **Too many label issues.** Even carelessly labelled sets have up to 10 % wrong labels (Northcutt,
  Athalye and Mueller 2021, on ten test sets). A list of more than one label in five says more about
  the head than about the labels, and moving those photos would teach the head its own mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.checks import Check, CheckState, issue, passed, skipped
from closeup.evaluate.label_issues import LabelIssues
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import macro_f1_interval

FLOOR = 0.25
"""Of the way from chance to 1, which macro-F1 must have gone."""
LEAST_PHOTOS = 5
"""Different training photos that the median class must have."""
MOST_ISSUES = 0.2
"""Label issues are withheld where they would name more than this share of the labels."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the heads know that findings would rest on.

    - `macro_f1`: of out-of-fold answers; None where nothing could be held out
    - `chance`, `least`: the highest macro-F1 to expect of guessing, and the lowest to conclude from
    - `photos`: different training photos of the median class
    - `withheld`: why label issues, the learning curve and the test with the object covered are not
      given; ``""`` where they are
    - `issues_withheld`: why label issues alone are not given; ``""`` where they are, or `withheld`
      says so
    """

    macro_f1: Interval | None
    chance: float
    least: float
    photos: float
    withheld: str
    issues_withheld: str = ""

    @property
    def near_chance(self) -> bool:
        """Whether answers are not clearly better than guesses."""
        score = self.macro_f1
        return score is not None and (score.low <= self.chance or score.value < self.least)

    @property
    def no_issues(self) -> str:
        """Why label issues are not given; ``""`` where they are."""
        return self.withheld or self.issues_withheld


def limits_of(
    predictions: Predictions | None, labels: Sequence[str], groups: Sequence[str], *, seed: int = 0
) -> Limits:
    """What may be concluded from out-of-fold answers.

    - `predictions`: out of fold, of the training part or some of it; None where nothing was held
      out
    - `labels`, `groups`: of each close-up of the training part
    """
    pictures: dict[str, set[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        pictures.setdefault(label, set()).add(group)
    photos = median(map(len, pictures.values())) if pictures else 0
    chance = 1 / max(len(pictures), 1)
    least = chance + FLOOR * (1 - chance)
    if predictions is None:
        why = "too few photos to hold any out of training"
        return Limits(None, chance, least, photos, why)
    found = Limits(macro_f1_interval(predictions, seed=seed), chance, least, photos, "")
    if found.near_chance:
        why = (
            f"the model is near chance: macro-F1 {found.macro_f1} in cross-validation, where "
            f"guessing gives up to {chance:.3f} and conclusions need {least:.3f} or more"
        )
    elif photos < LEAST_PHOTOS:
        why = (
            f"half the classes have {photos:g} different training photos or fewer, and conclusions "
            f"need {LEAST_PHOTOS} or more"
        )
    else:
        return found
    return Limits(found.macro_f1, chance, least, photos, why)


def too_many(issues: LabelIssues) -> str:
    """Why a list of label issues cannot be believed; ``""`` where it can."""
    share = len(issues.rows) / max(issues.n, 1)
    if share <= MOST_ISSUES:
        return ""
    return (
        f"the model doubts {len(issues.rows)} of {issues.n} labels ({100 * share:.0f} %); a list "
        f"of more than {100 * MOST_ISSUES:.0f} % says more about the model than about the labels"
    )


def check_chance(limits: Limits | None) -> Check:
    """CU304, from what out-of-fold answers allow to conclude."""
    if limits is None or limits.macro_f1 is None:
        return skipped("CU304", "nothing was held out of training", "add photos")
    if not limits.withheld:
        return passed(
            "CU304",
            f"macro-F1 {limits.macro_f1} in cross-validation; guessing gives up to "
            f"{limits.chance:.3f}",
        )
    detail = (
        f"{limits.withheld}; label issues, the learning curve and the test with the object covered "
        "are withheld"
    )
    if not limits.near_chance:
        return Check("CU304", "Too few photos", CheckState.ISSUE, detail, "add photos")
    return issue(
        "CU304", detail,
        "do not change labels because of this model; look at the close-ups and at some labels of "
        "each class in `closeup review`, then add photos, or train with another --backbone or "
        "without --finetune",
    )  # fmt: skip
