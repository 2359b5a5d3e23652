"""Folds: scikit-learn's own, whole groups, whatever the order of the rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from closeup.dataset.folds import grouped_folds


def rows(n: int, classes: int, groups: int, seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    labels = [f"c{int(k)}" for k in np.minimum(rng.geometric(0.3, n) - 1, classes - 1)]
    return labels, [f"g{k}" for k in rng.integers(0, groups, n)]


@pytest.mark.parametrize(
    ("n", "classes", "groups", "wanted"),
    [(40, 2, 40, 2), (200, 3, 150, 5), (200, 10, 60, 5), (90, 4, 12, 3), (300, 5, 300, 20)],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_they_are_those_of_scikit_learn(
    n: int, classes: int, groups: int, wanted: int, seed: int
) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    labels, group = rows(n, classes, groups, seed)
    expected = np.full(n, -1)
    splitter = StratifiedGroupKFold(wanted, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, held) in enumerate(splitter.split(labels, labels, group)):
            expected[held] = number
    assert grouped_folds(labels, group, wanted, seed).tolist() == expected.tolist()


def test_a_group_has_one_number_and_the_order_of_rows_does_not_matter() -> None:
    labels, group = rows(120, 4, 40, 7)
    found = grouped_folds(labels, group, 4, 0)
    of_group: dict[str, set[int]] = {}
    for name, number in zip(group, found.tolist(), strict=True):
        of_group.setdefault(name, set()).add(number)
    assert all(len(numbers) == 1 for numbers in of_group.values())
    turned = np.random.default_rng(1).permutation(120)
    again = grouped_folds([labels[i] for i in turned], [group[i] for i in turned], 4, 0)
    assert again.tolist() == found[turned].tolist()


def test_one_row_is_folded() -> None:
    assert grouped_folds(["a"], ["g"], 2, 0).tolist() == [0]
