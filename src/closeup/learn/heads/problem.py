"""What a head is fitted on, and how its settings are chosen: by macro-F1 in cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.parallel import ordered_map
from closeup.core.types import Floats
from closeup.learn.heads.head import Head, Standardiser
from closeup.learn.heads.numerics import MOST, in_few

IMBALANCED = 1.5
"""From this ratio of the largest to the smallest class on, weighting the classes is tried."""

Values = NDArray[np.float64]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The training part, checked.

    - `embeddings`: ``(n, d)`` float32
    - `classes`: ``(n,)`` positions in `labels`
    - `folds`: ``(n,)`` fold numbers; all the same where nothing can be held out
    - `blocks`: lengths of the parts of an embedding, which sum to d
    - `seed`: for whatever is drawn at random
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
    def fold_count(self) -> int:
        """The number of folds; 0 where nothing can be held out."""
        return len(np.unique(self.folds)) if self.can_hold_out else 0

    @property
    def weightings(self) -> tuple[bool, ...]:
        """Whether to balance the classes: both ways where their sizes differ, else just False."""
        counts = np.bincount(self.classes)
        return (False, True) if counts.max() >= IMBALANCED * counts.min() else (False,)

    def row_weights(self, balanced: bool) -> Values:
        """``(n,)`` weights with mean 1: all equal, or such that every class weighs the same."""
        if not balanced:
            return np.ones(len(self.classes))
        counts = np.bincount(self.classes, minlength=len(self.labels))
        present = int((counts > 0).sum())
        weights = len(self.classes) / present / np.maximum(counts, 1)
        return np.asarray(weights[self.classes])

    def standardiser(self) -> Standardiser:
        """Of the embeddings, block by block."""
        return Standardiser.of(self.embeddings, self.blocks)

    def only(self, rows: Rows) -> Problem:
        """The same with these rows alone; `labels` stay, though some may have no row left."""
        parts = {name: getattr(self, name)[rows] for name in ("embeddings", "classes", "folds")}
        return replace(self, **parts)

    def held_out(self) -> Iterator[Rows]:
        """For each fold, which rows it holds."""
        for number in np.unique(self.folds):
            yield self.folds == number

    def for_each_fold(self, function: Callable[[Rows], Any]) -> list[Any]:
        """``function(rows held out)`` of each fold, in order, computed by threads."""
        masks = list(self.held_out())
        return list(ordered_map(function, masks, workers=min(8, len(masks))))


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of the grid, whether classes are balanced, its place, and what all values scored."""

    value: float
    balanced: bool
    place: int
    table: list[dict[str, float]]


def choose(
    problem: Problem,
    grid: tuple[str, Sequence[float]],
    scores: Callable[..., list[float]],
    *,
    prefer_last: bool,
) -> Choice:
    """The weighting and the value of a grid with the best macro-F1, averaged over the folds.

    - `grid`: the setting's name in the table, and its values
    - `scores`: from the rows held out, and by the keyword `balanced` whether to balance the
      classes, to macro-F1 for each value
    - `prefer_last`: of equally good values, take the last one, not the first
    """
    name, values = grid
    best: tuple[float, Choice] | None = None
    for balanced in problem.weightings:
        by_fold = np.array(problem.for_each_fold(partial(scores, balanced=balanced)))
        # Sums of floats differ in the last bits where the scores are the same.
        means = by_fold.mean(axis=0).round(12)
        errors = by_fold.std(axis=0, ddof=1) / np.sqrt(len(by_fold))
        places = np.flatnonzero(means == means.max())
        place = int(places[-1] if prefer_last else places[0])
        if best is None or means[place] > best[0]:
            rows = zip(values, means.tolist(), errors.tolist(), strict=True)
            table = [{name: v, "macro_f1": mean, "error": error} for v, mean, error in rows]
            best = means[place], Choice(values[place], balanced, place, table)
    assert best is not None
    return best[1]


def in_few_numbers(problem: Problem) -> tuple[Problem, Callable[[Head], Head]]:
    """The problem with short embeddings, and what turns a head for them into one for the long ones.

    Embeddings are centred and scaled block by block first, by all rows: no label takes part. See
    :func:`closeup.learn.heads.numerics.in_few`; a problem that is not wide stays as it is.
    """
    n, d = problem.embeddings.shape
    if d <= min(n, MOST):
        return problem, lambda head: head
    standardise = problem.standardiser()
    coordinates, back = in_few(standardise(problem.embeddings))

    def expand(head: Head) -> Head:
        first, *others = head.layers
        layer = standardise.fold_into(back(first.weights), first.bias)
        return replace(head, layers=(layer, *others))

    return replace(problem, embeddings=coordinates, blocks=()), expand


def class_f1(tallies: Values) -> Values:
    """``(m, k)`` F1 of each class, NaN for one that does not occur.

    - `tallies`: ``(m, 3, k)``: right answers, occurrences and answers of each class
    """
    right, occurs, answered = tallies[:, 0], tallies[:, 1], tallies[:, 2]
    scores = np.full(right.shape, np.nan)
    np.divide(2 * right, occurs + answered, out=scores, where=occurs > 0)
    return scores


def mean_f1(tallies: Values) -> Values:
    """``(m,)`` macro-F1: the mean of :func:`class_f1` over the classes that occur.

    NaN where none does.
    """
    scores = class_f1(tallies)
    count = (~np.isnan(scores)).sum(axis=1)
    return np.asarray(np.nansum(scores, axis=1) / np.where(count, count, np.nan))


def macro_f1(truth: NDArray[np.int64], answers: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in `truth`; both are ``(n,)``, n at least 1.

    >>> macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.6666666666666666
    """
    size = int(max(truth.max(), answers.max())) + 1
    counted = truth[truth == answers], truth, answers
    tallies = np.stack([np.bincount(which, minlength=size).astype(float) for which in counted])
    return float(mean_f1(tallies[None, :, tallies[1] > 0])[0])
