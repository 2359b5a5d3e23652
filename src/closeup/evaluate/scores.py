"""Scores with intervals, from the answers on an untouched test part.

Intervals are 95 % percentile bootstrap intervals (Efron 1979). Whole groups are drawn, not single
photos, because copies and shots of one scene are right or wrong together. A draw in which a score
is not defined (no photo of the class) is left out of that score's interval.

Where no draw differs from another, the bootstrap would claim certainty. A score of 0 or 1 then has
the exact binomial bound of Clopper and Pearson (1934) over its groups, and one measured on a
single group, which says nothing of how groups differ, any value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.types import Result

RESAMPLES = 2000
_LOW, _HIGH = 2.5, 97.5  # percentiles of a 95 % interval

Tallies = NDArray[np.float64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A score with the bounds of its 95 % interval.

    >>> str(Interval(0.6514, 0.61, 0.69))
    '0.651 (0.610 to 0.690)'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


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

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Scores:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError
            Where it is something else.
        """
        intervals = ("accuracy", "macro_f1", "macro_f1_found", "macro_f1_end_to_end")
        return cls(
            n=value["n"],
            n_found=value["n_found"],
            n_end_to_end=value["n_end_to_end"],
            labels=tuple(value["labels"]),
            confusion=tuple(tuple(row) for row in value["confusion"]),
            per_class=tuple(
                ClassScore(**{**row, "f1": Interval(**row["f1"])}) for row in value["per_class"]
            ),
            **{name: Interval(**value[name]) for name in intervals},
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much `b` beats `a` in macro-F1 on the same examples; negative where it does not."""

    a: float
    b: float
    delta: Interval

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Difference:
        """Read what :meth:`to_json` gave."""
        return cls(value["a"], value["b"], Interval(**value["delta"]))


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

    Parameters
    ----------
    truth, groups, found
        The label, group and whether the object was found, for each of n test close-ups.
    probabilities
        ``(n, len(labels))``; the answer is the most probable label, the first of equal ones.
    missed
        ``(label, group)`` of test objects that have no close-up at all; wrong end to end.
    seed, resamples
        Of the bootstrap; the same input gives the same intervals.

    Raises
    ------
    UsageError
        Where the lengths or the columns do not go together.
    DatasetError
        Where there is no close-up to score, or a probability is not finite.
    """
    if not len(truth):
        raise DatasetError("the test part is empty; give more photos or another --test folder")
    _check_lengths(truth, probabilities=probabilities, groups=groups, found=found)
    if probabilities.shape[1:] != (len(labels),):
        raise UsageError(f"probabilities {probabilities.shape} do not go with {len(labels)} labels")
    if not np.isfinite(probabilities).all():
        raise DatasetError(
            "a probability of the test part is not finite; check the backbone, or run it with "
            "`--precision fp32`"
        )
    unknown = {*truth, *(label for label, _ in missed)} - set(labels)
    labels = (*labels, *sorted(unknown))
    place = {label: number for number, label in enumerate(labels)}
    k = len(labels)
    true = np.array([place[label] for label in truth])
    answer = probabilities.argmax(axis=1)
    seen = np.asarray(found, bool)
    resampler = _Resampler([*groups, *(group for _, group in missed)], seed, resamples)

    everything = np.ones(len(true), bool)
    plain = resampler.tallies(true, answer, everything, k)
    on_found = resampler.tallies(true, answer, seen, k)
    all_true = np.concatenate([true, np.array([place[label] for label, _ in missed], np.int64)])
    # A stand-in's wrong answer stays what it is; a right one was luck, and becomes no class.
    with_misses = np.full(len(all_true), k)
    with_misses[: len(true)] = np.where(~seen & (answer == true), k, answer)
    end_to_end = resampler.tallies(all_true, with_misses, np.ones(len(all_true), bool), k)
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (true, answer), 1)
    several = len(set(groups))
    return Scores(
        n=len(true),
        accuracy=_interval(plain, _accuracy, several),
        macro_f1=_interval(plain, _macro_f1, several),
        n_found=int(seen.sum()),
        macro_f1_found=_interval(on_found, _macro_f1, len(set(compress(groups, seen)))),
        n_end_to_end=len(all_true),
        macro_f1_end_to_end=_interval(
            end_to_end, _macro_f1, len({*groups, *(group for _, group in missed)})
        ),
        per_class=_per_class(plain, labels, set(zip(truth, groups, strict=True))),
        labels=tuple(labels),
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
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

    Raises
    ------
    UsageError
        Where the lengths differ.
    DatasetError
        Where there is no example.
    """
    if not len(truth):
        raise DatasetError("there is no example to compare on")
    _check_lengths(truth, answers_a=answers_a, answers_b=answers_b, groups=groups)
    names = sorted({*truth, *answers_a, *answers_b})
    place = {label: number for number, label in enumerate(names)}
    true, a, b = (np.array([place[v] for v in values]) for values in (truth, answers_a, answers_b))
    everything = np.ones(len(true), bool)
    resampler = _Resampler(groups, seed, resamples)
    whole_a, drawn_a = resampler.tallies(true, a, everything, len(names))
    whole_b, drawn_b = resampler.tallies(true, b, everything, len(names))
    point_a, point_b = float(_macro_f1(whole_a)[0]), float(_macro_f1(whole_b)[0])
    delta = _bounded(point_b - point_a, _macro_f1(drawn_b) - _macro_f1(drawn_a))
    if len(set(groups)) == 1 and delta.value != 0:
        delta = Interval(delta.value, -1.0, 1.0)
    return Difference(point_a, point_b, delta)


def macro_f1_interval(
    truth: Sequence[str],
    answers: Sequence[str],
    groups: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Macro-F1 of n answers, over the classes that occur in `truth`, with its interval.

    Raises
    ------
    UsageError
        Where the lengths differ.
    DatasetError
        Where there is no answer.
    """
    if not len(truth):
        raise DatasetError("there is no answer to score")
    _check_lengths(truth, answers=answers, groups=groups)
    names = sorted({*truth, *answers})
    place = {label: number for number, label in enumerate(names)}
    true, given = (np.array([place[v] for v in values]) for values in (truth, answers))
    resampler = _Resampler(groups, seed, resamples)
    tallies = resampler.tallies(true, given, np.ones(len(true), bool), len(names))
    return _interval(tallies, _macro_f1, len(set(groups)))


def _check_lengths(truth: Sequence[str], **others: Sized) -> None:
    for name, values in others.items():
        if len(values) != len(truth):
            raise UsageError(f"{len(truth)} true labels do not go with {len(values)} {name}")


class _Resampler:
    """Draws groups with replacement, the same draws for every score of one call."""

    def __init__(self, groups: Sequence[str], seed: int, resamples: int) -> None:
        self._group = np.unique(np.asarray(groups), return_inverse=True)[1]
        self._seed, self._resamples = seed, resamples

    def tallies(
        self, true: NDArray[np.int64], answer: NDArray[np.int64], use: NDArray[np.bool_], k: int
    ) -> tuple[Tallies, Tallies]:
        """Per class: right answers, occurrences, answers. ``(1, 3, k)`` of all rows, and
        ``(resamples, 3, k)``.

        An answer of k is none of the classes. `true` and `answer` belong to the first groups;
        `use` selects rows.
        """
        from scipy.sparse import coo_array

        group, true, answer = self._group[: len(true)][use], true[use], answer[use]
        right, named = true == answer, answer < k
        rows = np.concatenate([group[right], group, group[named]])
        columns = np.concatenate([true[right], k + true, 2 * k + answer[named]])
        count = int(self._group.max()) + 1
        per_group = coo_array((np.ones(len(rows)), (rows, columns)), (count, 3 * k)).tocsr()
        drawn = np.concatenate([times @ per_group for times in self._draws(count)])
        return per_group.sum(axis=0).reshape(1, 3, k), drawn.reshape(-1, 3, k)

    def _draws(self, count: int) -> Iterator[NDArray[np.int64]]:
        """How often each group is drawn, ``(m, count)`` at a time so that memory stays small."""
        rng = np.random.default_rng(self._seed)
        step = max(1, 500_000 // count)
        for start in range(0, self._resamples, step):
            size = min(step, self._resamples - start)
            yield rng.multinomial(count, np.full(count, 1 / count), size=size)


def _interval(
    tallies: tuple[Tallies, Tallies], score: Callable[[Tallies], Values], groups: int
) -> Interval:
    """The interval of a score that 0 and 1 bound, from `groups` independent groups."""
    value = float(score(tallies[0])[0])
    return _certain(_bounded(value, score(tallies[1])), groups)


def _certain(interval: Interval, groups: int) -> Interval:
    """`interval`, or a wider one where the bootstrap saw no variation."""
    if groups > 0 and interval.low == interval.high == interval.value:
        least = (_LOW / 100) ** (1 / groups)
        if interval.value == 1:
            return Interval(1.0, least, 1.0)
        if interval.value == 0:
            return Interval(0.0, 0.0, 1 - least)
        if groups == 1:
            return Interval(interval.value, 0.0, 1.0)
    return interval


def _bounded(value: float, drawn: Values) -> Interval:
    """The interval of one score; `value` is NaN where the score is not defined, which gives 0."""
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not defined.size:
        value = 0.0 if np.isnan(value) else value
        return Interval(value, value, value)
    low, high = np.percentile(defined, [_LOW, _HIGH])
    return Interval(value, float(low), float(high))


def _ratio(top: Values, bottom: Values) -> Values:
    """``top / bottom``, NaN where `bottom` is 0."""
    result = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result


def _accuracy(tallies: Tallies) -> Values:
    return _ratio(tallies[:, 0].sum(axis=1), tallies[:, 1].sum(axis=1))


def _class_f1(tallies: Tallies) -> Values:
    """``(m, k)`` F1 of each class; NaN where it does not occur."""
    right, occurs, answered = tallies[:, 0], tallies[:, 1], tallies[:, 2]
    return _ratio(2 * right, np.where(occurs > 0, occurs + answered, 0))


def _macro_f1(tallies: Tallies) -> Values:
    """``(m,)`` mean F1 over the classes that occur; NaN where none does."""
    f1 = _class_f1(tallies)
    return _ratio(np.nansum(f1, axis=1), (~np.isnan(f1)).sum(axis=1).astype(np.float64))


def _per_class(
    tallies: tuple[Tallies, Tallies], labels: Sequence[str], pairs: Iterable[tuple[str, str]]
) -> tuple[ClassScore, ...]:
    """`pairs` are the different pairs of a label and a group that has it."""
    groups = Counter(label for label, _ in pairs)
    right, support, answered = tallies[0][0]
    f1, drawn = _class_f1(tallies[0])[0], _class_f1(tallies[1])
    return tuple(
        ClassScore(
            label,
            precision=float(right[i] / max(answered[i], 1)),
            recall=float(right[i] / max(support[i], 1)),
            f1=_certain(_bounded(float(f1[i]), drawn[:, i]), groups[label]),
            support=int(support[i]),
        )
        for i, label in enumerate(labels)
    )


MAX_MISTAKES = 30


def worst_mistakes(results: Sequence[Result], limit: int = MAX_MISTAKES) -> list[Result]:
    """The wrong answers that were given with the most confidence, at most `limit`, surest first."""
    wrong = [result for result in results if result.answer != result.truth]
    return sorted(wrong, key=lambda r: (-r.confidence, r.crop_id))[:limit]
