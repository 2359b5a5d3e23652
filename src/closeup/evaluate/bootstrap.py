"""95 % intervals by a bootstrap over whole groups (Efron 1979).

Whole groups are drawn, not single photos, because copies and shots of one scene are right or wrong
together. The same groups and seed give the same draws, so figures from several calls are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
PERCENTILES = 2.5, 97.5  # of a 95 % interval

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A score with the bounds of its 95 % interval.

    >>> str(Interval(0.6514, 0.61, 0.69))
    '0.651 (0.610 to 0.690)'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def drawn_weights(
    groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Iterator[NDArray[np.int64]]:
    """How often each of n rows is drawn, ``(m, n)`` at a time to limit memory."""
    member, count = members(groups)
    for draws in _draws(count, len(member), seed, resamples):
        yield draws[:, member]


def resampled_sums(
    values: Any, groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Values:
    """Sums of the rows of `values` over the draws of :func:`drawn_weights`.

    - `values`: ``(n, m)``, an array or a sparse array; n at least 1

    Returns `sums`: ``(resamples, m)``.
    """
    from scipy.sparse import csr_array

    member, count = members(groups)
    n = len(member)
    per_group = csr_array((np.ones(n), (member, np.arange(n))), (count, n)) @ values
    return np.concatenate([times @ per_group for times in _draws(count, n, seed, resamples)])


def interval(value: float, drawn: Values, groups: int, widest: tuple[float, float]) -> Interval:
    """The percentile interval of a figure from its `drawn` values.

    One group says nothing about how groups differ: then the bounds are the `widest`.
    """
    if groups == 1:
        return Interval(value, *widest)
    low, high = (float(bound) for bound in np.percentile(drawn, PERCENTILES))
    return Interval(value, low, high)


def share_interval(value: float, drawn: Values, groups: int) -> Interval:
    """The percentile interval of a figure between 0 and 1, from its `drawn` values.

    Draws in which the figure is not defined (NaN) are left out. Where all draws agree, the
    bootstrap would claim certainty: a value of 0 or 1 then has the exact binomial bound of Clopper
    and Pearson (1934) over its `groups`, and a value from a single group any bounds. A figure from
    no group at all is 0.
    """
    if groups == 0:
        return Interval(0.0, 0.0, 0.0)
    defined = drawn[~np.isnan(drawn)]
    if not defined.size:
        return Interval(value, 0.0, 1.0)
    low, high = (float(bound) for bound in np.percentile(defined, PERCENTILES))
    if low == high and value in (0.0, 1.0):
        least = (PERCENTILES[0] / 100) ** (1 / groups)
        return Interval(value, least if value else 0.0, 1.0 if value else 1 - least)
    if low == high and groups == 1:
        return Interval(value, 0.0, 1.0)
    return Interval(value, low, high)


def count_interval(hits: float, n: int) -> Interval:
    """The share `hits` of `n` photos that have nothing to do with each other (Wilson 1927).

    Of no photos, it may be any share.

    >>> str(count_interval(8, 10)), str(count_interval(10, 10))
    ('0.800 (0.490 to 0.943)', '1.000 (0.722 to 1.000)')
    """
    if not n:
        return Interval(0.0, 0.0, 1.0)
    share, z = hits / n, 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not move a bound past the share itself.
    return Interval(share, max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0))


def members(groups: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """The number of each row's group, and how many groups there are."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return member, len(names)


def _draws(count: int, rows: int, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """How often each group is drawn, ``(m, count)`` at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, 500_000 // rows)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield rng.multinomial(count, np.full(count, 1 / count), size=size)
