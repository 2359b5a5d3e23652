"""Which labels may be wrong, judged by heads that never saw the photo.

Confident learning (Northcutt, Jiang and Chuang 2021) counts a photo against its label where
another class reaches the probability that is usual for photos of that class. That finds what is
wrong where the head is good; a weak head is often confident and mistaken, and then most such
photos are labelled rightly.

LabelIssues are therefore chosen and sorted by how likely their label is wrong. A share e of the
labels is taken to have been replaced by any of the k - 1 others, and the heads to be right about
the rest but for their temperature. If p is the tempered out-of-fold probability of the given
label, it is seen with probability ``(1 - e) p + e (1 - p) / (k - 1)``; the share and the
temperature that make all labels most likely are taken, and the label is wrong with the second
term's part of the sum. A softmax of one temperature has no other way to account for labels that it
finds all but impossible, so a very weak head sees somewhat more wrong labels than there are.

How far the list is to be believed on the photos at hand can be measured: change some labels on
purpose (:func:`plant`), fit and judge anew, and see which of them are found
(:func:`measure_planted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.evaluate.calibration import calibrate
from closeup.evaluate.predictions import Predictions

LEAST = 0.3
"""From this score on a label is a suspect; ``python -m bench.trust`` measures what that finds."""
PLANTED = 0.05

_STARTS = (0.005, 0.05, 0.2)
_SHARES = 1e-4, 0.9
_TEMPERATURES = 0.05, 20.0

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A photo whose label may be wrong.

    Attributes
    ----------
    index
        Its row.
    given, suggested
        The label it has, and the most probable other one.
    score
        How likely the label is wrong, 0 to 1.
    p_given, p_suggested
        Out-of-fold probabilities, as they were given.
    confident
        Confident learning counts it as wrong, too.
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
    """The share of wrong labels, and the temperature of the heads, that go best together."""

    share: float
    temperature: float


@dataclass(frozen=True, slots=True)
class LabelIssues:
    """The suspects among n photos, the likeliest first.

    Attributes
    ----------
    share
        Of wrong labels among all, as estimated; a weak head sees more than there are.
    confident
        That by confident learning; far too high for a weak head.
    least
        The lowest score of a suspect.
    """

    n: int
    share: float
    confident: float
    least: float
    rows: tuple[LabelIssue, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LabelIssues:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError
            Where it is something else.
        """
        return cls(**{**value, "rows": tuple(LabelIssue(**row) for row in value["rows"])})


@dataclass(frozen=True, slots=True)
class Planted:
    """How many labels changed on purpose were found.

    Attributes
    ----------
    n, changed, flagged
        Photos, changed labels among them, and suspects.
    precision, recall
        The share of suspects that were changed, and of the changed that are suspects. Labels that
        were wrong before count as false alarms.
    recall_at_half
        The recall of the longest list, in order of suspicion, of which half were changed.
    """

    n: int
    changed: int
    flagged: int
    precision: float
    recall: float
    recall_at_half: float

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Planted:
        """Read what :meth:`to_json` gave."""
        return cls(**value)


def find_label_issues(judged: Predictions, *, least: float = LEAST) -> LabelIssues:
    """The photos whose labels are likely to be wrong.

    Parameters
    ----------
    judged
        Out-of-fold probabilities of the training part, calibrated or not, its labels being the
        truth to be doubted. More folds (10 rather than 5) and stronger features find more. A photo
        whose label has a probability of exactly 0 is passed over: its fold's head had not seen the
        class.
    least
        The lowest score of a suspect, above 0.

    Returns
    -------
    suspects
        Of equal scores, the earlier row first.

    Raises
    ------
    UsageError
        Where `least` is not above 0, or there is but one label.
    """
    if not least > 0:
        raise UsageError(f"the lowest score of a suspect is above 0, got {least}")
    noise = fit_noise(judged)
    scores = suspicion(judged, noise)
    order = np.argsort(-scores, kind="stable")
    return LabelIssues(
        n=len(scores),
        share=noise.share,
        confident=float(confident_errors(judged).mean()),
        least=least,
        rows=tuple(_rows(judged, scores, order[scores[order] >= least])),
    )


def fit_noise(judged: Predictions) -> Noise:
    """The share of wrong labels and the temperature of greatest likelihood.

    0 and 1 where no label has a probability above 0. A share below one in ten thousand is 0.

    Raises
    ------
    UsageError
        Where there is but one label.
    """
    from scipy.optimize import minimize

    k = len(judged.labels)
    if k < 2:
        raise UsageError("with one label there is no other that a photo could have")
    rows = np.flatnonzero(_given(judged) > 0)
    if not rows.size:
        return Noise(0.0, 1.0)
    probabilities, true = judged.probabilities[rows], judged.true[rows]

    def loss(logarithms: Values) -> float:
        share, temperature = (float(value) for value in np.exp(logarithms))
        given = calibrate(probabilities, temperature)[np.arange(len(rows)), true]
        seen = (1 - share) * given + share * (1 - given) / (k - 1)
        return -float(np.log(np.maximum(seen, 1e-300)).mean())

    low, high = _SHARES[0], _SHARES[1] * (k - 1) / k
    found = min(
        (
            minimize(loss, np.log([start, 1.0]), method="L-BFGS-B",
                     bounds=[np.log([low, high]), np.log(_TEMPERATURES)])
            for start in _STARTS
        ),
        key=lambda one: float(one.fun),
    )  # fmt: skip
    share, temperature = (float(value) for value in np.exp(found.x))
    return Noise(share if share > 1.01 * low else 0.0, temperature)


def suspicion(judged: Predictions, noise: Noise) -> Values:
    """``(n,)`` how likely each label is wrong, 0 where its probability is exactly 0."""
    k = len(judged.labels)
    known = _given(judged) > 0
    rows = np.flatnonzero(known)
    given = calibrate(judged.probabilities, noise.temperature)[rows, judged.true[rows]]
    wrong = noise.share * (1 - given) / (k - 1)
    scores = np.zeros(len(known))
    scores[rows] = wrong / ((1 - noise.share) * given + wrong)
    return scores


def confident_errors(judged: Predictions) -> NDArray[np.bool_]:
    """``(n,)`` the photos that confident learning counts as labelled wrongly.

    The threshold of a class is the mean probability that its own photos give it; of the classes
    whose threshold a photo reaches, the most probable is taken for the true one. Where that is
    another label than the given one, and the given one is not the most probable of all, the photo
    counts.
    """
    probabilities, true = judged.probabilities, judged.true
    known = true >= 0
    counts = np.bincount(true[known], minlength=len(judged.labels))
    sums = np.bincount(true[known], _given(judged)[known], len(judged.labels))
    # A class without photos is never reached.
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)
    reached = probabilities >= thresholds - 1e-6
    taken = np.where(reached, probabilities, -1.0).argmax(axis=1)
    errors: NDArray[np.bool_] = reached.any(axis=1) & known & (taken != true)
    return errors & ~judged.right


def disputed(labels: Sequence[str], groups: Sequence[str]) -> list[tuple[int, ...]]:
    """The rows of each group that holds several labels, for groups of copies.

    Sorted by their first row. Copies under different labels cannot all be right, whatever a head
    says of them.
    """
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return [tuple(same) for same in rows.values() if len({labels[row] for row in same}) > 1]


def plant(
    truth: Sequence[str], share: float = PLANTED, seed: int = 0
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
    judged: Predictions, changed: NDArray[np.bool_], *, least: float = LEAST
) -> Planted:
    """How many of the labels that :func:`plant` changed are found.

    Parameters
    ----------
    judged
        As for :func:`find_label_issues`, from heads fitted on the changed labels.
    changed
        ``(n,)``, at least one of them true.

    Raises
    ------
    UsageError
        Where the length differs, none was changed, or as :func:`find_label_issues`.
    """
    n = len(judged.truth)
    if changed.shape != (n,) or not changed.any():
        raise UsageError(f"{int(changed.sum())} changed of {changed.shape} do not go with {n} rows")
    flagged = [row.index for row in find_label_issues(judged, least=least).rows]
    # Where the share comes out as 0, all scores are equal and rows are put in order without it.
    noise = fit_noise(judged)
    order = np.argsort(
        -suspicion(judged, Noise(max(noise.share, 1e-4), noise.temperature)), kind="stable"
    )
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


def _given(judged: Predictions) -> Values:
    """``(n,)`` the probability of the given label; 0 for one that the head does not know."""
    rows = np.arange(len(judged.true))
    given: Values = np.where(judged.true >= 0, judged.probabilities[rows, judged.true], 0.0)
    return given


def _rows(judged: Predictions, scores: Values, chosen: NDArray[np.int64]) -> list[LabelIssue]:
    errors, given = confident_errors(judged), _given(judged)
    found = []
    for row in chosen.tolist():
        others = judged.probabilities[row].copy()
        others[judged.true[row]] = -1.0
        best = int(others.argmax())
        found.append(
            LabelIssue(
                index=row,
                given=judged.truth[row],
                suggested=judged.labels[best],
                score=float(scores[row]),
                p_given=float(given[row]),
                p_suggested=float(others[best]),
                confident=bool(errors[row]),
            )
        )
    return found
