"""What happens around the epochs: statistics measured anew, and when to stop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from closeup.learn.finetune import FinetuneConfig
from closeup.learn.finetune.checkpoint import LearningTask
from closeup.learn.finetune.loop import adapt_norms, answers, is_over
from closeup.learn.finetune.norms import norms_of
from closeup.learn.finetune.pictures import Pictures
from closeup.networks.preprocess import InputSpec

torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")

SPEC = InputSpec(width=16, height=16)
CONFIG = FinetuneConfig(batch=4, least_area=1, rotation=0, colour=0, flip=False)


def load(count: int) -> Pictures:
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(count)]
    return Pictures.load([partial(np.copy, p) for p in made], SPEC, [False] * count)


def measured(layer: torch.nn.Module, pictures: Pictures, count: int) -> tuple[bool, np.ndarray]:
    """Whether it computes what it did, and what it gave before."""
    before = answers(layer, "cpu", pictures, np.arange(count))
    return adapt_norms(layer, pictures, np.arange(count), CONFIG), before


def pooled(norm: torch.nn.Module) -> torch.nn.Sequential:
    return torch.nn.Sequential(norm, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


def test_a_network_without_norms_stays_as_it_is() -> None:
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    weights = body[0].weight.clone()
    assert adapt_norms(body, load(4), np.arange(4), CONFIG)
    assert torch.equal(body[0].weight, weights)


@pytest.mark.parametrize("count", [1, 8])
def test_norms_are_measured_on_the_close_ups(count: int) -> None:
    pictures = load(count)
    norm = torch.nn.BatchNorm2d(3)
    norm.running_mean += 5
    body = pooled(norm)
    kept, before = measured(body, pictures, count)
    assert kept
    assert norm.momentum == 0.1
    pixels = np.stack([pictures.plain(row) for row in range(count)]) / 255
    np.testing.assert_allclose(norm.running_mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(norm.running_var, pixels.var(axis=(0, 1, 2)), rtol=1e-4)
    # Scale and shift make up for it.
    after = answers(body, "cpu", pictures, np.arange(count))
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_a_network_with_folded_norms_computes_what_it_did() -> None:
    """As `mobilenetv2_100.tfslim`: mean 0, variance 1 and scale 1, whatever its pictures are."""
    torch.manual_seed(0)
    nn = torch.nn
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    with torch.no_grad():
        body[0].weight *= 30
        body[1].bias += 2
    kept, before = measured(body, load(8), 8)
    assert kept
    assert float(body[1].running_var.min()) > 2
    np.testing.assert_allclose(answers(body, "cpu", load(8), np.arange(8)), before, rtol=1e-3)
    # Batches are now normalised by about what was measured: no jump at the first step.
    body.train()
    x = torch.from_numpy(np.stack([load(8).plain(n) for n in range(8)])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        np.testing.assert_allclose(body(x).numpy(), before, atol=0.05 * float(before.max()))


class Odd(torch.nn.Module):
    """Gives the statistics themselves, so that measuring them changes what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x).mean((2, 3)) + self.norm.running_mean


@pytest.mark.parametrize("body", [Odd(), pooled(torch.nn.BatchNorm2d(3, affine=False))])
def test_norms_are_kept_where_the_network_would_compute_something_else(
    body: torch.nn.Module,
) -> None:
    before = {name: value.clone() for name, value in body.state_dict().items()}
    kept, _ = measured(body, load(8), 8)
    assert not kept
    assert norms_of(body)
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


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
