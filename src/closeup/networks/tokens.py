"""One embedding of the tokens that a vision transformer gives: class token, mean of patches, both.

A transformer of n patches answers with a token for each, preceded by the class token and, in some
networks, by registers, which belong to no place in the picture and are left out. DINOv2's own
linear evaluation joins the class token and the mean of the patches (Oquab et al. 2023, "DINOv2:
Learning Robust Visual Features without Supervision").
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.networks.engine import open_graph
from closeup.networks.pooling import GraphBuilder

if TYPE_CHECKING:
    from onnx import ModelProto

TokenPool = Literal["class", "mean", "both"]


def pooled(
    graph: Path, out: Path, pool: TokenPool, size: tuple[int, int] = (224, 224)
) -> tuple[int, ...]:
    """Write to `out` the graph of a vision transformer with its tokens pooled to an embedding.

    Parameters
    ----------
    graph
        Its first input is pictures ``(n, 3, height, width)`` float32, one of its outputs tokens
        ``(n, class token + registers + patches, dim)``; ``last_hidden_state`` is taken before
        others.
    pool
        ``class``: the class token, ``(n, dim)``. ``mean``: the mean of the patches, ``(n, dim)``.
        ``both``: the one and then the other, ``(n, 2 * dim)``; the mean alone where the network
        has no class token.
    size
        ``(width, height)`` of the pictures, where the graph leaves them free.

    Returns
    -------
    blocks
        The lengths of the parts of the embedding. The new graph has the one output ``embedding``.

    Raises
    ------
    UsageError
        Where no output is tokens, or ``class`` is asked of a network without a class token.
    NetworkError
        Where the graph cannot be run (NetworkDamaged: is not one whole ONNX file).
    """
    import onnx

    from closeup.networks.variants import finish

    opened = open_graph(graph, EngineConfig(engine="onnxruntime"))
    name, shape = next(iter(opened.inputs.items()))
    height, width = (given or own for given, own in zip(shape[-2:], reversed(size), strict=True))
    picture = np.zeros((shape[0] or 1, 3, height, width), opened.signature.dtypes[name])
    answers = opened.run({name: picture})
    output = next((o for o in sorted(answers, key=_rank) if answers[o].ndim == 3), None)
    if output is None:
        found = ", ".join(f"{key} {value.shape}" for key, value in answers.items())
        raise UsageError(f"{graph} gives no tokens (pictures, tokens, dim) but {found}")
    model = onnx.load(graph)
    _, count, dim = answers[output].shape
    before = tokens_before_patches(model, count, (width, height))
    tensor, blocks = add_token_pooling(model, output, (before, count, dim), pool)
    finish(model, tensor, sum(blocks))
    out.write_bytes(model.SerializeToString())
    return blocks


def _rank(output: str) -> bool:
    return output != "last_hidden_state"


def tokens_before_patches(model: ModelProto, count: int, size: tuple[int, int]) -> int:
    """How many of `count` tokens come before those of the patches: class token and registers.

    It follows from the side of a patch, else from the patches being as many in a row as in a
    column. `size` is ``(width, height)`` in pixels.
    """
    by_patch = tokens_by_patch(model, count, size)
    return count - isqrt(count) ** 2 if by_patch is None else by_patch


def tokens_by_patch(model: ModelProto, count: int, size: tuple[int, int]) -> int | None:
    """As :func:`tokens_before_patches`, None where no convolution cuts so many patches.

    Patches are cut by the graph's first convolution, whose stride is its size.
    """
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    shape = weights.get(first.input[1], ()) if first else ()
    if first is None or len(shape) != 4:
        return None
    strides = next((tuple(a.ints) for a in first.attribute if a.name == "strides"), (1, 1))
    patches: int = (size[0] // shape[3]) * (size[1] // shape[2])
    before = count - patches
    return before if strides == shape[2:] and 0 <= before < patches else None


def add_token_pooling(
    model: ModelProto, output: str, tokens: tuple[int, int, int], pool: TokenPool
) -> tuple[str, tuple[int, ...]]:
    """Pool the tensor `output`, ``(n, count, dim)``, in its graph.

    `tokens` are how many come before the patches, how many there are, and their length. Returns
    the name of the new tensor and the lengths of its blocks; raises UsageError as :func:`pooled`.
    """
    before, count, dim = tokens
    if pool == "class" and not before:
        raise UsageError("this network has no class token; use --pool mean")
    build = GraphBuilder(model)
    parts: list[str] = []
    if pool != "mean" and before:
        first = build.constant(np.array(0), np.int64)
        parts.append(build.node("Gather", [output, first], axis=1))
    if pool != "class":
        span = (build.constant(np.array([place]), np.int64) for place in (before, count, 1))
        patches = build.node("Slice", [output, *span]) if before else output
        parts.append(build.node("Flatten", [build.mean_of(patches, 1)], axis=1))
    joined = parts[0] if len(parts) == 1 else build.node("Concat", parts, axis=1)
    return joined, (dim,) * len(parts)
