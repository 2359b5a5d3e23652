"""Batch norms measured anew on close-ups, in a network that computes what it did.

In training every batch is normalised by its own statistics. Where those that a checkpoint stores
are not the ones of its pictures (a network whose norms were folded into its convolutions stores a
mean of 0 and a variance of 1), the first step would compute something else than the network. So
the statistics are measured, and scale and shift of each norm are changed by just as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-2
"""By how much embeddings may differ afterwards, relative to their length."""


def norms_of(body: nn.Module) -> list[Any]:
    """The batch norms that store statistics."""
    return [layer for layer in body.modules() if hasattr(layer, "num_batches_tracked")
            and layer.track_running_stats]  # fmt: skip


def rebase(body: nn.Module, batches: Callable[[], Iterator[Tensor]]) -> bool:
    """Measure the statistics of `body`'s batch norms; whether it computes what it did.

    `batches` gives the close-ups as the network sees them in training, at least one batch. Where
    outputs differ afterwards, everything is put back as it was; so it is where a norm has no scale
    and shift of its own, which could not be changed.
    """
    import torch

    norms = norms_of(body)
    if any(layer.weight is None or layer.bias is None for layer in norms):
        return False
    body.eval()
    before = {name: value.clone() for name, value in body.state_dict().items()}
    first = next(batches())
    with torch.no_grad():
        expected = body(first)
        for layer, mean, variance in _measured(body, norms, batches()):
            old = (layer.running_var + layer.eps).sqrt()
            layer.bias += layer.weight * (mean - layer.running_mean) / old
            layer.weight *= (variance + layer.eps).sqrt() / old
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
        distance = (body(first) - expected).norm() / expected.norm().clamp(min=1e-12)
    if bool(distance <= TOLERANCE):
        return True
    body.load_state_dict(before)
    return False


def _measured(
    body: nn.Module, norms: list[Any], batches: Iterator[Tensor]
) -> list[tuple[Any, Tensor, Tensor]]:
    """Each norm that was run, with mean and variance of its input over all batches."""
    import torch

    sums: dict[Any, list[Any]] = {}

    def note(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0]
        others = [axis for axis in range(values.ndim) if axis != 1]
        variance, mean = (v.double() for v in torch.var_mean(values, others, correction=0))
        n = values.numel() // values.shape[1]
        found = (n, n * mean, n * (variance + mean.square()))
        sums[layer] = [a + b for a, b in zip(sums.get(layer, (0, 0, 0)), found, strict=True)]

    hooks = [layer.register_forward_pre_hook(note) for layer in norms]
    for batch in batches:
        body(batch)
    for hook in hooks:
        hook.remove()
    return [
        (layer, (total / n).float(), (squares / n - (total / n) ** 2).clamp(min=0).float())
        for layer, (n, total, squares) in sums.items()
    ]
