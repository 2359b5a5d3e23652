"""The network being trained: its input, its head, its rates, its average."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.core.errors import UsageError
from closeup.learn.finetune import FinetuneConfig
from closeup.learn.finetune.module import (
    early_layers,
    make_scheduler,
    make_training,
    set_rates,
    to_input,
    with_head,
)
from closeup.learn.heads import Head
from closeup.learn.heads.head import Dense
from closeup.networks.preprocess import InputSpec, prepare

torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")

SPEC = InputSpec(width=16, height=16)


def make_head(layers: int = 1) -> Head:
    rng = np.random.default_rng(0)
    layer = Dense(rng.standard_normal((3, 3)).astype(np.float32), np.arange(3, dtype=np.float32))
    return Head("logistic", ("a", "b", "c"), (layer,) * layers, {})


@pytest.mark.parametrize(
    "change",
    [{}, {"color": "bgr"}, {"scale": "byte"}, {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}],
)
def test_the_input_is_what_prediction_prepares(change: dict[str, object]) -> None:
    spec = InputSpec.model_validate({"width": 24, "height": 16, **change})
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    expected = np.stack([prepare(p, spec)[0] for p in pictures])
    found = to_input(list(pictures), spec, "cpu").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_it_begins_as_the_head_that_was_fitted() -> None:
    head = make_head()
    model = with_head(torch.nn.Identity(), head, dropout=0.5).eval()
    embeddings = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    with torch.no_grad():
        found = torch.softmax(model(torch.from_numpy(embeddings)), dim=1).numpy()
    np.testing.assert_allclose(found, head.probabilities(embeddings), atol=1e-6)


def test_a_head_of_several_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="one layer, logistic has 2"):
        with_head(torch.nn.Identity(), make_head(2), dropout=0.0)


def test_rates_rise_and_fall_each_to_its_own_top() -> None:
    config = FinetuneConfig(head_rate=0.01, backbone_rate=0.001, frozen_stride=0)
    training = make_training(torch.nn.Linear(3, 3), make_head(), config, SPEC)
    tops = [group["lr"] for group in training.optimiser.param_groups]
    scheduler = make_scheduler(training.optimiser, 100)
    assert sorted(set(tops)) == [0.001, 0.01]
    shares = [set_rates(scheduler, step) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[10] == 1
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] < 0.001
    set_rates(scheduler, 10)
    assert [group["lr"] for group in training.optimiser.param_groups] == tops
    assert set_rates(make_scheduler(training.optimiser, 1), 0) == 1


def test_biases_do_not_decay() -> None:
    config = FinetuneConfig(weight_decay=0.5, frozen_stride=0)
    training = make_training(torch.nn.Linear(3, 3), make_head(), config, SPEC)
    for group in training.optimiser.param_groups:
        expected = 0.5 if group["params"][0].ndim > 1 else 0.0
        assert group["weight_decay"] == expected


def test_the_average_follows() -> None:
    body = torch.nn.BatchNorm1d(3)
    training = make_training(body, make_head(), FinetuneConfig(average=0.9, frozen_stride=0), SPEC)
    before = training.shadow.head.weight.detach().clone()
    with torch.no_grad():
        training.model.head.weight += 1
        training.model.body.num_batches_tracked += 7
    training.update_average(1000)
    moved = training.shadow.head.weight.detach() - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1))
    assert int(training.shadow.body.num_batches_tracked) == 7
    still = FinetuneConfig(average=0, frozen_stride=0)
    last = make_training(torch.nn.Linear(3, 3), make_head(), still, SPEC)
    assert last.shadow is last.model
    last.update_average(0)


def make_body() -> torch.nn.Sequential:
    """Feature maps of 8, 8, 4 and 4 pixels from a picture of 16."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


@pytest.mark.parametrize(("stride", "count"), [(0, 0), (1, 0), (2, 0), (4, 2), (8, 4)])
def test_early_layers_have_the_finer_feature_maps(stride: int, count: int) -> None:
    body = make_body()
    assert early_layers(body, SPEC, stride) == tuple(body)[:count]


def test_a_network_without_feature_maps_has_no_early_layers() -> None:
    nn = torch.nn
    tokens = nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 3))
    assert early_layers(tokens, SPEC, 8) == ()


def test_early_layers_stay_as_they_are() -> None:
    config = FinetuneConfig(frozen_stride=4, average=0, backbone_rate=0.1)
    training = make_training(make_body(), make_head(), config, SPEC)
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    training.begin_epoch()
    set_rates(make_scheduler(training.optimiser, 1), 0)
    training.model(torch.rand(4, 3, 16, 16)).sum().backward()
    training.optimiser.step()
    changed = {name for name, value in training.model.state_dict().items()
               if not torch.equal(value, before[name])}  # fmt: skip
    assert {name.rpartition(".")[0] for name in changed} == {"body.2", "body.3", "body.6", "head"}
