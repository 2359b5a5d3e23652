"""Networks as graphs that anybody can run: uint8 pixels go in, answers come out.

A close-up or photo is resized outside with Pillow, as in training. What follows is in the graph:
normalisation, order of channels and axes, the head or the reading of the boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError
from closeup.evaluate.unknown import NEIGHBOURS, UnknownRule
from closeup.learn.heads import Head
from closeup.networks import Network
from closeup.networks.classifier import prune
from closeup.networks.engine import read_signature
from closeup.networks.pooling import GraphBuilder
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from onnx import ModelProto

BODY = "net_"
"""Begins the names of all that was in a network's own graph."""
_OLDEST = 13  # the operators that are added mean from here on what they should
_TINY = 1e-30


class Assembly(GraphBuilder):
    """A graph in the making, around the nodes of a network's own; see :class:`GraphBuilder`."""

    def __init__(self, network: Network) -> None:
        import onnx
        from onnx import compose, version_converter

        whole = onnx.load(network.file)
        for opset in whole.opset_import:
            if opset.domain in ("", "ai.onnx") and opset.version < _OLDEST:
                try:
                    whole = version_converter.convert_version(whole, _OLDEST)
                except RuntimeError as err:
                    raise NetworkError(f"{network.card.name} cannot be exported: {err}") from err
                break
        weights = {tensor.name for tensor in whole.graph.initializer}
        inputs = [value for value in whole.graph.input if value.name not in weights]
        del whole.graph.input[:]
        whole.graph.input.extend(inputs)
        whole.graph.ClearField("value_info")  # may name weights
        self._body = compose.add_prefix(whole, BODY)
        self.model = onnx.ModelProto()
        self.model.CopyFrom(self._body)
        for field in ("node", "input", "output"):
            self.model.graph.ClearField(field)
        self.network = network
        super().__init__(self.model)

    def op(self, kind: str, *inputs: str | NDArray[Any] | float, **settings: Any) -> str:
        """The one output of an operator; arrays and numbers (of float32) become constants."""
        return self.node(kind, [self._named(one) for one in inputs], **settings)

    def ops(self, kind: str, *inputs: str | NDArray[Any], outputs: int, **settings: Any) -> Any:
        """The names of several outputs of an operator."""
        first = self.op(kind, *inputs, **settings)
        names = [first, *(f"{first}_{number}" for number in range(1, outputs))]
        self.model.graph.node[-1].output[:] = names
        return names

    def _named(self, value: str | NDArray[Any] | float) -> str:
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        whole = array.dtype.kind in "iu"
        return self.constant(array, np.int64 if whole else np.float32)

    def shaped(self, name: str, *shape: int) -> str:
        """Reshaped; one length may be -1."""
        return self.op("Reshape", name, np.array(shape))

    def columns(self, name: str, start: int, end: int) -> str:
        """Some of the columns of a table ``(n, m)``."""
        return self.op("Slice", name, np.array([start]), np.array([end]), np.array([1]))

    def as_floats(self, name: str) -> str:
        """As float32."""
        return self.op("Cast", name, to=1)

    def picture(self, name: str, batch: int | str) -> str:
        """A new input ``(batch, height, width, 3)`` uint8 RGB, prepared as the card says."""
        from onnx import TensorProto, helper

        spec: InputSpec = self.network.card.input
        shape = [batch, spec.height, spec.width, 3]
        self.model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
        std = np.asarray(spec.std, np.float64)
        gain = 1.0 / ((255.0 if spec.scale == "unit" else 1.0) * std)
        bias = -np.asarray(spec.mean, np.float64) / std
        values = self.as_floats(name)
        if spec.color == "bgr":
            values = self.op("Gather", values, np.array([2, 1, 0]), axis=3)
        if (gain != 1).any():
            values = self.op("Mul", values, gain)
        if bias.any():
            values = self.op("Add", values, bias)
        if spec.layout.endswith("chw"):
            values = self.op("Transpose", values, perm=[0, 3, 1, 2])
        if not spec.layout.startswith("n"):
            values = self.op("Squeeze", values, np.array([0]))
        if spec.dtype == "uint8":
            values = self.op("Clip", self.op("Round", values), 0.0, 255.0)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        return values if spec.dtype == "float32" else self.op("Cast", values, to=kind)

    def run(self, copy: str, **given: str | NDArray[np.generic]) -> dict[str, str]:
        """The network's outputs by name, in order, given its inputs; its weights are shared.

        `copy` tells one use of the network from another.
        """
        from onnx import compose, numpy_helper

        nodes = compose.add_prefix_graph(self._body.graph, copy, rename_initializers=False)
        for name, value in given.items():
            inside = f"{copy}{BODY}{name}"
            if isinstance(value, str):
                self._name("Identity", value, inside)
            else:
                self.model.graph.initializer.append(numpy_helper.from_array(value, inside))
        self.model.graph.node.extend(nodes.node)
        return {out.name.removeprefix(f"{copy}{BODY}"): out.name for out in nodes.output}

    def _name(self, kind: str, source: str, name: str, **settings: Any) -> None:
        from onnx import helper

        self.model.graph.node.append(helper.make_node(kind, [source], [name], **settings))

    def output(self, name: str, source: str, kind: int, shape: Sequence[int | str]) -> None:
        """Make the tensor `source` an output of the graph."""
        from onnx import helper

        self._name("Identity", source, name)
        self.model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))

    def finished(self) -> ModelProto:
        """The graph, checked."""
        import onnx

        prune(self.model, *(value.name for value in self.model.graph.output))
        self.model.producer_name, self.model.graph.name = "closeup", "closeup"
        onnx.checker.check_model(self.model)
        return self.model


def classifier(
    backbone: Network, head: Head, rule: UnknownRule | None, views: Sequence[str]
) -> ModelProto:
    """Preparation, backbone, head, temperature and softmax in one.

    - inputs: one for each view, called like it: ``(n, height, width, 3)`` uint8 RGB. n is 1 where
      the backbone takes one picture at a time.
    - outputs: ``probabilities`` ``(n, k)``; with a `rule`, ``distance`` ``(n,)``

    Raises NetworkError where the backbone's graph is too old to be brought up to date.
    """
    from onnx import TensorProto

    (image, shape), *_ = read_signature(backbone.file).inputs.items()
    batch, build = shape[0] or "n", Assembly(backbone)
    parts = []
    for view in views:
        outputs = build.run(f"{view}_", **{image: build.picture(view, batch)})
        parts.append(build.shaped(next(iter(outputs.values())), -1, backbone.card.dim))
    features = build.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    values = features
    for place, layer in enumerate(head.layers):
        values = build.op("Relu", values) if place else values
        values = build.op("Add", build.op("MatMul", values, layer.weights.T), layer.bias)
    answers = build.op("Softmax", values, axis=1)
    build.output("probabilities", answers, TensorProto.FLOAT, [batch, len(head.labels)])
    if rule is not None:
        build.output("distance", _distance(build, features, rule), TensorProto.FLOAT, [batch])
    return build.finished()


def _distance(build: Assembly, features: str, rule: UnknownRule) -> str:
    """``(n,)``: as :meth:`UnknownRule.distances`."""
    root = build.op("Sqrt", build.op("Abs", features))
    rows = build.op("Mul", build.op("Sign", features), root)
    squares = build.op("MatMul", build.op("Abs", features), np.ones((rule.basis.shape[1], 1)))
    unit = build.op("Div", rows, build.op("Max", build.op("Sqrt", squares), _TINY))
    inside = build.op("MatMul", unit, rule.basis.T)
    cosines = build.op("MatMul", inside, rule.references.astype(np.float32).T)
    count = min(NEIGHBOURS, len(rule.references))
    nearest, _ = build.ops("TopK", cosines, np.array([count]), outputs=2, axis=1)
    mean = build.op("MatMul", nearest, np.full((count, 1), 1 / count))
    return build.shaped(build.op("Sub", 1.0, mean), -1)
