from __future__ import annotations

import numpy as np
import pytest

from closeup.core.types import Floats
from closeup.evaluate.acquisition import _covers, choose_next, directions, look_alikes, uncertainty

RNG = np.random.default_rng(0)


def around(*centres: int, count: int = 5, spread: float = 0.05) -> Floats:
    """`count` vectors near each of some axes of 8 dimensions."""
    rows = np.repeat(np.eye(8, dtype=np.float32)[list(centres)], count, axis=0)
    noise = np.random.default_rng(1).standard_normal(rows.shape)
    return np.asarray(rows + spread * noise, np.float32)


def test_uncertainty_is_0_for_a_sure_and_1_for_an_even_answer() -> None:
    shares = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert uncertainty(shares) == pytest.approx([0, 1, 0.5], abs=1e-6)


def test_each_kind_comes_once_before_any_comes_twice() -> None:
    rows, gains = choose_next(np.ones(20), around(0, 1, 2, 3), around(7), 4)
    assert sorted(row // 5 for row in rows) == [0, 1, 2, 3]
    assert gains == sorted(gains, reverse=True)
    assert 0 < sum(gains) <= 1


def test_what_is_labelled_already_comes_last() -> None:
    rows, _ = choose_next(np.ones(10), around(0, 1), around(0, count=3), 10)
    assert rows[0] >= 5
    assert sorted(rows) == list(range(10))


def test_the_uncertain_kind_comes_first_and_a_copy_adds_nothing() -> None:
    vectors = around(0, 1, count=1)
    rows, _ = choose_next(np.array([0.1, 0.9]), vectors, np.zeros((0, 8), np.float32), 2)
    assert rows == [1, 0]
    twice = np.concatenate([vectors, vectors])
    _, gains = choose_next(np.ones(4), twice, np.zeros((0, 8), np.float32), 4)
    assert gains[2:] == pytest.approx([0, 0], abs=1e-6)


def test_taking_old_values_for_bounds_gives_what_trying_all_gives() -> None:
    vectors = RNG.standard_normal((40, 8)).astype(np.float32)
    known, weights = RNG.standard_normal((5, 8)).astype(np.float32), RNG.random(40)
    rows = directions(vectors)
    covers, best = _covers(rows, rows), _covers(rows, directions(known)).max(axis=1)
    expected = []
    for _ in range(12):
        gains = np.maximum(covers - best, 0) @ (weights / weights.sum()).astype(np.float32)
        gains[expected] = -1
        expected.append(int(gains.argmax()))
        best = np.maximum(best, covers[expected[-1]])
    assert choose_next(weights, vectors, known, 12)[0] == expected


def test_nothing_to_choose_from() -> None:
    none = np.zeros((0, 8), np.float32)
    assert choose_next(np.zeros(0), none, around(0), 5) == ([], [])
    assert look_alikes(none, np.zeros(0, np.int64)).tolist() == []


def test_look_alikes_of_one_answer_are_together_in_groups_that_fit_a_screen() -> None:
    vectors = around(0, 1, count=6)
    same = np.zeros(12, np.int64)
    assert look_alikes(vectors, same, size=6).tolist() == [0] * 6 + [1] * 6
    assert np.bincount(look_alikes(vectors, same, size=4)).max() <= 4
    answers = np.array([0, 1] * 6)
    groups = look_alikes(vectors, answers)
    assert all(len(set(answers[groups == number])) == 1 for number in set(groups))
