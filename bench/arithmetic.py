"""How much arithmetic a network does, and how much the chip can do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from closeup.core.config import EngineConfig
from closeup.networks.engine import open_graph

SIDE = 2048
SECONDS = 4.0


def operations(file: Path, feed: Mapping[str, Any]) -> int:
    """Floating-point operations of one run: a multiplication and an addition count as two.

    Only convolutions and matrix products count, which is nearly all of a network.
    """
    import openvino as ov

    model = ov.Core().read_model(file)
    model.reshape({name: ov.PartialShape(list(array.shape)) for name, array in feed.items()})
    total = 0
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in {"Convolution", "GroupConvolution", "MatMul"}:
            continue
        out = prod(node.get_output_shape(0))
        weights = list(node.get_input_shape(1))
        if kind == "MatMul":
            first = list(node.get_input_shape(0))
            transposed = node.get_attributes()["transpose_a"]
            total += 2 * out * (first[-2] if transposed else first[-1])
        else:  # (groups,) out, in, then the kernel's sides
            total += 2 * out * prod(weights[2 if kind == "GroupConvolution" else 1 :])
    return total


def peak(engine: EngineConfig) -> float:
    """Floating-point operations a second of large matrix products in the same engine."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(SIDE, SIDE)).astype(np.float32) for _ in range(2))
    shape = [SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(second, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "product.onnx"
        save(model, file)
        opened = open_graph(file, engine)
        opened.run({"a": first})
        start, count = time.perf_counter(), 0

        def feeds() -> Any:
            nonlocal count
            while time.perf_counter() - start < SECONDS:
                count += 1
                yield {"a": first}

        for _ in opened.stream(feeds()):
            pass
        return count * 2 * SIDE**3 / (time.perf_counter() - start)
