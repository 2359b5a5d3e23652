"""Many processes that compile the same graph into an empty cache at once: none crashes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.forking import run_forking
from tests.networks.engine.graphs import write
from tests.torture.conftest import Amount, Tried

WIDTH = 700
STARTS = """
import sys, time
from pathlib import Path
import numpy as np
from closeup.core.config import EngineConfig
from closeup.networks.engine import open_graph
from closeup.networks.engine.openvino_backend import import_openvino

file, base, waves, many = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
import_openvino()

def start(gate):
    os.read(gate, 1)  # ends when the parent opens it for all
    graph = open_graph(file, EngineConfig(engine="openvino", threads=1), many=True)
    x = np.ones((1, graph.inputs["x"][1]), np.float32)
    assert np.isfinite(graph.run({"x": x})["y"]).all()
    for row in graph.stream([{"x": x}] * 3):
        assert np.isfinite(row["y"]).all()

codes = []
for wave in range(waves):
    os.environ["CLOSEUP_CACHE"] = str(base / str(wave))
    gate, opened = os.pipe()
    children = []
    for _ in range(many):
        pid = os.fork()
        if pid == 0:
            os.close(opened)
            code = 1
            try:
                signal.alarm(200)
                start(gate)
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(pid)
    os.close(gate)
    os.close(opened)
    codes += [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    left = [path for path in (base / str(wave) / "compiled").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".blob"}, left
assert not any(codes), codes
"""


def dense(file: Path) -> Path:
    """A few megabytes of weights, so that a compiled graph takes a moment to write."""
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    names = ["x", "a", "b", "y"]
    weights = [onnx.numpy_helper.from_array(
        rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 30, f"w{n}"
    ) for n in range(3)]  # fmt: skip
    nodes = [onnx.helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(3)]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", WIDTH])
            for name in ("x", "y")]  # fmt: skip
    return write(onnx.helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights), file)


def test_concurrent_cold_starts_do_not_crash(tmp_path: Path, amount: Amount, tried: Tried) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    waves, many = (20, 10) if amount.long else (1, 6)
    run_forking(STARTS, dense(tmp_path / "dense.onnx"), tmp_path / "cache", waves, many)
    tried("processes that start at once with an empty cache of compiled graphs", waves * many)
