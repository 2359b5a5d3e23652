"""Prediction sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from closeup.core.errors import UsageError
from closeup.core.serialization import from_json, to_json
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.conformal import (
    Conformal,
    SetScore,
    fit_conformal,
    measure_sets,
    prediction_sets,
)
from closeup.evaluate.predictions import Predictions

LABELS = tuple("abcdef")


def drawn(n: int, seed: int, sharp: float = 1.5) -> Predictions:
    """The truth is drawn from probabilities that are then distorted: no calibration is needed."""
    rng = np.random.default_rng(seed)
    powers = np.exp(rng.normal(0, sharp, (n, 6)))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    true = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    squared = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
    return Predictions(squared, LABELS, [LABELS[i] for i in true], [f"g{i}" for i in range(n)])


def test_no_photo_gets_no_set() -> None:
    assert prediction_sets(np.zeros((0, 6)), Conformal(0.1, 0.2, 9)).shape == (0, 6)


def test_too_few_photos_give_all_labels() -> None:
    few = fit_conformal(drawn(8, 0), 0.1)
    assert few.threshold == 0.0
    assert prediction_sets(drawn(3, 1).probabilities, few).all()
    assert fit_conformal(drawn(9, 0), 0.1).threshold > 0.0


def test_one_photo() -> None:
    one = Predictions(np.array([[0.7, 0.2, 0.1]]), LABELS[:3], ["b"], ["g"])
    found = measure_sets(one, Conformal(0.1, 0.5, 20), resamples=20)
    assert found.coverage == Interval(0.0, 0.0, 0.975)
    assert found.size == Interval(1.0, 1.0, 3.0)
    assert found.sizes == (1, 0, 0)
    assert found.per_class == (("b", 0.0, 1),)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, np.nan])
def test_a_miscoverage_out_of_range(alpha: float) -> None:
    with pytest.raises(UsageError, match="alpha is a share"):
        fit_conformal(drawn(20, 0), alpha)


def test_the_threshold_is_the_quantile_of_the_paper() -> None:
    predictions = drawn(57, 3)
    scores = np.sort(1 - predictions.probabilities[np.arange(57), predictions.true])
    for alpha in (0.05, 0.1, 0.33):
        rank = int(np.ceil(58 * (1 - alpha)))
        assert 1 - fit_conformal(predictions, alpha).threshold == pytest.approx(scores[rank - 1])


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_promise_is_kept_on_average(alpha: float) -> None:
    kept = []
    for seed in range(60):
        conformal = fit_conformal(drawn(100, seed), alpha)
        test = drawn(300, 1000 + seed)
        sets = test.probabilities >= conformal.threshold
        kept.append(sets[np.arange(300), test.true].mean())
    assert np.mean(kept) == pytest.approx(1 - alpha + 0.5 / 101, abs=0.012)


def test_no_set_is_empty() -> None:
    rows = np.array([[0.4, 0.35, 0.25], [0.9, 0.05, 0.05]])
    sets = prediction_sets(rows, Conformal(0.5, 0.8, 50))
    assert sets.tolist() == [[True, False, False], [True, False, False]]


def test_smaller_alpha_gives_larger_sets() -> None:
    train, test = drawn(400, 0), drawn(200, 1)
    strict, loose = (
        measure_sets(test, fit_conformal(train, alpha), resamples=50) for alpha in (0.02, 0.3)
    )
    assert strict.size.value > loose.size.value
    assert strict.coverage.value > loose.coverage.value
    assert strict.coverage.low < strict.coverage.value < strict.coverage.high
    assert sum(loose.sizes) == 200
    assert loose.single == loose.sizes[0] / 200
    weighted = sum(share * n for _, share, n in loose.per_class) / 200
    assert weighted == pytest.approx(loose.coverage.value)


def test_a_label_that_the_head_does_not_know_is_never_covered() -> None:
    rows = np.array([[0.7, 0.3], [0.7, 0.3]])
    predictions = Predictions(rows, ("a", "b"), ["z", "b"], ["g", "h"])
    found = measure_sets(predictions, Conformal(0.1, 0.0, 5), resamples=20)
    assert found.per_class == (("b", 1.0, 1), ("z", 0.0, 1))
    assert fit_conformal(predictions, 0.4).threshold == 0.0


def test_json_there_and_back() -> None:
    conformal = fit_conformal(drawn(50, 0))
    assert from_json(Conformal, json.loads(json.dumps(to_json(conformal)))) == conformal
    found = measure_sets(drawn(30, 1), conformal, resamples=20)
    assert from_json(SetScore, json.loads(json.dumps(to_json(found)))) == found
    with pytest.raises(ValueError, match="Field required"):
        from_json(SetScore, {"n": 3})
