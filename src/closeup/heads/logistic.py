"""Multinomial logistic regression, its strength chosen by grouped cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.heads.base import Fitted, Scaler, softmax
from closeup.parallel import ordered_map
from closeup.types import Floats

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
"""Values of C (inverse regularisation, on standardised embeddings) that are compared."""

_PATIENCE = 3  # values of C after the best one that may be worse before the search ends
_ITERATIONS = 1000
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class LogisticHead:
    """``softmax(standardised @ weights + bias)``; weights are ``(dim, classes)``."""

    labels: tuple[str, ...]
    scaler: Scaler
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    kind: str = "logistic"

    def probabilities(self, embeddings: Floats) -> NDArray[np.float64]:
        """See :meth:`closeup.heads.Head.probabilities`."""
        return softmax(self.scaler(embeddings) @ self.weights + self.bias)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """See :meth:`closeup.heads.Head.arrays`."""
        return {"mean": self.scaler.mean, "scale": self.scaler.scale, "weights": self.weights,
                "bias": self.bias}  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Nothing: the arrays say it all."""
        return {}


def fit_logistic(
    embeddings: Floats, labels: Sequence[str], folds: NDArray[np.int64], seed: int
) -> Fitted:
    """Fit on all rows, with the C of :data:`STRENGTHS` that cross-validates best.

    Parameters
    ----------
    embeddings
        ``(n, dim)``.
    folds
        ``(n,)``: the fold of each row; groups are whole in them.
    seed
        Unused: the fit is deterministic.

    Returns
    -------
    fitted
        Its log holds ``c`` and ``table``, a row for each C: mean macro-F1 over the folds and its
        standard error. Of equal ones the smallest C is taken.
    """
    del seed
    names, truth = np.unique(np.asarray(labels), return_inverse=True)
    numbers = np.unique(folds)
    table: list[dict[str, float]] = []
    paths = [_Path(embeddings, truth, folds != number) for number in numbers]
    best = 0
    for place, strength in enumerate(STRENGTHS):
        # Threads, one linear-algebra thread each: more would fight over the same processors.
        scores = list(ordered_map(lambda path: path.score(strength), paths))  # noqa: B023
        error = np.std(scores, ddof=1) / np.sqrt(len(scores))
        table.append({"c": strength, "macro_f1": float(np.mean(scores)), "error": float(error)})
        if table[place]["macro_f1"] > table[best]["macro_f1"]:
            best = place
        elif place - best >= _PATIENCE:
            break
    scaler = Scaler.of(embeddings)
    weights, bias = _solve(scaler(embeddings), truth, STRENGTHS[best], None)
    head = LogisticHead(tuple(str(n) for n in names), scaler, weights, bias)
    return Fitted(head, {"kind": "logistic", "c": STRENGTHS[best], "table": table})


class _Path:
    """One fold's fits along rising C, each started from the one before."""

    def __init__(
        self, embeddings: Floats, truth: NDArray[np.int64], inside: NDArray[np.bool_]
    ) -> None:
        scaler = Scaler.of(embeddings[inside])
        self._train, self._held = scaler(embeddings[inside]), scaler(embeddings[~inside])
        self._truth, self._expected = truth[inside], truth[~inside]
        self._last: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def score(self, strength: float) -> float:
        from sklearn.metrics import f1_score

        self._last = weights, bias = _solve(self._train, self._truth, strength, self._last)
        classes = np.unique(self._truth)  # a small class may be absent from a fold's training rows
        answers = classes[(self._held @ weights + bias).argmax(axis=1)]
        return float(f1_score(self._expected, answers, average="macro", zero_division=0))


def _solve(
    rows: Floats,
    truth: NDArray[np.int64],
    strength: float,
    start: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights ``(dim, classes)`` and bias ``(classes,)`` of one fit."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(
        C=strength, max_iter=_ITERATIONS, tol=_TOLERANCE, warm_start=start is not None
    )
    if start is not None:
        model.coef_, model.intercept_ = start[0].T, start[1]
    with threadpool_limits(1), warnings.catch_warnings():
        # At the weakest regularisation the loss is flat; the score no longer changes there.
        warnings.filterwarnings("ignore", message="lbfgs failed to converge")
        model.fit(rows, truth)
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:  # scikit-learn keeps one column for two classes
        weights, bias = np.hstack([-weights / 2, weights / 2]), np.hstack([-bias / 2, bias / 2])
    return np.ascontiguousarray(weights, np.float32), np.asarray(bias, np.float32)
