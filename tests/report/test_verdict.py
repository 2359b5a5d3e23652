"""The first screen: the verdict, the figures, and what to do first."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.checks import TITLES, Check, CheckState, issue, passed
from closeup.evaluate.label_issues import LabelIssues
from closeup.evaluate.learning_curve import LearningCurve, Point
from closeup.evaluate.limits import Limits
from closeup.evaluate.selective import AccuracyRule
from closeup.evaluate.trust import AtAccuracy, Trust
from closeup.report.result import Counts, RunResult
from closeup.report.verdict import LEVELS, Level, figures, steps, verdict
from tests.report.test_report import BARE, full, scores


def trust(answered: float, right: float = 0.97, *, reached: bool = True) -> Trust:
    """What the first screen reads of it."""
    rule = AccuracyRule(0.95, 0.6, answered, right, right, reached)
    given = Interval(answered, answered - 0.05, min(answered + 0.05, 1.0))
    accuracy = Interval(right, right - 0.05, min(right + 0.02, 1.0))
    at = AtAccuracy(False, rule, given, accuracy)
    return cast(Trust, SimpleNamespace(at_accuracy=at, answered=given, accuracy_answered=accuracy))


def result(right: int, wrong: int = 0, **changes: Any) -> RunResult:
    """Of three classes, `right` photos of each are right and `wrong` of `b` are called `c`."""
    truth = ["a"] * right + ["b"] * (right + wrong) + ["c"] * right
    answers = ["a"] * right + ["b"] * right + ["c"] * (wrong + right)
    return replace(BARE, scores=scores(truth, answers, ["a", "b", "c"]), **changes)


def findings(**changes: Any) -> dict[str, Any]:
    return {"findings": replace(BARE.findings, **changes)}


def problem(code: str, detail: str = "detail") -> Check:
    return issue(code, detail, "advice")


def test_a_model_without_a_test_part_has_no_figures() -> None:
    none = replace(BARE, scores=None)
    assert verdict(none).use == "Not measured"
    assert figures(none) == []
    (step,) = steps(none)
    assert step.title == "More photos"  # not "Nothing": it is not known whether it is good


def test_a_good_model_is_good() -> None:
    found = verdict(result(30, trust=trust(0.96)))
    assert found.level is None
    assert found.use == "Good enough to label photos on its own"
    assert found.reason == (
        "it can answer 96\xa0% of the photos it had not seen, and 97\xa0% of these answers are "
        "right."
    )


@pytest.mark.parametrize(
    ("measured", "use"),
    [(trust(0.6), "Good for the clear cases"),
     (trust(0.1), "Good for suggestions that you check"),
     (trust(0.96, reached=False), "Good for suggestions that you check"),
     (trust(0.96, 0.8), "Good for suggestions that you check"),
     (None, "Good for suggestions that you check")],
)  # fmt: skip
def test_other_models_are_good_for_less(measured: Trust | None, use: str) -> None:
    found = verdict(result(30, trust=measured))
    assert found.level is Level.WORTH_DOING
    assert found.use == use


def test_bad_models_are_called_so() -> None:
    weak = result(3, 30)
    assert verdict(weak).level is Level.SERIOUS
    assert verdict(weak).use == "Not good enough to rely on"
    limits = Limits(Interval(0.3, 0.2, 0.4), 0.33, 0.5, 9, "withheld")
    chance = verdict(result(30, trust=trust(0.96), **findings(limits=limits)))
    assert chance.level is Level.SERIOUS
    assert chance.use == "Not usable yet"


def test_what_costs_most_is_named() -> None:
    mixed = verdict(result(30, 8, trust=trust(0.6))).reason
    assert mixed.endswith("; what costs most is that b and c are mistaken for each other (8 of 8 "
                          "wrong answers).")  # fmt: skip
    whole = result(30, 8, trust=trust(0.6)).scores
    assert whole is not None
    missed = replace(BARE, scores=replace(whole, n_found=50), trust=trust(0.6))
    assert "the object is not found in 49\xa0%" in verdict(missed).reason
    share = LabelIssues(100, 0.2, 0.2, 0.5, ())
    doubtful = result(30, 8, checks=(problem("CU104"),), **findings(label_issues=share))
    assert "20\xa0% of the labels may be wrong" in verdict(doubtful).reason
    few = result(30, 1, trust=trust(0.96), checks=(problem("CU103"),))
    assert "from only 91 test photos" in verdict(few).reason


def test_what_the_surroundings_give_away_is_a_doubt_where_it_is_much() -> None:
    much = result(30, trust=trust(0.96), checks=(problem("CU302"),), **findings(covered=(60, 90)))
    assert verdict(much).use == "Good on these photos, perhaps not on others"
    assert "67\xa0% of the answers are still right" in verdict(much).reason
    assert steps(much)[0].level is Level.SERIOUS
    little = replace(much, findings=replace(much.findings, covered=(34, 90)))
    assert verdict(little).level is None
    assert steps(little)[0].level is Level.GOOD_TO_KNOW


@pytest.mark.parametrize("code", TITLES)
def test_every_issue_is_a_step(code: str) -> None:
    found = steps(result(30, trust=trust(0.96), checks=(problem(code), passed("CU103", "fine"))))
    assert [(step.code, step.title) for step in found] == [(code, TITLES[code].issue)]
    assert found[0].level is LEVELS.get(code, Level.WORTH_DOING)


def test_steps_go_by_what_they_bring() -> None:
    curve = LearningCurve((), (Point(1, Interval(0, 0, 0)),), 1, 1, 1, 30, 0.02, 40, 30, 50, True)
    counts = Counts(100, 90, 10, 0, {}, {})
    order = [
        problem("CU402"), problem("CU303"), problem("CU201"), problem("CU103"), problem("CU101")
    ]  # fmt: skip
    found = steps(result(30, 8, checks=tuple(order), counts=counts, **findings(curve=curve)))
    assert [step.code for step in found] == ["CU101", "CU201", "CU303", "", "CU103", "CU402"]
    assert [step.gain for step in found] == ["", "up to +10.0 points", "up to +8.2 points",
                                             "up to +2.0 points", "", ""]  # fmt: skip


def test_states_other_than_issues_are_no_steps() -> None:
    others = [Check("CU103", "", state, "", "") for state in CheckState if state != "issue"]
    assert steps(result(30, checks=tuple(others))) == []


def test_figures_have_intervals_around_them() -> None:
    found = figures(replace(full().result, trust=trust(0.6)))
    assert [figure.name for figure in found] == [
        "Macro-F1", "Answered at 95\xa0% accuracy", "Accuracy", "Object found"
    ]  # fmt: skip
    for figure in found:
        interval = figure.interval
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert found[3].interval.value == 1890 / 1942
    unreached = figures(replace(full().result, trust=trust(0.6, reached=False)))
    assert unreached[1].name == "Answered"


def test_without_a_detector_nothing_was_found_by_one() -> None:
    assert [figure.name for figure in figures(result(3))] == ["Macro-F1", "Accuracy"]
