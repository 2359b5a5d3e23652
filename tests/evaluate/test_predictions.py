"""Probabilities beside the truth, and draws of whole groups."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.core.errors import DatasetError, UsageError
from closeup.evaluate.predictions import (
    Predictions,
    drawn_weights,
    resampled_sums,
    share_interval,
)
from closeup.evaluate.scores import Interval

LABELS = ("apple", "pear", "plum")


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no close-up"):
        Predictions(np.zeros((0, 3)), LABELS, [], [])


@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 3), ["g"]), ((1, 2), ["g"]), ((1, 3), ["g", "h"])]
)
def test_lengths_that_do_not_go_together(shape: tuple[int, int], groups: list[str]) -> None:
    with pytest.raises(UsageError, match="do not go with 1 true labels"):
        Predictions(np.full(shape, 1 / shape[1]), LABELS, ["pear"], groups)


def test_broken_probabilities() -> None:
    with pytest.raises(DatasetError, match="not finite"):
        Predictions(np.array([[np.nan, 0, 1]]), LABELS, ["pear"], ["g"])


def test_what_is_right() -> None:
    rows = np.array([[0.2, 0.7, 0.1], [0.5, 0.5, 0.0], [0.1, 0.1, 0.8]])
    found = Predictions(rows, LABELS, ["pear", "pear", "quince"], ["a", "b", "c"])
    assert found.true.tolist() == [1, 1, -1]
    assert found.answer.tolist() == [1, 0, 2]
    assert found.right.tolist() == [True, False, False]
    assert found.confidence.tolist() == [0.7, 0.5, 0.8]


def test_whole_groups_are_drawn() -> None:
    values = np.array([[1.0], [10.0], [100.0]])
    sums = resampled_sums(values, ["a", "a", "b"], resamples=200)
    assert set(np.unique(sums)) == {22.0, 111.0, 200.0}
    again = np.concatenate(list(drawn_weights(["a", "a", "b"], resamples=200))) @ values
    assert np.array_equal(again, sums)
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
