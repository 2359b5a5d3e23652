"""The training loop: train an epoch, evaluate on the held-out rows, keep the best."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress
from closeup.core.text import duration
from closeup.core.types import Floats, Pixels
from closeup.learn.finetune import checkpoint, norms
from closeup.learn.finetune.checkpoint import LearningTask
from closeup.learn.finetune.config import FinetuneConfig
from closeup.learn.finetune.module import CLIP, Training, make_scheduler, set_rates, to_input
from closeup.learn.finetune.pictures import Pictures
from closeup.learn.heads.problem import macro_f1

if TYPE_CHECKING:
    from timm.scheduler import CosineLRScheduler
    from torch import Tensor, nn

_logger = logging.getLogger(__name__)


class Diverged(DatasetError):
    """Training ended without a usable network."""


WORKERS = 2
"""Threads that prepare pictures; PyTorch has its own."""
MEASURED = 512
"""Close-ups that are enough to measure batch norms on: each has thousands of positions."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is trained on.

    Attributes
    ----------
    classes
        ``(n,)`` class of each picture.
    weights
        ``(k,)`` weight of each class in the loss.
    held_out
        ``(n,)``, which rows are held out; all False to train on everything.
    file, key
        The checkpoint, and the key that it must have.
    """

    pictures: Pictures
    classes: NDArray[np.int64]
    weights: NDArray[np.float64]
    held_out: NDArray[np.bool_]
    file: Path
    key: str

    @property
    def train(self) -> NDArray[np.int64]:
        """The rows to train on."""
        return np.flatnonzero(~self.held_out)

    @property
    def held(self) -> NDArray[np.int64]:
        """The rows held out."""
        return np.flatnonzero(self.held_out)


def run(
    training: Training, data: TrainingData, config: FinetuneConfig, progress: Progress
) -> LearningTask:
    """Train to the end, from the checkpoint if there is one; ``task.best`` has the weights to keep.

    These are the last epoch's, for which the rates have fallen to 0, unless training was stopped
    early: then they are the best epoch's.

    Raises Diverged if the loss is not finite.
    """
    task = checkpoint.restore(data.file, data.key, training)
    batches = max(1, round(len(data.train) / config.batch))
    scheduler = make_scheduler(training.optimiser, config.epochs * batches)
    progress("finetune", task.epoch * batches, config.epochs * batches)
    while task.epoch < config.epochs and not is_over(task, config):
        began = time.perf_counter()
        loss, rate = _epoch(training, scheduler, data, config, task.epoch, progress)
        task.epoch += 1
        line = {"epoch": task.epoch, "loss": loss, "rate": rate}
        if len(data.held):
            line |= validate(training, data)
        task.table.append(line)
        _tell(line, config.epochs, time.perf_counter() - began)
        _keep_best(training, task, line)
        checkpoint.save(data.file, data.key, training, task)
    if task.epoch == config.epochs or not task.best:
        task.best, task.best_epoch = training.shadow.state_dict(), task.epoch
    return task


def is_over(task: LearningTask, config: FinetuneConfig) -> bool:
    """Whether neither loss nor macro-F1 has improved in the last `config.patience` epochs."""
    lines = task.table
    if not task.best:
        return False
    lowest = min(range(len(lines)), key=lambda n: lines[n]["validation_loss"])
    return len(lines) - 1 - max(lowest, task.best_epoch - 1) >= config.patience


def _tell(line: dict[str, float], epochs: int, seconds: float) -> None:
    """One epoch in the log: its time, its loss, and how well what is held out is answered."""
    held = ""
    if "validation_loss" in line:
        held = (f"; held out: loss {line['validation_loss']:.3f}, "
                f"macro-F1 {line['validation_macro_f1']:.3f}")  # fmt: skip
    _logger.info("epoch %d of %d, %s: loss %.3f%s", line["epoch"], epochs, duration(seconds),
              line["loss"], held)  # fmt: skip


def _keep_best(training: Training, task: LearningTask, line: dict[str, float]) -> None:
    """Keep the weights of the highest macro-F1, and among equals of the lowest loss."""
    if "validation_loss" not in line:
        return
    score = (line["validation_macro_f1"], -line["validation_loss"])
    if not task.best or score > task.best_score:
        task.best_score, task.best_epoch = score, task.epoch
        state = training.shadow.state_dict()
        task.best = {name: value.detach().clone() for name, value in state.items()}


def _epoch(
    training: Training,
    scheduler: CosineLRScheduler,
    data: TrainingData,
    config: FinetuneConfig,
    epoch: int,
    progress: Progress,
) -> tuple[float, float]:
    """Train on every row once; the mean loss, and the last rate's fraction of the largest."""
    import torch

    # All randomness comes from the seed and the epoch, so a resumed training gives the same result.
    torch.manual_seed(config.seed * 10_007 + epoch)
    rng = np.random.default_rng([config.seed, epoch])
    count = max(1, round(len(data.train) / config.batch))
    batches = np.array_split(rng.permutation(data.train), count)
    training.begin_epoch()
    total, rate = 0.0, 0.0
    for number, (rows, pictures) in enumerate(_augmented(data.pictures, config, epoch, batches)):
        step = epoch * count + number
        rate = set_rates(scheduler, step)
        loss = _loss(training, data, config, rows, pictures, rng)
        training.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(training.model.parameters(), CLIP)
        training.optimiser.step()
        training.update_average(step)
        total += float(loss.detach()) * len(rows)
        if not np.isfinite(total):
            raise Diverged(
                f"training diverged in epoch {epoch + 1} (the loss is not finite); "
                "lower the learning rates, or use precision fp32"
            )
        progress("finetune", step + 1, config.epochs * count)
    return total / len(data.train), rate


def _augmented(
    pictures: Pictures, config: FinetuneConfig, epoch: int, batches: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.int64], list[Pixels]]]:
    """The batches with their augmented pictures, prepared a little ahead of the training."""

    def one(row: int) -> Pixels:
        rng = np.random.default_rng([config.seed, epoch, row])
        return pictures.augmented(row, rng, config)

    rows = (int(row) for batch in batches for row in batch)
    made = ordered_map(one, rows, workers=WORKERS, ahead=2 * config.batch)
    for batch in batches:
        yield batch, [next(made) for _ in batch]


def _loss(
    training: Training,
    data: TrainingData,
    config: FinetuneConfig,
    rows: NDArray[np.int64],
    pictures: list[Pixels],
    rng: np.random.Generator,
) -> Tensor:
    """Cross-entropy with smoothed labels, of mixed pictures (Zhang et al. 2018) if configured."""
    import torch
    from torch.nn import functional

    values = to_input(pictures, data.pictures.spec, training.device)
    truth = torch.from_numpy(data.classes[rows]).to(training.device)
    target = functional.one_hot(truth, len(data.weights)).float()
    if config.mixup:
        first = rng.beta(config.mixup, config.mixup)
        other = torch.from_numpy(rng.permutation(len(rows))).to(training.device)
        values = first * values + (1 - first) * values[other]
        target = first * target + (1 - first) * target[other]
    logits = training.forward(values)
    weights = torch.from_numpy(data.weights).float().to(training.device)
    return functional.cross_entropy(logits, target, weights, label_smoothing=config.label_smoothing)


def adapt_norms(
    body: nn.Module, pictures: Pictures, rows: NDArray[np.int64], config: FinetuneConfig
) -> bool:
    """Measure the batch norms on augmented close-ups; see :func:`norms.rebase`."""
    order = np.random.default_rng(config.seed).permutation(rows)[:MEASURED]
    batches = np.array_split(order, max(1, round(len(order) / config.batch)))

    def shown() -> Iterator[Tensor]:
        for _, made in _augmented(pictures, config, config.epochs, batches):
            yield to_input(made, pictures.spec, "cpu")

    return norms.rebase(body, shown)


def validate(training: Training, data: TrainingData) -> dict[str, float]:
    """Loss, accuracy and macro-F1 of the averaged network on the held-out rows (at least one)."""
    from scipy.special import log_softmax

    half = training.precision == "bf16"
    logits = answers(training.shadow, training.device, data.pictures, data.held, half=half)
    truth = data.classes[data.held]
    log_p = log_softmax(logits, axis=1)
    found = logits.argmax(axis=1)
    return {
        "validation_loss": -float(log_p[np.arange(len(truth)), truth].mean()),
        "validation_accuracy": float((found == truth).mean()),
        "validation_macro_f1": macro_f1(truth, found),
    }


def answers(
    module: nn.Module,
    device: str,
    pictures: Pictures,
    rows: NDArray[np.int64],
    flip: bool = False,
    half: bool = False,
) -> Floats:
    """``(n, m)`` float32: the output of `module` for unaugmented pictures.

    With `flip` it is the mean of the outputs for a picture and for its mirror image. In full
    precision, or where `half` in bf16, which is enough to follow a training.
    """
    import torch

    module.eval()
    plain = ordered_map(pictures.plain, (int(row) for row in rows), workers=WORKERS)
    found: list[Floats] = []
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=half):
        for start in range(0, len(rows), 32):
            batch = [next(plain) for _ in rows[start : start + 32]]
            values = to_input(batch, pictures.spec, device)
            output = (module(values) + module(values.flip(3))) / 2 if flip else module(values)
            found.append(output.float().cpu().numpy())
    result: Floats = np.concatenate(found).astype(np.float32)
    return result
