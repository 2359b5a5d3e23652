"""What a backbone's feature maps are pooled to, added to its graph.

Close-ups of one kind of object differ in details: a word on a dial, the grain of a skin. Means over
a feature map, which is all that an embedding keeps, blur them. Its standard deviations and the
covariances between its channels say which details occur, and together with which others; a matrix
square root keeps a few strong directions from drowning the rest (Li et al. 2018, "iSQRT-COV").
"""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from closeup.core.errors import UsageError
from closeup.networks.card import Card

if TYPE_CHECKING:
    from onnx import ModelProto

Pooling = Literal["", "stages", "cov"]
"""``stages``: the mean of every resolution's last feature map. ``cov``: also the standard
deviations, and the covariances of the `COVARIANCES` coarsest maps."""

COVARIANCES = 3
CHANNELS = 64
"""Maps of more channels are projected onto so many directions, drawn once for all."""
ITERATIONS = 5
"""Newton-Schulz steps of the matrix square root, as in Li et al. 2018."""
_MOVE_AXES = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "MatMul", "Einsum"}
_LEAST_SIDE = 2  # a feature map of one cell is the embedding in the making
_TINY = 1e-8


def add_pooling(
    model: ModelProto, output: str, card: Card, pooling: Pooling
) -> tuple[str, tuple[int, ...]]:
    """Join the statistics of the feature maps to the embedding, the tensor `output`, of a graph.

    Returns the name of the joined tensor ``(n, dim)`` and the lengths of its blocks: the means of
    all maps but the coarsest, the embedding, then, for ``cov``, standard deviations and
    covariances. Raises UsageError where the graph has no feature maps of several sizes.
    """
    import onnx
    from onnx import helper

    maps = _feature_maps(onnx.shape_inference.infer_shapes(model))
    if len(maps) < 2:
        base = card.name.partition("@")[0]
        raise UsageError(f"{base} has no feature maps of several sizes; omit `{pooling}`")
    build = GraphBuilder(model)
    *early, _ = maps
    parts = [(build.mean(name), maps[name][0]) for name in early]
    parts.append((output, card.dim))
    if pooling == "cov":
        centred = {name: build.centred(name) for name in maps}
        parts += [(build.deviation(values), maps[name][0]) for name, values in centred.items()]
        for name in list(maps)[-COVARIANCES:]:
            size = min(maps[name][0], CHANNELS)
            parts.append((build.covariances(centred[name], *maps[name]), size * (size + 1) // 2))
    joined = free_name(model, "closeup_stages")
    names = [name for name, _ in parts]
    model.graph.node.append(helper.make_node("Concat", names, [joined], axis=1))
    return joined, tuple(length for _, length in parts)


def _feature_maps(model: ModelProto) -> dict[str, tuple[int, int]]:
    """The last feature map of each resolution, in the graph's order: its channels and cells.

    Only what a convolution gives, up to the next step that moves its axes: the four axes of an
    attention are heads and tokens, those of a layer norm may be rows, columns and channels.
    """
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    shapes: dict[str, list[int]] = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.value_info
        # Another number of pictures goes through a network that mirrors them itself.
        if value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0] == batch
    }
    computed = {tensor.name for tensor in model.graph.initializer}
    found: dict[tuple[int, int], tuple[str, int]] = {}
    maps: set[str] = set()
    for node in model.graph.node:
        is_map = "Conv" in node.op_type or (
            node.op_type not in _MOVE_AXES and not maps.isdisjoint(node.input)
        )
        from_pixels = any(name and name not in computed for name in node.input)
        for name in node.output:
            if not from_pixels:  # a weight on its way to another type
                computed.add(name)
                continue
            shape = shapes.get(name, [])
            if is_map:
                maps.add(name)
            if is_map and len(shape) == 4 and min(shape[1:]) >= _LEAST_SIDE:
                side = (shape[2], shape[3])
                found.pop(side, None)
                found[side] = (name, shape[1])
    return {name: (channels, h * w) for (h, w), (name, channels) in found.items()}


class GraphBuilder:
    """Appends nodes to a graph; every method gives the name of the new tensor."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._axes_are_input = opset_of(model) >= 18

    def mean(self, name: str) -> str:
        """Of a map ``(n, c, h, w)``: ``(n, c)``."""
        return self.node("Flatten", [self.node("GlobalAveragePool", [name])], axis=1)

    def centred(self, name: str) -> str:
        """Of a map ``(n, c, h, w)``: ``(n, c, h * w)`` less each channel's mean."""
        rows = self._reshaped(name, [0, 0, -1])
        return self.node("Sub", [rows, self.mean_of(rows, -1)])

    def deviation(self, centred: str) -> str:
        """The standard deviations ``(n, c)``."""
        square = self.mean_of(self.node("Mul", [centred, centred]), -1)
        return self.node("Flatten", [self.node("Sqrt", [square])], axis=1)

    def covariances(self, centred: str, channels: int, cells: int) -> str:
        """The root of the covariances over `cells`, its upper triangle: ``(n, k (k+1) / 2)``.

        More than `CHANNELS` channels are first projected onto so many directions.
        """
        size = min(channels, CHANNELS)
        if channels > size:
            drawn = np.random.RandomState(0).standard_normal((channels, size))
            directions = np.linalg.qr(drawn)[0].T
            centred = self.node("MatMul", [self.constant(directions), centred])
        turned = self.node("Transpose", [centred], perm=[0, 2, 1])
        product = self.node("MatMul", [centred, turned])
        eye = self.constant(np.eye(size).reshape(-1, 1) / cells)
        trace = self.node("MatMul", [self._reshaped(product, [0, 1, -1]), eye])
        trace = self.node("Add", [trace, self.constant(np.array([_TINY]))])
        unit = self.node("Mul", [trace, self.constant(np.array([float(cells)]))])
        root = self._root(self.node("Div", [product, unit]), size)
        root = self.node("Mul", [root, self.node("Sqrt", [trace])])
        places = np.flatnonzero(np.triu(np.ones((size, size), bool)))
        flat = self._reshaped(root, [0, -1])
        return self.node("Gather", [flat, self.constant(places, np.int64)], axis=1)

    def _root(self, matrix: str, size: int) -> str:
        """The square root of matrices ``(n, k, k)`` of trace 1, by Newton and Schulz."""
        three, half = self.constant(3 * np.eye(size)), self.constant(np.array([0.5]))
        y, z = matrix, ""
        for _ in range(ITERATIONS):
            both = self.node("MatMul", [z, y]) if z else y
            step = self.node("Mul", [self.node("Sub", [three, both]), half])
            y = self.node("MatMul", [y, step])
            z = self.node("MatMul", [step, z]) if z else step
        return y

    def mean_of(self, name: str, axis: int) -> str:
        """The mean over one axis, which stays with length 1."""
        if self._axes_are_input:
            axes = self.constant(np.array([axis]), np.int64)
            return self.node("ReduceMean", [name, axes], keepdims=1)
        return self.node("ReduceMean", [name], axes=[axis], keepdims=1)

    def _reshaped(self, name: str, shape: list[int]) -> str:
        return self.node("Reshape", [name, self.constant(np.array(shape), np.int64)])

    def constant(self, values: Any, kind: type = np.float32) -> str:
        """An array as a tensor of the graph."""
        from onnx import numpy_helper

        name = free_name(self._model, "closeup_constant")
        self._model.graph.initializer.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def node(self, kind: str, inputs: list[str], **settings: Any) -> str:
        """The one output of an operator."""
        from onnx import helper

        name = free_name(self._model, f"closeup_{kind.lower()}")
        self._model.graph.node.append(helper.make_node(kind, inputs, [name], **settings))
        return name


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators that a graph is made of."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def free_name(model: ModelProto, name: str) -> str:
    """`name`, with a number appended where a tensor of the graph already has it."""
    taken = {one for node in model.graph.node for one in (*node.input, *node.output)}
    taken |= {tensor.name for tensor in model.graph.initializer}
    others = (f"{name}_{number}" for number in count(1))
    return next(one for one in chain([name], others) if one not in taken)
