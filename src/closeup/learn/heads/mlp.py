"""A small network on the embeddings: Dense 128, ReLU, softmax; Adam on the cross-entropy.

Plain NumPy, so that PyTorch is not needed. (scikit-learn's MLPClassifier accepts no validation
rows, which grouped photos need, and cannot lower its learning rate by them.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats
from closeup.learn.heads.head import Dense, Fitted, Head, softmax
from closeup.learn.heads.numerics import cross_entropy
from closeup.learn.heads.problem import Problem

HIDDEN = 128
BATCH = 32
MAX_EPOCHS = 50
BLIND_EPOCHS = 20  # the number of epochs where there are no validation rows to choose by
LEARNING_RATE = 1e-3
LOWER_BY, LOWER_AFTER = 0.5, 3
"""The learning rate is halved after this many epochs in a row without a lower validation loss."""
STOP_AFTER = 8  # training ends after this many epochs without a lower validation loss

Parameters = list[NDArray[Any]]
"""Weights ``(hidden, d)``, bias ``(hidden,)``, weights ``(k, hidden)``, bias ``(k,)``."""

Rows = tuple[Floats, NDArray[np.int64]]  # standardised embeddings ``(n, d)`` and classes ``(n,)``


def fit_mlp(problem: Problem) -> Fitted:
    """Train on all folds but the first; the parameters of the lowest validation loss are kept.

    Where nothing can be held out, it trains on all rows for a fixed number of epochs. See
    :func:`closeup.learn.heads.fit`.
    """
    held = problem.folds == problem.folds.min()
    if not problem.can_hold_out:
        held = np.zeros(len(held), bool)
    used = problem.only(~held)
    standardise = used.standardiser()
    train = standardise(used.embeddings), used.classes
    validation = standardise(problem.embeddings[held]), problem.classes[held]
    rng = np.random.default_rng(problem.seed)
    start = _start(problem.embeddings.shape[1], len(problem.labels), rng)
    best, best_epoch, table = _train(start, train, validation, rng)
    layers = (standardise.fold_into(best[0], best[1]), Dense(best[2], best[3]))
    log = {"kind": "mlp", "best_epoch": best_epoch, "train": len(train[1]),
           "validation": len(validation[1]), "table": table}  # fmt: skip
    return Fitted(Head("mlp", problem.labels, layers, {"best_epoch": best_epoch}), log)


def refit_mlp(problem: Problem, chosen: dict[str, Any]) -> Head:
    """A head trained anew; what an earlier fit chose does not carry over."""
    del chosen
    return fit_mlp(problem).head


def _train(
    parameters: Parameters, train: Rows, validation: Rows, rng: np.random.Generator
) -> tuple[Parameters, int, list[dict[str, float]]]:
    """The parameters of the best epoch, its number from 1, and one line for each epoch."""
    optimiser = Adam([np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters])
    best, best_loss, best_epoch = parameters, np.inf, 0
    table: list[dict[str, float]] = []
    if not len(validation[1]):
        for _ in range(BLIND_EPOCHS):
            _epoch(parameters, optimiser, train, rng)
        return parameters, BLIND_EPOCHS, table
    for epoch in range(1, MAX_EPOCHS + 1):
        rate = optimiser.rate
        train_loss = _epoch(parameters, optimiser, train, rng)
        loss, accuracy = _validate(parameters, validation)
        table.append({"epoch": epoch, "loss": train_loss, "validation_loss": loss,
                      "validation_accuracy": accuracy, "rate": rate})  # fmt: skip
        if loss < best_loss:
            best, best_loss, best_epoch = [p.copy() for p in parameters], loss, epoch
        elif epoch - best_epoch == STOP_AFTER:
            break
        elif (epoch - best_epoch) % LOWER_AFTER == 0:
            optimiser.rate *= LOWER_BY
    return best, best_epoch, table


@dataclass
class Adam:
    """Adam (Kingma and Ba, 2015), with its usual decay rates.

    - `mean`, `square`: running means of the gradients and of their squares, one array per parameter
    """

    mean: Parameters
    square: Parameters
    rate: float = LEARNING_RATE
    steps: int = field(default=0, init=False)

    def step(self, parameters: Parameters, gradients: Parameters) -> None:
        """Change the parameters in place."""
        self.steps += 1
        b1, b2 = 0.9, 0.999
        rate = np.float32(self.rate * np.sqrt(1 - b2**self.steps) / (1 - b1**self.steps))
        for p, g, m, s in zip(parameters, gradients, self.mean, self.square, strict=True):
            m += np.float32(1 - b1) * (g - m)
            s += np.float32(1 - b2) * (g * g - s)
            p -= rate * m / (np.sqrt(s) + np.float32(1e-7))


def loss_and_gradients(
    parameters: Parameters, embeddings: NDArray[Any], classes: NDArray[np.int64]
) -> tuple[float, Parameters]:
    """Mean cross-entropy of ``(n, d)`` rows, n at least 1, and its gradient for each parameter."""
    weights1, bias1, weights2, bias2 = parameters
    hidden = np.maximum(embeddings @ weights1.T + bias1, 0)
    error = softmax(hidden @ weights2.T + bias2)
    rows = np.arange(len(classes))
    loss = cross_entropy(error, classes)
    error[rows, classes] -= 1
    error /= len(classes)
    back = (error @ weights2) * (hidden > 0)
    return loss, [back.T @ embeddings, back.sum(axis=0), error.T @ hidden, error.sum(axis=0)]


def _start(dim: int, k: int, rng: np.random.Generator) -> Parameters:
    """Uniform as by Glorot and Bengio (2010), biases 0."""

    def glorot(outputs: int, inputs: int) -> NDArray[Any]:
        limit = np.sqrt(6 / (inputs + outputs))
        return rng.uniform(-limit, limit, (outputs, inputs)).astype(np.float32)

    hidden, last = glorot(HIDDEN, dim), glorot(k, HIDDEN)
    return [hidden, np.zeros(HIDDEN, np.float32), last, np.zeros(k, np.float32)]


def _epoch(parameters: Parameters, optimiser: Adam, rows: Rows, rng: np.random.Generator) -> float:
    """Every row once, in random batches; the mean loss along the way."""
    embeddings, classes = rows
    order = rng.permutation(len(classes))
    total = 0.0
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        loss, gradients = loss_and_gradients(parameters, embeddings[chosen], classes[chosen])
        optimiser.step(parameters, gradients)
        total += loss * len(chosen)
    return total / len(order)


def _validate(parameters: Parameters, rows: Rows) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    embeddings, classes = rows
    weights1, bias1, weights2, bias2 = parameters
    logits = np.maximum(embeddings @ weights1.T + bias1, 0) @ weights2.T + bias2
    accuracy = float((logits.argmax(axis=1) == classes).mean())
    return cross_entropy(softmax(logits), classes), accuracy
