"""Scores with 95 % intervals, from the answers on an untouched test part.

Intervals come from a bootstrap over whole groups; see :mod:`closeup.evaluate.bootstrap`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.types import Result
from closeup.evaluate.bootstrap import Interval, Values, interval, resampled_sums, share_interval
from closeup.evaluate.predictions import Predictions
from closeup.learn.heads.problem import class_f1, mean_f1

RESAMPLES = 2000
MAX_MISTAKES = 30

Tallies = tuple[Values, Values]
"""Right answers, occurrences and answers of each of k classes: ``(1, 3, k)`` of all rows, and
``(resamples, 3, k)``."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class on the test part; `support` is its number of test close-ups.

    A score that is not defined (nothing answered, no support) is 0.
    """

    label: str
    precision: float
    recall: float
    f1: Interval
    support: int


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured on the test part.

    Attributes
    ----------
    n
        Close-ups that were answered, stand-ins for objects that were not found included.
    accuracy, macro_f1
        Over these. Macro-F1 is the mean F1 of the classes that occur in the test part.
    n_found, macro_f1_found
        Over those whose object was found; 0 where none was.
    n_end_to_end, macro_f1_end_to_end
        Over all test objects, where one that was not found counts as answered wrongly: also where
        the whole photo stood in for it, and where there was nothing to answer for.
    labels, confusion
        ``confusion[i][j]`` close-ups of ``labels[i]`` were answered ``labels[j]``. Labels that the
        head does not know (all close-ups of training are missing) come last; they are never
        answered.
    """

    n: int
    accuracy: Interval
    macro_f1: Interval
    n_found: int
    macro_f1_found: Interval
    n_end_to_end: int
    macro_f1_end_to_end: Interval
    per_class: tuple[ClassScore, ...]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class AttributeScore:
    """An attribute of the photos, which is learned beside the label.

    Attributes
    ----------
    name, values
        How it is called, and what it can be.
    train, n
        Close-ups with a value in the training part and in the test part.
    macro_f1, accuracy
        On the test part; None where nothing of it was tested.
    """

    name: str
    values: tuple[str, ...]
    train: int
    n: int
    macro_f1: Interval | None
    accuracy: Interval | None


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much `b` beats `a` in macro-F1 on the same examples; negative where it does not."""

    a: float
    b: float
    delta: Interval


def evaluate(
    truth: Sequence[str],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    groups: Sequence[str],
    found: Sequence[bool],
    *,
    missed: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scores:
    """Score the answers on the test part.

    - `truth`, `groups`, `found`: the label, group and whether the object was found, for each of n
      test close-ups
    - `probabilities`: ``(n, len(labels))``; the answer is the most probable label, the first of
      equal ones
    - `missed`: ``(label, group)`` of test objects that have no close-up at all; wrong end to end
    - `seed`, `resamples`: of the bootstrap; the same input gives the same intervals

    Raises UsageError where the lengths or the columns do not match; DatasetError where there is no
    close-up to score, or a probability is not finite.
    """
    if not len(truth):
        raise DatasetError("the test part is empty; give more photos or another --test folder")
    _check_lengths(truth, probabilities=probabilities, groups=groups, found=found)
    if probabilities.shape[1:] != (len(labels),):
        raise UsageError(f"probabilities {probabilities.shape} do not match {len(labels)} labels")
    if not np.isfinite(probabilities).all():
        raise DatasetError(
            "a probability of the test part is not finite; check the backbone, or run it with "
            "`--precision fp32`"
        )
    unknown = {*truth, *(label for label, _ in missed)} - set(labels)
    labels = (*labels, *sorted(unknown))
    place = {label: number for number, label in enumerate(labels)}
    n, k = len(truth), len(labels)
    true = np.array([place[label] for label in (*truth, *(label for label, _ in missed))])
    every_group = [*groups, *(group for _, group in missed)]
    answer = np.full(len(true), k)
    answer[:n] = probabilities.argmax(axis=1)
    answered = np.arange(len(true)) < n
    seen = np.zeros(len(true), bool)
    seen[:n] = found

    def score(answer: NDArray[np.int64], use: NDArray[np.bool_]) -> Tallies:
        return _resampled(tally(true, answer, k, use), every_group, seed, resamples)

    plain, on_found = score(answer, answered), score(answer, seen)
    # A stand-in's wrong answer stays what it is; a right one was luck, and becomes no class.
    end_to_end = score(np.where(~seen & (answer == true), k, answer), np.ones(len(true), bool))
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (true[answered], answer[answered]), 1)
    several = len(set(groups))
    return Scores(
        n=n,
        accuracy=_interval(plain, _accuracy, several),
        macro_f1=_interval(plain, mean_f1, several),
        n_found=int(seen.sum()),
        macro_f1_found=_interval(on_found, mean_f1, len(set(compress(groups, found)))),
        n_end_to_end=len(true),
        macro_f1_end_to_end=_interval(end_to_end, mean_f1, len(set(every_group))),
        per_class=_per_class(plain, labels, truth, groups),
        labels=tuple(labels),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def paired_difference(
    truth: Sequence[str],
    answers_a: Sequence[str],
    answers_b: Sequence[str],
    groups: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """Macro-F1 of `answers_b` less that of `answers_a`, on the same n examples and resamples.

    Raises UsageError where the lengths differ; DatasetError where there is no example.
    """
    if not len(truth):
        raise DatasetError("there are no examples to compare on")
    _check_lengths(truth, answers_a=answers_a, answers_b=answers_b, groups=groups)
    k, true, *answers = _positions(truth, answers_a, answers_b)
    whole, draws = zip(
        *(_resampled(tally(true, answer, k), groups, seed, resamples) for answer in answers),
        strict=True,
    )
    point_a, point_b = (float(mean_f1(tallies)[0]) for tallies in whole)
    drawn_a, drawn_b = map(mean_f1, draws)
    delta, drawn = point_b - point_a, drawn_b - drawn_a
    widest = (-1.0, 1.0) if delta else (0.0, 0.0)
    return Difference(point_a, point_b, interval(delta, drawn, len(set(groups)), widest))


def macro_f1_interval(predictions: Predictions, *, seed: int = 0) -> Interval:
    """Macro-F1 over the classes that occur, with its interval; every true label is known."""
    table = tally(predictions.true, predictions.answer, len(predictions.labels))
    tallies = _resampled(table, predictions.groups, seed, RESAMPLES)
    return _interval(tallies, mean_f1, len(set(predictions.groups)))


def tally(
    true: NDArray[np.int64], answer: NDArray[np.int64], k: int, use: NDArray[np.bool_] | None = None
) -> Any:
    """``(n, 3 k)`` sparse: of each row and class, whether it is right, occurs, and is answered.

    - `true`, `answer`: ``(n,)`` positions among k classes; an answer of k is none of them
    - `use`: ``(n,)`` which rows to count; None for all
    """
    from scipy.sparse import csr_array

    rows = np.arange(len(true)) if use is None else np.flatnonzero(use)
    right, named = rows[(true == answer)[rows]], rows[answer[rows] < k]
    places = np.concatenate([right, rows, named])
    columns = np.concatenate([true[right], k + true[rows], 2 * k + answer[named]])
    return csr_array((np.ones(len(places)), (places, columns)), (len(true), 3 * k))


def _positions(*columns: Sequence[str]) -> tuple[Any, ...]:
    """The number of different labels, and each column with its labels as numbers."""
    place = {name: number for number, name in enumerate(sorted({*chain(*columns)}))}
    return len(place), *(np.array([place[name] for name in column]) for column in columns)


def _resampled(table: Any, groups: Sequence[str], seed: int, resamples: int) -> Tallies:
    """The sums of a :func:`tally`, of all rows and of each draw."""
    drawn = resampled_sums(table, groups, seed=seed, resamples=resamples)
    k = table.shape[1] // 3
    return table.sum(axis=0).reshape(1, 3, k), drawn.reshape(-1, 3, k)


def _check_lengths(truth: Sequence[str], **others: Sized) -> None:
    for name, values in others.items():
        if len(values) != len(truth):
            raise UsageError(f"{len(truth)} true labels do not match {len(values)} {name}")


def _interval(tallies: Tallies, score: Callable[[Values], Values], groups: int) -> Interval:
    """A score between 0 and 1, from so many independent groups."""
    return share_interval(float(score(tallies[0])[0]), score(tallies[1]), groups)


def _accuracy(tallies: Values) -> Values:
    right, occurs = tallies[:, 0].sum(axis=1), tallies[:, 1].sum(axis=1)
    return np.asarray(right / np.where(occurs, occurs, np.nan))


def _per_class(
    tallies: Tallies, labels: Sequence[str], truth: Sequence[str], groups: Sequence[str]
) -> tuple[ClassScore, ...]:
    groups_of = Counter(label for label, _ in set(zip(truth, groups, strict=True)))
    right, support, answered = tallies[0][0]
    f1, drawn = class_f1(tallies[0])[0], class_f1(tallies[1])
    return tuple(
        ClassScore(
            label,
            precision=float(right[i] / max(answered[i], 1)),
            recall=float(right[i] / max(support[i], 1)),
            f1=share_interval(float(f1[i]), drawn[:, i], groups_of[label]),
            support=int(support[i]),
        )
        for i, label in enumerate(labels)
    )


def worst_mistakes(results: Sequence[Result], limit: int = MAX_MISTAKES) -> list[Result]:
    """The wrong answers with the highest confidence, at most `limit`, the most confident first."""
    wrong = [result for result in results if result.answer != result.truth]
    return sorted(wrong, key=lambda r: (-r.confidence, r.crop_id))[:limit]
