"""One embedding of the tokens that a vision transformer gives: class token, mean of patches, both.

A transformer of n patches answers with a token for each, preceded by the class token and, in some
networks, by registers, which belong to no place in the picture and are left out. DINOv2's own
linear evaluation joins the class token and the mean of the patches (Oquab et al. 2023, "DINOv2:
Learning Robust Visual Features without Supervision").
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from closeup.core.errors import UsageError
from closeup.networks.pooling import GraphBuilder

if TYPE_CHECKING:
    from onnx import ModelProto

TokenPool = Literal["class", "mean", "both"]
"""``both``: the one and then the other; the mean alone where there is no class token."""


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
    the name of the new tensor and the lengths of its blocks; raises UsageError where ``class`` is
    asked of a network without a class token.
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
