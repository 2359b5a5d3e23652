"""Sets of labels that hold the true one with a chosen probability.

Split-conformal prediction with the score of Sadinle, Lei and Wasserman (2019), "Least Ambiguous
Set-Valued Classifiers": a label is in the set where its probability reaches a threshold. The
threshold comes from the out-of-fold probabilities of the training part, the answers from a head
refitted on all of it. Such cross-conformal sets reach their coverage in practice, while theory
guarantees only twice the miscoverage (Vovk 2015; Barber et al. 2021). The coverage is an average
over photos like those of training, not for each class, and near copies weaken it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.bootstrap import RESAMPLES, Interval, interval, resampled_sums, share_interval
from closeup.evaluate.predictions import Predictions, Probabilities

ALPHA = 0.1


@dataclass(frozen=True, slots=True)
class Conformal:
    """A rule for sets of labels.

    - `alpha`: the share of sets that may miss the true label
    - `threshold`: a label with at least this probability is in the set; 0 (all labels) where the n
      calibration photos are too few for `alpha`
    - `n`: the number of calibration photos
    """

    alpha: float
    threshold: float
    n: int


@dataclass(frozen=True, slots=True)
class SetScore:
    """Coverage and size of the sets on n close-ups.

    - `alpha`: the miscoverage that was asked for
    - `coverage`: share of sets that contain the true label
    - `size`: mean number of labels in a set; its interval lies between 1 and k
    - `single`: share of sets of one label
    - `sizes`: ``sizes[i]`` sets have ``i + 1`` labels
    - `per_class`: ``(label, coverage, n)`` for each true label that occurs
    """

    n: int
    alpha: float
    coverage: Interval
    size: Interval
    single: float
    sizes: tuple[int, ...]
    per_class: tuple[tuple[str, float, int], ...]


def fit_conformal(predictions: Predictions, alpha: float = ALPHA) -> Conformal:
    """The highest threshold at which at most `alpha` of n + 1 photos would miss their label.

    - `predictions`: calibrated out-of-fold probabilities of the training part
    - `alpha`: between 0 and 1

    Raises UsageError where `alpha` is out of range.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is a share between 0 and 1, got {alpha}")
    n = len(predictions.true)
    missed = int(np.floor(alpha * (n + 1) + 1e-9))  # how many may lie below the threshold, and one
    threshold = float(np.sort(predictions.of_truth)[missed - 1]) if missed else 0.0
    return Conformal(alpha, threshold, n)


def prediction_sets(probabilities: Probabilities, conformal: Conformal) -> NDArray[np.bool_]:
    """``(n, k)``: which labels are in each set, from ``(n, k)`` calibrated probabilities.

    The most probable label always is, so no set is empty; n may be 0.
    """
    sets: NDArray[np.bool_] = probabilities >= conformal.threshold
    if len(sets):
        sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


def measure_sets(
    predictions: Predictions, conformal: Conformal, *, seed: int = 0, resamples: int = RESAMPLES
) -> SetScore:
    """Coverage and size of the sets on the test part, with intervals over whole groups."""
    sets = prediction_sets(predictions.probabilities, conformal)
    n, k = sets.shape
    size = sets.sum(axis=1)
    held = sets[np.arange(n), predictions.true] & (predictions.true >= 0)
    columns = np.column_stack([np.ones(n), held, size])
    sums = resampled_sums(columns, predictions.groups, seed=seed, resamples=resamples)
    groups = len(set(predictions.groups))
    truth = np.asarray(predictions.truth)
    of_label = [(str(label), held[truth == label]) for label in np.unique(truth)]
    return SetScore(
        n=n,
        alpha=conformal.alpha,
        coverage=share_interval(float(held.mean()), sums[:, 1] / sums[:, 0], groups),
        size=interval(float(size.mean()), sums[:, 2] / sums[:, 0], groups, (1.0, float(k))),
        single=float((size == 1).mean()),
        sizes=tuple(int(count) for count in np.bincount(size, minlength=k + 1)[1:]),
        per_class=tuple((label, float(row.mean()), len(row)) for label, row in of_label),
    )
