"""Findings are withheld where the heads know too little, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from closeup.dataset.folds import grouped_folds
from closeup.evaluate.checks import CheckState
from closeup.evaluate.label_issues import LabelIssue, LabelIssues, find_label_issues
from closeup.evaluate.limits import Limits, check_chance, limits_of, too_many
from closeup.evaluate.predictions import Predictions
from closeup.learn import heads


def limits(
    classes: int, photos: int, spread: float, *, shuffled: bool = False
) -> tuple[Limits, Predictions]:
    """From ridge heads on Gaussian classes, told apart the worse the larger the spread."""
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(classes), photos)
    centres = rng.normal(size=(classes, 32))
    rows = (centres[number] + spread * rng.normal(size=(len(number), 32))).astype(np.float32)
    labels = [f"c{n:02}" for n in (rng.permutation(number) if shuffled else number)]
    groups = [f"g{i}" for i in range(len(labels))]
    folds = grouped_folds(labels, groups, min(5, photos), 0)
    head = heads.fit("ridge", rows, labels, folds, 0).head
    said = heads.cross_probabilities(head, rows, labels, folds, 0)
    predictions = Predictions(said, head.labels, labels, groups)
    return limits_of(predictions, labels, groups), predictions


@pytest.mark.parametrize(("classes", "photos"), [(2, 40), (3, 30), (13, 60)])
def test_shuffled_labels_are_near_chance(classes: int, photos: int) -> None:
    found, _ = limits(classes, photos, 0.5, shuffled=True)
    assert found.near_chance
    assert "near chance" in found.withheld
    check = check_chance(found)
    assert (check.state, check.title) == (CheckState.ISSUE, "Near chance")
    assert "do not change labels" in check.advice


def test_a_good_fit_is_not() -> None:
    found, _ = limits(3, 30, 0.5)
    assert not found.near_chance
    assert found.no_issues == ""
    assert check_chance(found).state is CheckState.PASSED


def test_thirteen_classes_told_apart_two_times_in_three_are_not() -> None:
    found, predictions = limits(13, 100, 2.6)
    assert found.macro_f1 is not None
    assert 0.6 < found.macro_f1.value < 0.7
    assert found.no_issues == too_many(find_label_issues(predictions)) == ""


def test_clearly_above_chance_but_of_no_use() -> None:
    found, _ = limits(13, 100, 9.0)
    assert found.macro_f1 is not None
    assert found.macro_f1.low > found.chance
    assert found.near_chance


def test_three_photos_a_class_are_too_few() -> None:
    found, _ = limits(4, 3, 0.2)
    assert not found.near_chance
    assert "half the classes have 3 different training photos" in found.withheld
    assert check_chance(found).title == "Too few photos"


def test_copies_are_one_photo() -> None:
    _, predictions = limits(3, 30, 0.5)
    groups = [f"{label}{i % 4}" for i, label in enumerate(predictions.truth)]
    assert limits_of(predictions, predictions.truth, groups).photos == 4


def test_nothing_held_out() -> None:
    found = limits_of(None, ["a", "b"], ["1", "2"])
    assert found.withheld
    assert not found.near_chance
    assert check_chance(found).state is check_chance(None).state is CheckState.SKIPPED


@pytest.mark.parametrize(("count", "believed"), [(0, True), (20, True), (21, False), (100, False)])
def test_a_list_too_long_to_be_believed(count: int, believed: bool) -> None:
    row = LabelIssue(0, "a", "b", 0.9, 0.1, 0.8, True)
    why = too_many(LabelIssues(100, 0.3, 0.3, 0.3, (row,) * count))
    assert (not why) is believed
    found = replace(limits(3, 30, 0.5)[0], issues_withheld=why)
    assert found.no_issues == why
    assert check_chance(found).state is CheckState.PASSED
