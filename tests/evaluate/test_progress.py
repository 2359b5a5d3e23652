"""A model against the one before, and the checks of a project's trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from closeup.core.types import Box
from closeup.evaluate.against import FEWEST, Answered, compare
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.checks import CheckState
from closeup.evaluate.progress import OFTEN, check_looks, check_progress

BOX = Box(0, 0, 10, 10)


def rows(n: int, split: str, wrong: int = 0, answers: bool = True) -> list[Answered]:
    """`n` close-ups of two labels, of which the first `wrong` are answered wrongly."""
    return [
        Answered(f"{split}{i}", f"{i}.jpg", BOX, "ab"[i % 2], f"g{i}", split,
                 ("ab"[(i + (i < wrong)) % 2]) if answers else "")
        for i in range(n)
    ]  # fmt: skip


def test_a_worse_model_is_told_by_out_of_fold_answers_alone() -> None:
    before = rows(60, "train") + rows(40, "test")
    after = rows(60, "train", wrong=20) + rows(40, "test")
    found = compare(3, before, after)
    assert found.clearly_worse
    assert found.test is not None
    assert found.test.delta.value == 0
    assert not compare(3, after, before).clearly_worse
    worse_on_test = compare(3, before, rows(60, "train") + rows(40, "test", wrong=20))
    assert not worse_on_test.clearly_worse


def test_only_what_both_have_counts() -> None:
    before, after = rows(30, "test"), rows(40, "test")[10:]
    found = compare(1, before, [replace(row, path=f"new/{row.path}") for row in after])
    assert found.n == 20
    moved = [replace(row, split="test") for row in rows(30, "train")]
    assert compare(1, rows(30, "train"), moved).n == 0  # it was trained on then
    assert compare(1, rows(30, "test", answers=False), before).test is None


def test_too_few_decide_nothing() -> None:
    few = FEWEST - 1
    found = compare(1, rows(few, "train"), rows(few, "train", wrong=few))
    assert found.out_of_fold is None
    assert not found.clearly_worse
    assert compare(1, rows(FEWEST, "train"), rows(FEWEST, "train", wrong=FEWEST)).clearly_worse


def test_an_easier_exam_is_no_better_model() -> None:
    """The same answers; ten wrong labels were corrected to what both answer."""
    after = rows(40, "test")
    before = [replace(row, label="ab"[row.label == "a"]) if i < 10 else row
              for i, row in enumerate(after)]  # fmt: skip
    found = compare(1, before, after)
    assert found.relabelled == 10
    assert found.test is not None
    assert found.test.delta.value == 0
    assert found.old_labels is not None
    assert found.old_labels.a == found.old_labels.b < 1


def test_several_objects_of_a_photo_are_matched_by_their_boxes() -> None:
    one = Answered("s", "p.jpg", Box(0, 0, 10, 10), "a", "g", "test", "a")
    other = replace(one, box=Box(20, 0, 30, 10), label="b", answer="b")
    assert compare(1, [one, other], [other, one]).n == 2
    assert compare(1, [one, other], [replace(one, box=Box(1, 0, 11, 10))]).n == 1
    far = replace(one, box=Box(100, 0, 110, 10))
    assert compare(1, [one, other], [far, replace(far, box=Box(200, 0, 210, 10))]).n == 0
    assert compare(1, [one], [far]).n == 1  # its only object, found elsewhere now


def test_the_check_of_a_worse_model() -> None:
    worse, even = Interval(-0.05, -0.08, -0.02), Interval(-0.05, -0.11, 0.01)
    assert check_progress(0, None, None).state is CheckState.SKIPPED
    assert check_progress(2, even, None).state is CheckState.PASSED
    found = check_progress(2, worse, even)
    assert found.state is CheckState.ISSUE
    assert "training 2: out of fold -0.050 (-0.110 to +0.010)" in found.detail
    assert check_progress(2, even, worse).state is CheckState.ISSUE


@pytest.mark.parametrize(("looks", "state"), [(0, CheckState.SKIPPED), (1, CheckState.PASSED),
                                              (OFTEN - 1, CheckState.PASSED),
                                              (OFTEN, CheckState.ISSUE)])  # fmt: skip
def test_the_check_of_a_worn_test_part(looks: int, state: CheckState) -> None:
    assert check_looks(looks).state is state


def test_the_best_of_that_many_equal_models_fills_half_the_interval() -> None:
    draws = np.random.default_rng(0).standard_normal((20_000, OFTEN)).max(axis=1)
    assert draws.mean() == pytest.approx(1.87, abs=0.02)
