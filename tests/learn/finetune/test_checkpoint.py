"""Between two epochs: everything comes back, or nothing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from closeup.learn.finetune import FinetuneConfig, checkpoint
from closeup.learn.finetune.checkpoint import LearningTask
from closeup.learn.finetune.module import Training, make_scheduler, make_training, set_rates
from closeup.learn.heads import Head
from closeup.learn.heads.head import Dense
from closeup.networks.preprocess import InputSpec

torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")


def make(average: float = 0.9) -> Training:
    torch.manual_seed(0)
    layer = Dense(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    head = Head("logistic", ("a", "b"), (layer,), {})
    config = FinetuneConfig(average=average, frozen_stride=0)
    return make_training(torch.nn.Linear(3, 3), head, config, InputSpec(width=8, height=8))


def step(training: Training) -> None:
    set_rates(make_scheduler(training.optimiser, 10), 1)
    training.optimiser.zero_grad()
    training.model.eval()(torch.arange(6.0).view(2, 3))[:, 0].sum().backward()
    training.optimiser.step()


def weights(training: Training) -> list[float]:
    return [float(value.sum()) for value in training.model.state_dict().values()]


@pytest.mark.parametrize("average", [0.9, 0.0])
def test_what_goes_on_is_what_was_stopped(tmp_path: Path, average: float) -> None:
    training, again = make(average), make(average)
    step(training)
    best = {"head.bias": torch.ones(2)}
    course = LearningTask(3, [{"epoch": 1, "loss": 0.5}], best, (0.75, -0.5), 2)
    checkpoint.save(tmp_path / "c.safetensors", "key", training, course)
    found = checkpoint.restore(tmp_path / "c.safetensors", "key", again)
    assert (found.epoch, found.table, found.best_score, found.best_epoch) == (
        3, course.table, (0.75, -0.5), 2,
    )  # fmt: skip
    assert torch.equal(found.best["head.bias"], best["head.bias"])
    step(training)
    step(again)  # its optimiser remembers the first step too
    assert weights(again) == weights(training)


def test_what_is_absent_damaged_or_of_another_key_is_passed_over(tmp_path: Path) -> None:
    training, file = make(), tmp_path / "c.safetensors"
    step(training)
    assert checkpoint.restore(file, "key", training).epoch == 0
    checkpoint.save(file, "key", training, LearningTask(epoch=3))
    untouched, before = make(), weights(make())
    assert checkpoint.restore(file, "other", untouched).epoch == 0
    data = file.read_bytes()
    for broken in (b"", data[: len(data) // 2], b"\0" * 100):
        file.write_bytes(broken)
        assert checkpoint.restore(file, "key", untouched).epoch == 0
    assert weights(untouched) == before
