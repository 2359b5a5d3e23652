"""Operations counted by hand and by the benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.arithmetic import operations
from tests import tiny


def test_convolutions_and_products_are_counted(tmp_path: Path) -> None:
    tiny.need_onnx()
    from onnx import TensorProto, helper, numpy_helper, save

    kernel = np.zeros((4, 3, 3, 3), np.float32)
    each = np.zeros((4, 1, 3, 3), np.float32)
    product = np.zeros((64, 5), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "each"], ["b"], pads=[1, 1, 1, 1], group=4),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("MatMul", ["c", "product"], ["y"]),
    ]
    constants = {"kernel": kernel, "each": each, "product": product,
                 "shape": np.array([4, 64], np.int64)}  # fmt: skip
    graph = helper.make_graph(
        nodes, "known",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 5])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, tmp_path / "known.onnx")
    found = operations(tmp_path / "known.onnx", {"x": np.zeros((1, 3, 8, 8), np.float32)})
    dense, single, matrix = 4 * 64 * 27, 4 * 64 * 9, 4 * 5 * 64
    assert found == 2 * (dense + single + matrix)
