"""Reading raw outputs: one object put in by hand comes out where it was put."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.detect import picodet, queries, ranked, yolox
from closeup.detect.candidates import MOST, STRIDES, best_cells, best_first
from closeup.networks import Card
from closeup.networks.preprocess import InputSpec

CLASSES = ("cat", "dog", "clock")


def card(width: int = 64, height: int = 64, classes: tuple[str, ...] = CLASSES) -> Card:
    spec = InputSpec(width=width, height=height)
    return Card(
        name="x", kind="detector", family="yolox", sha256="0" * 64, bytes=1, input=spec,
        classes=classes,
    )  # fmt: skip


def test_best_first_of_nothing() -> None:
    boxes, scores, classes = best_first(np.zeros((0, 4)), np.zeros(0), np.zeros(0), 0.1)
    assert (boxes.shape, scores.shape, classes.shape) == ((0, 4), (0,), (0,))


def test_best_first_sorts_cuts_and_keeps_ties_in_order() -> None:
    boxes = np.arange(20).reshape(5, 4)
    found = best_first(boxes, np.array([0.2, 0.5, 0.05, 0.5, 0.1]), np.arange(5), 0.1)
    assert found.classes.tolist() == [1, 3, 0, 4]
    assert found.boxes[0].tolist() == [4, 5, 6, 7]


def test_best_cells_is_bounded_and_stable() -> None:
    scores = np.full((700, 2), 0.5, np.float32)
    scores[600, 1] = 0.9
    cells, classes = best_cells(scores, 0.1)
    assert len(cells) == MOST
    assert (cells[0], classes[0]) == (600, 1)
    assert (cells[1], classes[1], cells[2], classes[2]) == (0, 0, 0, 1)
    assert best_cells(scores, 0.91)[0].size == 0


def yolox_raw(width: int, height: int, levels: int = 3) -> NDArray[np.float32]:
    cells = sum(-(-width // s) * -(-height // s) for s in STRIDES[:levels])
    return np.zeros((1, cells, 5 + len(CLASSES)), np.float32)


def test_yolox_finds_nothing_in_zeros() -> None:
    found = yolox.decode({"output": yolox_raw(64, 64)}, card(), 0.01)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(("width", "height", "levels"), [(64, 64, 3), (96, 64, 4), (40, 72, 3)])
def test_yolox_decodes_every_stride(width: int, height: int, levels: int) -> None:
    raw, start = yolox_raw(width, height, levels), 0
    for stride in STRIDES[:levels]:
        columns, rows = -(-width // stride), -(-height // stride)
        column, row = columns - 1, rows - 1
        values = raw.copy()
        values[0, start + row * columns + column] = [
            0.5,
            0.25,
            np.log(2),
            np.log(3),
            0.8,
            0,
            0,
            0.5,
        ]
        found = yolox.decode({"output": values}, card(width, height), 0.01)
        x, y = (column + 0.5) * stride, (row + 0.25) * stride
        expected = [x - stride, y - 1.5 * stride, x + stride, y + 1.5 * stride]
        np.testing.assert_allclose(found.boxes, [expected], rtol=1e-6)
        np.testing.assert_allclose(found.scores, [0.4], rtol=1e-6)
        assert found.classes.tolist() == [2]
        start += columns * rows


def test_yolox_gives_one_cell_in_several_classes() -> None:
    raw = yolox_raw(64, 64)
    raw[0, 5, 4:] = [1, 0.5, 0.005, 0.7]
    found = yolox.decode({"output": raw}, card(), 0.01)
    assert found.classes.tolist() == [2, 0]
    np.testing.assert_allclose(found.scores, [0.7, 0.5])


@pytest.mark.parametrize("shape", [(1, 83, 8), (1, 84, 5), (2, 84, 8), (84, 8)])
def test_yolox_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(NetworkDamaged, match=r"expected \(1, 84 or 85, 5 \+ categories\)"):
        yolox.decode({"output": np.zeros(shape, np.float32)}, card(), 0.01)


def test_yolox_refuses_another_class_list() -> None:
    with pytest.raises(NetworkDamaged, match="scores 3 categories, but 2 names"):
        yolox.decode({"output": yolox_raw(64, 64)}, card(classes=("a", "b")), 0.01)


def picodet_maps(
    width: int, height: int, levels: int = 4, bins: int = 8
) -> dict[str, NDArray[np.float32]]:
    cells = [-(-width // s) * -(-height // s) for s in STRIDES[:levels]]
    maps = {f"score{i}": np.zeros((1, n, 3), np.float32) for i, n in enumerate(cells)}
    return maps | {f"box{i}": np.zeros((1, n, 4 * bins), np.float32) for i, n in enumerate(cells)}


def test_picodet_finds_nothing_in_zeros() -> None:
    assert picodet.decode(picodet_maps(64, 64), card(), 0.01).boxes.shape == (0, 4)


@pytest.mark.parametrize(("width", "height", "levels"), [(64, 64, 4), (104, 72, 4), (64, 96, 3)])
def test_picodet_decodes_every_stride(width: int, height: int, levels: int) -> None:
    for level, stride in enumerate(STRIDES[:levels]):
        maps = picodet_maps(width, height, levels)
        columns, rows = -(-width // stride), -(-height // stride)
        cell = (rows - 1) * columns + columns - 1
        maps[f"score{level}"][0, cell, 1] = 0.75
        sides = maps[f"box{level}"][0, cell].reshape(4, 8)
        sides[0, 1] = sides[1, 2] = sides[2, 3] = 50  # certain: 1, 2 and 3 strides
        sides[3, 4] = sides[3, 5] = 50  # between 4 and 5
        found = picodet.decode(maps, card(width, height), 0.01)
        x, y = (columns - 0.5) * stride, (rows - 0.5) * stride
        expected = [x - stride, y - 2 * stride, x + 3 * stride, y + 4.5 * stride]
        np.testing.assert_allclose(found.boxes, [expected], rtol=1e-6)
        assert (found.classes.tolist(), found.scores.tolist()) == ([1], [0.75])


def test_picodet_ranks_across_strides() -> None:
    maps = picodet_maps(64, 64)
    for level, score in enumerate((0.2, 0.9, 0.5, 0.7)):
        maps[f"score{level}"][0, 0, level % 3] = score
    found = picodet.decode(maps, card(), 0.3)
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.5])
    assert found.classes.tolist() == [1, 0, 2]


def test_distances_survive_large_logits() -> None:
    logits = np.zeros((1, 32), np.float32)
    logits[0, 7] = 3e4
    np.testing.assert_allclose(picodet.distances(logits), [[7, 3.5, 3.5, 3.5]])
    assert picodet.distances(np.zeros((0, 32))).shape == (0, 4)


def test_picodet_refuses_other_outputs() -> None:
    maps = picodet_maps(64, 64)
    with pytest.raises(NetworkDamaged, match="has 7 outputs"):
        picodet.decode(dict(list(maps.items())[1:]), card(), 0.01)
    with pytest.raises(NetworkDamaged, match="expected 85 of each"):
        picodet.decode(maps | {"box3": np.zeros((1, 2, 32), np.float32)}, card(), 0.01)
    with pytest.raises(NetworkDamaged, match="score maps come first"):
        picodet.decode(dict(sorted(maps.items(), key=lambda item: item[0][-1])), card(), 0.01)
    with pytest.raises(NetworkDamaged, match="scores 3 categories, but 1 names"):
        picodet.decode(maps, card(classes=("cat",)), 0.01)


def test_ranked_takes_both_forms() -> None:
    boxes = np.array([[0, 0, 5, 5], [1, 1, 9, 9]], np.float32)
    labels, scores = np.array([2, 0]), np.array([0.3, 0.6], np.float32)
    plain = ranked.decode({"boxes": boxes, "labels": labels, "scores": scores}, card(), 0.1)
    assert plain.classes.tolist() == [0, 2]
    assert plain.boxes.tolist() == [[1, 1, 9, 9], [0, 0, 5, 5]]
    batched = {"labels": labels[None], "boxes": boxes[None], "scores": scores[None]}
    for one, other in zip(plain, ranked.decode(batched, card(), 0.1), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ranked_finds_nothing() -> None:
    none = np.zeros(0, np.float32)
    outputs = {"boxes": np.zeros((0, 4), np.float32), "labels": none, "scores": none}
    assert ranked.decode(outputs, card(), 0.1).boxes.shape == (0, 4)


def test_ranked_refuses_other_outputs() -> None:
    with pytest.raises(NetworkDamaged, match="outputs are output, expected labels"):
        ranked.decode({"output": np.zeros(3)}, card(), 0.1)
    outputs = {"labels": np.zeros(2), "boxes": np.zeros((3, 4)), "scores": np.zeros(3)}
    with pytest.raises(NetworkDamaged, match="3 scores came with 2 labels"):
        ranked.decode(outputs, card(), 0.1)


def test_queries_score_every_class_by_itself() -> None:
    logits = np.full((1, 5, 3), -20, np.float32)
    logits[0, 3] = [1, -20, 2]
    boxes = np.tile(np.float32([0.5, 0.25, 0.25, 0.5]), (1, 5, 1))
    outputs = {"extra": np.zeros(3), "pred_boxes": boxes, "logits": logits}
    found = queries.decode(outputs, card(64, 32), 0.01)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-2, -1])), rtol=1e-6)
    assert found.classes.tolist() == [2, 0]
    assert found.boxes.tolist() == [[24, 0, 40, 16]] * 2
    for other in ({"labels": logits, "dets": boxes}, {"pred_logits": logits, "pred_boxes": boxes}):
        np.testing.assert_array_equal(queries.decode(other, card(64, 32), 0.01).boxes, found.boxes)


def test_queries_with_a_column_more_share_a_softmax_with_no_object() -> None:
    logits = np.full((1, 2, 4), -30, np.float16)
    logits[0, 0] = [0, -30, 1, 2]
    logits[0, 1, 3] = 30  # nothing there
    found = queries.decode(
        {"logits": logits, "pred_boxes": np.full((1, 2, 4), 0.5, np.float16)}, card(), 0.01
    )
    shares = np.exp([1, 0]) / np.exp([0, 1, 2]).sum()
    np.testing.assert_allclose(found.scores, shares, rtol=1e-6)
    assert found.classes.tolist() == [2, 0]
    assert found.boxes.tolist() == [[16, 16, 48, 48]] * 2


def test_queries_survive_large_logits_and_refuse_other_outputs() -> None:
    boxes = np.zeros((1, 1, 4), np.float32)
    large = np.float32([[[1e30, -1e30, 90]]])
    found = queries.decode({"logits": large, "pred_boxes": boxes}, card(), 0.5)
    assert found.scores.tolist() == [1, 1]
    with pytest.raises(NetworkDamaged, match="outputs are output, expected logits"):
        queries.decode({"output": large}, card(), 0.1)
    with pytest.raises(NetworkDamaged, match="expected \\(1, queries, categories\\)"):
        queries.decode({"logits": large[0], "pred_boxes": boxes}, card(), 0.1)
    with pytest.raises(NetworkDamaged, match="scores 3 categories, but 1 names"):
        queries.decode({"logits": large, "pred_boxes": boxes}, card(classes=("cat",)), 0.1)
