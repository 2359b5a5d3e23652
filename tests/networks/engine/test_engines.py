"""Both engines: one run, streams, wrong feeds, broken graphs."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkError, UsageError
from closeup.networks.engine import Feeds, Graph, open_graph
from closeup.networks.engine.graph import in_flight
from tests.networks.engine.graphs import affine, single_op

ENGINES: tuple[Literal["openvino", "onnxruntime"], ...] = ("openvino", "onnxruntime")


@pytest.fixture(params=ENGINES)
def config(request: pytest.FixtureRequest) -> EngineConfig:
    return EngineConfig(engine=request.param, threads=2)


@pytest.fixture
def graph(config: EngineConfig, tmp_path: Path) -> Graph:
    return open_graph(affine(tmp_path / "affine.onnx"), config, many=True)


def _feed(number: float, rows: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    return {"x": np.full((rows, 3), number, np.float32)}


def test_what_a_graph_says_of_itself(graph: Graph, config: EngineConfig) -> None:
    assert graph.engine.startswith(config.engine)
    assert (graph.precision, graph.note) == ("fp32", "")
    assert dict(graph.inputs) == {"x": (None, 3)}
    assert graph.outputs == ("tripled", "affine")


def test_one_run(graph: Graph) -> None:
    results = graph.run({"x": np.array([[0, 1, 2], [3, 4, 5]], np.float32)})
    assert list(results) == ["tripled", "affine"]
    np.testing.assert_allclose(results["affine"], [[1, 3, 5], [7, 9, 11]])
    np.testing.assert_allclose(results["tripled"], [[0, 3, 6], [9, 12, 15]])


def test_results_belong_to_the_caller(graph: Graph) -> None:
    first = graph.run(_feed(1))
    first["affine"][:] = -1  # writable
    graph.run(_feed(2))
    assert (first["affine"] == -1).all()
    assert (first["tripled"] == 3).all()


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "its inputs are"),
        ({"y": np.zeros((1, 3), np.float32)}, "its inputs are"),
        ({"x": np.zeros((1, 3), np.float32), "z": np.zeros(1)}, "its inputs are"),
        ({"x": np.zeros((1, 4), np.float32)}, r"shape \(1, 4\), expected \(any, 3\)"),
        ({"x": np.zeros(3, np.float32)}, "shape"),
        ({"x": np.zeros((0, 3), np.float32)}, "shape"),
        ({"x": np.array([["a", "b", "c"]])}, "expected float32"),
        ({"x": np.zeros((1, 3), np.complex64)}, "expected float32"),
    ],
)
def test_wrong_feeds(graph: Graph, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        graph.run(feeds)
    assert "affine.onnx" in str(caught.value)
    with pytest.raises(NetworkError, match=message):
        list(graph.stream([feeds]))


def test_types_are_converted_within_their_kind(graph: Graph) -> None:
    for dtype in (np.float64, np.uint8, np.int64):
        result = graph.run({"x": np.asfortranarray(np.full((2, 3), 2, dtype))})["affine"]
        assert result.dtype == np.float32
        assert (result == 5).all()


def test_a_stream_of_nothing_and_of_one(graph: Graph) -> None:
    assert list(graph.stream([])) == []
    assert [r["affine"].tolist() for r in graph.stream([_feed(1)])] == [[[3, 3, 3]]]


def test_a_stream_keeps_the_order_and_owns_its_results(graph: Graph) -> None:
    # Batches of different sizes take different times.
    rows = [1 + 2000 * (n % 3 == 0) for n in range(100)]
    results = list(graph.stream(_feed(n, rows[n]) for n in range(100)))
    assert [len(r["affine"]) for r in results] == rows
    assert [float(r["affine"][-1, 0]) for r in results] == [2 * n + 1 for n in range(100)]


def test_a_stream_holds_only_a_few_feeds(graph: Graph) -> None:
    taken = 0

    def endless() -> Iterator[Feeds]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield _feed(n)

    stream = graph.stream(endless())
    for done, result in enumerate(itertools.islice(stream, 50)):
        assert result["tripled"][0, 0] == 3 * done
        assert taken - done <= in_flight(2) + 2
    stream.close()  # type: ignore[attr-defined]


def test_an_error_in_the_feeds_reaches_the_caller(graph: Graph) -> None:
    def broken() -> Iterator[Feeds]:
        yield from (_feed(n) for n in range(20))
        raise LookupError("the photo is gone")

    seen = 0
    stream = graph.stream(broken())
    with pytest.raises(LookupError, match="gone"):  # noqa: PT012 (the loop counts)
        for _ in stream:
            seen += 1
    assert 20 - in_flight(2) <= seen <= 20
    assert (graph.run(_feed(1))["affine"] == 3).all()


def test_a_wrong_feed_in_the_middle_of_a_stream(graph: Graph) -> None:
    feeds = [*map(_feed, range(20)), {"x": np.zeros((1, 5), np.float32)}, *map(_feed, range(20))]
    with pytest.raises(NetworkError, match="shape"):
        list(graph.stream(feeds))
    assert len(list(graph.stream(map(_feed, range(20))))) == 20


def test_a_stream_closed_early_leaves_no_thread(graph: Graph) -> None:
    list(graph.stream(map(_feed, range(4))))  # engines may keep threads of their own
    before = set(threading.enumerate())
    stream = graph.stream(map(_feed, itertools.count()))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before


def test_two_streams_of_one_graph_at_once(graph: Graph) -> None:
    pairs = zip(
        graph.stream(map(_feed, range(30))), graph.stream(map(_feed, range(100, 130))), strict=True
    )
    for n, (one, other) in enumerate(pairs):
        assert one["tripled"][0, 0] == 3 * n
        assert other["tripled"][0, 0] == 3 * (100 + n)


def test_a_broken_graph_names_its_file(config: EngineConfig, tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(affine(tmp_path / "whole.onnx").read_bytes()[:-30])
    with pytest.raises(NetworkDamaged, match=r"broken\.onnx"):
        open_graph(file, config)


def test_a_graph_that_no_engine_knows_names_its_file(config: EngineConfig, tmp_path: Path) -> None:
    file = single_op(tmp_path / "odd.onnx", "NoSuchOperator", (1, 3))
    with pytest.raises(NetworkError, match=r"odd\.onnx"):
        open_graph(file, config)
    with pytest.raises(NetworkError, match=r"odd\.onnx"):
        open_graph(file)


def test_auto_takes_onnx_runtime_where_openvino_cannot(tmp_path: Path) -> None:
    file = single_op(tmp_path / "det.onnx", "Det", (2, 2))  # OpenVINO has no determinant
    with pytest.raises(NetworkError, match="--engine onnxruntime"):
        open_graph(file, EngineConfig(engine="openvino"))
    graph = open_graph(file)
    assert graph.engine.startswith("onnxruntime")
    assert "det.onnx" in graph.note
    assert graph.run({"x": np.array([[1, 2], [3, 4]], np.float32)})["y"] == pytest.approx(-2)


def test_bf16_is_openvinos(tmp_path: Path) -> None:
    file = affine(tmp_path / "affine.onnx")
    with pytest.raises(UsageError, match="--engine openvino"):
        open_graph(file, EngineConfig(engine="onnxruntime", precision="bf16"))
    graph = open_graph(file, EngineConfig(precision="bf16"))
    assert (graph.engine, graph.precision) == ("openvino", "bf16")
    assert graph.run(_feed(1))["affine"] == pytest.approx(np.full((1, 3), 3), rel=0.01)


def test_a_changed_file_is_not_answered_from_the_compiled_cache(tmp_path: Path) -> None:
    file = tmp_path / "affine.onnx"
    for factor in (2.0, 5.0):
        graph = open_graph(affine(file, factor=factor), EngineConfig(engine="openvino"))
        assert graph.run(_feed(1))["affine"][0, 0] == factor + 1


def test_a_damaged_compiled_cache_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    file = affine(tmp_path / "affine.onnx")
    config = EngineConfig(engine="openvino")
    open_graph(file, config)
    blobs = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert blobs
    for blob in blobs:
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2])
    assert open_graph(file, config).run(_feed(1))["affine"][0, 0] == 3


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "file" / "cache"))
    graph = open_graph(affine(tmp_path / "affine.onnx"), EngineConfig(engine="openvino"))
    assert graph.run(_feed(1))["affine"][0, 0] == 3


@pytest.mark.parametrize("name", ["yolox_nano", "picodet_s_416", "deimv2_atto"])
def test_the_engines_agree_on_real_networks(shared: Path, name: str) -> None:
    file = shared / "weights" / f"{name}.coco.onnx"
    graphs = [open_graph(file, EngineConfig(engine=engine)) for engine in ENGINES]
    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for key, shape in graphs[0].inputs.items():
        sizes = key == "orig_target_sizes"
        feeds[key] = np.array([[640, 480]]) if sizes else rng.random(shape, dtype=np.float32)
    one, other = (graph.run(feeds) for graph in graphs)
    streamed = next(graphs[0].stream([feeds]))
    for key, value in one.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(other[key], value, atol=1e-4 * scale)
        np.testing.assert_allclose(streamed[key], value, atol=1e-4 * scale)


def test_torch_is_never_imported(tmp_path: Path) -> None:
    file = affine(tmp_path / "affine.onnx")
    script = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "torchvision", "transformers", "onnx"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
from pathlib import Path
import numpy as np
import closeup.networks
from closeup.core.config import EngineConfig
from closeup.networks.engine import open_graph
for engine in ("openvino", "onnxruntime"):
    graph = open_graph(Path({str(file)!r}), EngineConfig(engine=engine))
    assert next(graph.stream([{{"x": np.ones((1, 3), np.float32)}}]))["affine"][0, 0] == 3
closeup.networks.installed()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_importing_the_engine_is_light() -> None:
    script = (
        "import sys, closeup.networks.engine, closeup.networks;"
        "heavy = {'openvino', 'onnxruntime', 'torch', 'huggingface_hub', 'timm', 'sklearn'};"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack is looked at through Linux's libc")
def test_the_main_thread_keeps_its_own_signal_stack(config: EngineConfig, tmp_path: Path) -> None:
    """An alternate stack too small for a signal's frame would turn Ctrl-C into a crash."""
    import ctypes

    class Stack(ctypes.Structure):
        _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    def current() -> tuple[int | None, int, int]:
        stack = Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
        return stack.sp, stack.flags, stack.size

    before = current()
    graph = open_graph(affine(tmp_path / "affine.onnx"), config)
    graph.run(_feed(1))
    assert len(list(graph.stream([_feed(2)] * 5))) == 5
    assert current() == before
