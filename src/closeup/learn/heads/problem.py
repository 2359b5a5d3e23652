"""What a head is fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats
from closeup.learn.heads.head import Standardiser

IMBALANCED = 1.5
"""From this ratio of the largest to the smallest class on, weighting the classes is tried."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The training part, checked.

    Attributes
    ----------
    embeddings
        ``(n, d)`` float32.
    classes
        ``(n,)`` positions in `labels`.
    folds
        ``(n,)`` fold numbers; all the same where nothing can be held out.
    blocks
        Lengths of the parts of an embedding, which sum to d.
    seed
        For whatever is drawn at random.
    """

    embeddings: Floats
    labels: tuple[str, ...]
    classes: NDArray[np.int64]
    folds: NDArray[np.int64]
    blocks: tuple[int, ...]
    seed: int

    @property
    def can_hold_out(self) -> bool:
        """Whether there are several folds."""
        return bool(np.ptp(self.folds))

    @property
    def weightings(self) -> tuple[bool, ...]:
        """The ways of weighting classes worth trying: evenly counted rows, evenly counted classes.

        Only the first where the classes are about equally large.
        """
        counts = np.bincount(self.classes)
        return (False, True) if counts.max() >= IMBALANCED * counts.min() else (False,)

    def row_weights(self, balanced: bool) -> NDArray[np.float64]:
        """``(n,)`` weights with mean 1: all equal, or such that every class weighs the same."""
        if not balanced:
            return np.ones(len(self.classes))
        counts = np.bincount(self.classes, minlength=len(self.labels))
        present = int((counts > 0).sum())
        weights: NDArray[np.float64] = (len(self.classes) / present / np.maximum(counts, 1))[
            self.classes
        ]
        return weights

    def standardiser(self) -> Standardiser:
        """Of the embeddings, block by block."""
        return Standardiser.of(self.embeddings, self.blocks)

    def only(self, rows: NDArray[np.bool_]) -> Problem:
        """The same with these rows alone; `labels` stay, though some may have no row left."""
        return replace(
            self, embeddings=self.embeddings[rows], classes=self.classes[rows],
            folds=self.folds[rows],
        )  # fmt: skip

    def held_out(self) -> Iterator[NDArray[np.bool_]]:
        """For each fold, which rows it holds."""
        for number in np.unique(self.folds):
            yield self.folds == number


def macro_f1(truth: NDArray[np.int64], answers: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in `truth`; both are ``(n,)``, n at least 1.

    >>> macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.6666666666666666
    """
    size = int(max(truth.max(), answers.max())) + 1
    right = np.bincount(truth[truth == answers], minlength=size)
    occurs, answered = np.bincount(truth, minlength=size), np.bincount(answers, minlength=size)
    present = occurs > 0
    return float((2 * right[present] / (occurs + answered)[present]).mean())
