"""The small network: gradients, schedule, and that nothing of the validation rows is learned."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.learn import heads
from closeup.learn.heads import mlp
from tests.learn.heads.test_heads import clouds


def test_gradients_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    parameters = [rng.standard_normal(shape) for shape in ((6, 5), (6,), (3, 6), (3,))]
    rows, classes = rng.standard_normal((7, 5)), rng.integers(0, 3, 7)
    _, gradients = mlp.loss_and_gradients(parameters, rows, classes)
    step = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for place in np.ndindex(parameter.shape):
            kept = parameter[place]
            parameter[place] = kept + step
            above = mlp.loss_and_gradients(parameters, rows, classes)[0]
            parameter[place] = kept - step
            below = mlp.loss_and_gradients(parameters, rows, classes)[0]
            parameter[place] = kept
            assert gradient[place] == pytest.approx((above - below) / (2 * step), abs=1e-7)


def test_adam_steps_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    expected = rng.standard_normal((4, 3))
    found = [expected.astype(np.float32)]
    adam = mlp.Adam([np.zeros_like(found[0])], [np.zeros_like(found[0])], rate=0.01)
    mean, square = np.zeros((4, 3)), np.zeros((4, 3))
    for step in range(1, 6):
        gradient = rng.standard_normal((4, 3))
        adam.step(found, [gradient.astype(np.float32)])
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        expected -= 0.01 * (mean / (1 - 0.9**step)) / np.sqrt(square / (1 - 0.999**step))
    assert np.allclose(found[0], expected, atol=1e-5)


def test_the_best_epoch_is_kept_and_the_rate_falls() -> None:
    log = heads.fit("mlp", *clouds(300, 16, spread=8), seed=0).log
    table = log["table"]
    assert [row["epoch"] for row in table] == list(range(1, len(table) + 1))
    best = min(table, key=lambda row: row["validation_loss"])
    assert log["best_epoch"] == best["epoch"]
    assert len(table) == best["epoch"] + mlp.STOP_AFTER < mlp.MAX_EPOCHS
    rates = [row["rate"] for row in table]
    assert rates[0] == mlp.LEARNING_RATE
    # Halved after the third and the sixth epoch that bring nothing.
    assert rates[best["epoch"] + 2] == rates[best["epoch"]]
    assert rates[best["epoch"] + 3] == rates[best["epoch"]] / 2
    assert rates[best["epoch"] + 6] == rates[best["epoch"]] / 4
    assert table[-1]["loss"] < table[0]["loss"]


def test_the_head_is_the_one_of_the_best_epoch() -> None:
    rows, labels, folds = clouds(300, 16, spread=8)
    fitted = heads.fit("mlp", rows, labels, folds, seed=0)
    held = folds == 0
    truth = np.array([fitted.head.labels.index(label) for label in labels])[held]
    chances = fitted.head.probabilities(rows[held])
    loss = -np.log(chances[np.arange(len(truth)), truth]).mean()
    row = fitted.log["table"][fitted.log["best_epoch"] - 1]
    assert loss == pytest.approx(row["validation_loss"], rel=1e-3)
    assert (chances.argmax(axis=1) == truth).mean() == pytest.approx(row["validation_accuracy"])


def test_training_lasts_at_most_fifty_epochs() -> None:
    log = heads.fit("mlp", *clouds(spread=0.5), seed=0).log
    assert len(log["table"]) <= mlp.MAX_EPOCHS == 50


def test_validation_rows_are_not_learned_from() -> None:
    rows, labels, folds = clouds()
    held = folds == 0
    first = heads.fit("mlp", rows, labels, folds, seed=0)
    assert first.log["train"] + first.log["validation"] == len(labels)
    changed = rows.copy()
    changed[held] += 50
    second = heads.fit("mlp", changed, labels, folds, seed=0)
    losses = [[row["loss"] for row in log["table"][:3]] for log in (first.log, second.log)]
    assert losses[0] == losses[1]


def test_another_seed_gives_another_head() -> None:
    first, second = (heads.fit("mlp", *clouds(), seed=seed).head for seed in (0, 1))
    assert not np.array_equal(first.arrays()["layer0.weights"], second.arrays()["layer0.weights"])
