"""Find a classifier's last fully connected layer in an ONNX graph, and leave out what is unused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_AFTER = frozenset({
    "Softmax", "LogSoftmax", "Sigmoid", "Identity", "Flatten", "Reshape", "Squeeze", "Cast",
    "Dropout",
})  # fmt: skip
_AFTER_CONVOLUTION = frozenset({"GlobalAveragePool", "AveragePool", "ReduceMean", "Relu"})


@dataclass(frozen=True, slots=True)
class Cut:
    """What stands before a graph's last fully connected layer.

    Attributes
    ----------
    tensor
        The layer's input: ``(n, dim)``, or a feature map before a convolution of 1 x 1.
    tokens
        The tokens that `tensor` is the first of, ``(n, tokens, dim)``; ``""`` where it is not.
    classes
        Length of the layer's output, 0 where the graph does not tell.
    is_convolution, has_softmax
        Whether the layer is a convolution, and whether a softmax or sigmoid follows.
    """

    tensor: str
    tokens: str
    classes: int
    is_convolution: bool
    has_softmax: bool


def cut_classifier(model: ModelProto, output: str) -> Cut | None:
    """Where to cut a graph whose tensor `output` is a classifier's answer; None if it is not.

    Such an answer comes from a ``Gemm``, a ``MatMul`` (and ``Add``) with fixed weights, or a
    convolution of 1 x 1, with nothing but softmax, reshaping and averaging after it.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    fixed = _fixed(graph)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    seen: list[str] = []
    node = made_by.get(output)
    while node is not None and node.op_type in _AFTER | _AFTER_CONVOLUTION:
        seen.append(node.op_type)
        node = made_by.get(node.input[0])
    if node is None:
        return None
    if node.op_type == "Add":  # a bias
        inner = [made_by.get(name) for name in node.input if name not in fixed]
        node = inner[0] if len(inner) == 1 and inner[0] is not None else node
        if node.op_type != "MatMul":
            return None
    averaged = any(kind in _AFTER_CONVOLUTION for kind in seen)
    is_convolution = node.op_type == "Conv"
    if node.op_type not in ("Gemm", "MatMul", "Conv") or (averaged and not is_convolution):
        return None
    if node.input[1] not in fixed or node.input[0] in fixed:
        return None
    size = sizes.get(node.input[1], ())
    if is_convolution and any(side != 1 for side in size[2:]):
        return None
    first_axis = is_convolution or any(a.name == "transB" and a.i for a in node.attribute)
    classes = int(size[0 if first_axis else -1]) if size else 0
    soft = not {"Softmax", "LogSoftmax", "Sigmoid"}.isdisjoint(seen)
    before = _without_dropout(made_by, node.input[0])
    return Cut(before, _tokens(made_by, fixed, before), classes, is_convolution, soft)


def _without_dropout(made_by: dict[str, NodeProto], tensor: str) -> str:
    while (node := made_by.get(tensor)) is not None and node.op_type in ("Dropout", "Identity"):
        tensor = node.input[0]
    return tensor


def _tokens(made_by: dict[str, NodeProto], fixed: set[str], tensor: str) -> str:
    """The tensor of which `tensor` is the first row, as a class token is of the tokens."""
    node = made_by.get(tensor)
    if node is None or node.op_type != "Gather" or node.input[1] not in fixed:
        return ""
    return str(node.input[0]) if any(a.name == "axis" and a.i == 1 for a in node.attribute) else ""


def _fixed(graph: GraphProto) -> set[str]:
    """The tensors that do not depend on the picture."""
    fixed = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if all(name in fixed or not name for name in node.input):
            fixed.update(node.output)
    return fixed


def prune(model: ModelProto, *tensors: str) -> None:
    """Remove the nodes and weights that none of the tensors needs."""
    graph = model.graph
    needed = set(tensors)
    kept: list[NodeProto] = []
    for node in reversed(graph.node):  # in the order in which they run
        if needed.intersection(node.output):
            kept.append(node)
            needed |= _read_by(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.node, reversed(kept)), (graph.initializer, weights)):
        values = list(values)
        del field[:]
        field.extend(values)


def _read_by(node: NodeProto) -> set[str]:
    """The tensors that a node reads, those of its inner graphs included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            names |= {value.name for value in inner.output}
            names = names.union(*(_read_by(one) for one in inner.node))
    return names
