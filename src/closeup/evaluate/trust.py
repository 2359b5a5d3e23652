"""How far to trust the answers: calibrated, withheld where uncertain, measured on the test part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from closeup.core.types import Floats
from closeup.evaluate.bootstrap import Interval, resampled_sums, share_interval
from closeup.evaluate.calibration import (
    Calibration,
    Temperature,
    calibrate,
    fit_temperature,
    measure_calibration,
)
from closeup.evaluate.conformal import Conformal, SetScore, fit_conformal, measure_sets
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.selective import (
    ACCURACY,
    AccuracyRule,
    Selective,
    fit_accuracy,
    measure_selective,
)
from closeup.evaluate.unknown import NOT_CONFIDENT, OUT_OF_DISTRIBUTION, UnknownRule, fit_unknown


@dataclass(frozen=True, slots=True)
class UncertaintyRule:
    """When a model withholds its answer, fitted to out-of-fold answers on the training part.

    - `accurate`: the confidence for a wanted accuracy
    - `asked`: whether `rule` uses it; otherwise it only says what could be asked for
    """

    temperature: Temperature
    rule: UnknownRule
    conformal: Conformal
    accurate: AccuracyRule
    asked: bool

    @property
    def note(self) -> str:
        """That the accuracy asked for is not certain, and the best there is; ``""`` elsewhere."""
        one = self.accurate
        if not self.asked or one.reached:
            return ""
        found = (
            f"the best in cross-validation is an accuracy of {one.accuracy:.3f} ({one.least:.3f} "
            f"or more with a certainty of 90 %) when {100 * one.coverage:.0f} % of photos are "
            "answered, and the model keeps to that"
        )
        cure = "add photos" if one.accuracy >= one.wanted else "ask for less, or add photos"
        return f"--accuracy {one.wanted:g} cannot be promised: {found}; {cure}"


@dataclass(frozen=True, slots=True)
class AtAccuracy:
    """What a wanted accuracy gives on the test part: the share answered, and how many are right.

    - `asked`: whether the model answers by it
    - `rule`: the confidence, as chosen by out-of-fold answers
    """

    asked: bool
    rule: AccuracyRule
    answered: Interval
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Trust:
    """How the rules do on the test part.

    - `temperature`, `conformal`: as chosen; the head's own probabilities are calibrated by the
      temperature already
    - `rule`: the rule for unknown photos, without its arrays
    - `answered`, `accuracy_answered`: the share of test close-ups that get an answer, and the
      accuracy on these
    - `unsure`, `out_of_distribution`: how many test close-ups are withheld for each reason
    - `at_accuracy`: the same for a wanted accuracy; None in results from before there was one
    """

    temperature: Temperature
    conformal: Conformal
    rule: dict[str, float]
    calibration: Calibration
    selective: Selective
    sets: SetScore
    answered: Interval
    accuracy_answered: Interval
    unsure: int
    out_of_distribution: Annotated[int, Field(alias="unlike")]
    at_accuracy: AtAccuracy | None = None

    def sentence(self, noun: str = "photos") -> str:
        """What the answers can be used for, in a sentence or two; `noun` says answers to what."""
        if not self.answered.value:
            said = f"Answers none of the test {noun}; calls them all unknown."
        else:
            said = (
                f"Answers {_percent(self.answered)} of {noun} and is right on "
                f"{_percent(self.accuracy_answered)} of them; calls the rest unknown."
            )
        other = self.at_accuracy
        if other is None or (other.asked and other.rule.reached):
            return said
        if other.rule.reached and other.answered.value >= self.answered.value > 0:
            return said  # it answers as often as it would with that
        flag = f"--accuracy {other.rule.wanted:g}"
        if not other.rule.reached:
            return f"{said} {_out_of_reach(flag, other.rule)}"
        return (
            f"{said} With {flag} it would answer {_percent(other.answered)} and be right on "
            f"{_percent(other.accuracy)} of these."
        )


def fit_uncertainty(
    embeddings: Floats,
    predictions: Predictions,
    folds: NDArray[np.int64],
    coverage: float,
    alpha: float,
    accuracy: float = 0.0,
) -> UncertaintyRule:
    """Temperature, rule for unknown photos and threshold of label sets.

    - `embeddings`, `folds`: ``(n, d)`` and ``(n,)`` of the training part
    - `predictions`: its out-of-fold probabilities as the head gives them
    - `coverage`, `alpha`: the share of photos to answer, and how often a set may miss the true
      label
    - `accuracy`: how many of the answers given should be right; it replaces `coverage` in choosing
      the confidence (not the distance). 0 where only `coverage` is asked for
    """
    temperature = fit_temperature(predictions)
    calibrated = Predictions(
        calibrate(predictions.probabilities, temperature.value),
        predictions.labels, predictions.truth, predictions.groups,
    )  # fmt: skip
    accurate = fit_accuracy(calibrated, accuracy or ACCURACY)
    least = accurate.min_confidence if accuracy else None
    rule = fit_unknown(embeddings, calibrated, folds, coverage, least)
    return UncertaintyRule(
        temperature, rule, fit_conformal(calibrated, alpha), accurate, bool(accuracy)
    )


def measure_trust(
    uncertainty: UncertaintyRule, embeddings: Floats, predictions: Predictions, seed: int
) -> Trust:
    """Apply the rules to the test part, whose probabilities are calibrated already."""
    rule, accurate = uncertainty.rule, uncertainty.accurate
    reasons = rule.reasons(predictions.probabilities, embeddings)
    answered, right = _given(np.array([not reason for reason in reasons]), predictions, seed)
    near = np.array([reason != OUT_OF_DISTRIBUTION for reason in reasons])
    sure = near & (predictions.confidence >= accurate.min_confidence)
    return Trust(
        temperature=uncertainty.temperature,
        conformal=uncertainty.conformal,
        rule=rule.settings(),
        calibration=measure_calibration(predictions, seed=seed),
        selective=measure_selective(predictions, seed=seed),
        sets=measure_sets(predictions, uncertainty.conformal, seed=seed),
        answered=answered,
        accuracy_answered=right,
        unsure=reasons.count(NOT_CONFIDENT),
        out_of_distribution=reasons.count(OUT_OF_DISTRIBUTION),
        at_accuracy=AtAccuracy(uncertainty.asked, accurate, *_given(sure, predictions, seed)),
    )


def _given(
    given: NDArray[np.bool_], predictions: Predictions, seed: int
) -> tuple[Interval, Interval]:
    """The share of answers that are given, and how many of these are right."""
    sums = resampled_sums(
        np.column_stack([np.ones(len(given)), given, given & predictions.right]),
        predictions.groups, seed=seed, resamples=1000,
    )  # fmt: skip
    groups = np.asarray(predictions.groups)
    right = float(predictions.right[given].mean()) if given.any() else 0.0
    with np.errstate(invalid="ignore"):
        drawn = sums[:, 2] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    return (
        share_interval(float(given.mean()), sums[:, 1] / sums[:, 0], len(set(groups))),
        share_interval(right, drawn, len(set(groups[given]))) if given.any()
        else Interval(0.0, 0.0, 1.0),
    )  # fmt: skip


def _percent(share: Interval) -> str:
    """``62 % (55 to 69 %)``."""
    return f"{share.value:.0%} ({100 * share.low:.0f} to {100 * share.high:.0f} %)".replace(
        "%", " %", 1
    )


def _out_of_reach(flag: str, best: AccuracyRule) -> str:
    """That no share of the answers is as accurate as wanted, and why."""
    if best.accuracy >= best.wanted:
        return f"There are too few training photos to promise {flag}."
    return (
        f"{flag} is out of reach: in cross-validation, {100 * best.accuracy:.0f} % of the most "
        f"confident {100 * best.coverage:.0f} % of answers are right."
    )
