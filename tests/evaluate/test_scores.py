"""Scores with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.serialization import from_json, to_json
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.scores import Difference, Scores, evaluate, paired_difference

LABELS = ("apple", "pear", "plum")


def certain(answers: Sequence[str], labels: Sequence[str] = LABELS) -> NDArray[np.float64]:
    """Probabilities that give just these answers."""
    return np.array([[float(label == answer) for label in labels] for answer in answers])


def simple(
    truth: Sequence[str],
    answers: Sequence[str],
    found: Sequence[bool] | None = None,
    missed: Sequence[tuple[str, str]] = (),
    resamples: int = 200,
) -> Scores:
    groups = [f"g{i}" for i in range(len(truth))]
    found = [True] * len(truth) if found is None else found
    return evaluate(
        truth, certain(answers), LABELS, groups, found, missed=missed, resamples=resamples
    )


def random_case(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(LABELS, n, p=[0.6, 0.3, 0.1])
    answers = np.where(rng.random(n) < 0.6, truth, rng.choice(LABELS, n))
    return list(truth), list(answers)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(DatasetError, match="test part is empty"):
        evaluate([], np.zeros((0, 3)), LABELS, [], [], missed=[("apple", "g")])


def test_one_photo() -> None:
    scores = simple(["pear"], ["pear"])
    assert scores.n == 1
    assert scores.macro_f1 == scores.accuracy == Interval(1.0, 0.025, 1.0)
    assert scores.confusion == ((0, 0, 0), (0, 1, 0), (0, 0, 0))
    assert [c.support for c in scores.per_class] == [0, 1, 0]


PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_points_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import (
        accuracy_score,
        confusion_matrix,
        f1_score,
        precision_recall_fscore_support,
    )

    truth, answers = map(list, zip(*pairs, strict=True))
    scores = simple(truth, answers, resamples=20)
    macro = f1_score(truth, answers, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert scores.macro_f1.value == pytest.approx(macro)
    assert scores.accuracy.value == pytest.approx(accuracy_score(truth, answers))
    assert np.array_equal(scores.confusion, confusion_matrix(truth, answers, labels=LABELS))
    expected = precision_recall_fscore_support(truth, answers, labels=LABELS, zero_division=0)
    found = [(c.precision, c.recall, c.f1.value, c.support) for c in scores.per_class]
    assert np.allclose(np.transpose(found), expected)


def test_macro_f1_is_over_the_classes_that_occur() -> None:
    # By hand: apple has precision 1, recall 1/2; pear has 1/2 and 1; plum does not occur.
    scores = simple(["apple", "apple", "pear", "pear"], ["apple", "plum", "pear", "pear"])
    assert scores.macro_f1.value == pytest.approx((2 / 3 + 1) / 2)
    assert scores.per_class[2].f1 == Interval(0.0, 0.0, 0.0)


def test_a_missed_object_is_wrong_end_to_end() -> None:
    truth = ["apple", "apple", "pear", "pear"]
    scores = simple(truth, truth, [True, False, True, True], missed=[("pear", "other")])
    assert scores.macro_f1.value == 1
    assert (scores.n_found, scores.macro_f1_found.value) == (3, 1.0)
    # apple: 1 of 2, pear: 2 of 3, and nothing is answered wrongly, so precision stays 1.
    assert scores.n_end_to_end == 5
    assert scores.macro_f1_end_to_end.value == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_stand_ins_wrong_answer_stays_wrong() -> None:
    # Its "pear" costs pear precision: 2 * 1 / (1 + 2); apple's own F1 is 0.
    scores = simple(["apple", "pear"], ["pear", "pear"], [False, True])
    assert scores.macro_f1_end_to_end.value == pytest.approx((0 + 2 / 3) / 2)
    assert scores.macro_f1_found == Interval(1.0, 0.025, 1.0)


def test_a_missed_photo_widens_by_its_group() -> None:
    # The missed object shares a group with a right one: the two are drawn together.
    truth = ["apple"] * 8
    groups = [str(i) for i in range(8)]
    found = [True] * 8
    own, shared = (
        evaluate(truth, certain(truth), LABELS, groups, found, missed=[("apple", group)])
        for group in ("new", "0")
    )
    assert own.macro_f1 == Interval(1.0, own.macro_f1.low, 1.0)
    assert own.macro_f1_end_to_end.value == shared.macro_f1_end_to_end.value == 2 * 8 / (9 + 8)
    assert own.macro_f1_end_to_end.low != shared.macro_f1_end_to_end.low


def test_nothing_found() -> None:
    scores = simple(["apple", "pear"], ["apple", "pear"], [False, False], [("pear", "other")])
    assert (scores.n_found, scores.macro_f1_found) == (0, Interval(0.0, 0.0, 0.0))
    # None of three groups is right: up to 1 - 0.025 ** (1 / 3) might be.
    assert scores.macro_f1_end_to_end == Interval(0.0, 0.0, 1 - 0.025 ** (1 / 3))


def test_a_missed_label_that_the_head_does_not_know_counts() -> None:
    scores = simple(["apple", "pear"], ["apple", "pear"], missed=[("quince", "other")])
    assert scores.labels == (*LABELS, "quince")
    assert scores.macro_f1.value == 1
    assert scores.macro_f1_end_to_end.value == pytest.approx(2 / 3)


def test_equal_probabilities_give_the_first_label() -> None:
    scores = evaluate(["apple"], np.full((1, 3), 1 / 3), LABELS, ["g"], [True], resamples=10)
    assert scores.accuracy.value == 1


def test_intervals_hold_the_score_and_repeat() -> None:
    truth, answers = random_case(200)
    groups = [str(i) for i in range(200)]
    found = [True] * 200

    def run(seed: int) -> Scores:
        return evaluate(truth, certain(answers), LABELS, groups, found, seed=seed)

    scores = run(3)
    for s in (scores.macro_f1, scores.accuracy, *(c.f1 for c in scores.per_class)):
        assert s.low < s.value < s.high
    assert run(3) == scores
    assert run(4).macro_f1.low != scores.macro_f1.low
    # The standard error of a share, twice on each side.
    p = scores.accuracy.value
    width = scores.accuracy.high - scores.accuracy.low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 200), rel=0.1)


def test_copies_do_not_narrow_the_interval() -> None:
    truth, answers = random_case(60)
    once = evaluate(truth, certain(answers), LABELS, [str(i) for i in range(60)], [True] * 60)
    copied = evaluate(
        truth * 4, certain(answers * 4), LABELS, [str(i) for i in range(60)] * 4, [True] * 240
    )
    assert copied.accuracy == pytest.approx(once.accuracy)
    assert copied.macro_f1 == once.macro_f1
    assert [c.f1 for c in copied.per_class] == [c.f1 for c in once.per_class]
    # Where they pass for photos of their own, they do.
    apart = evaluate(
        truth * 4, certain(answers * 4), LABELS, [str(i) for i in range(240)], [True] * 240
    )
    once_width, apart_width = (s.macro_f1.high - s.macro_f1.low for s in (once, apart))
    assert apart_width < 0.7 * once_width


def test_copies_of_right_answers_do_not_raise_the_bound() -> None:
    truth = ["apple", "pear"] * 5
    groups = [str(i) for i in range(10)]
    once = evaluate(truth, certain(truth), LABELS, groups, [True] * 10)
    copied = evaluate(truth * 4, certain(truth * 4), LABELS, groups * 4, [True] * 40)
    assert copied.accuracy == once.accuracy
    assert [c.f1 for c in copied.per_class] == [c.f1 for c in once.per_class]
    assert once.per_class[0].f1.low == pytest.approx(0.025 ** (1 / 5))


def test_the_order_of_rows_does_not_matter() -> None:
    truth, answers = random_case(60)
    groups = [str(i // 2) for i in range(60)]
    found = [i % 7 > 0 for i in range(60)]
    order = np.random.default_rng(5).permutation(60)
    columns = (truth, answers, groups, found)
    turned = [[column[i] for i in order] for column in columns]
    a, b = (evaluate(t, certain(w), LABELS, g, f) for t, w, g, f in (columns, turned))
    assert a == b


def test_one_group_says_nothing_of_others() -> None:
    truth, answers = random_case(20)
    scores = evaluate(truth, certain(answers), LABELS, ["one"] * 20, [True] * 20)
    assert 0 < scores.accuracy.value < 1
    for interval in (scores.accuracy, scores.macro_f1, scores.macro_f1_end_to_end):
        assert (interval.low, interval.high) == (0, 1)
    gain = paired_difference(truth, answers, truth, ["one"] * 20)
    assert gain.delta == Interval(1 - gain.a, -1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"groups": ["g"] * 3}, UsageError, "2 true labels do not match 3 groups"),
        ({"found": [True]}, UsageError, "1 found"),
        ({"probabilities": np.eye(3)}, UsageError, "3 probabilities"),
        ({"probabilities": np.ones((2, 4)) / 4}, UsageError, r"\(2, 4\) do not match 3 labels"),
        ({"probabilities": np.ones(2)}, UsageError, "do not match 3 labels"),
        ({"probabilities": np.full((2, 3), np.nan)}, DatasetError, "not finite"),
    ],
)
def test_what_cannot_be_scored(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = {
        "truth": ["apple", "pear"],
        "probabilities": certain(["apple", "pear"]),
        "labels": LABELS,
        "groups": ["g", "h"],
        "found": [True, True],
    }
    with pytest.raises(error, match=message):
        evaluate(**(good | change))


@pytest.mark.parametrize("short", range(1, 4))
def test_a_difference_needs_equal_lengths(short: int) -> None:
    columns = [["apple", "pear"] for _ in range(4)]
    columns[short] = ["apple"]
    with pytest.raises(UsageError, match="2 true labels do not match 1 "):
        paired_difference(*columns)


def test_draws_without_a_class_do_not_count_against_it() -> None:
    # A class of one photo is missing from a third of the draws; where it is drawn, it is right.
    truth = ["apple"] * 9 + ["pear"]
    scores = simple(truth, truth)
    assert scores.per_class[1].f1 == Interval(1.0, 0.025, 1.0)
    assert scores.macro_f1 == Interval(1.0, 0.025 ** (1 / 10), 1.0)


def test_memory_stays_small_with_many_groups() -> None:
    import tracemalloc

    n = 20_000
    truth, answers = random_case(n)
    tracemalloc.start()
    scores = evaluate(truth, certain(answers), LABELS, [str(i) for i in range(n)], [True] * n,
                      resamples=300)  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores.macro_f1.low < scores.macro_f1.value
    assert peak < n * 300 * 8  # all draws at once would take this, and their floats as much again


def test_json_round_trip() -> None:
    truth, answers = random_case(30)
    scores = simple(truth, answers, missed=[("quince", "other")])
    assert from_json(Scores, json.loads(json.dumps(to_json(scores)))) == scores


def test_difference_of_nothing_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no example"):
        paired_difference([], [], [], [])


def test_difference_of_equal_answers_is_exactly_nothing() -> None:
    truth, answers = random_case(50)
    same = paired_difference(truth, answers, answers, [str(i) for i in range(50)])
    assert same.a == same.b
    assert same.delta == Interval(0.0, 0.0, 0.0)


def test_difference_is_b_less_a_and_its_interval_is_paired() -> None:
    truth, a = random_case(300)
    rng = np.random.default_rng(1)
    b = [t if rng.random() < 0.15 else w for t, w in zip(truth, a, strict=True)]
    groups = [str(i) for i in range(300)]
    found = paired_difference(truth, a, b, groups, seed=0)
    assert found.delta.value == pytest.approx(found.b - found.a)
    assert 0 < found.delta.low < found.delta.value < found.delta.high
    alone = simple(truth, a).macro_f1
    assert found.delta.high - found.delta.low < alone.high - alone.low
    turned = paired_difference(truth, b, a, groups, seed=0)
    assert turned.delta.value == -found.delta.value
    assert from_json(Difference, json.loads(json.dumps(to_json(found)))) == found


def test_all_right_is_not_certain() -> None:
    truth = ["a", "b"] * 20
    chances = np.array([[1.0, 0.0], [0.0, 1.0]] * 20)
    groups = [str(n) for n in range(40)]
    scores = evaluate(truth, chances, ["a", "b"], groups, [True] * 40)
    assert (scores.macro_f1.value, scores.macro_f1.high) == (1, 1)
    assert scores.macro_f1.low == pytest.approx(0.025 ** (1 / 40))  # 0.912: Clopper and Pearson
    assert scores.per_class[0].f1.low == pytest.approx(0.025 ** (1 / 20))
    wrong = evaluate(truth, chances[:, ::-1], ["a", "b"], groups, [True] * 40)
    assert wrong.accuracy.high == pytest.approx(1 - 0.025 ** (1 / 40))
