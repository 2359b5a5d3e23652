"""Temperature and calibration error."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closeup.core.errors import UsageError
from closeup.core.serialization import from_json, to_json
from closeup.evaluate.calibration import (
    Bin,
    Calibration,
    Temperature,
    calibrate,
    fit_temperature,
    measure_calibration,
)
from closeup.evaluate.predictions import Predictions

LABELS = ("apple", "pear", "plum")


def drawn(n: int, seed: int = 0, k: int = 3) -> Predictions:
    """Perfectly calibrated answers: the truth is drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    powers = np.exp(rng.normal(0, 1.5, (n, k)))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    true = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    labels = [f"label{i}" for i in range(k)]
    return Predictions(probabilities, labels, [labels[i] for i in true], alone(n))


def alone(n: int) -> list[str]:
    return [f"g{i}" for i in range(n)]


def warmer(start: Predictions, temperature: float) -> Predictions:
    return Predictions(
        calibrate(start.probabilities, temperature), start.labels, start.truth, start.groups
    )


def predictions(
    rows: Sequence[Sequence[float]], truth: Sequence[str], groups: Sequence[str] = ()
) -> Predictions:
    return Predictions(np.array(rows, np.float64), LABELS, truth, groups or alone(len(truth)))


def test_one_close_up() -> None:
    one = predictions([[0.2, 0.7, 0.1]], ["pear"])
    found = measure_calibration(one, resamples=50)
    assert found.n == 1
    assert found.ece.value == pytest.approx(0.3)
    assert (found.ece.low, found.ece.high) == (0.0, 1.0)
    assert found.bins[10].count == 1
    assert found.bins[10] == Bin(10 / 15, 11 / 15, 1, 0.7, 1.0)
    assert sum(b.count for b in found.bins) == 1


def test_a_label_that_the_head_does_not_know_is_wrong() -> None:
    found = measure_calibration(
        predictions([[0.6, 0.3, 0.1]] * 2, ["quince", "apple"]), resamples=10
    )
    assert found.accuracy == 0.5
    assert found.loss == pytest.approx(-np.log(0.6))
    only = predictions([[0.6, 0.3, 0.1]], ["quince"])
    assert measure_calibration(only, resamples=10).loss == 0.0
    assert fit_temperature(only) == Temperature(1.0, 0, 0.0, 0.0)


def test_calibrating_nothing_and_the_impossible() -> None:
    assert calibrate(np.zeros((0, 3)), 2.0).shape == (0, 3)
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(UsageError, match="positive number"):
            calibrate(np.array([[0.5, 0.5]]), wrong)


@given(st.floats(0.3, 10), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_temperature_never_changes_the_answer(temperature: float, seed: int) -> None:
    before = drawn(5, seed).probabilities
    after = calibrate(before, temperature)
    assert after.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(np.argsort(after, axis=1), np.argsort(before, axis=1))
    assert calibrate(after, 1 / temperature) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("spoilt", [0.5, 2.0])
def test_the_temperature_that_was_taken_away_is_found(spoilt: float) -> None:
    start = drawn(6000)
    found = fit_temperature(warmer(start, 1 / spoilt))
    assert found.value == pytest.approx(spoilt, rel=0.06)
    assert found.loss_after < found.loss_before
    assert found.n == 6000


def test_no_other_temperature_has_a_lower_loss() -> None:
    start = warmer(drawn(400), 0.6)
    found = fit_temperature(start)

    def loss(temperature: float) -> float:
        """Of the 400 close-ups, each with its part of one imagined wrong answer."""
        logs = np.log(calibrate(start.probabilities, temperature))
        truth = logs[np.arange(400), start.true]
        others = (logs.sum(axis=1) - truth) / 2
        return -float((401 / 402 * truth + 1 / 402 * others).mean())

    assert all(loss(found.value) <= loss(found.value * step) for step in (0.98, 0.9, 1.02, 1.1))
    scaled = calibrate(start.probabilities, found.value)
    assert found.loss_after == pytest.approx(-np.log(scaled[np.arange(400), start.true]).mean())
    plain = start.probabilities[np.arange(400), start.true]
    assert found.loss_before == pytest.approx(-np.log(plain).mean())


@pytest.mark.parametrize("n", [10, 1000])
def test_right_answers_alone_do_not_prove_certainty(n: int) -> None:
    for confidence in (0.6, 0.999):
        rest = (1 - confidence) / 2
        start = predictions([[confidence, rest, rest]] * n, ["apple"] * n)
        calibrated = warmer(start, fit_temperature(start).value)
        assert calibrated.confidence[0] == pytest.approx(1 - 1 / (n + 2), abs=0.2 / n)


def test_all_right_is_no_certainty_either() -> None:
    found = measure_calibration(predictions([[1.0, 0, 0]] * 40, ["apple"] * 40), resamples=20)
    assert (found.ece.value, found.ece.low) == (0.0, 0.0)
    assert found.ece.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_a_class_unseen_by_a_fold_does_not_decide_the_temperature() -> None:
    start = drawn(300)
    rows = np.concatenate([start.probabilities, [[1.0, 0.0, 0.0]] * 5])
    more = Predictions(rows, start.labels, [*start.truth, *["label2"] * 5], alone(305))
    assert fit_temperature(more).value == fit_temperature(start).value
    assert fit_temperature(more).n == 300
    single = Predictions(np.ones((3, 1)), ["apple"], ["apple"] * 3, alone(3))
    assert fit_temperature(single).value == 1.0


def by_hand(found: Predictions, bins: int) -> float:
    """The definition, row by row."""
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i, c in enumerate(found.confidence) if low < c <= high]
        if inside:
            accuracy = np.mean([found.right[i] for i in inside])
            total += len(inside) * abs(accuracy - np.mean([found.confidence[i] for i in inside]))
    return total / len(found.truth)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_error_is_its_definition(bins: int) -> None:
    start = warmer(drawn(200), 0.5)
    found = measure_calibration(start, bins=bins, resamples=20)
    assert found.ece.value == pytest.approx(by_hand(start, bins))
    assert sum(b.count for b in found.bins) == 200
    with pytest.raises(UsageError, match="at least 1 bin"):
        measure_calibration(start, bins=0)


def test_one_bin_of_equal_mass_is_one_bin_of_equal_width() -> None:
    found = measure_calibration(warmer(drawn(200), 0.5), bins=1, resamples=50)
    assert found.ece_equal_mass == found.ece
    assert found.ece.value == pytest.approx(abs(found.accuracy - found.confidence))


def test_right_probabilities_have_an_error_near_the_floor() -> None:
    found = [measure_calibration(drawn(300, seed), resamples=200) for seed in range(20)]
    assert np.mean([f.ece.value for f in found]) == pytest.approx(
        np.mean([f.floor for f in found]), rel=0.15
    )
    assert sum(f.ece.low == 0 for f in found) >= 17
    assert sum(f.chance < 0.05 for f in found) <= 3


def test_overconfidence_is_seen_and_bounded() -> None:
    many = measure_calibration(warmer(drawn(20_000), 0.5), resamples=50).ece.value
    found = [measure_calibration(warmer(drawn(400, s), 0.5), resamples=200) for s in range(1, 21)]
    assert all(f.chance < 0.05 and f.confidence > f.accuracy for f in found)
    assert sum(f.ece.low <= many <= f.ece.high for f in found) >= 17
    assert min(f.ece.low for f in found) > 0


def test_copies_widen_the_interval() -> None:
    start = warmer(drawn(200), 0.5)
    rows = np.repeat(start.probabilities, 4, axis=0)
    truth = list(np.repeat(start.truth, 4))
    groups = list(np.repeat(start.groups, 4))
    apart = measure_calibration(Predictions(rows, start.labels, truth, alone(800)), resamples=300)
    whole = measure_calibration(Predictions(rows, start.labels, truth, groups), resamples=300)
    assert whole.ece.value == apart.ece.value
    assert whole.ece.high - whole.ece.low > 1.5 * (apart.ece.high - apart.ece.low)
    assert whole.floor > 1.5 * apart.floor


def test_the_same_seed_gives_the_same_figures() -> None:
    start = drawn(60)
    first = measure_calibration(start, resamples=50, seed=3)
    assert first == measure_calibration(start, resamples=50, seed=3)
    assert first != measure_calibration(start, resamples=50, seed=4)


def test_json_there_and_back() -> None:
    found = measure_calibration(drawn(30), resamples=20)
    assert from_json(Calibration, json.loads(json.dumps(to_json(found)))) == found
    warmth = fit_temperature(drawn(30))
    assert from_json(Temperature, json.loads(json.dumps(to_json(warmth)))) == warmth
    with pytest.raises(ValueError, match="Field required"):
        from_json(Calibration, {"n": 3})
