"""How far answers can be trusted: calibrated, withheld where unsure, measured on the test part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.types import Floats
from closeup.evaluate.calibration import (
    Calibration,
    Temperature,
    calibrate,
    fit_temperature,
    measure_calibration,
)
from closeup.evaluate.conformal import (
    Conformal,
    SetScore,
    fit_conformal,
    measure_sets,
)
from closeup.evaluate.predictions import Predictions, resampled_sums, share_interval
from closeup.evaluate.scores import Interval
from closeup.evaluate.selective import Selective, measure_selective
from closeup.evaluate.unknown import (
    NOT_CONFIDENT,
    OUT_OF_DISTRIBUTION,
    UnknownRule,
    fit_unknown,
)


@dataclass(frozen=True, slots=True)
class UncertaintyRule:
    """The rules by which a model doubts, chosen by out-of-fold answers on the training part."""

    temperature: Temperature
    rule: UnknownRule
    conformal: Conformal


@dataclass(frozen=True, slots=True)
class Trust:
    """What the rules do on the test part.

    Attributes
    ----------
    temperature, conformal
        As chosen; the head's own probabilities are calibrated by the temperature already.
    rule
        The rule for unknown photos, without its arrays.
    answered, accuracy_answered
        The share of test close-ups that is not withheld, and the accuracy on it.
    unsure, unlike
        Test close-ups withheld for either reason.
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
    unlike: int

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        from dataclasses import asdict

        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Trust:
        """Read what :meth:`to_json` gave."""
        kinds: dict[str, Any] = {
            "temperature": Temperature, "conformal": Conformal, "calibration": Calibration,
            "selective": Selective, "sets": SetScore,
        }  # fmt: skip
        read = {name: kind.from_json(value[name]) for name, kind in kinds.items()}
        spans = {name: Interval(**value[name]) for name in ("answered", "accuracy_answered")}
        return cls(**{**value, **read, **spans})


def fit_uncertainty(
    embeddings: Floats, judged: Predictions, folds: NDArray[np.int64], coverage: float, alpha: float
) -> UncertaintyRule:
    """Temperature, rule for unknown photos and threshold of label sets.

    Parameters
    ----------
    embeddings, folds
        ``(n, d)`` and ``(n,)`` of the training part.
    judged
        Its out-of-fold probabilities as the head gives them.
    coverage, alpha
        The share to be answered, and how often a set may miss the true label.
    """
    temperature = fit_temperature(judged)
    calibrated = Predictions(
        calibrate(judged.probabilities, temperature.value),
        judged.labels, judged.truth, judged.groups,
    )  # fmt: skip
    return UncertaintyRule(temperature, fit_unknown(embeddings, calibrated, folds, coverage),
                 fit_conformal(calibrated, alpha))  # fmt: skip


def measure_trust(
    uncertainty: UncertaintyRule, embeddings: Floats, judged: Predictions, seed: int
) -> Trust:
    """What the rules do on the test part, whose probabilities are calibrated already."""
    reasons = uncertainty.rule.reasons(judged.probabilities, embeddings)
    given = np.array([not reason for reason in reasons])
    sums = resampled_sums(
        np.column_stack([np.ones(len(given)), given, given & judged.right]),
        judged.groups, seed=seed, resamples=1000,
    )  # fmt: skip
    groups = len(set(judged.groups))
    right = float(judged.right[given].mean()) if given.any() else 0.0
    with np.errstate(invalid="ignore"):
        drawn = sums[:, 2] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    drawn = drawn[np.isfinite(drawn)]
    return Trust(
        temperature=uncertainty.temperature,
        conformal=uncertainty.conformal,
        rule=uncertainty.rule.settings(),
        calibration=measure_calibration(judged, seed=seed),
        selective=measure_selective(judged, seed=seed),
        sets=measure_sets(judged, uncertainty.conformal, seed=seed),
        answered=share_interval(float(given.mean()), sums[:, 1] / sums[:, 0], groups),
        accuracy_answered=share_interval(right, drawn, groups) if drawn.size
        else Interval(0.0, 0.0, 1.0),
        unsure=reasons.count(NOT_CONFIDENT),
        unlike=reasons.count(OUT_OF_DISTRIBUTION),
    )  # fmt: skip
