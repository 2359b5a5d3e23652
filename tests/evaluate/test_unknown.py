"""The rule for answers that are withheld."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from closeup.core.errors import ModelError, UsageError
from closeup.core.types import Floats
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.unknown import (
    ANSWERED,
    DIRECTIONS,
    NOT_CONFIDENT,
    OUT_OF_DISTRIBUTION,
    UnknownRule,
    fit_unknown,
    restore_rule,
)

LABELS = ("apple", "pear", "plum")


def features(n: int, seed: int, *, dims: int = 40, first: int = 0) -> Floats:
    """Embeddings like pooled activations: none negative, large in `dims` of 60 numbers."""
    rng = np.random.default_rng(seed)
    rows = rng.gamma(0.3, 0.02, (n, 60))
    rows[:, first : first + dims // 2] += rng.gamma(4, 1, (n, dims // 2))
    return rows.astype(np.float32)


def answers(n: int, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet([0.4, 0.4, 0.4], n)
    return Predictions(rows, LABELS, list(rng.choice(LABELS, n)), [f"g{i}" for i in range(n)])


def fitted(n: int = 200, coverage: float = 0.9) -> tuple[UnknownRule, Floats, Predictions]:
    rows, predictions = features(n, 0), answers(n)
    return fit_unknown(rows, predictions, np.arange(n) % 5, coverage), rows, predictions


def test_nothing_to_answer() -> None:
    rule, _, _ = fitted()
    assert rule.reasons(np.zeros((0, 3)), np.zeros((0, 60), np.float32)) == []


def test_two_photos_are_the_least() -> None:
    rows = features(2, 0)
    rule = fit_unknown(rows, answers(2), np.array([0, 1]), 1.0)
    assert rule.reasons(answers(2).probabilities, rows) == ["", ""]
    assert rule.answered == 1.0
    with pytest.raises(UsageError, match="at least 2 folds"):
        fit_unknown(rows, answers(2), np.array([3, 3]))


@pytest.mark.parametrize("coverage", [0.0, -0.1, 1.01, np.nan])
def test_a_coverage_out_of_range(coverage: float) -> None:
    with pytest.raises(UsageError, match="coverage is a share"):
        fitted(10, coverage)


def test_lengths_that_do_not_match() -> None:
    with pytest.raises(UsageError, match="do not match 4 labels"):
        fit_unknown(features(3, 0), answers(4), np.arange(4))
    with pytest.raises(UsageError, match="do not match 4 labels"):
        fit_unknown(features(4, 0), answers(4), np.arange(3))
    rule, rows, _ = fitted()
    with pytest.raises(UsageError, match="2 probabilities do not match 3"):
        rule.reasons(np.full((2, 3), 1 / 3), rows[:3])
    with pytest.raises(ModelError, match=r"shape \(n, 60\)"):
        rule.reasons(np.full((3, 3), 1 / 3), rows[:3, :59])


@pytest.mark.parametrize("coverage", [0.5, 0.9, 1.0])
def test_the_wanted_share_is_answered(coverage: float) -> None:
    rule, _, _ = fitted(400, coverage)
    assert rule.answered == pytest.approx(coverage, abs=0.005)
    assert rule.coverage == coverage
    fresh = rule.reasons(answers(1000, 9).probabilities, features(1000, 9))
    assert np.mean([reason == ANSWERED for reason in fresh]) == pytest.approx(coverage, abs=0.05)


def test_both_reasons_are_given() -> None:
    rule, _, _ = fitted()
    sure, unsure = np.array([1.0, 0, 0]), np.full(3, 1 / 3)
    known, strange = features(1, 5), features(1, 5, first=30)
    assert rule.reasons(sure[None], known) == [ANSWERED]
    assert rule.reasons(unsure[None], known) == [NOT_CONFIDENT]
    assert rule.reasons(sure[None], strange) == [OUT_OF_DISTRIBUTION]
    assert rule.reasons(unsure[None], strange) == [OUT_OF_DISTRIBUTION]


def test_what_lies_outside_all_principal_directions_is_far() -> None:
    rng = np.random.default_rng(0)
    flat = np.zeros((300, 400), np.float32)
    flat[:, :20] = rng.gamma(4, 1, (300, 20))
    rule = fit_unknown(flat, answers(300), np.arange(300) % 5)
    assert rule.basis.shape == (DIRECTIONS, 400)
    outside = flat[:1].copy()
    outside[:, 300:] = 3.0
    assert rule.distances(outside)[0] > rule.max_distance > rule.distances(flat[:1])[0]


def test_distances_are_cosines_of_square_roots() -> None:
    rows = features(30, 1)
    rule = fit_unknown(rows, answers(30), np.arange(30) % 3)
    roots = np.sqrt(rows) / np.linalg.norm(np.sqrt(rows), axis=1, keepdims=True)
    new = np.sqrt(features(4, 2))
    cosines = (new / np.linalg.norm(new, axis=1, keepdims=True)) @ roots.T
    expected = 1 - np.sort(cosines, axis=1)[:, -5:].mean(axis=1)
    assert rule.distances(features(4, 2)) == pytest.approx(expected, abs=2e-3)


def test_no_photo_is_its_own_neighbour() -> None:
    """Each fold lies in a direction of its own: seen from the others, all is far."""
    rows = np.concatenate([features(20, fold, dims=8, first=20 * fold) for fold in range(3)])
    folds = np.repeat(np.arange(3), 20)
    rule = fit_unknown(rows, answers(60), folds, 1.0)
    assert rule.max_distance > 0.5
    mixed = fit_unknown(rows, answers(60), np.arange(60) % 3, 1.0)
    assert mixed.max_distance < 0.2


def test_an_embedding_of_zeros_is_far_and_signs_count() -> None:
    rule, rows, _ = fitted()
    assert rule.distances(np.zeros((1, 60), np.float32))[0] == pytest.approx(1)
    assert rule.distances(-rows[:1])[0] > 1.5


def test_kept_and_restored() -> None:
    rule, rows, predictions = fitted()
    settings = json.loads(json.dumps(rule.settings()))
    arrays = rule.arrays()
    again = restore_rule(arrays, settings)
    assert again.reasons(predictions.probabilities, rows) == rule.reasons(
        predictions.probabilities, rows
    )
    assert sum(array.nbytes for array in arrays.values()) < 200_000


@pytest.mark.parametrize(
    "changed",
    [
        {"basis": np.zeros((5, 60), np.float32)},
        {"basis": np.zeros((60, 60), np.float64)},
        {"references": np.zeros((0, 60), np.float16)},
        {"references": np.full((3, 60), np.nan, np.float16)},
        {"more": np.zeros(1, np.float32)},
    ],
)
def test_damaged_arrays_are_refused(changed: dict[str, NDArray[np.float32]]) -> None:
    rule, _, _ = fitted()
    with pytest.raises(ModelError, match="rule for unknown photos"):
        restore_rule({**rule.arrays(), **changed}, rule.settings())


def test_damaged_settings_are_refused() -> None:
    rule, _, _ = fitted()
    with pytest.raises(ModelError, match="expected basis"):
        restore_rule(rule.arrays(), {"coverage": 0.9})
    with pytest.raises(ModelError, match="not finite"):
        restore_rule(rule.arrays(), {**rule.settings(), "max_distance": np.nan})
