"""Multinomial logistic regression, its strength of regularisation chosen by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats
from closeup.learn.heads.head import Dense, Fitted, Head
from closeup.learn.heads.numerics import leading, products
from closeup.learn.heads.problem import Problem, choose, macro_f1

GRID: tuple[float, ...] = tuple(float(f"{10 ** (e / 2):.2g}") for e in range(-7, 2))
"""The C to choose from: 0.00032 to 3.2 in half decades, ascending."""
DEFAULT_C = 0.01  # for too few photos to choose

MAX_ITERATIONS = 300  # a bound on time, not an aim: on real embeddings about 100 are enough


def fit_logistic(problem: Problem) -> Fitted:
    """Choose C and class weights by macro-F1 over the folds (of equals the smaller C), then fit.

    See :func:`closeup.learn.heads.fit`. The solver is deterministic.
    """
    chosen: dict[str, Any] = {"c": DEFAULT_C, "class_weight": "none"}
    table: list[dict[str, float]] = []
    if problem.can_hold_out:
        with _quiet():
            scores = partial(_scores_along_grid, problem)
            best = choose(problem, ("c", GRID), scores, prefer_last=False)
        chosen = {"c": best.value, "class_weight": "balanced" if best.balanced else "none"}
        table = best.table
    head, iterations = _fit(problem, chosen)
    log = {
        "kind": "logistic",
        **chosen,
        "folds": problem.fold_count,
        "iterations": iterations,
        "converged": iterations < MAX_ITERATIONS,
        "table": table,
    }
    return Fitted(head, log)


def refit_logistic(problem: Problem, chosen: dict[str, Any]) -> Head:
    """The head of the given settings, fitted on all rows."""
    return _fit(problem, chosen)[0]


def _fit(problem: Problem, chosen: dict[str, Any]) -> tuple[Head, int]:
    standardise = problem.standardiser()
    rows, back = _row_space(standardise(problem.embeddings))
    weights = problem.row_weights(chosen["class_weight"] == "balanced")
    present = np.unique(problem.classes)
    k = len(problem.labels)
    if len(present) == 1:  # the solver refuses a single class
        bias = np.where(np.arange(k) == present[0], 0.0, -1e4)
        layer = standardise.fold_into(np.zeros((k, problem.embeddings.shape[1])), bias)
        return Head("logistic", problem.labels, (layer,), chosen), 0
    with _quiet():
        model = _model(chosen["c"]).fit(rows, problem.classes, sample_weight=weights)
    found, bias = _layer(model)
    full, full_bias = np.zeros((k, rows.shape[1])), np.full(k, -1e4)
    full[present], full_bias[present] = found, bias
    layer = standardise.fold_into(full if back is None else full @ back, full_bias)
    return Head("logistic", problem.labels, (layer,), chosen), int(model.n_iter_.max())


def _model(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=MAX_ITERATIONS, warm_start=True)


def _scores_along_grid(problem: Problem, held: NDArray[np.bool_], balanced: bool) -> list[float]:
    """Macro-F1 on the held rows for each C, over the classes they have."""
    rest = problem.only(~held)
    standardise = rest.standardiser()
    train, back = _row_space(standardise(rest.embeddings))
    test = standardise(problem.embeddings[held])
    test = test if back is None else test @ back.T
    weights, truth = rest.row_weights(balanced), problem.classes[held]
    if np.ptp(rest.classes) == 0:  # the solver refuses a single class
        return [macro_f1(truth, np.full(len(truth), rest.classes[0]))] * len(GRID)
    model = _model(GRID[0])
    scores = []
    for C in GRID:
        model.set_params(C=C).fit(train, rest.classes, sample_weight=weights)
        scores.append(macro_f1(truth, model.predict(test)))
    return scores


def _row_space(values: Floats) -> tuple[Floats, Floats | None]:
    """``(n, r)`` coordinates of the rows, and the ``(r, d)`` orthonormal directions they refer to.

    The regression's weights lie in the space of the rows, so nothing is lost, and with more
    dimensions than rows there is much less to do. Without, the values themselves and None.
    """
    n, d = values.shape
    if n >= d:
        return values, None
    spectrum, vectors = leading(products(values), 1e-7)
    if not spectrum.size:  # all rows are equal
        return np.zeros((n, 1), np.float32), np.eye(1, d, dtype=np.float32)
    root = np.sqrt(spectrum)
    directions = ((vectors / root).T @ values).astype(np.float32)
    return (vectors * root).astype(np.float32), directions


def _layer(model: Any) -> Dense:
    """The weights ``(k, d)`` and bias ``(k,)`` of a softmax; two classes have only one row."""
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return Dense(weights, bias)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning where a fit reaches the bound on iterations: the log says so.

    The fit is used as it is: stopping early only regularises further, and that is what
    cross-validation has measured.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
