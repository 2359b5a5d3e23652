"""The nearest training close-ups."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from closeup.evaluate.explain import nearest, occlusion_map, overlay


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


def brightness_of_a_corner(closeups: Iterable[np.ndarray]) -> np.ndarray:
    """A model that looks at the lower left eighth alone."""
    return np.array([one[-8:, :8].mean() / 255 for one in closeups])


def test_what_is_covered_where_the_model_looks_lowers_the_answer() -> None:
    closeup = np.zeros((64, 64, 3), np.uint8)
    closeup[-8:, :8] = 255
    drops = occlusion_map(brightness_of_a_corner, closeup, 8)
    assert drops.shape == (8, 8)
    assert np.unravel_index(drops.argmax(), drops.shape) == (7, 0)
    assert np.abs(drops[:6]).max() == np.abs(drops[:, 2:]).max() == 0
    shown = overlay(closeup + 100, drops).astype(int)
    spread = shown.max(axis=2) - shown.min(axis=2)
    assert spread[-4:, :4].min() > 80  # coloured where it matters, grey elsewhere
    assert spread[:32, 32:].max() == 0
    assert (shown[-4:, :4, 0] > shown[-4:, :4, 2]).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 50, 3)])
def test_any_close_up_has_a_map(shape: tuple[int, ...]) -> None:
    closeup = np.full(shape, 7, np.uint8)
    drops = occlusion_map(lambda many: np.array([one.mean() for one in many]), closeup, 4)
    assert drops.tolist() == np.zeros((4, 4)).tolist()
    assert overlay(closeup, drops).shape == shape
    assert overlay(closeup, drops).max() < 7


def test_the_close_up_is_not_touched() -> None:
    closeup = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    before = closeup.copy()
    closeup.setflags(write=False)
    drops = occlusion_map(lambda many: np.array([one.mean() for one in many]), closeup)
    overlay(closeup, drops)
    assert np.array_equal(closeup, before)
