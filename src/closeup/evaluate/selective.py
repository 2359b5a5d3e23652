"""What is gained by withholding the least confident answers: coverage against accuracy.

The risk-coverage curve of selective classification (Geifman and El-Yaniv 2017): the most confident
answers are given first, and the curve shows the accuracy of those given. For a wanted accuracy,
:func:`fit_accuracy` chooses how confident an answer must be from out-of-fold answers alone. The
accuracy that these happen to show would be missed on new photos every second time, so the lower
bound of that accuracy decides (``python -m bench.trust`` measures both on photos held out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.bootstrap import RESAMPLES, Interval, drawn_weights, interval, share_interval
from closeup.evaluate.predictions import Predictions

COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))  # the points of the curve

AT = 0.70

ACCURACY = 0.95
"""The accuracy that is spoken of where none is asked for."""
CERTAINTY = 0.9
"""How certain it should be that answers on new photos are as accurate as wanted."""
FEWEST = 0.1
"""The share of photos that is answered even where no answers are as accurate as wanted."""


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


@dataclass(frozen=True, slots=True)
class AccuracyRule:
    """How confident an answer must be for a wanted accuracy, by out-of-fold answers.

    - `wanted`: the accuracy of the answers that are given
    - `min_confidence`: an answer of a lower probability is withheld
    - `coverage`, `accuracy`: the share of answers given, and how many of them are right
    - `least`: with a certainty of 0.9, the accuracy is at least this
    - `reached`: whether `least` is what was wanted; elsewhere it is the best there is
    """

    wanted: float
    min_confidence: float
    coverage: float
    accuracy: float
    least: float
    reached: bool


def fit_accuracy(predictions: Predictions, wanted: float) -> AccuracyRule:
    """The lowest confidence from which on answers are as accurate as wanted.

    Of all shares of the most confident answers, the largest one is taken whose accuracy is at least
    `wanted` by its exact lower bound (Clopper and Pearson 1934, one-sided, at 0.9). Copies are
    right or wrong together, so groups are counted rather than photos. Where no share reaches it,
    the one with the highest bound is taken, but never less than a tenth of the answers.

    - `predictions`: calibrated out-of-fold probabilities of the training part
    - `wanted`: between 0 and 1

    Raises UsageError where `wanted` is out of range.
    """
    from scipy.special import betaincinv  # scipy.stats takes long to import

    if not 0 < wanted < 1:
        raise UsageError(f"a wanted accuracy is a share between 0 and 1, got {wanted}")
    order = np.argsort(-predictions.confidence, kind="stable")
    confidence, n = predictions.confidence[order], len(order)
    right = predictions.right[order].cumsum()
    _, first = np.unique(np.asarray(predictions.groups)[order], return_index=True)
    groups = np.bincount(first, minlength=n).cumsum()  # different ones among the answers so far
    given = np.arange(1, n + 1)
    hits = groups * right / given
    low = np.where(
        hits > 0, betaincinv(np.maximum(hits, 1e-9), groups - hits + 1, 1 - CERTAINTY), 0
    )
    ends = np.append(confidence[1:] < confidence[:-1], True)  # equal ones are answered together
    good = ends & (low >= wanted)
    allowed = ends & (given >= np.ceil(FEWEST * n - 1e-9))
    if good.any():
        last = int(np.flatnonzero(good)[-1])
    else:
        last = int(np.where(allowed, low, -1.0).argmax())
    return AccuracyRule(
        wanted=wanted,
        min_confidence=float(confidence[last]),
        coverage=float(given[last] / n),
        accuracy=float(right[last] / given[last]),
        least=float(low[last]),
        reached=bool(good.any()),
    )


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
