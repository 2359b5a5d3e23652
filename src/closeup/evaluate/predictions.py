"""Probabilities beside the truth, and bootstrap draws of whole groups to say how sure a figure is.

The draws are those of :mod:`closeup.evaluate.scores`: photos of one group are right or wrong
together, so whole groups are drawn (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.evaluate.scores import Interval

RESAMPLES = 1000

_LOW, _HIGH = 2.5, 97.5  # percentiles of a 95 % interval

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities for n close-ups, and the truth to judge them by.

    Attributes
    ----------
    probabilities
        ``(n, k)``, each row sums to 1: out of fold on the training part, or on the test part.
    labels
        The k classes, in the order of the columns.
    truth, groups
        n labels and groups. A true label that is not among `labels` is never answered rightly.

    Raises
    ------
    DatasetError
        Where n is 0, or a probability is not finite.
    UsageError
        Where the lengths do not go together.
    """

    probabilities: Probabilities
    labels: Sequence[str]
    truth: Sequence[str]
    groups: Sequence[str]

    def __post_init__(self) -> None:
        n, k = len(self.truth), len(self.labels)
        if n == 0:
            raise DatasetError("there is no close-up to judge by; give more photos")
        if self.probabilities.shape != (n, k) or len(self.groups) != n:
            raise UsageError(
                f"probabilities {self.probabilities.shape} and {len(self.groups)} groups do not "
                f"go with {n} true labels out of {k}"
            )
        if not np.isfinite(self.probabilities).all():
            raise DatasetError(
                "a probability is not finite; check the backbone, or run it with `--precision fp32`"
            )

    @cached_property
    def true(self) -> NDArray[np.int64]:
        """``(n,)`` positions of the true labels, -1 for one that is not among the labels."""
        place = {label: number for number, label in enumerate(self.labels)}
        return np.array([place.get(label, -1) for label in self.truth], np.int64)

    @cached_property
    def answer(self) -> NDArray[np.int64]:
        """``(n,)`` positions of the most probable labels, the first of equal ones."""
        answer: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return answer

    @cached_property
    def confidence(self) -> Probabilities:
        """``(n,)`` probability of the answer."""
        confidence: Probabilities = self.probabilities.max(axis=1)
        return confidence

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """``(n,)`` whether the answer is the truth."""
        right: NDArray[np.bool_] = self.answer == self.true
        return right


def drawn_weights(
    groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Iterator[NDArray[np.int64]]:
    """How often each of n rows is drawn, ``(m, n)`` at a time so that memory stays small.

    The same for the same groups and seed, so that figures from several calls are paired.
    """
    member, count = _members(groups)
    for draws in _draws(count, len(member), seed, resamples):
        yield draws[:, member]


def resampled_sums(
    values: NDArray[Any], groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Sums of the rows of `values` over the draws of :func:`drawn_weights`.

    Parameters
    ----------
    values
        ``(n, m)``, n at least 1.

    Returns
    -------
    sums
        ``(resamples, m)``.
    """
    member, count = _members(groups)
    per_group = np.zeros((count, values.shape[1]))
    np.add.at(per_group, member, values)
    draws = _draws(count, len(member), seed, resamples)
    return np.concatenate([times @ per_group for times in draws])


def share_interval(value: float, drawn: NDArray[np.float64], groups: int) -> Interval:
    """The percentile interval of a share, from its `drawn` values over so many groups.

    Draws in which the share is not defined (NaN) are left out. Where no draw differs from another,
    a share of 0 or 1 has the exact binomial bound of Clopper and Pearson (1934), and one measured
    on a single group any value.
    """
    defined = drawn[~np.isnan(drawn)]
    if not defined.size:
        return Interval(value, 0.0, 1.0)
    low, high = (float(bound) for bound in np.percentile(defined, [_LOW, _HIGH]))
    if low == high and groups > 0:
        least = (_LOW / 100) ** (1 / groups)
        if value in (0.0, 1.0):
            return Interval(value, least if value else 0.0, 1.0 if value else 1 - least)
        if groups == 1:
            return Interval(value, 0.0, 1.0)
    return Interval(value, low, high)


def _members(groups: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """The number of each row's group, and how many groups there are."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return member, len(names)


def _draws(count: int, rows: int, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    step = max(1, 500_000 // rows)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield rng.multinomial(count, np.full(count, 1 / count), size=size)
