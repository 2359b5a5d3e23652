"""Coverage against accuracy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from closeup.core.errors import UsageError
from closeup.core.serialization import from_json, to_json
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.selective import COVERAGES, FEWEST, Selective, fit_accuracy, measure_selective

LABELS = ("apple", "pear")


def case(
    confidence: list[float], right: list[bool], groups: list[str] | None = None
) -> Predictions:
    rows = np.array([[c, 1 - c] for c in confidence])
    truth = ["apple" if r else "pear" for r in right]
    return Predictions(rows, LABELS, truth, groups or [f"g{i}" for i in range(len(truth))])


def test_one_close_up() -> None:
    found = measure_selective(case([0.9], [True]), resamples=20)
    assert [p.coverage for p in found.curve] == list(COVERAGES)
    assert all(p.accuracy == Interval(1.0, 0.025, 1.0) for p in found.curve)
    assert found.area == Interval(0.0, 0.0, 0.975)
    assert found.gain_70 == Interval(0.0, -1.0, 1.0)


def test_by_hand() -> None:
    confidence = [0.6, 0.95, 0.7, 0.9, 0.8, 0.99, 0.55, 0.65, 0.75, 0.85]
    right = [False, True, False, True, True, True, False, True, False, True]
    found = measure_selective(case(confidence, right), resamples=50)
    best_first = [r for _, r in sorted(zip(confidence, right, strict=True), reverse=True)]
    running = np.cumsum(best_first) / np.arange(1, 11)
    by_share = {p.coverage: p.accuracy.value for p in found.curve}
    assert by_share[1.0] == pytest.approx(0.6)
    assert by_share[0.5] == pytest.approx(running[4])
    assert by_share[0.05] == pytest.approx(running[0])
    assert by_share[0.45] == pytest.approx(running[4])  # rounded up to whole rows
    assert found.at_70.value == pytest.approx(running[6])
    assert found.gain_70.value == pytest.approx(running[6] - 0.6)
    assert found.area.value == pytest.approx(np.mean(1 - running))


def test_order_of_equal_confidences_does_not_matter() -> None:
    right = [True] * 5 + [False] * 5
    first = measure_selective(case([0.8] * 10, right), resamples=20)
    assert all(p.accuracy.value == pytest.approx(0.5) for p in first.curve)
    assert first.area.value == pytest.approx(0.5)


def test_useful_confidence_gains_and_useless_does_not() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 600)
    useful = measure_selective(
        case(list(confidence), list(rng.random(600) < confidence)), resamples=300
    )
    assert useful.gain_70.low > 0
    assert useful.gain_70.low < useful.gain_70.value < useful.gain_70.high
    useless = measure_selective(case(list(confidence), list(rng.random(600) < 0.7)), resamples=300)
    assert useless.gain_70.low < 0 < useless.gain_70.high
    assert useful.area.value < useless.area.value


def test_copies_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 100)
    right = rng.random(100) < 0.7
    four = case(list(np.repeat(confidence, 4)), list(np.repeat(right, 4)))
    tied = Predictions(four.probabilities, LABELS, four.truth, [f"g{i // 4}" for i in range(400)])
    apart, whole = (measure_selective(c, resamples=300).at_70 for c in (four, tied))
    assert whole.value == apart.value
    assert whole.high - whole.low > 1.5 * (apart.high - apart.low)


def test_json_there_and_back() -> None:
    found = measure_selective(case([0.9, 0.8, 0.7], [True, False, True]), resamples=20)
    assert from_json(Selective, json.loads(json.dumps(to_json(found)))) == found
    assert found == measure_selective(case([0.9, 0.8, 0.7], [True, False, True]), resamples=20)
    with pytest.raises(ValueError, match="Field required"):
        from_json(Selective, {"n": 3})


def sorted_answers(right: list[bool], groups: list[str] | None = None) -> Predictions:
    """Of two classes, the most confident first."""
    confidence = np.linspace(0.99, 0.51, len(right))
    return Predictions(
        np.column_stack([confidence, 1 - confidence]), ("a", "b"),
        ["a" if one else "b" for one in right], groups or [str(i) for i in range(len(right))],
    )  # fmt: skip


def test_the_largest_share_that_is_surely_accurate_enough() -> None:
    answers = sorted_answers([True] * 200 + [False, True] * 100)
    rule = fit_accuracy(answers, 0.9)
    given = answers.confidence >= rule.min_confidence
    assert rule.reached
    assert given.mean() == pytest.approx(rule.coverage)
    assert answers.right[given].mean() == pytest.approx(rule.accuracy)
    assert rule.accuracy > rule.least >= 0.9
    # One more pair of answers would fall below.
    assert 0.9 < rule.accuracy < 0.94


def test_on_new_photos_the_accuracy_is_reached() -> None:
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(60):
        sure = rng.uniform(0.5, 1, (2, 400))
        known, new = (
            Predictions(np.column_stack([row, 1 - row]), ("a", "b"),
                        np.where(rng.random(400) < row, "a", "b").tolist(),
                        [str(i) for i in range(400)])
            for row in sure
        )  # fmt: skip
        rule = fit_accuracy(known, 0.9)
        # What answers this confident are right in truth: their confidence is.
        reached.append(sure[1][new.confidence >= rule.min_confidence].mean() >= 0.9)
    assert np.mean(reached) >= 0.85


def test_out_of_reach_answers_as_well_as_can_be() -> None:
    rule = fit_accuracy(sorted_answers([True, False] * 50), 0.95)
    assert not rule.reached
    assert rule.coverage >= FEWEST
    few = fit_accuracy(sorted_answers([True] * 20), 0.95)
    assert (few.reached, few.accuracy, few.coverage) == (False, 1.0, 1.0)
    none = fit_accuracy(sorted_answers([False] * 20), 0.95)
    assert (none.reached, none.least) == (False, 0.0)


def test_copies_prove_less() -> None:
    right = [True] * 60
    assert fit_accuracy(sorted_answers(right), 0.95).reached
    assert not fit_accuracy(sorted_answers(right, [str(i // 3) for i in range(60)]), 0.95).reached


def test_equal_confidence_is_answered_together() -> None:
    flat = Predictions(np.full((80, 2), 0.5), ("a", "b"), ["a"] * 80, [str(i) for i in range(80)])
    assert fit_accuracy(flat, 0.9).coverage == 1.0


@pytest.mark.parametrize("wanted", [0.0, 1.0, -1.0, np.nan])
def test_a_wanted_accuracy_out_of_range(wanted: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        fit_accuracy(sorted_answers([True]), wanted)
