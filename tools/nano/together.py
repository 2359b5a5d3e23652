"""Train in several processes of one thread each, which share out every batch.

On a processor this is quicker than one process with many threads, suffers less from whatever else
is running, and always adds numbers in the same order, so a run can be repeated exactly.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Worker:
    """One of `count` processes that train together; `rank` 0 reports and saves."""

    rank: int
    count: int
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        """Draws that differ from worker to worker, new from the start at each call."""
        return np.random.default_rng([self.seed, self.rank])

    def generator(self) -> torch.Generator:
        """As :attr:`rng`, for torch."""
        return torch.Generator().manual_seed(self.seed * 1000 + self.rank)


def run(work: Callable[..., None], count: int, seed: int, *args: Any) -> None:
    """Call ``work(worker, *args)`` in `count` processes and wait for them."""
    # glibc else gives every large tensor back to the system and fetches it anew: a fifth slower.
    os.environ.update(MALLOC_MMAP_THRESHOLD_=str(2**32), MALLOC_TRIM_THRESHOLD_=str(2**33))
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        mp.spawn(_start, (work, count, seed, meeting, args), nprocs=count, join=True)


def _start(
    rank: int,
    work: Callable[..., None],
    count: int,
    seed: int,
    meeting: str,
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)  # the same on all: the networks start equal
    torch.use_deterministic_algorithms(True)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    try:
        work(Worker(rank, count, seed), *args)
    finally:
        dist.destroy_process_group()


def share_gradients(parameters: Iterable[nn.Parameter], count: int) -> None:
    """Replace each worker's gradients by the mean over the workers."""
    grads = [p.grad for p in parameters if p.grad is not None]
    _share(grads, count)


def share_buffers(module: nn.Module, count: int) -> None:
    """Replace floating-point buffers (batch norm's statistics) by the mean over the workers."""
    _share([b for b in module.buffers() if b.is_floating_point()], count)


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over the workers."""
    value = value.clone()
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def _share(tensors: list[Tensor], count: int) -> None:
    if count == 1 or not tensors:
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    flat /= count
    at = 0
    for tensor in tensors:
        tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
        at += tensor.numel()


class Average:
    """An exponential moving average of a module's parameters and buffers.

    The decay rises from 0 towards `decay`, so the first steps do not linger.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self.values = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module as it is after one more step."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10))
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                self.values[key].lerp_(value, 1 - decay)
            else:
                self.values[key].copy_(value)


def cosine(step: int, steps: int, warm: int) -> float:
    """Share of the top learning rate at a step: linear warm-up, then a cosine down to 1 %."""
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return float(0.01 + 0.99 * (1 + np.cos(np.pi * done)) / 2)


def adamw(module: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW that decays weights, but neither biases nor batch norm."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)
