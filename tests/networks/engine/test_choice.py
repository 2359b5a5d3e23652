"""The engine and the precision are chosen once for each graph, by what was seen of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkError
from closeup.networks.engine import choice, open_graph, precision_for, read_signature
from closeup.networks.engine.choice import CHOICES_FILE, bf16_is_safe, faster_engine, probe
from closeup.networks.preprocess import InputSpec
from tests import tiny

REAL_BF16 = choice._has_bf16
SPEC = InputSpec(width=tiny.SIZE, height=tiny.SIZE)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path))
    monkeypatch.setattr(choice, "_has_bf16", lambda: True)
    monkeypatch.setattr(choice, "LEAST_BYTES", 0)
    return tmp_path


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tiny.make_backbone(tmp_path) / "graph.onnx"


class StandIn:
    """A graph that answers with its input's means, tilted by so much."""

    def __init__(self, tilt: float = 0.0) -> None:
        self.tilt = tilt

    def stream(self, feeds: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for feed in feeds:
            (values,) = feed.values()
            means = np.append(values.mean((0, 2, 3)), 1.0)
            yield {"embedding": means + self.tilt * means[::-1] * [1, -1, 1, -1]}


def is_safe(graph: Path, tilt: float, opened: list[str]) -> bool:
    def compare(precision: str) -> Any:
        opened.append(precision)
        return StandIn(tilt if precision == "bf16" else 0.0)

    return bf16_is_safe(read_signature(graph), SPEC, compare)


def test_probes_are_pictures_and_differ() -> None:
    one, other = probe(0), probe(1)
    assert one.shape == (256, 256, 3)
    assert one.dtype == np.uint8
    assert 20 < one.std() < 80
    assert np.array_equal(one, probe(0))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("tilt", "expected"), [(0.0, True), (0.01, True), (0.04, False)])
def test_bf16_only_where_embeddings_stay(graph: Path, tilt: float, expected: bool) -> None:
    assert is_safe(graph, tilt, []) is expected


def test_it_is_tried_once(graph: Path) -> None:
    opened: list[str] = []
    for _ in range(2):
        assert is_safe(graph, 0.0, opened)
    assert opened == ["fp32", "bf16"]


def test_another_graph_is_tried_anew(graph: Path) -> None:
    opened: list[str] = []
    assert is_safe(graph, 0.0, opened)
    graph.write_bytes(
        tiny.make_staged_backbone(graph.parents[2]).joinpath("graph.onnx").read_bytes()
    )
    assert not is_safe(graph, 1.0, opened)
    assert len(opened) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}'])
def test_a_damaged_memory_is_no_memory(graph: Path, cache: Path, text: str) -> None:
    (cache / CHOICES_FILE).write_text(text)
    assert is_safe(graph, 0.0, [])
    stored = json.loads((cache / CHOICES_FILE).read_text())
    assert [value for value in stored.values() if isinstance(value, dict)]


def test_a_cache_that_cannot_be_written_is_done_without(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "file" / "below"))
    assert is_safe(graph, 0.0, [])


def test_without_the_instructions_it_is_not_tried(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_has_bf16", lambda: False)
    opened: list[str] = []
    assert not is_safe(graph, 0.0, opened)
    assert not opened


def test_what_is_asked_for_is_given(graph: Path) -> None:
    assert precision_for(graph, EngineConfig(precision="bf16"), SPEC) == "bf16"
    assert precision_for(graph, EngineConfig(precision="fp32"), SPEC) == "fp32"
    assert precision_for(graph, EngineConfig(engine="onnxruntime"), SPEC) == "fp32"
    assert precision_for(graph, EngineConfig()) == "fp32"


def test_a_real_graph_is_tried(graph: Path) -> None:
    """Means of pixels lose digits in bf16, but keep their direction."""
    if not REAL_BF16():
        pytest.skip("this processor has no bf16 instructions")
    assert precision_for(graph, EngineConfig(), SPEC) == "bf16"
    assert open_graph(graph, many=True, spec=SPEC).precision == "bf16"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [((10, 30), "onnxruntime"), ((10, 14), "openvino"), ((30, 10), "openvino")],
)
def test_the_faster_engine_is_taken(
    graph: Path, monkeypatch: pytest.MonkeyPatch, rates: tuple[int, int], expected: str
) -> None:
    rate_of = dict(zip(("openvino", "onnxruntime"), rates, strict=True))
    monkeypatch.setattr(choice, "_rate", lambda name, *_: rate_of[name])
    for _ in range(2):
        assert faster_engine(read_signature(graph), 4, lambda name: name) == expected  # type: ignore[arg-type, return-value]
        monkeypatch.setattr(choice, "_rate", None)  # remembered


def test_an_engine_that_cannot_take_it_is_not_taken(graph: Path) -> None:
    def opened(name: str) -> Any:
        raise NetworkError("no")

    assert faster_engine(read_signature(graph), 4, opened) == "openvino"


def test_small_graphs_are_not_tried(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "LEAST_BYTES", 10**9)
    assert faster_engine(read_signature(graph), 4, None) == "openvino"  # type: ignore[arg-type]


def test_both_engines_give_the_same(graph: Path) -> None:
    feeds = {"image": np.random.default_rng(0).random((1, 3, 64, 64)).astype(np.float32)}
    answers = [
        next(iter(open_graph(graph, EngineConfig(engine=name), many=True).stream([feeds])))
        for name in ("openvino", "onnxruntime")
    ]
    np.testing.assert_allclose(answers[0]["embedding"], answers[1]["embedding"], rtol=1e-5)
    assert open_graph(graph, many=True).engine in ("openvino", "onnxruntime")
