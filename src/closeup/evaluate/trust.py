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
from closeup.evaluate.selective import Selective, measure_selective
from closeup.evaluate.unknown import NOT_CONFIDENT, OUT_OF_DISTRIBUTION, UnknownRule, fit_unknown


@dataclass(frozen=True, slots=True)
class UncertaintyRule:
    """When a model withholds its answer, fitted to out-of-fold answers on the training part."""

    temperature: Temperature
    rule: UnknownRule
    conformal: Conformal


@dataclass(frozen=True, slots=True)
class Trust:
    """How the rules do on the test part.

    - `temperature`, `conformal`: as chosen; the head's own probabilities are calibrated by the
      temperature already
    - `rule`: the rule for unknown photos, without its arrays
    - `answered`, `accuracy_answered`: the share of test close-ups that get an answer, and the
      accuracy on these
    - `unsure`, `out_of_distribution`: how many test close-ups are withheld for each reason
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


def fit_uncertainty(
    embeddings: Floats,
    predictions: Predictions,
    folds: NDArray[np.int64],
    coverage: float,
    alpha: float,
) -> UncertaintyRule:
    """Temperature, rule for unknown photos and threshold of label sets.

    - `embeddings`, `folds`: ``(n, d)`` and ``(n,)`` of the training part
    - `predictions`: its out-of-fold probabilities as the head gives them
    - `coverage`, `alpha`: the share of photos to answer, and how often a set may miss the true
      label
    """
    temperature = fit_temperature(predictions)
    calibrated = Predictions(
        calibrate(predictions.probabilities, temperature.value),
        predictions.labels, predictions.truth, predictions.groups,
    )  # fmt: skip
    return UncertaintyRule(temperature, fit_unknown(embeddings, calibrated, folds, coverage),
                 fit_conformal(calibrated, alpha))  # fmt: skip


def measure_trust(
    uncertainty: UncertaintyRule, embeddings: Floats, predictions: Predictions, seed: int
) -> Trust:
    """Apply the rules to the test part, whose probabilities are calibrated already."""
    reasons = uncertainty.rule.reasons(predictions.probabilities, embeddings)
    given = np.array([not reason for reason in reasons])
    sums = resampled_sums(
        np.column_stack([np.ones(len(given)), given, given & predictions.right]),
        predictions.groups, seed=seed, resamples=1000,
    )  # fmt: skip
    groups = len(set(predictions.groups))
    right = float(predictions.right[given].mean()) if given.any() else 0.0
    with np.errstate(invalid="ignore"):
        drawn = sums[:, 2] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    drawn = drawn[np.isfinite(drawn)]
    return Trust(
        temperature=uncertainty.temperature,
        conformal=uncertainty.conformal,
        rule=uncertainty.rule.settings(),
        calibration=measure_calibration(predictions, seed=seed),
        selective=measure_selective(predictions, seed=seed),
        sets=measure_sets(predictions, uncertainty.conformal, seed=seed),
        answered=share_interval(float(given.mean()), sums[:, 1] / sums[:, 0], groups),
        accuracy_answered=share_interval(right, drawn, groups) if drawn.size
        else Interval(0.0, 0.0, 1.0),
        unsure=reasons.count(NOT_CONFIDENT),
        out_of_distribution=reasons.count(OUT_OF_DISTRIBUTION),
    )  # fmt: skip
