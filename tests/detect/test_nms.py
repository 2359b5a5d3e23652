"""Non-maximum suppression against hand-made cases and torchvision's."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.detect.candidates import nms

BOX = (0.0, 0.0, 10.0, 10.0)
NEAR = (0.0, 0.0, 10.0, 8.0)  # 0.8 of BOX
FAR = (50.0, 50.0, 60.0, 60.0)


def keep(
    *boxes: tuple[float, ...], classes: list[int], iou: float = 0.5, limit: int = 9
) -> list[int]:
    return nms(np.array(boxes).reshape(-1, 4), np.array(classes, int), iou, limit).tolist()


def test_no_boxes() -> None:
    assert keep(classes=[]) == []


def test_one_box() -> None:
    assert keep(BOX, classes=[0]) == [0]


def test_the_better_of_two_stays() -> None:
    assert keep(BOX, NEAR, FAR, classes=[0, 0, 0]) == [0, 2]


def test_classes_do_not_suppress_each_other() -> None:
    assert keep(BOX, NEAR, BOX, classes=[0, 1, 0]) == [0, 1]


def test_an_overlap_of_exactly_the_bound_stays() -> None:
    assert keep(BOX, NEAR, classes=[0, 0], iou=0.8) == [0, 1]
    assert keep(BOX, NEAR, classes=[0, 0], iou=0.79) == [0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    steps = [(float(x), 0.0, x + 10.0, 10.0) for x in (0, 3, 6)]  # neighbours overlap by 0.54
    assert keep(*steps, classes=[0, 0, 0]) == [0, 2]


def test_boxes_without_area() -> None:
    assert keep((5, 5, 5, 5), (5, 5, 5, 5), classes=[0, 0]) == [0, 1]


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_limit_keeps_the_best(limit: int) -> None:
    assert keep(BOX, NEAR, FAR, BOX, classes=[0, 0, 0, 1], limit=limit) == [0, 2, 3][:limit]


@pytest.mark.parametrize("iou", [0.3, 0.65])
def test_the_same_as_torchvision(iou: float) -> None:
    torch = pytest.importorskip("torch", reason="compares with torchvision")
    ops = pytest.importorskip("torchvision.ops", reason="compares with torchvision")
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (500, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 60, (500, 2))], 1)
    scores, classes = np.sort(rng.uniform(0, 1, 500))[::-1].copy(), rng.integers(0, 3, 500)
    expected = ops.batched_nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes), iou
    )
    found = nms(boxes, classes, iou, 500)
    assert found.tolist() == expected.tolist()
    assert 20 < len(found) < 480
