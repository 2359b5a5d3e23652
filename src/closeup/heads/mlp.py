"""The blog post's head: Dense 128 ReLU, softmax, trained with Adam on the cached embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.heads.base import Fitted, Scaler, softmax
from closeup.types import Floats

UNITS = 128
EPOCHS = 50
BATCH = 32
RATE = 1e-3
PLATEAU = 3
"""Epochs without a better validation loss after which the rate is halved."""
PATIENCE = 8
"""Epochs without a better validation loss after which training stops."""

Layers = tuple[
    NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]
]
"""Weights and bias of the hidden layer, then of the output layer."""


@dataclass(frozen=True, slots=True)
class MlpHead:
    """One hidden layer of rectified units; weights are ``(in, out)``."""

    labels: tuple[str, ...]
    scaler: Scaler
    layers: Layers
    kind: str = "mlp"

    def probabilities(self, embeddings: Floats) -> NDArray[np.float64]:
        """See :meth:`closeup.heads.Head.probabilities`."""
        return softmax(_forward(self.layers, self.scaler(embeddings))[1])

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """See :meth:`closeup.heads.Head.arrays`."""
        names = ("weights1", "bias1", "weights2", "bias2")
        scaler = {"mean": self.scaler.mean, "scale": self.scaler.scale}
        return scaler | dict(zip(names, self.layers, strict=True))

    def settings(self) -> dict[str, Any]:
        """Nothing: the arrays say it all."""
        return {}


def fit_mlp(
    embeddings: Floats, labels: Sequence[str], folds: NDArray[np.int64], seed: int
) -> Fitted:
    """Train, keeping the epoch with the lowest validation loss.

    The first fold of the training part is the validation part; the test part is never seen.

    Parameters
    ----------
    embeddings
        ``(n, dim)``.
    folds
        ``(n,)``: the fold of each row; groups are whole in them.
    seed
        Of the first weights and the order of the batches.

    Returns
    -------
    fitted
        Its log holds ``best_epoch`` and ``table``, a row for each epoch: losses, accuracy, rate.
    """
    names, truth = np.unique(np.asarray(labels), return_inverse=True)
    held = folds == folds.min()
    scaler = Scaler.of(embeddings[~held])
    rows, rows_held = scaler(embeddings[~held]), scaler(embeddings[held])
    rng = np.random.default_rng(seed)
    layers = _first_layers(rows.shape[1], len(names), rng)
    adam = _Adam(layers)
    best, best_layers, best_loss = 0, layers, np.inf
    table: list[dict[str, float]] = []
    rate = RATE
    for epoch in range(EPOCHS):
        loss = _epoch(layers, (rows, truth[~held]), adam, rate, rng)
        chances = softmax(_forward(layers, rows_held)[1])
        held_loss = _cross_entropy(chances, truth[held])
        accuracy = float((chances.argmax(axis=1) == truth[held]).mean())
        table.append({"epoch": epoch + 1, "loss": loss, "validation_loss": held_loss,
                      "validation_accuracy": accuracy, "rate": rate})  # fmt: skip
        if held_loss < best_loss:
            best, best_loss = epoch, held_loss
            w1, b1, w2, b2 = layers
            best_layers = (w1.copy(), b1.copy(), w2.copy(), b2.copy())
        elif epoch - best >= PATIENCE:
            break
        elif (epoch - best) % PLATEAU == 0:
            rate /= 2
    head = MlpHead(tuple(str(n) for n in names), scaler, best_layers)
    return Fitted(head, {"kind": "mlp", "best_epoch": best + 1, "table": table})


def _first_layers(dim: int, classes: int, rng: np.random.Generator) -> Layers:
    """Glorot-uniform weights (Glorot and Bengio 2010) and zero biases, Keras' defaults."""

    def glorot(rows: int, columns: int) -> NDArray[np.float32]:
        limit = np.sqrt(6 / (rows + columns))
        return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    return (glorot(dim, UNITS), np.zeros(UNITS, np.float32),
            glorot(UNITS, classes), np.zeros(classes, np.float32))  # fmt: skip


def _epoch(
    layers: Layers,
    data: tuple[Floats, NDArray[np.int64]],
    adam: _Adam,
    rate: float,
    rng: np.random.Generator,
) -> float:
    """One pass in random order; changes `layers` in place and returns the mean loss."""
    from threadpoolctl import threadpool_limits

    rows, truth = data
    total = 0.0
    with threadpool_limits(1):  # small products: handing them out costs more than it saves
        for batch in np.split(rng.permutation(len(rows)), range(BATCH, len(rows), BATCH)):
            loss, gradients = loss_and_gradients(layers, rows[batch], truth[batch])
            adam.step(layers, gradients, rate)
            total += loss * len(batch)
    return total / len(rows)


def _forward(layers: Layers, rows: Floats) -> tuple[Floats, Floats]:
    """Hidden activations ``(n, units)`` and scores ``(n, classes)``."""
    hidden = np.maximum(rows @ layers[0] + layers[1], 0)
    return hidden, hidden @ layers[2] + layers[3]


def _cross_entropy(chances: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    mine = chances[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(mine, 1e-12)).mean())


def loss_and_gradients(
    layers: Layers, rows: Floats, truth: NDArray[np.int64]
) -> tuple[float, Layers]:
    """Mean cross-entropy of a batch, and its gradients with respect to `layers`."""
    hidden, scores = _forward(layers, rows)
    chances = softmax(scores)
    slope = chances.copy()
    slope[np.arange(len(truth)), truth] -= 1
    out = (slope / len(truth)).astype(rows.dtype)
    inner = (out @ layers[2].T) * (hidden > 0)
    gradients = (rows.T @ inner, inner.sum(axis=0), hidden.T @ out, out.sum(axis=0))
    return _cross_entropy(chances, truth), gradients


class _Adam:
    """Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) with its usual constants."""

    def __init__(self, layers: Layers) -> None:
        self._first = [np.zeros_like(layer) for layer in layers]
        self._second = [np.zeros_like(layer) for layer in layers]
        self._steps = 0

    def step(self, layers: Layers, gradients: Layers, rate: float) -> None:
        """Change `layers` in place."""
        self._steps += 1
        size = rate * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        for layer, slope, first, second in zip(
            layers, gradients, self._first, self._second, strict=True
        ):
            first += 0.1 * (slope - first)
            second += 0.001 * (slope * slope - second)
            layer -= (size * first / (np.sqrt(second) + 1e-7)).astype(layer.dtype)
