"""Sets of labels that hold the true one with a chosen probability.

Split-conformal prediction with the score of Sadinle, Lei and Wasserman (2019), "Least Ambiguous
Set-Valued Classifiers": a label is in the set where its probability reaches a threshold. The
threshold comes from the out-of-fold probabilities of the training part, by a head refitted on all
of it; such cross-conformal sets keep their promise in practice, while in theory they are sure of
only twice the miscoverage (Vovk 2015; Barber et al. 2021). The promise is one on average over
photos like those of training, not for each class, and near copies weaken it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.predictions import (
    RESAMPLES,
    Predictions,
    Probabilities,
    resampled_sums,
    share_interval,
)
from closeup.evaluate.scores import Interval

ALPHA = 0.1


@dataclass(frozen=True, slots=True)
class Conformal:
    """A rule for sets of labels.

    Attributes
    ----------
    alpha
        How often the true label may be missing.
    threshold
        A label with at least this probability is in the set; 0 (all labels) where the n
        calibration photos are too few for `alpha`.
    n
        Photos that decided it.
    """

    alpha: float
    threshold: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Conformal:
        """Read what :meth:`to_json` gave."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class SetScore:
    """How the sets did on n close-ups.

    Attributes
    ----------
    alpha
        The miscoverage that was asked for.
    coverage
        Share of sets that hold the true label.
    size
        Mean number of labels in a set; its interval lies between 1 and k.
    single
        Share of sets of one label.
    sizes
        ``sizes[i]`` sets have ``i + 1`` labels.
    per_class
        ``(label, coverage, n)`` for each true label that occurs.
    """

    n: int
    alpha: float
    coverage: Interval
    size: Interval
    single: float
    sizes: tuple[int, ...]
    per_class: tuple[tuple[str, float, int], ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SetScore:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError
            Where it is something else.
        """
        changed = {
            "coverage": Interval(**value["coverage"]),
            "size": Interval(**value["size"]),
            "sizes": tuple(value["sizes"]),
            "per_class": tuple((label, share, n) for label, share, n in value["per_class"]),
        }
        return cls(**{**value, **changed})


def fit_conformal(judged: Predictions, alpha: float = ALPHA) -> Conformal:
    """The highest threshold at which at most `alpha` of n + 1 photos would miss their label.

    Parameters
    ----------
    judged
        Calibrated out-of-fold probabilities of the training part.
    alpha
        Between 0 and 1.

    Raises
    ------
    UsageError
        Where `alpha` is out of range.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is a share between 0 and 1, got {alpha}")
    n = len(judged.true)
    known = judged.true >= 0
    of_truth = np.where(known, judged.probabilities[np.arange(n), judged.true], 0.0)
    missed = int(np.floor(alpha * (n + 1) + 1e-9))  # how many may lie below the threshold, and one
    threshold = float(np.sort(of_truth)[missed - 1]) if missed else 0.0
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
    judged: Predictions, conformal: Conformal, *, seed: int = 0, resamples: int = RESAMPLES
) -> SetScore:
    """Coverage and size of the sets on the test part, with intervals over whole groups."""
    sets = prediction_sets(judged.probabilities, conformal)
    n, k = sets.shape
    size = sets.sum(axis=1)
    held = sets[np.arange(n), judged.true] & (judged.true >= 0)
    sums = resampled_sums(
        np.column_stack([np.ones(n), held, size]), judged.groups, seed=seed, resamples=resamples
    )
    groups = len(set(judged.groups))
    truth = np.asarray(judged.truth)
    of_label = [(str(label), held[truth == label]) for label in np.unique(truth)]
    return SetScore(
        n=n,
        alpha=conformal.alpha,
        coverage=share_interval(float(held.mean()), sums[:, 1] / sums[:, 0], groups),
        size=_size(float(size.mean()), sums[:, 2] / sums[:, 0], groups, k),
        single=float((size == 1).mean()),
        sizes=tuple(int(count) for count in np.bincount(size, minlength=k + 1)[1:]),
        per_class=tuple((label, float(row.mean()), len(row)) for label, row in of_label),
    )


def _size(value: float, drawn: NDArray[np.float64], groups: int, k: int) -> Interval:
    if groups == 1:  # one group says nothing of how groups differ
        return Interval(value, 1.0, float(k))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))
