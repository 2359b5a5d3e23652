"""What is gained by withholding the least confident answers: coverage against accuracy.

The risk-coverage curve of selective classification (Geifman and El-Yaniv 2017): the most confident
answers are given first, and the curve shows the accuracy of those given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.evaluate.bootstrap import RESAMPLES, Interval, drawn_weights, interval, share_interval
from closeup.evaluate.predictions import Predictions

COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))  # the points of the curve

AT = 0.70


@dataclass(frozen=True, slots=True)
class Point:
    """The accuracy of the most confident answers, `coverage` being their share of all."""

    coverage: float
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Selective:
    """Coverage against accuracy on n close-ups.

    - `curve`: from few answers to all
    - `area`: the area under risk (1 - accuracy) against coverage; smaller is better
    - `at_70`, `gain_70`: the accuracy of the most confident 70 %, and by how much it exceeds that
      of all (paired)
    """

    n: int
    curve: tuple[Point, ...]
    area: Interval
    at_70: Interval
    gain_70: Interval


def measure_selective(
    predictions: Predictions, *, seed: int = 0, resamples: int = RESAMPLES
) -> Selective:
    """Accuracy of the most confident answers, for each coverage.

    Answers of equal confidence count with their mean accuracy, so the order of rows does not
    matter. Intervals come from draws of whole groups, each sorted anew.
    """
    _, place = np.unique(-predictions.confidence, return_inverse=True)
    order = np.argsort(place, kind="stable")
    tied = np.bincount(place, predictions.right) / np.bincount(place)
    right = tied[place][order]
    coverages = np.array([*COVERAGES, AT])
    n = len(right)
    point, area = _curve(np.ones((1, n)), right, coverages)
    weights = drawn_weights(predictions.groups, seed=seed, resamples=resamples)
    parts = zip(*(_curve(part[:, order], right, coverages) for part in weights), strict=True)
    drawn, areas = map(np.concatenate, parts)
    groups = len(set(predictions.groups))
    *accuracy, at_70 = (
        share_interval(float(value), column, groups)
        for value, column in zip(point[0], drawn.T, strict=True)
    )
    value, gains = float(point[0, -1] - point[0, -2]), drawn[:, -1] - drawn[:, -2]
    gain = interval(value, gains, groups, (-1.0, 1.0))
    return Selective(
        n=n,
        curve=tuple(map(Point, COVERAGES, accuracy)),
        area=share_interval(float(area[0]), areas, groups),
        at_70=at_70,
        # Sums in another order differ in the last bits.
        gain_70=Interval(*(round(bound, 12) for bound in (gain.value, gain.low, gain.high))),
    )


def _curve(
    weights: NDArray[Any], right: NDArray[np.float64], coverages: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ``(m, n)`` weights of rows in falling confidence: ``(m, coverages)`` accuracies of the
    most confident rows, and ``(m,)`` areas under the risk.

    A coverage is rounded up to whole rows, so that there is always one.
    """
    weights = weights.astype(np.float64)
    given = weights.cumsum(axis=1)
    total = given[:, -1:]
    correct = (weights * right).cumsum(axis=1)
    risk = 1 - correct / np.maximum(given, 1)
    area = (risk * weights).sum(axis=1) / total[:, 0]
    accuracy = np.empty((len(weights), len(coverages)))
    rows = np.arange(len(weights))
    for column, coverage in enumerate(coverages):
        last = (given < np.ceil(coverage * total - 1e-9)).sum(axis=1)
        accuracy[:, column] = correct[rows, last] / given[rows, last]
    return accuracy, area
