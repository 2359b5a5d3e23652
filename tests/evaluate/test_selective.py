"""Coverage against accuracy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from closeup.core.serialization import from_json, to_json
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.selective import COVERAGES, Selective, measure_selective

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
