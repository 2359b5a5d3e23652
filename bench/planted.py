"""Labels changed on purpose, and how many of them are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.label_issues import LEAST, Noise, find_label_issues, fit_noise, issue_scores
from closeup.evaluate.predictions import Predictions

SHARE = 0.05
"""Of the labels that are changed."""


@dataclass(frozen=True, slots=True)
class Planted:
    """How many labels changed on purpose were found.

    Attributes
    ----------
    n, changed, flagged
        Photos, changed labels among them, and label issues.
    precision, recall
        Of the label issues, as a search for changed labels. Labels that were wrong before count as
        false alarms.
    recall_at_half
        The recall of the longest list, sorted by score, of which half were changed.
    """

    n: int
    changed: int
    flagged: int
    precision: float
    recall: float
    recall_at_half: float


def plant(
    truth: Sequence[str], share: float = SHARE, seed: int = 0
) -> tuple[list[str], NDArray[np.bool_]]:
    """The labels with a share of them changed to any other at random, and which were changed.

    At least one is changed.

    Raises
    ------
    UsageError
        Where there are fewer than two labels, or the share is not between 0 and 1.
    """
    names = sorted(set(truth))
    if len(names) < 2 or not 0 < share < 1:
        raise UsageError(
            f"changing labels needs at least 2 labels and a share between 0 and 1, got "
            f"{len(names)} and {share}"
        )
    rng = np.random.default_rng(seed)
    n = len(truth)
    changed = np.zeros(n, np.bool_)
    changed[rng.choice(n, max(1, round(share * n)), replace=False)] = True
    steps = rng.integers(1, len(names), n)
    place = {name: number for number, name in enumerate(names)}
    planted = [
        names[(place[label] + step) % len(names)] if moved else label
        for label, step, moved in zip(truth, steps, changed, strict=True)
    ]
    return planted, changed


def measure_planted(
    predictions: Predictions, changed: NDArray[np.bool_], *, least: float = LEAST
) -> Planted:
    """How many of the labels that :func:`plant` changed are found.

    Parameters
    ----------
    predictions
        As for ``find_label_issues``, from heads fitted on the changed labels.
    changed
        ``(n,)``, at least one of them true.

    Raises
    ------
    UsageError
        Where the length differs, none was changed, or as ``find_label_issues``.
    """
    n = len(predictions.truth)
    if changed.shape != (n,) or not changed.any():
        raise UsageError(f"{int(changed.sum())} changed of {changed.shape} do not match {n} rows")
    flagged = [row.index for row in find_label_issues(predictions, least=least).rows]
    # Where the share is 0 all scores are equal: a small one puts the rows in order.
    noise = fit_noise(predictions)
    ordering = Noise(max(noise.share, 1e-4), noise.temperature)
    order = np.argsort(-issue_scores(predictions, ordering), kind="stable")
    hits = changed[order].astype(np.float64)
    half = np.flatnonzero(hits.cumsum() / np.arange(1, n + 1) >= 0.5)
    total = int(changed.sum())
    return Planted(
        n=n,
        changed=total,
        flagged=len(flagged),
        precision=float(changed[flagged].mean()) if flagged else 0.0,
        recall=float(changed[flagged].sum() / total),
        recall_at_half=float(hits[: half[-1] + 1].sum() / total) if half.size else 0.0,
    )
