"""What is gained by withholding the answers that are least certain: coverage against accuracy.

The risk-coverage curve of selective classification (Geifman and El-Yaniv 2017): the surest answers
are given first, and the curve says how many of those given are right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.evaluate.predictions import (
    RESAMPLES,
    Predictions,
    drawn_weights,
    share_interval,
)
from closeup.evaluate.scores import Interval

SHARES = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""The coverages at which the curve is told."""

AT = 0.70


@dataclass(frozen=True, slots=True)
class Point:
    """The accuracy of the surest answers, `coverage` being their share of all."""

    coverage: float
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Selective:
    """Coverage against accuracy on n close-ups.

    Attributes
    ----------
    curve
        From few answers to all.
    area
        The area under risk (1 - accuracy) against coverage; smaller is better.
    at_70, gain_70
        The accuracy of the surest 70 %, and by how much it exceeds that of all (paired).
    """

    n: int
    curve: tuple[Point, ...]
    area: Interval
    at_70: Interval
    gain_70: Interval

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Selective:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError
            Where it is something else.
        """
        return cls(
            n=value["n"],
            curve=tuple(
                Point(point["coverage"], Interval(**point["accuracy"])) for point in value["curve"]
            ),
            **{name: Interval(**value[name]) for name in ("area", "at_70", "gain_70")},
        )


def measure_selective(
    judged: Predictions, *, seed: int = 0, resamples: int = RESAMPLES
) -> Selective:
    """Accuracy of the surest answers, for each share answered.

    Answers of equal confidence count with their mean accuracy, so the order of rows is of no
    matter. Intervals come from draws of whole groups, each put in order anew.
    """
    _, place = np.unique(-judged.confidence, return_inverse=True)
    order = np.argsort(place, kind="stable")
    tied = np.bincount(place, judged.right) / np.bincount(place)
    right = tied[place][order]
    shares = np.array([*SHARES, AT])
    n = len(right)
    point, area = _curve(np.ones((1, n)), right, shares)
    parts = [
        _curve(weights[:, order], right, shares)
        for weights in drawn_weights(judged.groups, seed=seed, resamples=resamples)
    ]
    drawn = np.concatenate([part[0] for part in parts])
    areas = np.concatenate([part[1] for part in parts])
    groups = len(set(judged.groups))
    accuracy = [share_interval(float(point[0, i]), drawn[:, i], groups) for i in range(len(shares))]
    return Selective(
        n=n,
        curve=tuple(map(Point, SHARES, accuracy[:-1])),
        area=share_interval(float(area[0]), areas, groups),
        at_70=accuracy[-1],
        gain_70=_gain(float(point[0, -1] - point[0, -2]), drawn[:, -1] - drawn[:, -2], groups),
    )


def _gain(value: float, drawn: NDArray[np.float64], groups: int) -> Interval:
    value = round(value, 12)  # sums in another order differ in the last bits
    if groups == 1:  # one group says nothing of how groups differ
        return Interval(value, -1.0, 1.0)
    low, high = np.percentile(drawn, [2.5, 97.5]).round(12)
    return Interval(value, float(low), float(high))


def _curve(
    weights: NDArray[Any], right: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ``(m, n)`` weights of rows in falling confidence: ``(m, shares)`` accuracies of the
    surest share, and ``(m,)`` areas under the risk.

    The share is rounded up to whole rows, so that there is always one.
    """
    weights = weights.astype(np.float64)
    given = weights.cumsum(axis=1)
    total = given[:, -1:]
    correct = (weights * right).cumsum(axis=1)
    risk = 1 - correct / np.maximum(given, 1)
    area = (risk * weights).sum(axis=1) / total[:, 0]
    accuracy = np.empty((len(weights), len(shares)))
    rows = np.arange(len(weights))
    for column, share in enumerate(shares):
        last = (given < np.ceil(share * total - 1e-9)).sum(axis=1)
        accuracy[:, column] = correct[rows, last] / given[rows, last]
    return accuracy, area
