"""Least squares on the classes, its penalty and temperature chosen by cross-validation.

One solution in closed form gives all penalties at once, so choosing takes a second. On close-ups
with several stages of a backbone it also tells classes apart better than logistic regression
(see docs/accuracy.md), and with one photo a class it is close to the nearest class mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.parallel import ordered_map
from closeup.learn.heads.head import (
    Fitted,
    Head,
    single_threaded,
    softmax,
)
from closeup.learn.heads.problem import Problem, macro_f1

GRID: tuple[float, ...] = tuple(float(f"{10 ** (e / 2):.2g}") for e in range(-6, 3))
"""The penalties to choose from: 0.001 to 10 in half decades, as shares of the mean square."""
DEFAULT_PENALTY = 0.1
DEFAULT_TEMPERATURE = 5.0
"""For too few photos to choose: scores go from about 0 (not the class) to 1 (the class)."""

Matrix = NDArray[np.float64]


def fit_ridge(problem: Problem) -> Fitted:
    """Choose penalty and class weights by macro-F1 over the folds (of equals the larger penalty).

    The temperature makes the held-out rows most likely; see :func:`closeup.learn.heads.fit`.
    """
    chosen: dict[str, Any] = {"penalty": DEFAULT_PENALTY, "class_weight": "none",
                              "temperature": DEFAULT_TEMPERATURE}  # fmt: skip
    table: list[dict[str, Any]] = []
    out_of_fold = None
    with single_threaded():
        if problem.can_hold_out:
            chosen, table, scores = _choose(problem)
            out_of_fold = softmax(chosen["temperature"] * scores)
        head = refit_ridge(problem, chosen)
    folds = len(np.unique(problem.folds)) if problem.can_hold_out else 0
    return Fitted(head, {"kind": "ridge", **chosen, "folds": folds, "table": table}, out_of_fold)


def refit_ridge(problem: Problem, chosen: dict[str, Any]) -> Head:
    """The head of the given settings, fitted on all rows."""
    standardise = problem.standardiser()
    rows = _Rows.of(standardise(problem.embeddings), _targets(problem),
                    problem.row_weights(chosen["class_weight"] == "balanced"))  # fmt: skip
    weights, bias = rows.solve(chosen["penalty"])
    t = chosen["temperature"]
    return Head("ridge", problem.labels, (standardise.fold_into(t * weights, t * bias),), chosen)


def _choose(problem: Problem) -> tuple[dict[str, Any], list[dict[str, Any]], Matrix]:
    """The settings, the table of penalties, and the ``(n, k)`` scores of the held-out rows."""
    best: tuple[float, dict[str, Any], list[dict[str, Any]], Matrix] | None = None
    for balanced in problem.weightings:
        scores, table = _cross_validate(problem, balanced)
        means = np.array([row["macro_f1"] for row in table]).round(12)
        place = len(GRID) - 1 - int(np.argmax(means[::-1]))
        if best is None or means[place] > best[0]:
            chosen = {
                "penalty": GRID[place],
                "class_weight": "balanced" if balanced else "none",
                "temperature": fit_temperature(scores[place], problem.classes),
            }
            best = means[place], chosen, table, scores[place]
    assert best is not None
    return best[1:]


def _cross_validate(problem: Problem, balanced: bool) -> tuple[Matrix, list[dict[str, Any]]]:
    """``(penalties, n, k)`` scores of the held-out rows, and the table of the penalties."""
    scores = np.zeros((len(GRID), len(problem.classes), len(problem.labels)))

    def one(held: NDArray[np.bool_]) -> list[float]:
        rest = problem.only(~held)
        standardise = rest.standardiser()
        path = _Path.of(_Rows.of(standardise(rest.embeddings), _targets(rest),
                                 rest.row_weights(balanced)))  # fmt: skip
        scores[:, held] = path.scores(standardise(problem.embeddings[held]))
        truth = problem.classes[held]
        return [macro_f1(truth, one.argmax(axis=1)) for one in scores[:, held]]

    masks = list(problem.held_out())
    by_fold = np.array(list(ordered_map(one, masks, workers=min(8, len(masks)))))
    errors = by_fold.std(axis=0, ddof=1) / np.sqrt(len(masks))
    table = [
        {"penalty": penalty, "macro_f1": float(mean), "error": float(error)}
        for penalty, mean, error in zip(GRID, by_fold.mean(axis=0), errors, strict=True)
    ]
    return scores, table


def _targets(problem: Problem) -> Matrix:
    return np.eye(len(problem.labels))[problem.classes]


def fit_temperature(scores: Matrix, classes: NDArray[np.int64]) -> float:
    """The factor on ``(n, k)`` scores that makes the `classes` most likely; 0.01 to 1000."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(classes))

    def loss(log: float) -> float:
        chosen = softmax(np.exp(log) * scores)[rows, classes]
        return -float(np.log(np.maximum(chosen, 1e-30)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.01), np.log(1000)), method="bounded")
    return float(np.exp(found.x))


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is solved: rows and targets, centred, each times the root of its weight."""

    values: NDArray[np.float32]
    """``(n, d)``"""
    targets: Matrix
    """``(n, k)``"""
    centre: Matrix
    base: Matrix
    """Weighted means of the embeddings ``(d,)`` and of the targets ``(k,)``."""
    small: Matrix
    """``X X'`` where there are fewer rows than columns, else ``X' X``."""
    unit: float
    """What a penalty of 1 amounts to: the mean sum of squares of a row times their number."""

    @classmethod
    def of(cls, values: NDArray[np.float32], targets: Matrix, weights: Matrix) -> _Rows:
        n, d = values.shape
        share = weights / weights.sum()
        centre, base = share @ values, share @ targets
        root = np.sqrt(weights)[:, None]
        rows = (values - centre).astype(np.float32) * root.astype(np.float32)
        small = (rows @ rows.T if n <= d else rows.T @ rows).astype(np.float64)
        unit = max(float(np.trace(small)) / n, 1e-30)
        return cls(rows, (targets - base) * root, centre, base, small, unit)

    @property
    def wide(self) -> bool:
        """Whether there are no more rows than columns."""
        n, d = self.values.shape
        return bool(n <= d)

    def solve(self, penalty: float) -> tuple[Matrix, Matrix]:
        """Weights ``(k, d)`` and bias ``(k,)`` for one penalty above 0."""
        from scipy.linalg import cho_factor, cho_solve

        ridge = self.small.copy()
        ridge.flat[:: len(ridge) + 1] += penalty * self.unit
        wanted = self.targets if self.wide else self.values.T @ self.targets
        solved = cho_solve(cho_factor(ridge, overwrite_a=True), wanted)
        weights = self.values.T @ solved if self.wide else solved
        return weights.T, self.base - weights.T @ self.centre


@dataclass(frozen=True, slots=True)
class _Path:
    """Ridge regression for every penalty, from one eigendecomposition."""

    basis: Matrix
    """Orthonormal directions in the space of embeddings, ``(d, r)``."""
    spectrum: Matrix
    """``(r,)`` their sums of squares."""
    moments: Matrix
    """``(r, k)`` products of the directions with the targets."""
    rows: _Rows

    @classmethod
    def of(cls, rows: _Rows) -> _Path:
        spectrum, vectors = np.linalg.eigh(rows.small)
        kept = spectrum > max(spectrum[-1], 0.0) * 1e-7
        spectrum, vectors = spectrum[kept], vectors[:, kept]
        basis = rows.values.T @ vectors / np.sqrt(spectrum) if rows.wide else vectors
        return cls(basis, spectrum, basis.T @ (rows.values.T @ rows.targets), rows)

    def scores(self, values: NDArray[np.float32]) -> Matrix:
        """``(penalties, n, k)`` scores of standardised embeddings, for the whole grid."""
        inside = (values - self.rows.centre) @ self.basis
        spread, unit = self.spectrum, self.rows.unit
        return np.stack([
            inside @ (self.moments / (spread + penalty * unit)[:, None]) + self.rows.base
            for penalty in GRID
        ])  # fmt: skip
