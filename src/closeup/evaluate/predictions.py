"""Probabilities beside the true labels: what every measurement here starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities for n close-ups, and their true labels.

    - `probabilities`: ``(n, k)``, each row sums to 1: out of fold on the training part, or on the
      test part
    - `labels`: the k classes, in the order of the columns
    - `truth`, `groups`: n labels and groups. A true label that is not among `labels` is never
      predicted correctly.

    Raises DatasetError where n is 0, or a probability is not finite; UsageError where the lengths
    do not match.
    """

    probabilities: Probabilities
    labels: Sequence[str]
    truth: Sequence[str]
    groups: Sequence[str]

    def __post_init__(self) -> None:
        n, k = len(self.truth), len(self.labels)
        if n == 0:
            raise DatasetError("there are no close-ups to evaluate; add photos")
        if self.probabilities.shape != (n, k) or len(self.groups) != n:
            raise UsageError(
                f"probabilities {self.probabilities.shape} and {len(self.groups)} groups do not "
                f"match {n} true labels out of {k}"
            )
        if not np.isfinite(self.probabilities).all():
            raise DatasetError(
                "a probability is not finite; check the backbone, or run it with `--precision fp32`"
            )

    @cached_property
    def true(self) -> NDArray[np.int64]:
        """``(n,)`` positions of the true labels, -1 for one that is not among the labels."""
        place = {label: number for number, label in enumerate(self.labels)}
        return np.array([place.get(label, -1) for label in self.truth], np.int64)

    @cached_property
    def answer(self) -> NDArray[np.int64]:
        """``(n,)`` positions of the most probable labels, the first of equal ones."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confidence(self) -> Probabilities:
        """``(n,)`` probability of the answer."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def of_truth(self) -> Probabilities:
        """``(n,)`` probability of the true label; 0 for one that is not among the labels."""
        rows = np.arange(len(self.true))
        return np.where(self.true >= 0, self.probabilities[rows, self.true], 0.0)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """``(n,)`` whether the answer is the true label."""
        return np.asarray(self.answer == self.true)
