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
from closeup.learn.heads.numerics import DEFAULT_SCALE, Matrix, fit_scale, leading, products
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
        scores = {balanced: _held_out_scores(problem, balanced) for balanced in problem.weightings}

        def along_grid(held: NDArray[np.bool_], balanced: bool) -> list[float]:
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
        small = products(rows if n <= d else rows.T)
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


def _held_out_scores(problem: Problem, balanced: bool) -> NDArray[np.float64]:
    """``(penalties, n, k)`` scores of each row by a solution without its fold, for the whole grid.

    One eigendecomposition gives them all: leaving a fold out changes the solution in closed form,
    by the part of the smoother matrix that belongs to the fold (An et al. 2007).
    """
    standardise = problem.standardiser()
    rows = _Rows.of(problem, standardise(problem.embeddings), balanced)
    spectrum, vectors = leading(rows.small, 1e-7)
    basis = vectors if rows.wide else rows.values @ vectors / np.sqrt(spectrum)
    root = np.sqrt(problem.row_weights(balanced))[:, None]
    targets = rows.targets + root * rows.base
    found = np.empty((len(GRID), *targets.shape))
    for place, penalty in enumerate(GRID):
        shrunk = basis * (spectrum / (spectrum + penalty * rows.unit))
        rest = rows.targets - shrunk @ (basis.T @ rows.targets)
        for held in problem.held_out():
            mine = root[held] @ root[held].T / (root**2).sum() + shrunk[held] @ basis[held].T
            error = np.linalg.solve(np.eye(len(mine)) - mine, rest[held])
            found[place, held] = (targets[held] - error) / root[held]
    return found
