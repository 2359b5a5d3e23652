"""The report's first screen: a verdict in one sentence, the main figures, and what to do first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter

from closeup.evaluate.bootstrap import Interval, count_interval
from closeup.evaluate.checks import CheckState
from closeup.evaluate.findings import majority_share
from closeup.evaluate.scores import Scores
from closeup.report.result import RunResult

ALONE = 0.9  # a model that answers this share of photos as rightly as wanted needs no help
CLEAR_CASES = 0.2  # and one that answers this share is of use for these
SUGGESTS = 0.6  # from this accuracy on, a suggestion saves work
SURROUNDINGS = 0.15  # of the accuracy beyond guessing, what may be right with the object covered
SERIOUS = 0.1  # from this share of the answers on


class Level(StrEnum):
    """How much a finding matters, in the word that the page shows."""

    SERIOUS = "serious"
    WORTH_DOING = "worth doing"
    GOOD_TO_KNOW = "good to know"


LEVELS = {
    "CU101": Level.SERIOUS, "CU304": Level.SERIOUS, "CU401": Level.SERIOUS,
    "CU203": Level.GOOD_TO_KNOW, "CU302": Level.GOOD_TO_KNOW, "CU402": Level.GOOD_TO_KNOW,
}  # fmt: skip
"""Of the checks that are not worth doing, whatever they found."""


DOUBTFUL = {
    "CU101": "Perhaps good, but tested on copies of training photos",
    "CU104": "Good, as far as the labels are right",
    "CU201": "Good where the object is found",
    "CU302": "Good on these photos, perhaps not on others",
}
"""What a model is good for that would be good but for one serious issue."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model is good for; how good it is, and what spoils it most.

    `level` is None for a good model.
    """

    level: Level | None
    use: str
    reason: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the main figures: its name, how it is written, its interval, and what it is about."""

    name: str
    form: str
    interval: Interval
    note: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do; `stake` is the share of the answers that it is about, 0 where unknown."""

    level: Level
    title: str
    code: str
    detail: str
    advice: str
    stake: float

    @property
    def gain(self) -> str:
        """What it may bring; ``""`` where that is not known or next to nothing."""
        points = 100 * self.stake
        return f"up to +{points:.1f} points" if points >= 0.5 and self.code != "CU302" else ""


def verdict(result: RunResult) -> Verdict:
    """How good the model is, for what, and what spoils it most."""
    scores, limits = result.scores, result.findings.limits
    if scores is None:
        why = "there were too few photos to hold any out for a test."
        return Verdict(Level.WORTH_DOING, "Not measured", why)
    if limits is not None and limits.near_chance:
        guess = whole(majority_share(scores))
        return Verdict(Level.SERIOUS, "Not usable yet", f"{_right(result, scores)}, where always "
                       f"giving the same answer is right on {guess}.")  # fmt: skip
    level, use, reason = _use(result, scores)
    doubts = [step.code for step in steps(result) if step.level is Level.SERIOUS]
    if doubts and level is None:
        level, use = Level.WORTH_DOING, DOUBTFUL.get(doubts[0], "Good, with one serious doubt")
    _, spoiler = max(_spoilers(result, scores), default=(0.0, ""))
    return Verdict(level, use, f"{reason}{spoiler}.")


def _use(result: RunResult, scores: Scores) -> tuple[Level | None, str, str]:
    """What the model is good for, and why."""
    noun, at = result.noun, result.trust.at_accuracy if result.trust else None
    if at is not None and at.rule.reached and at.accuracy.high >= at.rule.wanted:
        reason = (f"it can answer {whole(at.answered.value)} of the {noun} it had not seen, and "
                  f"{whole(at.accuracy.value)} of these answers are right")  # fmt: skip
        if at.answered.value >= ALONE:
            return None, f"Good enough to label {noun} on its own", reason
        if at.answered.value >= CLEAR_CASES:
            return Level.WORTH_DOING, "Good for the clear cases", f"{reason}; the others are yours"
    if scores.accuracy.value >= SUGGESTS:
        return Level.WORTH_DOING, "Good for suggestions that you check", _right(result, scores)
    return Level.SERIOUS, "Not good enough to rely on", _right(result, scores)


def _right(result: RunResult, scores: Scores) -> str:
    return f"it is right on {whole(scores.accuracy.value)} of the {result.noun} it had not seen"


def _spoilers(result: RunResult, scores: Scores) -> Iterator[tuple[float, str]]:
    """What may spoil the answers: the share of them that it is about, and in words."""
    found = {check.code for check in result.checks if check.state is CheckState.ISSUE}
    missed = 1 - scores.n_found / max(scores.n_end_to_end, 1)
    if missed:
        yield missed, (f"; what costs most is that the object is not found in {whole(missed)} "
                       "of them")  # fmt: skip
    wrong = sum(map(sum, scores.confusion)) - sum(row[i] for i, row in enumerate(scores.confusion))
    count, one, other = most_confused(scores)
    if count > 2 and ("CU303" in found or count >= wrong / 4):
        both = f"{one} and {other} are mistaken for each other ({count} of {wrong} wrong answers)"
        yield count / scores.n, f"; what costs most is that {both}"
    if "CU104" in found and (issues := result.findings.label_issues):
        yield issues.share, f"; about {whole(issues.share)} of the labels may be wrong"
    if "CU302" in found and (hidden := _in_surroundings(result)):
        right, n = result.findings.covered or (0, 1)
        yield hidden, ("; but the surroundings give part of it away: with the object covered, "
                       f"{whole(right / n)} of the answers are still right")  # fmt: skip
    if "CU103" in found:
        low = scores.accuracy.value - scores.accuracy.low
        yield low, (f"; but that is from only {scores.n} test {result.noun}, so its accuracy may "
                    f"be as low as {whole(scores.accuracy.low)}")  # fmt: skip


def most_confused(scores: Scores) -> tuple[int, str, str]:
    """How many photos of two labels were answered with each other's label; the most, and which."""
    table, labels = scores.confusion, scores.labels
    pairs = ((table[i][j] + table[j][i], i, j)
             for i in range(len(labels)) for j in range(i))  # fmt: skip
    count, i, j = max(pairs, key=itemgetter(0), default=(0, 0, 0))
    return (count, labels[j], labels[i]) if count else (0, "", "")


def _in_surroundings(result: RunResult) -> float:
    """The share of answers that are right with the object covered, beyond what guessing gives.

    0 where that is little of the accuracy beyond guessing.
    """
    if result.scores is None or not result.findings.covered:
        return 0.0
    right, n = result.findings.covered
    guess, accuracy = majority_share(result.scores), result.scores.accuracy.value
    hidden = right / n - guess if n else 0.0
    return hidden if hidden >= SURROUNDINGS * (accuracy - guess) else 0.0


def figures(result: RunResult) -> list[Figure]:
    """The main figures of the test part, each with its interval; empty where none was measured."""
    scores, trust, counts = result.scores, result.trust, result.counts
    if scores is None:
        return []
    told = [Figure("Macro-F1", "score", scores.macro_f1,
                   f"the mean over the classes, on {scores.n:,} test {result.noun}")]  # fmt: skip
    at = trust.at_accuracy if trust else None
    if at is not None and at.rule.reached:
        told.append(
            Figure(f"Answered at {whole(at.rule.wanted)} accuracy", "percent", at.answered,
                   f"{whole(at.accuracy.value)} of these answers are right "
                   f"({100 * at.accuracy.low:.0f} to {whole(at.accuracy.high)})")
        )  # fmt: skip
    elif trust is not None:
        right = trust.accuracy_answered
        told.append(
            Figure("Answered", "percent", trust.answered,
                   f"{whole(right.value)} of these answers are right ({100 * right.low:.0f} to "
                   f"{whole(right.high)}); the others are “unknown”")
        )  # fmt: skip
    guess = f"{whole(majority_share(scores))} by always answering the most frequent class"
    told.append(Figure("Accuracy", "percent", scores.accuracy, guess))
    readable = counts.cropped + counts.not_found
    if readable and any(network.card.kind == "detector" for network in result.networks):
        told.append(Figure("Object found", "percent", count_interval(counts.cropped, readable),
                           f"in {counts.cropped:,} of {readable:,} photos"))  # fmt: skip
    return told


def steps(result: RunResult) -> list[Step]:
    """What to do, by what it brings: what invalidates the figures, then what costs most answers."""
    found = []
    for check in result.checks:
        if check.state is CheckState.ISSUE:
            stake, level = _stake(check.code, result), LEVELS.get(check.code, Level.WORTH_DOING)
            if stake >= SERIOUS:
                level = Level.SERIOUS
            found.append(Step(level, check.title, check.code, check.detail, check.advice, stake))
    curve = result.findings.curve
    if result.scores is None:
        detail = "with more of them, some can be held out for a test"
        advice = "add photos of each class"
        found.append(Step(Level.WORTH_DOING, "More photos", "", detail, advice, 0.0))
    elif curve is not None and curve.more is not None:
        advice = "add photos, of the weakest classes first"
        found.append(Step(Level.WORTH_DOING, "More photos", "", curve.sentence, advice, curve.gain))
    order = list(Level)
    return sorted(found, key=lambda step: (order.index(step.level), -step.stake, step.code))


def _stake(code: str, result: RunResult) -> float:
    """The share of the answers that a check's issue is about; 0 where that is not known."""
    scores, findings, counts = result.scores, result.findings, result.counts
    if code == "CU201":
        return 1 - counts.detection_rate
    if code == "CU104" and findings.label_issues:
        return findings.label_issues.share
    if scores is None:
        return 0.0
    if code == "CU302":
        return _in_surroundings(result)
    if code == "CU102":
        return max(scores.accuracy.value - scores.macro_f1.value, 0.0)
    if code == "CU303":
        return most_confused(scores)[0] / max(scores.n, 1)
    return 0.0


def whole(share: float) -> str:
    r"""A share in whole per cent that says 0 or 100 only where that is exact.

    >>> whole(0.9996), whole(1.0), whole(0.123)
    ('99\xa0%', '100\xa0%', '12\xa0%')
    """
    percent = share if share in (0, 1) else min(max(share, 0.01), 0.99)
    return f"{percent:.0%}".replace("%", "\N{NO-BREAK SPACE}%")
