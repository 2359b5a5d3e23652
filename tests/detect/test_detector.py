"""The detector as a whole, on a stand-in graph; then real networks on real photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.core.types import Box, Pixels
from closeup.detect import Detector, Found, detector
from closeup.detect.add import add_detector
from closeup.networks import COCO80, Card, Network, load
from closeup.networks.card import Family
from closeup.networks.preprocess import InputSpec
from tests.tiny import make_detector, need_onnx


class StandIn:
    """A graph in the DETR form that answers with fixed boxes, and notes how far ahead it reads."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = answers
        self.inputs = {"images": (1, 3, 100, 100), "orig_target_sizes": (1, 2)}
        self.dtypes = {name: np.dtype(np.int64) for name in self.inputs}
        self.outputs = ("labels", "boxes", "scores")
        self.fed: list[dict[str, Any]] = []

    def stream(self, feeds: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        ahead: list[dict[str, Any]] = []
        for number, feed in enumerate(feeds):
            self.fed.append(feed)
            ahead.append(self.answers[number % len(self.answers)])
            if len(ahead) > 2:  # as the engines do: a few feeds are in flight
                yield ahead.pop(0)
        yield from ahead


def answer(*rows: tuple[int, float, tuple[float, ...]]) -> dict[str, Any]:
    return {
        "labels": np.array([[row[0] for row in rows]], np.int64),
        "boxes": np.array([[row[2] for row in rows]], np.float32).reshape(1, -1, 4),
        "scores": np.array([[row[1] for row in rows]], np.float32),
    }


def make(
    monkeypatch: pytest.MonkeyPatch,
    graph: StandIn,
    classes: tuple[str, ...] = ("cat", "", "clock"),
    **facts: Any,
) -> Detector:
    monkeypatch.setattr(detector, "open_graph", lambda path, config, many: graph)
    monkeypatch.setattr(detector, "read_signature", lambda path: graph)
    spec = InputSpec(width=100, height=100, resize="letterbox")
    card = Card.model_validate(
        {
            "name": "stand-in", "kind": "detector", "family": "detr", "sha256": "0" * 64,
            "bytes": 1, "input": spec, "classes": classes, **facts,
        }
    )  # fmt: skip
    return Detector(Network(card, Path()), EngineConfig())


def photo(width: int, height: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


def test_no_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(make(monkeypatch, StandIn(answer())).detect([])) == []


def test_a_photo_with_nothing_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(make(monkeypatch, StandIn(answer())).detect([photo(9, 9)])) == [[]]


def test_boxes_come_in_photo_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = StandIn(answer((2, 0.5, (10, 10, 30, 20))))
    found = list(make(monkeypatch, graph).detect([photo(200, 100), photo(50, 50)]))
    assert found == [
        [Found("clock", 0.5, Box(20, 20, 60, 40))],
        [Found("clock", 0.5, Box(5, 5, 15, 10))],
    ]
    assert graph.fed[0]["images"].shape == (1, 3, 100, 100)
    assert graph.fed[0]["orig_target_sizes"].tolist() == [[100, 100]]


def test_sorted_clipped_and_without_the_useless(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        (0, 0.3, (-5.0, -5.0, 50.0, 500.0)),
        (2, 0.6, (10.0, 10.0, 20.0, 20.0)),
        (2, 0.9, (20.0, 10.0, 10.0, 20.0)),  # inside out
        (2, 0.9, (10.0, 60.0, 20.0, 90.0)),  # in the padding below a 2:1 photo
        (1, 0.9, (10.0, 10.0, 20.0, 20.0)),  # a number without a name
        (0, 0.9, (10.0, 10.0, np.inf, 20.0)),
        (0, 0.004, (10.0, 10.0, 20.0, 20.0)),
    )
    found = next(make(monkeypatch, StandIn(answer(*rows))).detect([photo(100, 50)]))
    assert [(one.category, round(one.score, 3), one.box) for one in found] == [
        ("clock", 0.6, Box(10, 10, 20, 20)),
        ("cat", 0.3, Box(0, 0, 50, 50)),
    ]


def test_floor_and_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(0, score / 10, (0.0, 0.0, 9.0, 9.0)) for score in range(1, 10)]
    one = make(monkeypatch, StandIn(answer(*rows)))
    scores = [round(found.score, 1) for found in next(one.detect([photo(9, 9)], 0.4, 3))]
    assert scores == [0.9, 0.8, 0.7]
    assert len(next(one.detect([photo(9, 9)], 0.45))) == 5
    assert next(one.detect([photo(9, 9)], limit=0)) == []


def test_ties_keep_the_networks_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(n % 2 * 2, 0.5, (0.0, 0.0, 1.0 + n, 9.0)) for n in range(50)]
    found = next(make(monkeypatch, StandIn(answer(*rows))).detect([photo(100, 100)]))
    assert [one.box.x2 for one in found] == [1.0 + n for n in range(50)]


@pytest.mark.parametrize("size", [(1, 1), (3000, 10), (10, 3000)])
def test_photos_of_odd_shapes(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    graph = StandIn(answer((0, 0.5, (0.0, 0.0, 100.0, 100.0))))
    (found,) = next(make(monkeypatch, graph).detect([photo(*size)]))
    assert found.box == Box(0, 0, *size)


def test_results_belong_to_their_photos_and_reading_is_lazy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = 0

    def photos() -> Iterator[Pixels]:
        nonlocal taken
        for side in range(1, 100):
            taken += 1
            yield photo(side, side)

    stream = make(monkeypatch, StandIn(answer((0, 0.5, (0, 0, 100, 100))))).detect(photos())
    assert taken == 0
    for side, found in enumerate(stream, 1):
        assert found[0].box == pytest.approx((0, 0, side, side))
        assert taken <= side + 20  # two for each thread that resizes


def test_a_class_without_a_place_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    one = make(monkeypatch, StandIn(answer((90, 0.5, (0.0, 0.0, 9.0, 9.0)))))
    with pytest.raises(NetworkDamaged, match=r"stand-in.*category number 90, but its card lists 3"):
        next(one.detect([photo(9, 9)]))


def test_padding_and_values_that_are_no_numbers_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan, inf, box = float("nan"), float("inf"), (0.0, 0.0, 9.0, 9.0)
    for rows, sound in (
        ([(-1, 0.5, box)], True),
        ([(-7, -1.0, (-1.0, -1.0, -1.0, -1.0))], True),
        ([(0, nan, box)], False),
        ([(0, inf, box)], False),
        ([(0, -inf, box)], False),
        ([(0, 0.5, (nan, 0.0, 9.0, 9.0))], False),
        ([(0, 0.5, (0.0, 0.0, inf, 9.0))], False),
    ):
        outputs = answer(*rows)
        assert next(make(monkeypatch, StandIn(outputs)).detect([photo(9, 9)])) == []
        assert Detector.is_sound(outputs) is sound
    labels = answer((0, 0.5, box))
    labels["labels"] = np.array([[nan]], np.float32)
    assert next(make(monkeypatch, StandIn(labels)).detect([photo(9, 9)])) == []
    (found,) = next(make(monkeypatch, StandIn(answer((0, nan, box), (2, 0.5, box)))).detect(
        [photo(9, 9)]))  # fmt: skip
    assert found.category == "clock"


def test_networks_that_are_no_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetworkError, match="is a backbone of the family embedding"):
        make(monkeypatch, StandIn(), kind="backbone", family="embedding", dim=8)
    with pytest.raises(NetworkError, match="takes 8 photos at a time, expected 1"):
        make(monkeypatch, StandIn(), batch=8)
    graph = StandIn()
    graph.inputs["masks"] = (1, 2)
    with pytest.raises(NetworkError, match="inputs images, orig_target_sizes, masks"):
        make(monkeypatch, graph)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_real_graph(tmp_path: Path, engine: Any) -> None:
    need_onnx()
    tiny = Detector(load(make_detector(tmp_path)), EngineConfig(engine=engine))
    photos = [np.full((10 + n, 20 + n, 3), 10 * n, np.uint8) for n in range(20)]
    streamed = list(tiny.detect(photos))
    assert streamed == [next(tiny.detect([one])) for one in photos]
    assert streamed[0] == []  # a black photo scores 0
    assert streamed[16][0].score == pytest.approx(160 / 255, abs=1e-5)
    np.testing.assert_allclose(streamed[16][0].box, [36 / 8, 26 / 8, 36 * 7 / 8, 26 * 7 / 8])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "file"),
    [
        ("yolox", "yolox_nano.coco.onnx"),
        ("picodet", "picodet_s_416.coco.onnx"),
        ("detr", "deimv2_atto.coco.onnx"),
    ],
)
def test_golden_photos(shared: Path, family: Family, file: str) -> None:
    data = pytest.importorskip("skimage.data", reason="the golden photos come with scikit-image")
    network = add_detector(
        shared / "weights" / file, name=f"golden-{family}", family=family, classes=COCO80
    )
    one = Detector(network, EngineConfig())
    expected = {
        "cat": (data.chelsea(), Box(0, 0, 451, 300)),
        "cup": (data.coffee(), Box(170, 16, 415, 290)),
        "motorcycle": (data.stereo_motorcycle()[0], Box(105, 65, 690, 448)),
    }
    found = list(one.detect(pixels for pixels, _ in expected.values()))
    for (name, (_, box)), many in zip(expected.items(), found, strict=True):
        best = next(one for one in many if one.category == name)
        assert best.score > 0.6, (name, best)
        assert best.box.iou(box) > 0.55, (name, best)  # some take the saucer in
