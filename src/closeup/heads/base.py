"""What every head offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from closeup.types import Floats


class Head(Protocol):
    """A fitted classifier on embeddings; answering needs numpy only.

    Attributes
    ----------
    kind
        Its name in the registry.
    labels
        The classes, sorted, in the order of the probabilities.
    """

    @property
    def kind(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...

    def probabilities(self, embeddings: Floats) -> NDArray[np.float64]:
        """``(n, dim)`` embeddings to ``(n, classes)``; every row sums to 1; no rows give none."""
        ...

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What the head has learned, by name."""
        ...

    def settings(self) -> dict[str, Any]:
        """What else :func:`closeup.heads.restore` needs, as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """A head and, as JSON, how it came to be: its cross-validation or epoch table."""

    head: Head
    log: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Standardises embeddings with the training part's mean and deviation, ``(dim,)`` each."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, embeddings: Floats) -> Scaler:
        """The scaler of ``(n, dim)`` embeddings; a constant feature is only centred."""
        deviation = embeddings.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > 1e-8, deviation, 1.0)
        mean = embeddings.mean(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, embeddings: Floats) -> Floats:
        """``(n, dim)`` standardised."""
        scaled: Floats = (embeddings - self.mean) / self.scale
        return scaled


def softmax(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of ``(n, k)`` scores as probabilities.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True, initial=-np.inf)
    powers = np.exp(shifted)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result
