"""The shared detectors rewritten into the other forms, so that real weights test every form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.detect.candidates import grid


class Graft:
    """An ONNX model to whose ends further operators are added; all of them are in opset 11."""

    def __init__(self, file: Path) -> None:
        import onnx

        self.model = onnx.load(str(file))
        self.graph = self.model.graph
        self._count = 0

    def const(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a constant."""
        from onnx import numpy_helper

        name = self._new()
        array: NDArray[Any] = np.asarray(values, dtype)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The name of an operator's output."""
        from onnx import helper

        name = self._new()
        self.graph.node.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def columns(self, value: str, start: int, end: int) -> str:
        """A slice of the last axis."""
        ints = [self.const([n], np.int64) for n in (start, end, -1)]
        return self.op("Slice", value, *ints)

    def reshape(self, value: str, *shape: int) -> str:
        return self.op("Reshape", value, self.const(shape, np.int64))

    def picture(self, shape: tuple[Any, ...], dtype: type, convert: Callable[[str], str]) -> None:
        """Another input, which `convert` turns into the present one."""
        from onnx import helper

        old = self.graph.input[0].name
        first = len(self.graph.node)
        made = convert("picture")
        new = list(self.graph.node)[first:]
        del self.graph.node[first:]
        new.append(helper.make_node("Identity", [made], [old]))
        kept = list(self.graph.node)
        del self.graph.node[:]
        self.graph.node.extend([*new, *kept])
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        value = helper.make_tensor_value_info("picture", kind, shape)
        others = list(self.graph.input)[1:]
        del self.graph.input[:]
        self.graph.input.extend([value, *others])

    def save(self, file: Path, outputs: Mapping[str, tuple[str, type]]) -> Path:
        """Write the model with these outputs alone: name to a value and its type."""
        import onnx
        from onnx import helper

        del self.graph.output[:]
        for name, (value, dtype) in outputs.items():
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            self.graph.node.append(helper.make_node("Identity", [value], [name]))
            self.graph.output.append(helper.make_tensor_value_info(name, kind, None))
        made = {out: node for node in self.graph.node for out in node.output}
        needed, todo = set(), list(outputs)
        while todo:
            name = todo.pop()
            if name in made and id(made[name]) not in needed:
                needed.add(id(made[name]))
                todo += made[name].input
        kept = [node for node in self.graph.node if id(node) in needed]
        del self.graph.node[:]
        self.graph.node.extend(kept)
        used = {name for node in kept for name in node.input}
        inputs = [value for value in self.graph.input if value.name in used]
        del self.graph.input[:]
        self.graph.input.extend(inputs)
        onnx.save(self.model, str(file))
        return file

    def _new(self) -> str:
        self._count += 1
        return f"graft{self._count}"


def plain_pixels(graft: Graft, side: int) -> None:
    """Let YOLOX take RGB from 0 to 1, as Ultralytics' networks do."""

    def convert(picture: str) -> str:
        turned = graft.op("Gather", picture, graft.const([2, 1, 0], np.int64), axis=1)
        return graft.op("Mul", turned, graft.const(255))

    graft.picture((1, 3, side, side), np.float32, convert)


def rows_and_bytes(graft: Graft, side: Any, *, bgr: bool) -> None:
    """Let a network take RGB bytes, the colours last, as TensorFlow's do."""

    def convert(picture: str) -> str:
        values = graft.op("Transpose", graft.op("Cast", picture, to=1), perm=[0, 3, 1, 2])
        return (
            graft.op("Gather", values, graft.const([2, 1, 0], np.int64), axis=1) if bgr else values
        )

    graft.picture((1, side, side, 3), np.uint8, convert)


def yolox_decoded(graft: Graft, side: int = 416) -> tuple[str, str, str]:
    """YOLOX's centre-size boxes in pixels, objectness and class scores, ``(1, cells, n)`` each."""
    cells = grid(side, side, 3)
    raw = graft.graph.output[0].name
    at, stride = graft.const(cells[None, :, :2]), graft.const(cells[None, :, 2:])
    centre = graft.op("Mul", graft.op("Add", graft.columns(raw, 0, 2), at), stride)
    size = graft.op("Mul", graft.op("Exp", graft.columns(raw, 2, 4)), stride)
    boxes = graft.op("Concat", centre, size, axis=2)
    return boxes, graft.columns(raw, 4, 5), graft.columns(raw, 5, 85)


def picodet_decoded(graft: Graft, side: int = 416) -> tuple[str, str]:
    """PicoDet's XYXY boxes in pixels and class scores, ``(1, cells, n)`` each."""
    names = [value.name for value in graft.graph.output]
    cells = grid(side, side, 4)
    scores = graft.op("Concat", *names[:4], axis=1)
    logits = graft.op("Concat", *names[4:], axis=1)
    shares = graft.op("Softmax", graft.reshape(logits, 1, len(cells), 4, 8), axis=3)
    away = graft.op("MatMul", shares, graft.const(np.arange(8)[:, None]))
    away = graft.op("Mul", graft.reshape(away, 1, len(cells), 4), graft.const(cells[None, :, 2:]))
    middle = graft.const(((cells[:, :2] + 0.5) * cells[:, 2:])[None])
    low = graft.op("Sub", middle, graft.columns(away, 0, 2))
    high = graft.op("Add", middle, graft.columns(away, 2, 4))
    return graft.op("Concat", low, high, axis=2), scores


def suppressed(
    graft: Graft, boxes: str, scores: str, iou: float, least: float = 0.01
) -> tuple[str, str, str]:
    """Boxes ``(n, 4)``, labels ``(n,)`` and scores ``(n,)`` after suppression by class.

    `boxes` are XYXY, `scores` ``(1, cells, classes)``.
    """
    by_class = graft.op("Transpose", scores, perm=[0, 2, 1])
    kept = graft.op(
        "NonMaxSuppression", boxes, by_class, graft.const([1000], np.int64), graft.const([iou]),
        graft.const([least]),
    )  # fmt: skip
    cell = graft.reshape(graft.columns(kept, 2, 3), -1)
    label = graft.reshape(graft.columns(kept, 1, 2), -1)
    found = graft.op("Gather", graft.reshape(boxes, -1, 4), cell, axis=0)
    return found, label, graft.reshape(graft.op("GatherND", by_class, kept), -1)


def corners(graft: Graft, boxes: str) -> str:
    """Centre-size boxes as XYXY."""
    centre = graft.columns(boxes, 0, 2)
    half = graft.op("Mul", graft.columns(boxes, 2, 4), graft.const(0.5))
    low, high = graft.op("Sub", centre, half), graft.op("Add", centre, half)
    return graft.op("Concat", low, high, axis=2)


DEIM_LOGITS, DEIM_BOXES = "/m/Gather_output_0", "/m/Gather_1_output_0"
"""What DEIMv2's graph computes before it ranks: logits, and centre-size boxes in shares."""
