"""Multinomial logistic regression, its strength of regularisation chosen by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.heads.head import Dense, Fitted, Head, Standardiser, single_threaded
from closeup.parallel import ordered_map
from closeup.types import Floats

GRID: tuple[float, ...] = tuple(float(f"{10 ** (e / 2):.2g}") for e in range(-7, 2))
"""The C to choose from: 0.00032 to 3.2 in half decades, ascending."""

MAX_ITERATIONS = 300
"""A bound on time, not an aim: on real embeddings about 100 are enough."""


def fit_logistic(
    embeddings: Floats,
    labels: tuple[str, ...],
    classes: NDArray[np.int64],
    folds: NDArray[np.int64],
    seed: int,
) -> Fitted:
    """Choose C by macro-F1 over the folds (of equals the smaller), then fit on all rows.

    See :func:`closeup.heads.fit`, which checks the arguments; `classes` are ``(n,)`` positions in
    `labels`. The solver is deterministic, so `seed` is not used.
    """
    del seed
    numbers = np.unique(folds)

    def score(number: int) -> list[float]:
        return _scores_along_grid(embeddings, classes, folds == number)

    with single_threaded(), _quiet():
        by_fold = np.array(list(ordered_map(score, numbers, workers=min(8, len(numbers)))))
        means = by_fold.mean(axis=0)
        # Sums of floats differ in the last bit where the scores are the same.
        best = GRID[int(np.argmax(means.round(12)))]
        standardise = Standardiser.of(embeddings)
        model = _model(best).fit(standardise(embeddings), classes)
    iterations = int(model.n_iter_.max())
    errors = by_fold.std(axis=0, ddof=1) / np.sqrt(len(numbers))
    head = Head("logistic", labels, (standardise.fold_into(*_layer(model)),), {"c": best})
    log = {
        "kind": "logistic",
        "c": best,
        "folds": len(numbers),
        "iterations": iterations,
        "converged": iterations < MAX_ITERATIONS,
        "table": [
            {"c": C, "macro_f1": float(mean), "error": float(error)}
            for C, mean, error in zip(GRID, means, errors, strict=True)
        ],
    }
    return Fitted(head, log)


def _model(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=MAX_ITERATIONS, warm_start=True)


def _scores_along_grid(
    embeddings: Floats, classes: NDArray[np.int64], held: NDArray[np.bool_]
) -> list[float]:
    """Macro-F1 on the held rows for each C, over the classes they have.

    Each fit starts from the solution for the C before, which takes half the time.
    """
    from sklearn.metrics import f1_score

    standardise = Standardiser.of(embeddings[~held])
    train, test = standardise(embeddings[~held]), standardise(embeddings[held])
    known, truth = classes[~held], classes[held]
    model = _model(GRID[0])
    scores = []
    for C in GRID:
        if np.ptp(known) == 0:  # one class is left, and the solver refuses to learn that
            answers = np.full(len(truth), known[0])
        else:
            answers = model.set_params(C=C).fit(train, known).predict(test)
        scores.append(
            float(f1_score(truth, answers, labels=np.unique(truth), average="macro",
                           zero_division=0))
        )  # fmt: skip
    return scores


def _layer(model: Any) -> Dense:
    """The weights ``(k, d)`` and bias ``(k,)`` of a softmax; two classes have only one row."""
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return Dense(weights, bias)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning where a fit is stopped by the bound on iterations: the log says so.

    It is used as it is: stopping early only regularises further, and cross-validation has judged
    just that.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
