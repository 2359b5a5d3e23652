"""The nearest training close-ups."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.explain import nearest


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (4, 0)])
def test_nothing_has_no_neighbours(n: int, m: int) -> None:
    rows, cosines = nearest(np.zeros((n, 5), np.float32), np.zeros((m, 5), np.float32), (), 3)
    assert rows.shape == cosines.shape == (m, min(3, n))


def test_one_row_is_its_only_neighbour() -> None:
    one = np.ones((1, 4), np.float32)
    rows, cosines = nearest(one, one, (), 3)
    assert rows.tolist() == [[0]]
    assert np.isfinite(cosines).all()


def test_a_planted_neighbour_is_found_first() -> None:
    rng = np.random.default_rng(0)
    train = (rng.standard_normal((50, 20)) + 30).astype(np.float32)
    test = train[[7, 31]] + rng.standard_normal((2, 20)).astype(np.float32) * 0.05
    rows, cosines = nearest(train, test, (), 3)
    assert rows[:, 0].tolist() == [7, 31]
    assert (cosines[:, 0] > 0.95).all()
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_a_block_of_small_numbers_counts_as_much_as_one_of_large_ones() -> None:
    rng = np.random.default_rng(0)
    small = rng.standard_normal((40, 80)) / 1000
    large = rng.standard_normal((40, 80)) * 1000
    train = np.concatenate([small, large], axis=1).astype(np.float32)
    mixed = np.concatenate([small[[3]], large[[9]]], axis=1).astype(np.float32)
    rows, _ = nearest(train, mixed, (80, 80), 2)
    assert set(rows[0].tolist()) == {3, 9}
