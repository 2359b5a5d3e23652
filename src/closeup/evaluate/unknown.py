"""When to answer "I don't know", and what is gained by it.

The calibrated probability of the answer shows how clearly one class stands out. The distance of the
embedding from the training part, which a softmax cannot know, shows whether the photo belongs to
any class: one minus the mean cosine to the nearest training embeddings (Sun et al. 2022), after a
signed square root that evens out bursts in pooled features (Perronnin et al. 2010). Embeddings are
not centred: photos out of the distribution differ in directions in which the training part does not
vary (``python -m bench.distances`` compares distances). Only the training embeddings are reduced to
their principal directions; a new embedding is divided by its length before reduction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import ModelError, UsageError
from closeup.core.parallel import ordered_map
from closeup.core.types import Floats
from closeup.evaluate.predictions import Predictions, Probabilities
from closeup.learn.heads.head import single_threaded
from closeup.learn.heads.numerics import in_few, leading

SETTINGS = ("min_confidence", "max_distance", "coverage", "answered")
ANSWERED = ""
NOT_CONFIDENT = "not confident"
OUT_OF_DISTRIBUTION = "unlike anything trained on"
NONE_OF_THEM = "none of the classes"
"""Of an answer that is the label of what belongs to no class."""

COVERAGE = 0.95
NEIGHBOURS = 5
DIRECTIONS = 128
MAX_REFERENCES = 10_000
_BASIS_ROWS = 2_000  # bounds the time of finding the principal directions
_STEP = 1_000  # rows compared at a time, which bounds memory


@dataclass(frozen=True, eq=False)
class UnknownRule:
    """Which answers to withhold: those that are uncertain or out of distribution.

    - `min_confidence`: an answer of a lower probability is withheld
    - `max_distance`: an answer for an embedding farther away than this is withheld
    - `coverage`: the share of the training part that was to be answered
    - `answered`: the share that is answered, out of fold
    - `basis`: ``(r, d)`` float32, orthonormal rows
    - `references`: ``(m, r)`` float16: training embeddings in that basis, over their whole length
    """

    min_confidence: float
    max_distance: float
    coverage: float
    answered: float
    basis: Floats
    references: NDArray[np.float16]

    def distances(self, embeddings: Floats) -> Floats:
        """``(n,)`` distances of ``(n, d)`` embeddings from the training part, 0 to 2; n may be 0.

        Raises ModelError where the embeddings are not of the length that the rule was fitted on.
        """
        self._check(embeddings)
        return _distances(_inside(self.basis, embeddings), self.references.astype(np.float32))

    def nearest(
        self, embedding: Floats, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` references (or all) most similar to a ``(d,)`` embedding, and their cosines.

        The most similar come first, of equally similar ones the earlier.

        Raises ModelError as :meth:`distances`.
        """
        self._check(embedding[None])
        cosines = (_inside(self.basis, embedding[None]) @ self.references.astype(np.float32).T)[0]
        rows = np.argsort(-cosines, kind="stable")[:count]
        return rows, cosines[rows]

    def _check(self, embeddings: Floats) -> None:
        dim = self.basis.shape[1]
        if embeddings.ndim != 2 or embeddings.shape[1] != dim:
            raise ModelError(
                f"the rule for unknown photos expects embeddings of shape (n, {dim}), got "
                f"{embeddings.shape}; use the backbone that the model was trained with"
            )

    def reasons(self, probabilities: Probabilities, embeddings: Floats) -> list[str]:
        """Why each of n answers is withheld, ``""`` where it is given.

        - `probabilities`: ``(n, k)``, calibrated like those that the rule was fitted on
        - `embeddings`: ``(n, d)``

        Raises ModelError as :meth:`distances`; UsageError where the lengths differ.
        """
        if len(probabilities) != len(embeddings):
            raise UsageError(
                f"{len(probabilities)} probabilities do not match {len(embeddings)} embeddings"
            )
        far = self.distances(embeddings) > self.max_distance
        uncertain = probabilities.max(axis=1, initial=0) < self.min_confidence
        return [
            OUT_OF_DISTRIBUTION if outside else NOT_CONFIDENT if weak else ANSWERED
            for outside, weak in zip(far, uncertain, strict=True)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays to keep: ``basis`` and ``references``."""
        return {"basis": self.basis, "references": self.references}

    def settings(self) -> dict[str, float]:
        """What is not an array, as JSON values."""
        return {name: getattr(self, name) for name in SETTINGS}


def restore_rule(arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, float]) -> UnknownRule:
    """The rule whose ``arrays()`` and ``settings()`` these are.

    Raises ModelError where they are not those of a rule.
    """
    if set(arrays) != {"basis", "references"} or set(settings) != set(SETTINGS):
        raise ModelError(
            f"the rule for unknown photos has arrays {sorted(arrays)} and settings "
            f"{sorted(settings)}, expected basis, references and {sorted(SETTINGS)}; "
            "train the model again"
        )
    basis, references = arrays["basis"], arrays["references"]
    fits = (
        basis.dtype == np.float32
        and references.dtype == np.float16
        and basis.ndim == references.ndim == 2
        and min(basis.size, references.size) > 0
        and references.shape[1] == basis.shape[0]
        and bool(np.isfinite(basis).all() and np.isfinite(references).all())
    )
    if not fits or not all(np.isfinite(value) for value in settings.values()):
        raise ModelError(
            f"the rule for unknown photos has basis {basis.dtype} {basis.shape} and references "
            f"{references.dtype} {references.shape}, which do not match, or numbers that are not "
            "finite; train the model again"
        )
    return UnknownRule(basis=basis, references=references, **settings)


def fit_unknown(
    embeddings: Floats,
    predictions: Predictions,
    folds: NDArray[np.int64],
    coverage: float = COVERAGE,
    min_confidence: float | None = None,
) -> UnknownRule:
    """Choose both thresholds so that about `coverage` of the training part is answered.

    Half of the withheld answers are left to the distance, the rest to the confidence. Distances are
    measured to the other folds, so that no photo, and no copy of it, is its own neighbour.

    - `embeddings`: ``(n, d)`` of the training part
    - `predictions`: its calibrated out-of-fold probabilities
    - `folds`: ``(n,)`` fold number of each row, at least two different ones
    - `coverage`: above 0, up to 1 for thresholds that withhold nothing of the training part
    - `min_confidence`: where it was chosen already (for a wanted accuracy), so that `coverage`
      decides about the distance alone

    Raises UsageError where the lengths differ, there is one fold only, or `coverage` is out of
    range.
    """
    n = len(predictions.truth)
    if embeddings.ndim != 2 or len(embeddings) != n or folds.shape != (n,):
        raise UsageError(
            f"embeddings {embeddings.shape} and folds {folds.shape} do not match {n} labels"
        )
    if not 0 < coverage <= 1:
        raise UsageError(f"coverage is a share above 0 and up to 1, got {coverage}")
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise UsageError("out-of-fold distances need at least 2 folds; add photos")
    own = np.empty(n, np.float32)
    rows, back = in_few(_normalised(embeddings))

    def one(number: int) -> None:
        held = folds == number
        basis, references = _reference(rows[~held])
        own[held] = _distances(rows[held] @ basis.T, references)

    with single_threaded():
        for _ in ordered_map(one, numbers.tolist(), workers=min(8, len(numbers))):
            pass
        basis, references = _reference(rows)
        basis = back(basis)
    farthest = float(np.quantile(own, (1 + coverage) / 2))
    near = own <= farthest
    least = min_confidence
    if least is None:
        wanted = int(np.ceil(coverage * n - 1e-9))  # how many to answer, if there are as many
        confidence = np.sort(predictions.confidence[near])
        least = float(confidence[max(0, len(confidence) - wanted)])
    answered = float((near & (predictions.confidence >= least)).mean())
    return UnknownRule(least, farthest, coverage, answered, basis, references.astype(np.float16))


def _reference(rows: Floats) -> tuple[Floats, Floats]:
    """The principal directions ``(r, d)`` about the origin, and the rows in them ``(m, r)``."""
    rows = rows[reference_rows(len(rows))]
    some = rows[reference_rows(len(rows), _BASIS_ROWS)]
    n, d = some.shape
    # The smaller of the two products of the rows with themselves: much quicker than an SVD.
    product = (some @ some.T if n < d else some.T @ some).astype(np.float64)
    squares, vectors = leading(product, 1e-9, DIRECTIONS)
    squares, directions = squares[::-1], vectors[:, ::-1]
    if not squares.size:  # all rows are 0
        directions = np.eye(d, 1)
    elif n < d:
        directions = some.T @ directions / np.sqrt(np.maximum(squares, 1e-30))
    basis = np.ascontiguousarray(directions.T, np.float32)
    return basis, rows @ basis.T


def reference_rows(count: int, most: int = MAX_REFERENCES) -> NDArray[np.int64]:
    """Which of `count` rows of the training part become references, evenly spread; at least one."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def unit_rows(rows: Floats) -> Floats:
    """``(n, d)`` rows, each divided by its length; 0 stays 0."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def _normalised(embeddings: Floats) -> Floats:
    """The signed square root of each number, each row divided by its length."""
    return unit_rows(np.sign(embeddings) * np.sqrt(np.abs(embeddings)))


def _inside(basis: Floats, embeddings: Floats) -> Floats:
    """``(n, r)``: embeddings in the basis, over their whole length."""
    return np.concatenate([
        _normalised(embeddings[start : start + _STEP]) @ basis.T
        for start in range(0, max(1, len(embeddings)), _STEP)
    ])  # fmt: skip


def _distances(inside: Floats, references: Floats) -> Floats:
    near = min(NEIGHBOURS, len(references))
    result = np.empty(len(inside), np.float32)
    for start in range(0, len(inside), _STEP):
        part = slice(start, start + _STEP)
        cosines = inside[part] @ references.T
        result[part] = 1 - np.partition(cosines, -near, axis=1)[:, -near:].mean(axis=1)
    return result
