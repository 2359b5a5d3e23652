"""The learning curve."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from closeup.core.errors import UsageError
from closeup.core.serialization import from_json, to_json
from closeup.dataset.folds import grouped_folds
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.learning_curve import (
    SHARES,
    LearningCurve,
    LearningTask,
    Point,
    fit_power_law,
    learning_curve,
)
from closeup.learn import heads


def course(
    per_class: int, spread: float, *, k: int = 3, kind: str = "ridge", seed: int = 0
) -> LearningTask:
    """Classes about points of their own, the more spread the harder to tell apart."""
    rng = np.random.default_rng(seed)
    labels = [f"label{i % k}" for i in range(k * per_class)]
    centres = rng.normal(0, 1, (k, 12))
    rows = np.array([centres[i % k] for i in range(len(labels))])
    rows = (rows + rng.normal(0, spread, rows.shape)).astype(np.float32)
    groups = [f"g{i}" for i in range(len(labels))]
    head = heads.fit(kind, rows, labels, grouped_folds(labels, groups, 2, 0), 0).head
    return LearningTask(head, rows, labels, groups)


def test_too_little_to_learn_from() -> None:
    two = course(2, 0.1)
    with pytest.raises(UsageError, match="at least 2 different photos of each label"):
        learning_curve(replace(two, groups=["a", "b", "c", "a", "b", "d"]))
    with pytest.raises(UsageError, match="do not match 0 labels"):
        learning_curve(replace(two, labels=[]))
    with pytest.raises(UsageError, match="exactly these rows"):
        learning_curve(replace(two, labels=["x", "y", "z"] * 2))
    for wrong in ({"gain": 0.0}, {"gain": np.nan}, {"repeats": 1}):
        with pytest.raises(UsageError, match="gain is above 0"):
            learning_curve(two, **wrong)  # type: ignore[arg-type]


def test_two_photos_a_class_say_nothing() -> None:
    found = learning_curve(course(2, 3.0), repeats=2)
    assert len(found.measured) == len(SHARES)
    assert not found.rising
    assert "is unclear" in found.sentence


def test_more_photos_help_where_classes_overlap() -> None:
    found = learning_curve(course(40, 2.0))
    scores = [point.score.value for point in found.measured]
    photos = [point.photos for point in found.measured]
    assert photos == sorted(photos)
    assert photos[-1] == pytest.approx(32)
    assert found.photos == 40
    assert scores[-1] > scores[0] + 0.05
    assert found.rising
    assert found.more is not None
    assert found.more > 0
    assert found.line[-1].photos == pytest.approx(160)
    assert all(p.score.low <= p.score.high for p in (*found.line, *found.measured))


def test_a_solved_problem_does_not_rise() -> None:
    found = learning_curve(course(12, 0.01), repeats=2)
    assert found.measured[-1].score.value == 1.0
    assert found.more is None
    assert found.sentence.startswith(
        "no number of photos gives +2 points: the cross-validated score on the training photos "
        "is already 0.99"
    )


def test_copies_learn_as_one() -> None:
    """Groups are whole: a photo is never judged by a head that learned its copy."""
    start = course(3, 30.0)  # nothing to learn but the photos themselves
    twice = LearningTask(
        start.head,
        np.repeat(start.embeddings, 4, axis=0),
        list(np.repeat(start.labels, 4)),
        list(np.repeat(start.groups, 4)),
    )
    found = learning_curve(twice, repeats=2)
    assert found.measured[-1].score.value < 0.6
    leaky = replace(twice, groups=[f"g{i}" for i in range(len(twice.labels))])
    assert learning_curve(leaky, repeats=2).measured[-1].score.value > 0.8


@pytest.mark.parametrize("kind", ["logistic", "mlp", "prototype"])
def test_every_kind_of_head(kind: str) -> None:
    found = learning_curve(course(20, 0.5, kind=kind), repeats=2)
    assert found.measured[-1].score.value > 0.6


def test_the_same_seed_gives_the_same_curve() -> None:
    start = course(6, 1.0)
    first = learning_curve(start, repeats=2, seed=1)
    assert first == learning_curve(start, repeats=2, seed=1)
    assert first != learning_curve(start, repeats=2, seed=2)


@pytest.mark.parametrize("law", [(0.9, 0.8, 0.5), (1.0, 1.0, 0.2), (0.6, 2.0, 1.5)])
def test_a_power_law_is_found_again(law: tuple[float, float, float]) -> None:
    sizes = np.array([10.0, 20, 40, 80, 160])
    a, b, c = law
    scores = a - b * sizes**-c
    (found,) = fit_power_law(sizes, scores[None])
    ahead = np.array([320.0, 640])
    assert found[0] - found[1] * ahead ** -found[2] == pytest.approx(a - b * ahead**-c, abs=0.01)


def test_power_laws_never_pass_one_nor_fall() -> None:
    sizes = np.array([5.0, 10, 20])
    fits = fit_power_law(sizes, np.array([[0.2, 0.6, 1.0], [0.9, 0.8, 0.7], [0.5, 0.5, 0.5]]))
    assert (fits[:, 0] <= 1).all()
    assert fits[1] == pytest.approx([0.8, 0, fits[1, 2]])
    assert fits[2, :2] == pytest.approx([0.5, 0])
    same = fit_power_law(np.array([3.0, 3.0]), np.array([[0.2, 0.4]]))
    assert same[0, :2] == pytest.approx([0.3, 0])


def test_weights_of_power_laws() -> None:
    sizes, scores = np.array([5.0, 10, 20, 40]), np.array([[0.2, 0.5, 0.6, 0.65]])
    plain = fit_power_law(sizes, scores)
    assert fit_power_law(sizes, scores, np.full((1, 4), 3.0)) == pytest.approx(plain)
    twice = fit_power_law(np.append(sizes, 40.0), np.append(scores, [[0.65]], axis=1))
    assert fit_power_law(sizes, scores, np.array([[1.0, 1, 1, 2]])) == pytest.approx(twice)
    assert twice[0] != pytest.approx(plain[0])


def curve(more: float | None, low: float | None, high: float | None, rising: bool) -> LearningCurve:
    point = Point(10.0, Interval(0.5, 0.4, 0.6))
    return LearningCurve((point,), (point,), 0.9, 1.0, 0.5, 150.0, 0.02, more, low, high, rising)


def test_what_is_said() -> None:
    said = curve(123.4, 61.0, None, True).sentence
    assert said == "+2 points would take about 120 further photos per class (at least 61)"
    assert curve(123.4, 61.0, 200.0, True).sentence.endswith("(between 61 and 200)")
    assert curve(None, None, None, True).sentence == (
        "+2 points would take more than 450 further photos per class"
    )
    assert curve(None, 300.0, None, True).sentence == (
        "+2 points would take more than 450 further photos per class (at least 300)"
    )
    assert "is unclear" in curve(123.4, 61.0, None, False).sentence


def test_json_there_and_back() -> None:
    found = learning_curve(course(4, 1.0), repeats=2)
    assert from_json(LearningCurve, json.loads(json.dumps(to_json(found)))) == found
    with pytest.raises(ValueError, match="Field required"):
        from_json(LearningCurve, {"a": 3})
