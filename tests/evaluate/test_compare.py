"""Which of several candidates is taken."""

from __future__ import annotations

from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.compare import WORTH, Candidate, Compared, pick


def row(mean: float, work: float = 1.0, head: str = "ridge") -> Compared:
    score = Interval(mean, mean, mean)
    return Compared(Candidate("net", "closeup", head), score, mean, 0.01, 1.0, work, 0.0, 0.1)


def test_one_candidate_is_taken() -> None:
    assert pick([row(0.1)]) == 0


def test_the_best_of_equal_cost_is_taken() -> None:
    assert pick([row(0.7), row(0.72), row(0.71)]) == 1


def test_each_doubling_of_the_cost_has_to_pay() -> None:
    assert pick([row(0.7), row(0.7 + 0.9 * WORTH, work=2)]) == 0
    assert pick([row(0.7), row(0.7 + 1.1 * WORTH, work=2)]) == 1
    assert pick([row(0.7), row(0.7 + 1.9 * WORTH, work=4)]) == 0
    assert pick([row(0.7), row(0.7 + 2.1 * WORTH, work=4)]) == 1


def test_of_equals_the_simplest_head_is_taken() -> None:
    assert pick([row(0.7, head="logistic"), row(0.7, head="ridge")]) == 1
