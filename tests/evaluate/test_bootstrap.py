"""Draws of whole groups, and intervals from them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import binomtest

from closeup.evaluate.bootstrap import (
    Interval,
    count_interval,
    drawn_weights,
    interval,
    resampled_sums,
    share_interval,
)


def test_whole_groups_are_drawn() -> None:
    values = np.array([[1.0], [10.0], [100.0]])
    sums = resampled_sums(values, ["a", "a", "b"], resamples=200)
    assert set(np.unique(sums)) == {22.0, 111.0, 200.0}
    again = np.concatenate(list(drawn_weights(["a", "a", "b"], resamples=200))) @ values
    assert np.array_equal(again, sums)
    sparse = resampled_sums(csr_array(values), ["a", "a", "b"], resamples=200)
    assert np.array_equal(sparse, sums)
    other = resampled_sums(values, ["a", "a", "b"], resamples=200, seed=1)
    assert not np.array_equal(other, sums)


def test_many_rows_are_drawn_in_parts() -> None:
    groups = [f"g{i}" for i in range(300_000)]
    parts = list(drawn_weights(groups, resamples=3))
    assert [part.shape for part in parts] == [(1, 300_000)] * 3
    assert all(part.sum() == 300_000 for part in parts)


def test_intervals_of_shares() -> None:
    assert share_interval(0.5, np.linspace(0, 1, 1001), 9) == Interval(0.5, 0.025, 0.975)
    assert share_interval(1.0, np.ones(9), 1) == Interval(1.0, 0.025, 1.0)
    assert share_interval(0.0, np.zeros(9), 2) == Interval(0.0, 0.0, 1 - 0.025**0.5)
    assert share_interval(0.3, np.full(9, 0.3), 1) == Interval(0.3, 0.0, 1.0)
    assert share_interval(0.3, np.full(9, np.nan), 5) == Interval(0.3, 0.0, 1.0)
    assert share_interval(0.5, np.array([np.nan, 0.5, 0.5]), 5) == Interval(0.5, 0.5, 0.5)
    assert share_interval(np.nan, np.full(9, np.nan), 0) == Interval(0.0, 0.0, 0.0)


def test_one_group_says_nothing_about_others() -> None:
    assert interval(0.4, np.linspace(0, 1, 1001), 3, (-1.0, 1.0)) == Interval(0.4, 0.025, 0.975)
    assert interval(0.4, np.full(9, 0.4), 1, (-1.0, 1.0)) == Interval(0.4, -1.0, 1.0)


def test_the_interval_of_a_count_is_scipys() -> None:
    for hits, n in [(0, 10), (3, 50), (195, 200), (7, 7)]:
        found, theirs = count_interval(hits, n), binomtest(hits, n).proportion_ci(method="wilson")
        assert found.value == hits / n
        assert np.allclose((found.low, found.high), (theirs.low, theirs.high), atol=1e-6)
    assert count_interval(0, 0) == Interval(0.0, 0.0, 1.0)


def test_the_interval_of_a_count_lies_around_it_and_in_what_is_possible() -> None:
    for n in range(1, 60):
        for hits in range(n + 1):
            found = count_interval(hits, n)
            assert 0 <= found.low <= found.value <= found.high <= 1
