"""Exact tests of counts, by `scipy.special`: `scipy.stats` takes half a second to import."""

from __future__ import annotations

import numpy as np


def chance_of_so_few(hit: int, count: int, rest: int, others: int) -> float:
    """The chance of `hit` or fewer among `count` if they were as frequent as `rest` of `others`.

    Fisher's exact test, one-sided: the margins are held fixed.

    >>> round(chance_of_so_few(1, 10, 9, 10), 6)
    0.000547
    """
    from scipy.special import betaln

    hits = np.arange(max(0, hit + rest - others), hit + 1, dtype=np.float64)

    def ways(chosen: np.ndarray | int, of: int) -> np.ndarray:
        """Logarithms of binomial coefficients."""
        return np.asarray(-np.log1p(of) - betaln(of - chosen + 1, np.add(chosen, 1)))

    found = hit + rest
    logs = ways(hits, count) + ways(found - hits, others) - ways(found, count + others)
    return float(min(1.0, np.exp(logs).sum()))


def chance_of_so_many(hit: int, count: int, share: float) -> float:
    """The chance of `hit` or more out of `count` where each has the chance `share`.

    >>> chance_of_so_many(0, 5, 0.3), round(chance_of_so_many(5, 5, 0.5), 5)
    (1.0, 0.03125)
    """
    from scipy.special import bdtrc

    return 1.0 if hit <= 0 else float(bdtrc(hit - 1, count, share))


def bounds_of_share(hit: int, count: int) -> tuple[float, float]:
    """The 95 % bounds of a share of `hit` out of `count`, 1 at least (Clopper and Pearson 1934).

    >>> tuple(round(bound, 3) for bound in bounds_of_share(10, 10))
    (0.692, 1.0)
    """
    from scipy.special import betaincinv

    low = 0.0 if hit == 0 else float(betaincinv(hit, count - hit + 1, 0.025))
    high = 1.0 if hit == count else float(betaincinv(hit + 1, count - hit, 0.975))
    return low, high
