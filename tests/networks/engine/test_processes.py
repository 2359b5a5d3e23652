"""Graphs in forked processes, and the cache of compiled graphs that processes share."""

from __future__ import annotations

from pathlib import Path

import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.engine import open_graph
from closeup.networks.engine.openvino_backend import CACHE_FOLDER
from tests.forking import run_forking
from tests.networks.engine.graphs import affine

START = """
import gc, sys
from pathlib import Path
import numpy as np
from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkError
from closeup.networks.engine import open_graph
file = Path(sys.argv[1])
config = EngineConfig(engine=sys.argv[2], threads=2)
graphs = [open_graph(file, config, many=many) for many in (False, True)]
feed = {"x": np.ones((1, 3), np.float32)}

def works(graph):
    assert graph.run(feed)["affine"].tolist() == [[3, 3, 3]]
    assert [row["tripled"][0, 0] for row in graph.stream([feed, None, feed] * 9) if row] == [3] * 18

for graph in graphs:
    works(graph)
"""
EACH = pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])


@EACH
def test_a_forked_process_opens_its_parents_graphs_again(tmp_path: Path, engine: str) -> None:
    run_forking(
        START
        + """
def child():
    for graph in graphs:
        works(graph)
        assert forked(lambda: works(graph), 20) == 0
    graphs.clear()
    gc.collect()

def destroys():
    graphs.clear()
    gc.collect()

assert forked(child) == 0
assert forked(destroys, 20) == 0
for graph in graphs:
    works(graph)
""",
        affine(tmp_path / "affine.onnx"),
        engine,
    )


@EACH
def test_a_stream_is_not_continued_in_a_forked_process(tmp_path: Path, engine: str) -> None:
    run_forking(
        START
        + """
streams = [graph.stream([feed] * 40) for graph in graphs]
for stream in streams:
    next(stream)

def goes_on():
    for stream in streams:
        try:
            next(stream)
        except NetworkError as err:
            assert "before it forked" in str(err), err
        else:
            raise AssertionError("it went on")
    for graph in graphs:
        works(graph)

def closes():
    for stream in streams:
        stream.close()
    works(graphs[1])

def forgets():
    streams.clear()
    gc.collect()

for work in (goes_on, closes, forgets):
    assert forked(work, 20) == 0, work
assert [len(list(stream)) for stream in streams] == [39, 39]
""",
        affine(tmp_path / "affine.onnx"),
        engine,
    )


@EACH
def test_a_graph_whose_file_is_gone_or_another_is_not_opened_again(
    tmp_path: Path, engine: str
) -> None:
    run_forking(
        START
        + """
def child(said):
    for graph in graphs:
        try:
            graph.run(feed)
        except NetworkError as err:
            assert said in str(err) and str(file) in str(err), err
        else:
            raise AssertionError("it ran")

whole = file.read_bytes()
file.unlink()
assert forked(lambda: child("is gone"), 20) == 0
file.write_bytes(whole + b" ")
assert forked(lambda: child("has changed"), 20) == 0
for graph in graphs:
    works(graph)
""",
        affine(tmp_path / "affine.onnx"),
        engine,
    )


def test_what_is_opened_late_is_the_file_that_was_opened_first(tmp_path: Path) -> None:
    file = affine(tmp_path / "affine.onnx")
    graph = open_graph(file, EngineConfig(engine="openvino"), many=True)
    affine(file, factor=5.0)
    with pytest.raises(NetworkDamaged, match="has changed"):
        graph.run({"x": [[1, 1, 1]]})  # type: ignore[dict-item]
    file.unlink()
    with pytest.raises(NetworkError, match=r"is gone.*put it back"):
        graph.run({"x": [[1, 1, 1]]})  # type: ignore[dict-item]


def test_compiled_graphs_are_kept_whole_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    file = affine(tmp_path / "affine.onnx")

    def kept() -> dict[Path, int]:
        found = (tmp_path / "cache" / CACHE_FOLDER).rglob("*")
        return {path: path.stat().st_ino for path in found if path.is_file()}

    open_graph(file, EngineConfig(engine="openvino"))
    first = kept()
    assert [path.suffix for path in first] == [".blob"]
    open_graph(file, EngineConfig(engine="openvino"))
    assert kept() == first
    (blob,) = first
    blob.write_bytes(blob.read_bytes()[:99])
    open_graph(file, EngineConfig(engine="openvino"))
    assert kept().keys() == first.keys()
    assert blob.stat().st_size > 99
