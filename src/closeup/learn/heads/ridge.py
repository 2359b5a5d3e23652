"""Least squares on the classes, its penalty and scale chosen by cross-validation.

One solution in closed form gives all penalties at once, so choosing takes a second. On close-ups
with several stages of a backbone it also classifies better than logistic regression (see
docs/accuracy.md), and with one photo a class it is close to the nearest class mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.learn.heads.head import Fitted, Head, softmax
from closeup.learn.heads.numerics import DEFAULT_SCALE, Matrix, fit_scale, leading
from closeup.learn.heads.problem import Problem, choose, macro_f1

GRID: tuple[float, ...] = tuple(float(f"{10 ** (e / 2):.2g}") for e in range(-6, 3))
"""The penalties to choose from: 0.001 to 10 in half decades, as shares of the mean square."""
DEFAULT_PENALTY = 0.1


def fit_ridge(problem: Problem) -> Fitted:
    """Choose penalty and class weights by macro-F1 over the folds (of equals the larger penalty).

    The scale makes the held-out rows most likely; see :func:`closeup.learn.heads.fit`.
    """
    chosen: dict[str, Any] = {"penalty": DEFAULT_PENALTY, "class_weight": "none"}
    table: list[dict[str, float]] = []
    scale, out_of_fold = DEFAULT_SCALE, None
    if problem.can_hold_out:
        shape = len(GRID), len(problem.classes), len(problem.labels)
        scores = {balanced: np.zeros(shape) for balanced in problem.weightings}

        def along_grid(held: NDArray[np.bool_], balanced: bool) -> list[float]:
            rest = problem.only(~held)
            standardise = rest.standardiser()
            path = _Path.of(_Rows.of(rest, standardise(rest.embeddings), balanced))
            scores[balanced][:, held] = path.scores(standardise(problem.embeddings[held]))
            truth = problem.classes[held]
            return [macro_f1(truth, one.argmax(axis=1)) for one in scores[balanced][:, held]]

        best = choose(problem, ("penalty", GRID), along_grid, prefer_last=True)
        chosen = {"penalty": best.value, "class_weight": "balanced" if best.balanced else "none"}
        table, held_out = best.table, scores[best.balanced][best.place]
        scale = fit_scale(held_out, problem.classes)
        out_of_fold = softmax(scale * held_out)
    chosen["temperature"] = scale
    log = {"kind": "ridge", **chosen, "folds": problem.fold_count, "table": table}
    return Fitted(refit_ridge(problem, chosen), log, out_of_fold)


def refit_ridge(problem: Problem, chosen: dict[str, Any]) -> Head:
    """The head of the given settings, fitted on all rows."""
    standardise = problem.standardiser()
    balanced = chosen["class_weight"] == "balanced"
    rows = _Rows.of(problem, standardise(problem.embeddings), balanced)
    weights, bias = rows.solve(chosen["penalty"])
    scale = chosen["temperature"]
    layer = standardise.fold_into(scale * weights, scale * bias)
    return Head("ridge", problem.labels, (layer,), chosen)


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
    """What a penalty of 1 means: the mean sum of squares of a row, times the number of rows."""

    @classmethod
    def of(cls, problem: Problem, values: NDArray[np.float32], balanced: bool) -> _Rows:
        """Of a problem and its standardised embeddings."""
        n, d = values.shape
        targets = np.eye(len(problem.labels))[problem.classes]
        weights = problem.row_weights(balanced)
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
        spectrum, vectors = leading(rows.small, 1e-7)
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
