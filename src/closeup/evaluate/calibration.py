"""How reliable the probabilities are: temperature scaling, and the calibration error that remains.

A temperature divides the logits (Guo et al. 2017) and never changes the answers. The expected
calibration error of a few hundred photos is far from 0 even where the probabilities are right
(Bröcker and Smith 2007; Kumar et al. 2019), so it is given with its *floor*, what perfect
calibration would show for the same confidences, and with an interval that allows for the bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.bootstrap import RESAMPLES, Interval, members, resampled_sums
from closeup.evaluate.predictions import Predictions, Probabilities
from closeup.learn.heads.head import softmax
from closeup.learn.heads.numerics import cross_entropy, least_loss

BINS = 15

TEMPERATURES = 0.05, 20.0  # the lowest and the highest temperature that is fitted
_SMALLEST = 1e-12  # probability taken for one that is exactly 0


@dataclass(frozen=True, slots=True)
class Temperature:
    """What the logits are divided by; above 1 where the head is overconfident.

    It was fitted on `n` close-ups. `loss_before` and `loss_after` are their mean negative
    log-likelihood without and with it; the latter may be slightly larger where (nearly) all are
    right.
    """

    value: float
    n: int
    loss_before: float
    loss_after: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Close-ups whose confidence lies from `low` to `high`.

    `confidence` is their mean confidence and `accuracy` the share answered correctly; both are 0
    where `count` is 0.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well confidence and accuracy agree on n close-ups.

    - `ece`: expected calibration error over bins of equal width. The value is the usual, biased
      one; the interval is for the error on an unlimited number of photos, so it may lie below the
      value.
    - `ece_equal_mass`: the same over bins of (nearly) equal count
    - `floor`: the mean `ece` of perfectly calibrated answers with these confidences
    - `chance`: the probability that such answers have an `ece` at least as large: small where
      miscalibration is certain
    - `confidence`, `accuracy`: means over all
    - `loss`: mean negative log-likelihood; true labels that the head does not know are left out
    - `bins`: of equal width, from 0 to 1, for a reliability diagram
    """

    n: int
    ece: Interval
    ece_equal_mass: Interval
    floor: float
    chance: float
    confidence: float
    accuracy: float
    loss: float
    bins: tuple[Bin, ...]


def calibrate(probabilities: Probabilities, temperature: float) -> Probabilities:
    """The ``(n, k)`` probabilities after dividing their logits by `temperature`.

    A probability of 0 stays next to 0. n may be 0.

    Raises UsageError where `temperature` is not a positive number.

    >>> calibrate(np.array([[0.9, 0.1]]), 2.0).round(3).tolist()
    [[0.75, 0.25]]
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise UsageError(f"a temperature is a positive number, got {temperature}")
    return softmax(np.log(np.maximum(probabilities, _SMALLEST)) / temperature)


def fit_temperature(predictions: Predictions) -> Temperature:
    """The temperature of least negative log-likelihood, between 0.05 and 20.

    The true labels are smoothed by Laplace's rule of succession (as Platt 1999 does for two
    classes), as if one more answer were wrong: n right answers do not prove certainty.

    - `predictions`: out-of-fold probabilities of the training part. A row whose true label has a
      probability of exactly 0 is left out: its fold's head had not seen that class, which no
      temperature fixes. Without any row left, or with one label only, the temperature is 1.
    """
    rows = np.flatnonzero(predictions.of_truth > 0)
    n, k = len(rows), len(predictions.labels)
    if not n or k < 2:
        return Temperature(1.0, 0, 0.0, 0.0)
    probabilities, true = predictions.probabilities[rows], predictions.true[rows]
    smoothing = 1 / (n + 2)
    targets = np.full((n, k), smoothing / (k - 1))
    targets[np.arange(n), true] = 1 - smoothing

    def loss(temperature: float) -> float:
        scaled = calibrate(probabilities, temperature)
        return -float((targets * np.log(np.maximum(scaled, _SMALLEST))).sum() / n)

    value = least_loss(loss, *TEMPERATURES)
    before, after = (cross_entropy(given, true, _SMALLEST)
                     for given in (probabilities, calibrate(probabilities, value)))  # fmt: skip
    return Temperature(value, n, before, after)


def measure_calibration(
    predictions: Predictions, *, bins: int = BINS, seed: int = 0, resamples: int = RESAMPLES
) -> Calibration:
    """Compare the confidence of the answers with their accuracy.

    - `predictions`: calibrated probabilities of the test part (or out-of-fold ones)
    - `bins`: the number of bins of the expected calibration error, of equal width and of equal
      count
    - `seed`, `resamples`: of the bootstrap over whole groups and of the simulated floor

    Raises UsageError where `bins` is below 1.
    """
    if bins < 1:
        raise UsageError(f"a calibration error needs at least 1 bin, got {bins}")
    confidence, right = predictions.confidence, predictions.right
    edges = np.linspace(0, 1, bins + 1)
    width = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    mass = np.empty(len(right), np.int64)
    mass[np.argsort(confidence, kind="stable")] = np.arange(len(right)) * bins // len(right)
    by_width, by_mass = (_Binned(predictions, place, bins) for place in (width, mass))
    perfect = by_width.perfect(seed, resamples)
    known = predictions.true >= 0
    loss = 0.0
    if known.any():
        loss = cross_entropy(predictions.probabilities[known], predictions.true[known], _SMALLEST)
    count = np.bincount(width, minlength=bins)
    sure, correct = (
        np.bincount(width, values, bins) / np.maximum(count, 1) for values in (confidence, right)
    )
    return Calibration(
        n=len(right),
        ece=by_width.interval(perfect, seed),
        ece_equal_mass=by_mass.interval(by_mass.perfect(seed, resamples), seed),
        floor=float(perfect.mean()),
        chance=_share_above(perfect, by_width.error(right)),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        loss=loss,
        bins=tuple(
            map(Bin, *(column.tolist() for column in (edges[:-1], edges[1:], count, sure, correct)))
        ),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Binned:
    """Close-ups put into `bins` bins, row i into bin ``place[i]``."""

    predictions: Predictions
    place: NDArray[np.int64]
    bins: int

    def error(self, right: NDArray[np.bool_]) -> float:
        """The expected calibration error if just these answers had been right."""
        confidence = self.predictions.confidence
        gaps = np.bincount(self.place, right - confidence, self.bins)
        return float(np.abs(gaps).sum() / len(right))

    def perfect(self, seed: int, resamples: int) -> NDArray[np.float64]:
        """The errors of answers that are right as often as they claim, ``(resamples,)``."""
        member, count = members(self.predictions.groups)
        rng = np.random.default_rng(seed)
        confidence = self.predictions.confidence
        return np.array(
            [self.error(rng.random(count)[member] < confidence) for _ in range(resamples)]
        )

    def interval(self, perfect: NDArray[np.float64], seed: int) -> Interval:
        """The error, with an interval for the error on an unlimited number of photos.

        Each bootstrap draw adds its own noise to the noise that has raised the sample's error
        already, so percentiles would lie too high. The lower bound subtracts what the draws add
        on average, the upper one does not (the sample may have been lucky); where perfect
        calibration explains the error, the lower bound is 0.
        """
        right, confidence = self.predictions.right, self.predictions.confidence
        groups = self.predictions.groups
        if len(set(groups)) == 1:  # one group says nothing about how groups differ
            return Interval(self.error(right), 0.0, 1.0)
        gaps = np.zeros((len(right), self.bins + 1))
        gaps[np.arange(len(right)), self.place] = right - confidence
        gaps[:, -1] = 1
        sums = resampled_sums(gaps, groups, seed=seed, resamples=len(perfect))
        drawn = np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]
        value, spread = self.error(right), 1.96 * float(drawn.std())
        low = 2 * value - float(drawn.mean()) - spread
        explained = _share_above(perfect, value) >= 0.05
        high = value + spread
        if right.all():  # no draw differs in accuracy, which does not prove certainty
            least = 0.025 ** (1 / len(set(groups)))
            high = max(high, float(confidence.mean()) - least)
        return Interval(value, 0.0 if explained else max(0.0, low), min(1.0, high))


def _share_above(drawn: NDArray[np.float64], value: float) -> float:
    return float((drawn >= value - 1e-12).mean())
