"""Would more photos help? The score against the number of photos, extrapolated.

Heads with the settings already chosen are fitted on growing shares of the training part and
evaluated on held-out folds; the test part is not touched. A power law ``a - b * n ** -c`` (Cortes
et al. 1994; Hestness et al. 2017) is fitted to the macro-F1 at n photos a class. The interval comes
from drawing repeats, whole groups and the weights of the sizes anew; it cannot know that new photos
may be of another kind, and nothing is claimed beyond four times the number of photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.core.parallel import available_cpus, ordered_map
from closeup.core.types import Floats
from closeup.dataset.folds import grouped_folds
from closeup.evaluate.bootstrap import PERCENTILES, Interval, members, resampled_sums
from closeup.evaluate.scores import tally
from closeup.learn.heads.fitting import KINDS
from closeup.learn.heads.head import Head, single_threaded
from closeup.learn.heads.problem import Problem, in_few_numbers, mean_f1

SHARES = (0.15, 0.25, 0.4, 0.65, 1.0)
REPEATS = 4
MANY = 3000  # from this number of photos on, half the repeats are enough: chance is smaller
FOLDS = 5
GAIN = 0.02
RESAMPLES = 400
REACH = 4.0  # how far the curve is extrapolated, in multiples of the number of photos

_EXPONENTS = np.geomspace(0.1, 2.0, 40)

Values = NDArray[np.float64]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LearningTask:
    """The training part, and the head whose settings are used.

    - `head`: fitted on these rows; only its kind and what it chose are used
    - `embeddings`: ``(n, d)`` float32
    - `labels`, `groups`: one of each per row; the labels are those of the head
    - `blocks`: lengths of the parts that an embedding is put together from; empty for one part
    """

    head: Head
    embeddings: Floats
    labels: Sequence[str]
    groups: Sequence[str]
    blocks: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """Macro-F1 with `photos` of each class (on average) to learn from."""

    photos: float
    score: Interval


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The score against photos a class, and how many more a gain would take.

    - `measured`: from few photos to many; the last uses all those that are not held out
    - `line`: the fitted curve with its interval, up to `reach` times the photos of the training
      part
    - `a`, `b`, `c`: of ``a - b * photos ** -c``
    - `photos`: a class, on average, in the training part
    - `gain`: the gain in macro-F1 in question, over the fitted score at `photos`
    - `more`: how many more photos a class it takes; None where that lies beyond the curve's reach
    - `more_low`, `more_high`: the 95 % interval of `more`; None where a bound lies beyond the reach
    - `rising`: whether the curve rises from `photos` to its end in all but 2.5 % of the draws
    """

    measured: tuple[Point, ...]
    line: tuple[Point, ...]
    a: float
    b: float
    c: float
    photos: float
    gain: float
    more: float | None
    more_low: float | None
    more_high: float | None
    rising: bool

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        points = f"+{100 * self.gain:g} points"
        most = f"more than {_rounded((REACH - 1) * self.photos)}"
        now = self.a - self.b * self.photos**-self.c
        if now > 1 - self.gain:
            return (
                f"no number of photos gives {points}: the cross-validated score on the training "
                f"photos is already {now:.3f}"
            )
        if not self.rising:
            return (
                f"it is unclear how many more photos {points} would take: the score does not "
                f"clearly rise beyond about {_rounded(self.measured[0].photos)} per class"
            )
        if self.more_low is None:
            return f"{points} would take {most} further photos per class"
        middle = most if self.more is None else f"about {_rounded(self.more)}"
        low = _rounded(self.more_low)
        high = self.more_high
        reach = f"at least {low}" if high is None else f"between {low} and {_rounded(high)}"
        return f"{points} would take {middle} further photos per class ({reach})"


def learning_curve(
    task: LearningTask, *, gain: float = GAIN, repeats: int = 0, seed: int = 0
) -> LearningCurve:
    """Measure and extrapolate the score of heads that learn from growing shares.

    - `gain`: the gain in macro-F1 in question, above 0
    - `repeats`: each has its own folds and order of groups; at least 2, or 0 for 4 (2 from 3,000
      photos on)
    - `seed`: the same input gives the same curve

    Raises UsageError where the lengths differ, the labels are not the head's, there are fewer than
    two different groups of a label, or `gain` or `repeats` is out of range.
    """
    repeats = repeats or (REPEATS if len(task.labels) < MANY else REPEATS // 2)
    problem = _problem(task, gain, repeats, seed)
    k = len(problem.labels)
    member, count = members(task.groups)
    jobs = []
    for repeat in range(repeats):
        numbers = grouped_folds(list(task.labels), list(task.groups), FOLDS, seed + repeat)
        # The groups in random order, their rows together.
        order = np.random.default_rng(seed + repeat).permutation(count)[member].astype(np.float64)
        jobs += [(share, numbers, order) for share in SHARES]
    with single_threaded():
        answered = list(
            ordered_map(partial(_answers, task.head, problem), jobs, workers=available_cpus())
        )
    photos = np.array([used for used, _ in answered]).reshape(repeats, -1).mean(axis=0) / k
    scores, drawn = _scores(problem.classes, [answers for _, answers in answered], task.groups,
                            repeats, seed)  # fmt: skip
    return _extrapolate((photos, scores, drawn), len(task.labels) / k, gain)


def _problem(task: LearningTask, gain: float, repeats: int, seed: int) -> Problem:
    n, labels = len(task.labels), tuple(sorted(set(task.labels)))
    if task.embeddings.ndim != 2 or len(task.embeddings) != n or len(task.groups) != n:
        raise UsageError(
            f"embeddings {task.embeddings.shape} and {len(task.groups)} groups do not match "
            f"{n} labels"
        )
    if labels != task.head.labels:
        raise UsageError("a learning curve needs the head that was fitted on exactly these rows")
    pairs = set(zip(task.labels, task.groups, strict=True))
    fewest = min(sum(label == name for name, _ in pairs) for label in labels)
    if fewest < 2:
        raise UsageError(
            "a learning curve needs at least 2 different photos of each label in the training "
            "part; add photos"
        )
    if not gain > 0 or repeats < 2:
        raise UsageError(f"gain is above 0 and repeats at least 2, got {gain} and {repeats}")
    classes = np.searchsorted(np.array(labels), np.array(task.labels)).astype(np.int64)
    folds = np.zeros(n, np.int64)
    problem = Problem(task.embeddings, labels, classes, folds, tuple(task.blocks), seed)
    return in_few_numbers(problem)[0]


def _answers(
    head: Head, problem: Problem, job: tuple[float, NDArray[np.int64], Values]
) -> tuple[float, NDArray[np.int64]]:
    """The number of training rows (mean over the folds), and the answer for every row."""
    share, numbers, order = job
    answers = np.zeros(len(problem.classes), np.int64)
    used = []
    for number in np.unique(numbers):
        held = numbers == number
        rows = ~held & _first(order, problem.classes, ~held, share)
        used.append(int(rows.sum()))
        # For heads that hold some rows out while they are fitted: every fifth.
        part = replace(problem, folds=(rows.cumsum() % 5 > 0).astype(np.int64)).only(rows)
        fitted = KINDS[head.kind].refit(part, dict(head.chosen))
        answers[held] = fitted.probabilities(problem.embeddings[held]).argmax(axis=1)
    return float(np.mean(used)), answers


def _first(order: Values, classes: NDArray[np.int64], free: Rows, share: float) -> Rows:
    """The rows of the first `share` of the free groups of each class, at least one group."""
    chosen = np.zeros(len(order), np.bool_)
    for number in np.unique(classes[free]):
        mine = free & (classes == number)
        turns = np.unique(order[mine])
        chosen |= mine & (order <= turns[max(1, round(share * len(turns))) - 1])
    return chosen


def _scores(
    classes: NDArray[np.int64],
    answers: Sequence[NDArray[np.int64]],
    groups: Sequence[str],
    repeats: int,
    seed: int,
) -> tuple[Values, Values]:
    """``(sizes,)`` macro-F1, the mean over the repeats, and ``(resamples, sizes)`` drawn ones."""
    from scipy.sparse import hstack

    k = int(classes.max()) + 1
    tallies = hstack([tally(classes, answer, k) for answer in answers], format="csr")
    point = mean_f1(tallies.sum(axis=0).reshape(-1, 3, k)).reshape(repeats, -1)
    sums = resampled_sums(tallies, groups, seed=seed, resamples=RESAMPLES)
    every = mean_f1(sums.reshape(-1, 3, k)).reshape(RESAMPLES, repeats, -1)
    picked = np.random.default_rng(seed).integers(0, repeats, (RESAMPLES, repeats))
    return point.mean(axis=0), np.take_along_axis(every, picked[:, :, None], axis=1).mean(axis=1)


def _extrapolate(data: tuple[Values, Values, Values], photos: float, gain: float) -> LearningCurve:
    sizes, scores, drawn = data
    # Random weights of the sizes (Rubin 1981) let the draws differ by how well the law fits, too.
    weights = np.random.default_rng(len(drawn)).exponential(size=drawn.shape)
    fits = np.vstack([fit_power_law(sizes, scores[None]), fit_power_law(sizes, drawn, weights)])
    reach = REACH * photos
    ends = _at(fits, np.array([photos, reach]))
    more = _price(fits, ends, photos, gain)
    low, high = np.percentile(more[1:], PERCENTILES, method="nearest")
    along = np.geomspace(sizes[0], reach, 24)
    a, b, c = fits[0]
    return LearningCurve(
        measured=_points(sizes, scores, drawn),
        line=_points(along, _at(fits[:1], along)[0], _at(fits[1:], along)),
        a=float(a), b=float(b), c=float(c), photos=photos, gain=gain,
        more=_finite(more[0]), more_low=_finite(low), more_high=_finite(high),
        rising=bool(np.percentile(ends[1:, 1] - ends[1:, 0], PERCENTILES[0]) > 1e-6),
    )  # fmt: skip


def fit_power_law(sizes: Values, scores: Values, weights: Values | None = None) -> Values:
    """The least-squares ``a - b * n ** -c`` through each row of scores.

    - `sizes`, `scores`: ``(s,)`` and ``(m, s)``, s at least 2
    - `weights`: ``(m, s)`` how much each score counts, above 0; None for all alike

    Returns `fits`: ``(m, 3)``: a up to 1, b at least 0, and c from 0.1 to 2.
    """
    share = np.ones_like(scores) if weights is None else weights
    share = share / share.sum(axis=1, keepdims=True)
    middle = (share * scores).sum(axis=1)
    best = np.full(len(scores), np.inf)
    fits = np.zeros((len(scores), 3))
    for exponent in _EXPONENTS:
        x = sizes**-exponent
        centre = share @ x
        off = x - centre[:, None]
        spread = np.maximum((share * off**2).sum(axis=1), 1e-12)
        b = np.maximum(-(share * scores * off).sum(axis=1) / spread, 0)
        a = middle + b * centre
        # Nothing scores above 1: the best curve that ends there goes through it.
        above = a > 1
        b[above] = ((share * (1 - scores)) @ x / (share @ x**2))[above]
        a[above] = 1
        error = (share * (scores - a[:, None] + b[:, None] * x) ** 2).sum(axis=1)
        better = error < best - 1e-15
        best[better] = error[better]
        fits[better] = np.column_stack([a, b, np.full(len(a), exponent)])[better]
    return fits


def _at(fits: Values, sizes: Values) -> Values:
    """``(m, s)`` scores of the curves at so many photos."""
    a, b, c = fits[:, :1], fits[:, 1:2], fits[:, 2:]
    return a - b * sizes**-c


def _price(fits: Values, ends: Values, photos: float, gain: float) -> Values:
    """``(m,)`` more photos for the gain; infinite beyond the end of the curve."""
    a, b, c = fits.T
    wanted = ends[:, 0] + gain
    within = wanted <= ends[:, 1]
    left = np.where(within, a - wanted, b)
    needed = np.full(len(fits), np.inf)
    needed[within] = (b[within] / left[within]) ** (1 / c[within]) - photos
    return needed


def _points(sizes: Values, scores: Values, drawn: Values) -> tuple[Point, ...]:
    low, high = np.percentile(drawn, PERCENTILES, axis=0)
    columns = (column.tolist() for column in (sizes, scores, low, high))
    return tuple(Point(size, Interval(*bounds)) for size, *bounds in zip(*columns, strict=True))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _rounded(value: float) -> int:
    """To two significant digits: more would claim too much.

    >>> _rounded(1234.5), _rounded(7.4), _rounded(0.2)
    (1200, 7, 1)
    """
    whole = max(1, round(value))
    return int(float(f"{whole:.2g}"))
