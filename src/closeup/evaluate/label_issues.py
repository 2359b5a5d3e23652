"""Labels that may be wrong, according to heads that never saw the photo.

Confident learning (Northcutt, Jiang and Chuang 2021) is often mistaken where the head is weak, so
label issues are chosen by a model: a share e of the labels was replaced by any of the k - 1 others,
and the heads are right about the rest except for their temperature. If p is the tempered
out-of-fold probability of the given label, that label is seen with probability
``(1 - e) p + e (1 - p) / (k - 1)``. Share and temperature are fitted by maximum likelihood, and the
label is wrong with the second term's part of the sum. A very weak head sees somewhat more wrong
labels than there are; ``python -m bench.trust`` measures how reliable the list is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.calibration import TEMPERATURES, calibrate
from closeup.evaluate.predictions import Predictions

LEAST = 0.3  # the lowest score of a label issue; ``python -m bench.trust`` measures what that finds

_STARTS = (0.005, 0.05, 0.2)
_SHARES = 1e-4, 0.9

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A photo whose label may be wrong.

    - `index`: its row
    - `given`, `suggested`: the label it has, and the most probable other one
    - `score`: how likely the label is wrong, 0 to 1
    - `p_given`, `p_suggested`: their out-of-fold probabilities
    - `confident`: whether confident learning counts the label as wrong, too
    """

    index: int
    given: str
    suggested: str
    score: float
    p_given: float
    p_suggested: float
    confident: bool


@dataclass(frozen=True, slots=True)
class Noise:
    """The share of wrong labels and the temperature of the heads that fit the labels best."""

    share: float
    temperature: float


@dataclass(frozen=True, slots=True)
class LabelIssues:
    """The labels among n that may be wrong, the likeliest first.

    - `share`: the estimated share of wrong labels; a weak head sees more than there are
    - `confident`: the same by confident learning; far too high for a weak head
    - `least`: the lowest score of a label issue
    """

    n: int
    share: float
    confident: float
    least: float
    rows: tuple[LabelIssue, ...]


def find_label_issues(predictions: Predictions, *, least: float = LEAST) -> LabelIssues:
    """The photos whose labels are likely to be wrong.

    - `predictions`: out-of-fold probabilities of the training part, calibrated or not; the true
      labels are those in doubt. More folds (10 rather than 5) and stronger features find more. A
      photo whose label has a probability of exactly 0 is left out: its fold's head had not seen the
      class.
    - `least`: the lowest score of a label issue, above 0

    Returns `label_issues`: of equal scores, the earlier row first.

    Raises UsageError where `least` is not above 0, or there is but one label.
    """
    if not least > 0:
        raise UsageError(f"the lowest score of a label issue is above 0, got {least}")
    noise = fit_noise(predictions)
    scores = issue_scores(predictions, noise)
    confident = confident_errors(predictions)
    order = np.argsort(-scores, kind="stable")
    rows = []
    for row in order[scores[order] >= least].tolist():
        others = predictions.probabilities[row].copy()
        others[predictions.true[row]] = -1.0
        best = int(others.argmax())
        rows.append(
            LabelIssue(
                index=row,
                given=predictions.truth[row],
                suggested=predictions.labels[best],
                score=float(scores[row]),
                p_given=float(predictions.of_truth[row]),
                p_suggested=float(others[best]),
                confident=bool(confident[row]),
            )
        )
    return LabelIssues(len(scores), noise.share, float(confident.mean()), least, tuple(rows))


def fit_noise(predictions: Predictions) -> Noise:
    """The share of wrong labels and the temperature of maximum likelihood.

    0 and 1 where no label has a probability above 0. A share below one in ten thousand is 0.

    Raises UsageError where there is but one label.
    """
    from scipy.optimize import minimize

    k = len(predictions.labels)
    if k < 2:
        raise UsageError("with one label there is no other that a photo could have")
    rows = np.flatnonzero(predictions.of_truth > 0)
    if not rows.size:
        return Noise(0.0, 1.0)
    probabilities, true = predictions.probabilities[rows], predictions.true[rows]

    def loss(logarithms: Values) -> float:
        share, temperature = (float(value) for value in np.exp(logarithms))
        given = calibrate(probabilities, temperature)[np.arange(len(rows)), true]
        seen = (1 - share) * given + share * (1 - given) / (k - 1)
        return -float(np.log(np.maximum(seen, 1e-300)).mean())

    low, high = _SHARES[0], _SHARES[1] * (k - 1) / k
    found = min(
        (
            minimize(loss, np.log([start, 1.0]), method="L-BFGS-B",
                     bounds=[np.log([low, high]), np.log(TEMPERATURES)])
            for start in _STARTS
        ),
        key=lambda one: float(one.fun),
    )  # fmt: skip
    share, temperature = (float(value) for value in np.exp(found.x))
    return Noise(share if share > 1.01 * low else 0.0, temperature)


def issue_scores(predictions: Predictions, noise: Noise) -> Values:
    """``(n,)`` how likely each label is wrong, 0 where its probability is exactly 0."""
    k = len(predictions.labels)
    rows = np.flatnonzero(predictions.of_truth > 0)
    tempered = calibrate(predictions.probabilities, noise.temperature)
    given = tempered[rows, predictions.true[rows]]
    wrong = noise.share * (1 - given) / (k - 1)
    scores = np.zeros(len(tempered))
    scores[rows] = wrong / ((1 - noise.share) * given + wrong)
    return scores


def confident_errors(predictions: Predictions) -> NDArray[np.bool_]:
    """``(n,)`` the photos whose labels confident learning counts as wrong.

    The threshold of a class is the mean probability that its own photos give it; of the classes
    whose threshold a photo reaches, the most probable is taken for the true one. The photo counts
    where that is not the given label, and the given label is not the most probable of all.
    """
    probabilities, true = predictions.probabilities, predictions.true
    known, k = true >= 0, len(predictions.labels)
    counts = np.bincount(true[known], minlength=k)
    sums = np.bincount(true[known], predictions.of_truth[known], k)
    # A class without photos is never reached.
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)
    reached = probabilities >= thresholds - 1e-6
    taken = np.where(reached, probabilities, -1.0).argmax(axis=1)
    errors = reached.any(axis=1) & known & (taken != true) & ~predictions.right
    return np.asarray(errors, np.bool_)
