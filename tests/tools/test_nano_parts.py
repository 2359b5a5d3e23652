"""The parts that both shipped networks are trained and measured with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from closeup.core.types import Box
from closeup.detect import Found
from tools.nano.measure_clock import Hits, Seen, hits
from tools.nano.pseudo_boxes import agree


def found(score: float, *corners: float) -> Found:
    return Found("clock", score, Box(*corners))


def test_nothing_found_by_either_teacher_is_nothing() -> None:
    assert agree([], []) == []


def test_teachers_boxes_of_one_object_are_averaged_by_score() -> None:
    [(box, score)] = agree([found(0.75, 0, 0, 10, 10)], [found(0.25, 0, 0, 10, 12)])
    np.testing.assert_allclose(box, (0, 0, 10, 10.5))
    assert score == 0.75


def test_a_sub_dial_is_no_watch_but_a_neighbour_is() -> None:
    watch, dial, other = (
        found(0.9, 0, 0, 40, 40),
        found(0.6, 20, 20, 30, 30),
        found(0.5, 60, 0, 90, 30),
    )
    boxes = agree([watch, dial], [other])
    assert [score for _, score in boxes] == [0.9, 0.5]


def test_hits_counts_each_object_once() -> None:
    watch = Box(0, 0, 10, 10)
    twice = Seen((watch,), (found(0.9, 0, 0, 10, 10), found(0.8, 0, 0, 10, 9)))
    missed = Seen((watch,), (found(0.3, 0, 0, 10, 10),))
    empty = Seen((), ())
    assert hits([twice, missed, empty], 0.5) == Hits(recall=0.5, false=1 / 3)
    assert hits([], 0.5) == Hits(0.0, 0.0)


def test_learning_rate_warms_up_then_falls_to_a_hundredth() -> None:
    pytest.importorskip("torch", reason="the training tools need PyTorch")
    from tools.nano.together import cosine

    assert cosine(0, 100, 10) == pytest.approx(0.1)
    assert cosine(10, 100, 10) == pytest.approx(1.0)
    assert cosine(55, 100, 10) == pytest.approx(0.505)
    assert cosine(100, 100, 10) == pytest.approx(0.01)


def test_the_average_follows_the_weights() -> None:
    torch = pytest.importorskip("torch", reason="the training tools need PyTorch")
    from tools.nano.together import Average

    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = Average(net, 0.9)
    torch.nn.init.ones_(net.weight)
    average.update(net)
    assert average.values["weight"].item() == pytest.approx(10 / 11)
    for _ in range(200):
        average.update(net)
    assert math.isclose(average.values["weight"].item(), 1, abs_tol=1e-3)
