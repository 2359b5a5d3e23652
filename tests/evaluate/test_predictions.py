"""Probabilities beside the true labels."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.core.errors import DatasetError, UsageError
from closeup.evaluate.predictions import Predictions

LABELS = ("apple", "pear", "plum")


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no close-ups"):
        Predictions(np.zeros((0, 3)), LABELS, [], [])


@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 3), ["g"]), ((1, 2), ["g"]), ((1, 3), ["g", "h"])]
)
def test_lengths_that_do_not_match(shape: tuple[int, int], groups: list[str]) -> None:
    with pytest.raises(UsageError, match="do not match 1 true labels"):
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
    assert found.of_truth.tolist() == [0.7, 0.5, 0.0]
