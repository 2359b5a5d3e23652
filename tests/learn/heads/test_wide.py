"""Embeddings of more numbers than there are photos."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.learn import heads
from closeup.learn.heads import numerics
from closeup.learn.heads.numerics import in_few, products
from closeup.learn.heads.problem import in_few_numbers
from closeup.learn.heads.ridge import fit_ridge, refit_ridge


def wide(n: int = 60, d: int = 300, seed: int = 0) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Three classes that differ in a few of many numbers; labels and folds."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    rows = rng.standard_normal((n, d)).astype(np.float32)
    rows[np.arange(n), classes] += 8
    return rows, ["abc"[c] for c in classes], (np.arange(n) // 3) % 5


def test_coordinates_keep_the_products_and_directions_lead_back() -> None:
    rows = np.random.default_rng(0).standard_normal((20, 500)).astype(np.float32)
    coordinates, back = in_few(rows)
    assert coordinates.shape == (20, 20)
    assert np.allclose(coordinates @ coordinates.T, rows @ rows.T, atol=0.05)
    directions = np.random.default_rng(1).standard_normal((3, 20)).astype(np.float32)
    assert np.allclose(rows @ back(directions).T, coordinates @ directions.T, atol=0.01)


def test_rows_that_are_not_wide_stay_as_they_are() -> None:
    rows = np.ones((5, 5), np.float32)
    coordinates, back = in_few(rows)
    assert coordinates is rows
    assert np.array_equal(back(np.eye(5)), np.eye(5, dtype=np.float32))


@pytest.mark.parametrize("value", [0, 1])
def test_equal_rows_do_no_harm(value: float) -> None:
    coordinates, back = in_few(np.full((4, 9), value, np.float32))
    assert np.isfinite(coordinates).all()
    assert np.isfinite(back(np.ones((2, coordinates.shape[1])))).all()


def test_one_direction_that_dominates_leaves_no_product_below_zero() -> None:
    # In single precision the least eigenvalue of these is -4e-6 of the mean square, and that of
    # a network's embeddings of 1,248 photos was -1e-5: more than what keeps equal rows apart.
    rows = 1 + 1e-3 * np.random.default_rng(0).standard_normal((200, 20_000))
    found = products(rows.astype(np.float32))
    least, *_, most = np.linalg.eigvalsh(found)
    assert most == pytest.approx(np.trace(found), rel=1e-4)
    assert least > 0.1 * 1e-6 * np.trace(found) / len(found)


def test_products_are_those_of_all_columns() -> None:
    rows = np.random.default_rng(0).standard_normal((3, 5000)).astype(np.float32)
    assert np.allclose(products(rows), rows.astype(np.float64) @ rows.T.astype(np.float64))
    assert products(rows[:0]).shape == (0, 0)


def test_of_too_many_rows_some_span_the_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "MOST", 30)
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((80, 10)) @ rng.standard_normal((10, 200))).astype(np.float32)
    coordinates, back = in_few(rows)
    assert coordinates.shape == (80, 30)
    products = rows @ rows.T
    assert np.allclose(coordinates @ coordinates.T, products, atol=0.01 * products.max())
    direction = rng.standard_normal((1, 30))
    assert np.allclose(
        rows @ back(direction).T, coordinates @ direction.T, atol=0.05 * np.abs(coordinates).max()
    )


@pytest.mark.parametrize("kind", ["ridge", "logistic", "prototype", "mlp"])
def test_a_head_on_wide_embeddings_takes_them_as_they_are(kind: str) -> None:
    rows, labels, folds = wide()
    fitted = heads.fit(kind, rows, labels, folds, 0, (100, 200))
    assert fitted.head.layers[0].weights.shape[1] == 300
    new, truth, _ = wide(seed=1)
    right = [fitted.head.labels[i] for i in fitted.head.probabilities(new).argmax(axis=1)]
    assert np.mean([a == b for a, b in zip(right, truth, strict=True)]) > 0.6


def test_ridge_is_the_same_by_few_numbers_and_by_all() -> None:
    rows, labels, folds = wide(d=80)
    problem = heads.fitting._problem(rows, labels, folds, 0, (30, 50))
    small, expand = in_few_numbers(problem)
    chosen = {"penalty": 0.1, "class_weight": "none", "temperature": 1.0}
    few, all_of_them = expand(refit_ridge(small, chosen)), refit_ridge(problem, chosen)
    assert np.allclose(few.probabilities(rows), all_of_them.probabilities(rows), atol=1e-3)


@pytest.mark.parametrize("uneven", [False, True])
def test_held_out_answers_in_closed_form_are_those_of_fits_without_the_fold(uneven: bool) -> None:
    rows, labels, folds = wide(n=90, d=40)
    if uneven:
        kept = np.array([label != "c" or n % 2 == 0 for n, label in enumerate(labels)])
        rows, folds = rows[kept], folds[kept]
        labels = [label for label, keep in zip(labels, kept, strict=True) if keep]
    problem = heads.fitting._problem(rows, labels, folds, 0, ())
    fitted = fit_ridge(problem)
    for held in problem.held_out():
        alone = refit_ridge(problem.only(~held), dict(fitted.head.chosen))
        assert fitted.out_of_fold is not None
        expected = alone.probabilities(rows[held])
        assert np.abs(fitted.out_of_fold[held] - expected).max() < 0.05
        assert (fitted.out_of_fold[held].argmax(1) == expected.argmax(1)).mean() > 0.9
