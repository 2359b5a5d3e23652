"""Eigendecomposition, cross-entropy and the search for a scale, which several heads share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats
from closeup.learn.heads.head import softmax

Matrix = NDArray[np.float64]


def products(rows: NDArray[Any]) -> Matrix:
    """``(n, n)`` products of each two of ``(n, d)`` rows, summed in double precision.

    Sums in single precision are wrong by a share of the largest eigenvalue. Where one direction
    dominates, that can be more than all the others together, and no factorisation succeeds.
    """
    n, d = rows.shape
    total, step = np.zeros((n, n)), 2048  # a piece at a time, so that no copy of all is needed
    for start in range(0, d, step):
        piece = rows[:, start : start + step].astype(np.float64)
        total += piece @ piece.T
    return total


def leading(product: Matrix, least: float, most: int = 0) -> tuple[Matrix, Matrix]:
    """The eigenvalues ``(r,)``, ascending, and eigenvectors ``(n, r)`` of a symmetric matrix.

    - `product`: ``(n, n)``, positive semi-definite; may be overwritten
    - `least`: eigenvalues up to this share of the largest are left out: maybe all, where that is 0
    - `most`: the number of the largest to find, which is quicker; 0 for all
    """
    from scipy.linalg import eigh

    if most:
        n = len(product)
        values, vectors = eigh(product, subset_by_index=[max(0, n - most), n - 1],
                               overwrite_a=True, check_finite=False)  # fmt: skip
    else:
        values, vectors = np.linalg.eigh(product)
    kept = values > max(values[-1], 0.0) * least
    return values[kept], vectors[:, kept]


MOST = 4000
"""Of more rows than this, evenly spread ones span the coordinates (Williams & Seeger 2001)."""
_JITTER = 1e-5  # share of the mean square that keeps equal rows from making a matrix singular


def in_few(rows: Floats) -> tuple[Floats, Callable[[NDArray[Any]], Floats]]:
    """Coordinates of ``(n, d)`` rows in few dimensions, with the same products between rows.

    The rows span at most n dimensions. What depends on products alone, such as distances and the
    heads without hidden layers, comes out the same, in the time that n numbers take instead of d.

    Returns `coordinates`: ``(n, r)``, and a function that turns ``(k, r)`` directions in them into
    ``(k, d)`` directions of the rows. Rows that are not wide stay as they are.
    """
    from scipy.linalg import cholesky, solve_triangular

    n, d = rows.shape
    if d <= min(n, MOST):
        return rows, lambda directions: np.asarray(directions, np.float32)
    some = rows if n <= MOST else rows[np.linspace(0, n - 1, MOST).round().astype(int)]
    square = products(some)
    square.flat[:: len(some) + 1] += max(float(np.trace(square)) / len(some), 1e-30) * _JITTER
    root = cholesky(square, lower=True, check_finite=False)
    coordinates = (
        root if n <= MOST else solve_triangular(root, some @ rows.T, lower=True).T
    ).astype(np.float32)

    def back(directions: NDArray[Any]) -> Floats:
        weights = solve_triangular(root.T, directions.T.astype(np.float64), lower=False)
        return np.asarray(weights.T.astype(np.float32) @ some)

    return coordinates, back


DEFAULT_SCALE = 5.0
"""Of scores from about 0 (not the class) to 1 (the class), where there is too little to fit it."""


def cross_entropy(
    probabilities: NDArray[Any], classes: NDArray[np.int64], least: float = 1e-30
) -> float:
    """Mean negative log-likelihood of ``(n,)`` classes by ``(n, k)`` probabilities, n at least 1.

    A probability below `least` counts as that.
    """
    chosen = probabilities[np.arange(len(classes)), classes]
    return -float(np.log(np.maximum(chosen, least)).mean())


def least_loss(loss: Callable[[float], float], low: float, high: float) -> float:
    """The number between `low` and `high`, searched on a logarithmic scale, of least loss."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: loss(float(np.exp(log))), bounds=(np.log(low), np.log(high)), method="bounded"
    )
    return float(np.exp(found.x))


def fit_scale(scores: NDArray[Any], classes: NDArray[np.int64]) -> float:
    """The factor on ``(n, k)`` scores whose softmax makes the `classes` likeliest; 0.01 to 1000.

    Heads keep it under the name ``temperature``, though it multiplies: it turns scores into
    logits, which :func:`closeup.evaluate.calibration.fit_temperature` then divides.
    """
    return least_loss(lambda scale: cross_entropy(softmax(scale * scores), classes), 0.01, 1000)
