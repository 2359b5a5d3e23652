"""Tiny ONNX graphs, made with the onnx package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

WIDTH = 3


def affine(file: Path, batch: int | str = "n", factor: float = 2.0) -> Path:
    """``tripled = 3x`` and ``affine = factor * x + 1``, in this order, for ``x`` ``(batch, 3)``."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    shape = [batch, WIDTH]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "factor"], ["scaled"]),
            helper.make_node("Add", ["scaled", "one"], ["affine"]),
            helper.make_node("Mul", ["x", "three"], ["tripled"]),
        ],
        "affine",
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value(name, onnx.TensorProto.FLOAT, shape) for name in ("tripled", "affine")],
        [
            numpy_helper.from_array(np.array([number], np.float32), name)
            for name, number in (("factor", factor), ("one", 1), ("three", 3))
        ],
    )
    return write(graph, file)


def single_op(file: Path, op: str, shape: tuple[int, ...]) -> Path:
    """One operator from ``x`` of `shape` to ``y``."""
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ["x"], ["y"])],
        op,
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value("y", onnx.TensorProto.FLOAT, None)],
    )
    return write(graph, file)


def write(graph: Any, file: Path) -> Path:
    """Save a graph as an ONNX file that every engine reads."""
    onnx = pytest.importorskip("onnx")
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), str(file))
    return file
