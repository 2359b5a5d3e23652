"""Gradients of depthwise convolutions on processors, several times quicker than PyTorch's own.

In bf16, oneDNN computes the gradients of strided and of 5 x 5 depthwise convolutions without its
quick kernels: they take most of a training step of MobileNet or EfficientNet. Both can be written
as convolutions for which it has quick ones; the results differ by rounding alone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


def quick_depthwise() -> TorchFunctionMode:
    """A context in which bf16 depthwise convolutions on the CPU get quick gradients."""
    from torch.overrides import TorchFunctionMode

    class Quick(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            return _called(func, args, kwargs or {})

    return Quick()


def _called(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Replace ``torch.conv2d`` as PyTorch's layers call it; all else goes its way."""
    import torch

    if func is torch.conv2d and len(args) == 7 and not kwargs and _suits(*args):
        values, weights, _, stride, padding, _, _ = args
        half = values.to(torch.bfloat16), weights.to(torch.bfloat16)
        return convolution().apply(*half, _pair(stride), _pair(padding))
    return func(*args, **kwargs)


@cache
def convolution() -> Any:
    """The depthwise convolution of ``(values, weights, stride, padding)``, to be applied."""
    import torch

    class Depthwise(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, values: Tensor, weights: Tensor, stride: Pair, padding: Pair
        ) -> Tensor:
            ctx.save_for_backward(values, weights)
            ctx.placed = stride, padding
            return torch.conv2d(values, weights, None, stride, padding, 1, len(weights))

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
            given = gradient.contiguous(memory_format=torch.channels_last), *ctx.saved_tensors
            first, second = ctx.needs_input_grad[:2]
            of_values = _of_values(*given, *ctx.placed) if first else None
            return of_values, _of_weights(*given, *ctx.placed) if second else None, None, None

    return Depthwise


def _suits(*given: Any) -> bool:
    import torch

    values, weights, bias, _, padding, dilation, groups = given
    side = weights.shape[2]
    return (
        groups > 1
        and weights.shape[:2] == (groups, 1)
        and values.shape[1] == groups
        and weights.shape[3] == side
        and side in (3, 5, 7)
        and bias is None
        and not isinstance(padding, str)
        and max(_pair(padding)) < side
        and _pair(dilation) == (1, 1)
        and bool(weights.requires_grad)
        and torch.is_autocast_enabled("cpu")
    )


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _of_values(
    gradient: Tensor, values: Tensor, weights: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    """The gradient, spread out with zeros between, convolved with the mirrored kernel."""
    import torch

    side = weights.shape[2]
    if stride != (1, 1):
        height, width = (values.shape[2 + i] + 2 * padding[i] - side + 1 for i in (0, 1))
        spread = gradient.new_zeros((*gradient.shape[:2], height, width))
        spread = spread.contiguous(memory_format=torch.channels_last)
        spread[:, :, :: stride[0], :: stride[1]] = gradient
        gradient = spread
    around = (side - 1 - padding[0], side - 1 - padding[1])
    return torch.conv2d(gradient, weights.flip(2, 3), None, 1, around, 1, len(weights))


def _of_weights(
    gradient: Tensor, values: Tensor, weights: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    """Put together from 3 x 3 parts of the kernel, each of pictures moved accordingly."""
    import torch
    from torch.nn import functional

    side, (height, width) = weights.shape[2], gradient.shape[2:]
    part = weights[:, :, :3, :3].contiguous(memory_format=torch.channels_last)
    if side == 3:
        return _of_three(gradient, values, part, stride, padding)
    wide = functional.pad(values, (padding[1], padding[1], padding[0], padding[0]))
    found = torch.empty_like(weights)
    for y in range(0, side - 2, 2):
        for x in range(0, side - 2, 2):
            rows, columns = (height - 1) * stride[0] + 3, (width - 1) * stride[1] + 3
            moved = wide[:, :, y : y + rows, x : x + columns]
            moved = moved.contiguous(memory_format=torch.channels_last)
            found[:, :, y : y + 3, x : x + 3] = _of_three(gradient, moved, part, stride, (0, 0))
    return found


def _of_three(
    gradient: Tensor, values: Tensor, weights: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    import torch

    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, values, weights, None, stride, padding, (1, 1), False, (0, 0), len(weights),
        (False, True, False),
    )[1]  # fmt: skip
    return found
