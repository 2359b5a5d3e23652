"""The exact tests give what `scipy.stats` gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from closeup.core.exact import bounds_of_share, chance_of_so_few, chance_of_so_many


def test_fishers_test_of_all_small_tables() -> None:
    tables = [(a, b, c, d) for a in range(5) for b in range(5) for c in range(5) for d in range(5)]
    for a, b, c, d in tables:
        expected = stats.fisher_exact([[a, b], [c, d]], alternative="less").pvalue
        assert chance_of_so_few(a, a + b, c, c + d) == pytest.approx(expected, rel=1e-9), (
            a,
            b,
            c,
            d,
        )


def test_fishers_test_of_large_tables() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        count, others = (int(n) for n in rng.integers(1, 20_000, 2))
        hit, rest = int(rng.integers(0, count + 1)), int(rng.integers(0, others + 1))
        table = [[hit, count - hit], [rest, others - rest]]
        expected = stats.fisher_exact(table, alternative="less").pvalue
        assert chance_of_so_few(hit, count, rest, others) == pytest.approx(
            expected, rel=1e-6, abs=1e-12
        )


@pytest.mark.parametrize("share", [0.0, 0.1, 1 / 12, 0.5, 1.0])
def test_the_binomial_tail(share: float) -> None:
    for count in (0, 1, 7, 300):
        for hit in range(count + 1):
            expected = stats.binom.sf(hit - 1, count, share)
            assert chance_of_so_many(hit, count, share) == pytest.approx(
                expected, rel=1e-9, abs=1e-300
            )


def test_the_bounds_of_a_share() -> None:
    for count in (1, 2, 10, 390):
        for hit in range(count + 1):
            expected = stats.binomtest(hit, count).proportion_ci(0.95, method="exact")
            assert bounds_of_share(hit, count) == pytest.approx(
                (expected.low, expected.high), rel=1e-9
            )
