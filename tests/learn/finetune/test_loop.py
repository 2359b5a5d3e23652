"""What happens around the epochs: statistics measured anew, and when to stop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from closeup.learn.finetune import FinetuneConfig
from closeup.learn.finetune.checkpoint import LearningTask
from closeup.learn.finetune.loop import adapt_norms, answers, is_over
from closeup.learn.finetune.pictures import Pictures
from closeup.networks.preprocess import InputSpec

torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")

SPEC = InputSpec(width=16, height=16)
CONFIG = FinetuneConfig(batch=4, least_area=1, rotation=0, colour=0, flip=False)


def load(count: int) -> Pictures:
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(count)]
    return Pictures.load([partial(np.copy, p) for p in made], SPEC, [False] * count)


def test_a_network_without_norms_stays_as_it_is() -> None:
    adapt_norms(torch.nn.Conv2d(3, 4, 3), load(0), np.zeros(0, np.int64), CONFIG)


@pytest.mark.parametrize("count", [1, 8])
def test_norms_are_measured_on_the_close_ups(count: int) -> None:
    pictures = load(count)
    norm = torch.nn.BatchNorm2d(3)
    norm.running_mean += 5
    body = torch.nn.Sequential(norm, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    adapt_norms(body, pictures, np.arange(count), CONFIG)
    assert not norm.training
    assert norm.momentum == 0.1
    pixels = np.stack([pictures.plain(row) for row in range(count)]) / 255
    np.testing.assert_allclose(norm.running_mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-4)
    # Seen through the new statistics the close-ups are centred.
    found = answers(body, "cpu", pictures, np.arange(count))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("losses", "best_epoch", "over"),
    [
        ([1.0, 0.9, 0.8], 3, False),
        ([0.8, 0.9, 1.0], 1, True),
        ([0.8, 0.9, 1.0], 2, False),  # the score became better later than the loss
        ([1.0, 0.8, 0.9], 1, False),  # the loss became better later than the score
    ],
)
def test_it_stops_where_neither_loss_nor_score_becomes_better(
    losses: list[float], best_epoch: int, over: bool
) -> None:
    table = [{"epoch": n + 1, "validation_loss": loss} for n, loss in enumerate(losses)]
    course = LearningTask(3, table, {"head.bias": torch.zeros(1)}, (0.5, -0.8), best_epoch)
    assert is_over(course, FinetuneConfig(patience=2)) is over


def test_without_rows_held_out_it_never_stops_early() -> None:
    course = LearningTask(30, [{"epoch": n + 1, "loss": 1.0} for n in range(30)])
    assert not is_over(course, FinetuneConfig(patience=1))
    assert not is_over(LearningTask(), FinetuneConfig(patience=1))
