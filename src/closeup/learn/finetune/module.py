"""The network being trained: a backbone with a linear head, its optimiser and its average."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from closeup.core.errors import UsageError
from closeup.core.types import Pixels
from closeup.learn.finetune.config import FinetuneConfig
from closeup.learn.heads import Head
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from timm.scheduler import CosineLRScheduler
    from timm.utils import ModelEmaV3
    from torch import Tensor, nn, optim

WARM_UP = 0.1
"""Fraction of the steps in which the learning rates rise."""
CLIP = 5.0
"""The largest norm of the gradient, so that one odd batch cannot undo the rest."""


@dataclass
class Training:
    """Everything that changes during training.

    `model` is ``body``, ``drop`` and ``head`` in sequence, from normalised pixels to logits;
    `average` its running average, if any; `frozen` the layers of it that stay in evaluation mode.
    """

    model: nn.Sequential
    average: ModelEmaV3 | None
    frozen: tuple[nn.Module, ...]
    optimiser: optim.Optimizer
    device: str
    precision: str

    @property
    def shadow(self) -> nn.Sequential:
        """The network to keep: the average, or `model` itself if there is none."""
        kept: nn.Sequential = self.model if self.average is None else self.average.module
        return kept

    def update_average(self, step: int) -> None:
        """Move the average towards the model, faster in the first steps."""
        if self.average is not None:
            self.average.update(self.model, step + 2)  # its decay is (1 + step) / (10 + step)

    def begin_epoch(self) -> None:
        """Put all layers except the frozen ones into training mode."""
        self.model.train()
        for layer in self.frozen:
            layer.eval()

    def forward(self, values: Tensor) -> Tensor:
        """The logits of a batch, in the precision of training."""
        import torch

        half = self.precision == "bf16"
        with ExitStack() as stack:
            stack.enter_context(torch.autocast(self.device, torch.bfloat16, enabled=half))
            if half and self.device == "cpu":
                from closeup.learn.finetune.depthwise import quick_depthwise

                stack.enter_context(quick_depthwise())
            logits: Tensor = self.model(values)
        return logits.float()


def make_training(
    body: nn.Module,
    head: Head,
    config: FinetuneConfig,
    spec: InputSpec,
    kept: Sequence[nn.Module] = (),
) -> Training:
    """The network, ready for training, on the GPU if there is one.

    `kept` are batch norms that keep their statistics in training.
    """
    import torch
    from timm.utils import ModelEmaV3

    device = "cuda" if torch.cuda.is_available() else "cpu"
    frozen = early_layers(body, spec, config.frozen_stride)
    for layer in frozen:
        layer.requires_grad_(False)
    model = with_head(body, head, config.dropout).to(device, memory_format=torch.channels_last)
    average = (ModelEmaV3(model, config.average, use_warmup=True, warmup_gamma=9, warmup_power=1)
               if config.average else None)  # fmt: skip
    optimiser = torch.optim.AdamW(_groups(model, config))
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if _computes_bf16(device) else "fp32"
    return Training(model, average, (*frozen, *kept), optimiser, device, precision)


def _computes_bf16(device: str) -> bool:
    """Whether it has instructions for bf16; emulated, it is slower than fp32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def early_layers(body: nn.Module, spec: InputSpec, stride: int) -> tuple[nn.Module, ...]:
    """The layers that run before the first feature map at `stride` or coarser."""
    import torch

    if not stride:
        return ()
    shapes: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            shapes.append((layer, tuple(output.shape)))

    leaves = [layer for layer in body.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    with torch.no_grad():
        body.eval()(torch.zeros(1, 3, spec.height, spec.width))
    for hook in hooks:
        hook.remove()
    early: list[nn.Module] = []
    for layer, shape in shapes:
        if len(shape) != 4 or shape[2] <= -(-spec.height // stride):
            return tuple(early)
        early.append(layer)
    return ()


def with_head(body: nn.Module, head: Head, dropout: float) -> nn.Sequential:
    """`body`, dropout and the only layer of `head` in sequence; UsageError if it has several."""
    from collections import OrderedDict

    import torch
    from torch import nn

    if len(head.layers) != 1:
        raise UsageError(
            f"fine-tuning starts from a head of one layer, {head.kind} has {len(head.layers)}; "
            "fit a logistic one"
        )
    weights, bias = head.layers[0]
    linear = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weights))
        linear.bias.copy_(torch.from_numpy(bias))
    return nn.Sequential(OrderedDict(body=body, drop=nn.Dropout(dropout), head=linear))


def side_by_side(bodies: Sequence[nn.Module]) -> nn.Module:
    """One module that gives what all `bodies` give for a picture, one after the other."""
    import torch

    class SideBySide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bodies = torch.nn.ModuleList(bodies)

        def forward(self, values: Tensor) -> Tensor:
            return torch.cat([body(values) for body in self.bodies], 1)

    return SideBySide()


def _groups(model: nn.Sequential, config: FinetuneConfig) -> list[dict[str, object]]:
    """Parameters by part and by whether they decay, with their largest learning rate."""
    groups = []
    for part, rate in (("body", config.backbone_rate), ("head", config.head_rate)):
        trained = [p for p in model.get_submodule(part).parameters() if p.requires_grad]
        for decays in (True, False):
            decay = config.weight_decay if decays else 0.0
            if chosen := [p for p in trained if (p.ndim > 1) is decays]:
                groups.append({"params": chosen, "weight_decay": decay, "lr": rate})
    return groups


def make_scheduler(optimiser: optim.Optimizer, steps: int) -> CosineLRScheduler:
    """Learning rates that rise to those of `optimiser` and then fall to 0 in `steps` steps."""
    from timm.scheduler import CosineLRScheduler

    rise = max(1, round(WARM_UP * steps))
    return CosineLRScheduler(optimiser, max(2, steps - rise), warmup_t=rise, warmup_prefix=True,
                             t_in_epochs=False)  # fmt: skip


def set_rates(scheduler: CosineLRScheduler, step: int) -> float:
    """Set the rates of step number `step` (from 0); returns their fraction of the largest ones."""
    # timm's warm-up starts at a rate of 0, which would waste the first step.
    scheduler.step_update(max(step, min(step + 1, scheduler.warmup_t)))
    groups = scheduler.optimizer.param_groups
    return max((g["lr"] / g["initial_lr"] for g in groups if g["initial_lr"]), default=0.0)


def to_input(pictures: Sequence[Pixels], spec: InputSpec, device: str) -> Tensor:
    """``(n, 3, h, w)`` float32, as :func:`closeup.networks.preprocess.prepare` would give them.

    `pictures` are ``(h, w, 3)`` uint8 RGB of the network's size.
    """
    import torch

    values = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    if spec.color == "bgr":
        values = values.flip(1)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    unit = 255.0 if spec.scale == "unit" else 1.0
    return (values.float() / (unit * std) - mean / std).contiguous(
        memory_format=torch.channels_last
    )
