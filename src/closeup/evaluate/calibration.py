"""How far the probabilities can be believed: one temperature, and the error that is left.

A temperature divides the logits (Guo et al. 2017, "On Calibration of Modern Neural Networks"); it
changes how sure the answers sound, never which they are. It is fitted on out-of-fold
probabilities, so that no photo judges a head that has seen it.

The expected calibration error of a few hundred photos is far from 0 even where the probabilities
are exactly right, because each bin holds few of them (Bröcker and Smith 2007; Kumar et al. 2019).
It is therefore told beside its *floor*, what perfect calibration would have given on the same
confidences, and beside an interval that allows for the bias.
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
)
from closeup.evaluate.scores import Interval

BINS = 15

_TEMPERATURES = 0.05, 20.0
_SMALLEST = 1e-12  # probability taken for one that is exactly 0


@dataclass(frozen=True, slots=True)
class Temperature:
    """What the logits are divided by; above 1 where the head sounds surer than it is.

    `n` close-ups decided it. `loss_before` and `loss_after` are their mean negative
    log-likelihood without and with it; the latter may be the larger by a little, where (nearly)
    all are right.
    """

    value: float
    n: int
    loss_before: float
    loss_after: float

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Temperature:
        """Read what :meth:`to_json` gave."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Bin:
    """Close-ups whose confidence lies from `low` to `high`.

    `confidence` is their mean confidence and `accuracy` the share answered rightly; both are 0
    where `count` is.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well confidence and accuracy agree on n close-ups.

    Attributes
    ----------
    ece
        Expected calibration error over bins of equal width. The value is the usual, biased one;
        the interval is for the error that unlimited photos would show, so it may lie below the
        value.
    ece_equal_mass
        The same over bins of (nearly) equal count.
    floor
        The mean `ece` of perfectly calibrated answers with these confidences.
    chance
        Share of such answers with an `ece` at least as large: small where miscalibration is
        certain.
    confidence, accuracy
        Means over all.
    loss
        Mean negative log-likelihood; a true label that the head does not know is left out.
    bins
        Of equal width, from 0 to 1, for a reliability diagram.
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

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError
            Where it is something else.
        """
        changed = {
            "ece": Interval(**value["ece"]),
            "ece_equal_mass": Interval(**value["ece_equal_mass"]),
            "bins": tuple(Bin(**row) for row in value["bins"]),
        }
        return cls(**{**value, **changed})


def calibrate(probabilities: Probabilities, temperature: float) -> Probabilities:
    """The ``(n, k)`` probabilities after dividing their logits by `temperature`.

    A probability of 0 stays next to 0. n may be 0.

    Raises
    ------
    UsageError
        Where `temperature` is not a positive number.

    >>> calibrate(np.array([[0.9, 0.1]]), 2.0).round(3).tolist()
    [[0.75, 0.25]]
    """
    from closeup.learn.heads.head import softmax

    if not (np.isfinite(temperature) and temperature > 0):
        raise UsageError(f"a temperature is a positive number, got {temperature}")
    scaled: Probabilities = softmax(np.log(np.maximum(probabilities, _SMALLEST)) / temperature)
    return scaled


def fit_temperature(judged: Predictions) -> Temperature:
    """The temperature of least negative log-likelihood, between 0.05 and 20.

    The n rows share one imagined wrong answer, by Laplace's rule of succession (as Platt 1999 does
    for two classes): where all n are right, that does not prove certainty.

    Parameters
    ----------
    judged
        Out-of-fold probabilities of the training part. A row whose true label has a probability
        of exactly 0 is passed over: its fold's head had not seen that class, which no temperature
        mends. Without any row left, or with one label only, the temperature is 1.
    """
    from scipy.optimize import minimize_scalar

    rows = np.flatnonzero(judged.true >= 0)
    rows = rows[judged.probabilities[rows, judged.true[rows]] > 0]
    n, k = len(rows), len(judged.labels)
    if not n or k < 2:
        return Temperature(1.0, 0, 0.0, 0.0)
    probabilities, true = judged.probabilities[rows], judged.true[rows]
    uncertainty = 1 / (n + 2)
    shares = np.full((n, k), uncertainty / (k - 1))
    shares[np.arange(n), true] = 1 - uncertainty

    def loss(logarithm: float) -> float:
        scaled = calibrate(probabilities, float(np.exp(logarithm)))
        return -float((shares * np.log(np.maximum(scaled, _SMALLEST))).sum() / n)

    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    value = float(np.exp(found.x))
    after = _loss(calibrate(probabilities, value), true)
    return Temperature(value, n, _loss(probabilities, true), after)


def measure_calibration(
    judged: Predictions, *, bins: int = BINS, seed: int = 0, resamples: int = RESAMPLES
) -> Calibration:
    """Compare the confidence of the answers with their accuracy.

    Parameters
    ----------
    judged
        Calibrated probabilities of the test part (or out-of-fold ones).
    bins
        Of the expected calibration error, for equal width and for equal count.
    seed, resamples
        Of the bootstrap over whole groups and of the simulated floor.

    Raises
    ------
    UsageError
        Where `bins` is below 1.
    """
    if bins < 1:
        raise UsageError(f"a calibration error needs at least 1 bin, got {bins}")
    confidence, right = judged.confidence, judged.right
    edges = np.linspace(0, 1, bins + 1)
    width = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    mass = np.empty(len(right), np.int64)
    mass[np.argsort(confidence, kind="stable")] = np.arange(len(right)) * bins // len(right)
    by_width, by_mass = _Binned(judged, width, bins), _Binned(judged, mass, bins)
    perfect = by_width.perfect(seed, resamples)
    known = judged.true >= 0
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
        loss=_loss(judged.probabilities[known], judged.true[known]) if known.any() else 0.0,
        bins=tuple(
            Bin(float(edges[i]), float(edges[i + 1]), int(count[i]),
                float(sure[i]), float(correct[i]))
            for i in range(bins)
        ),
    )  # fmt: skip


def _loss(probabilities: Probabilities, true: NDArray[np.int64]) -> float:
    chosen = probabilities[np.arange(len(true)), true]
    return -float(np.log(np.maximum(chosen, _SMALLEST)).mean())


@dataclass(frozen=True, eq=False, slots=True)
class _Binned:
    """Close-ups put into `bins` bins, row i into bin ``place[i]``."""

    judged: Predictions
    place: NDArray[np.int64]
    bins: int

    def error(self, right: NDArray[np.bool_]) -> float:
        """The expected calibration error, had just these answers been right."""
        confidence = self.judged.confidence
        gaps = np.bincount(self.place, right - confidence, self.bins)
        return float(np.abs(gaps).sum() / len(right))

    def perfect(self, seed: int, resamples: int) -> NDArray[np.float64]:
        """The errors of answers that are right as often as they claim, ``(resamples,)``.

        Photos of one group share their luck, as copies do.
        """
        names, member = np.unique(np.asarray(self.judged.groups), return_inverse=True)
        rng = np.random.default_rng(seed)
        confidence = self.judged.confidence
        return np.array(
            [self.error(rng.random(len(names))[member] < confidence) for _ in range(resamples)]
        )

    def interval(self, perfect: NDArray[np.float64], seed: int) -> Interval:
        """The error, with an interval for what unlimited photos would show.

        Each bootstrap draw adds its own noise to the noise that has raised the sample's error
        already, so percentiles would lie too high. The lower bound takes off what the draws add
        on average, the upper one does not (the sample may have been lucky); where perfect
        calibration explains the error, the lower bound is 0.
        """
        right = self.judged.right
        if len(set(self.judged.groups)) == 1:  # one group says nothing of how groups differ
            return Interval(self.error(right), 0.0, 1.0)
        gaps = np.zeros((len(right), self.bins + 1))
        gaps[np.arange(len(right)), self.place] = right - self.judged.confidence
        gaps[:, -1] = 1
        sums = resampled_sums(gaps, self.judged.groups, seed=seed, resamples=len(perfect))
        drawn = np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]
        value, spread = self.error(right), 1.96 * float(drawn.std())
        low = 2 * value - float(drawn.mean()) - spread
        explained = _share_above(perfect, value) >= 0.05
        high = value + spread
        if right.all():  # no draw differs in accuracy, which proves no certainty
            least = 0.025 ** (1 / len(set(self.judged.groups)))
            high = max(high, float(self.judged.confidence.mean()) - least)
        return Interval(value, 0.0 if explained else max(0.0, low), min(1.0, high))


def _share_above(drawn: NDArray[np.float64], value: float) -> float:
    return float((drawn >= value - 1e-12).mean())
