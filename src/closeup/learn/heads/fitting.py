"""Fit a head of a named kind, after checking what it is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.types import Floats
from closeup.learn.heads.head import Fitted, Head, single_threaded
from closeup.learn.heads.logistic import fit_logistic, refit_logistic
from closeup.learn.heads.mlp import fit_mlp, refit_mlp
from closeup.learn.heads.problem import Problem, in_few_numbers
from closeup.learn.heads.prototype import fit_prototype, refit_prototype
from closeup.learn.heads.ridge import fit_ridge, refit_ridge


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of fitting: with settings to be chosen, and with given ones."""

    fit: Callable[[Problem], Fitted]
    refit: Callable[[Problem, dict[str, Any]], Head]


KINDS: Mapping[str, Kind] = {
    "logistic": Kind(fit_logistic, refit_logistic),
    "mlp": Kind(fit_mlp, refit_mlp),
    "prototype": Kind(fit_prototype, refit_prototype),
    "ridge": Kind(fit_ridge, refit_ridge),
}


def fit(
    kind: str,
    embeddings: Floats,
    labels: Sequence[str],
    folds: NDArray[np.int64],
    seed: int,
    blocks: Sequence[int] = (),
) -> Fitted:
    """Fit a head on the training part. The same input gives the same head.

    - `kind`: ``"ridge"``: least squares on the classes. ``"logistic"``: multinomial logistic
      regression. Both choose their penalty, and whether to weight uneven classes, by
      cross-validation over all folds. ``"mlp"``: one hidden layer, trained on all folds but the
      first, which chooses the epoch. ``"prototype"``: the nearest class mean.
    - `embeddings`: ``(n, d)`` float32, one row per close-up
    - `labels`: n class names; the head's labels are the different ones, sorted
    - `folds`: ``(n,)`` fold number of each row; no group may straddle two. All the same where there
      is too little to hold out: then fixed settings are used instead of chosen ones.
    - `seed`: of the ``mlp``'s initial weights and order of batches; the others do not use it
    - `blocks`: lengths of the parts that an embedding is put together from; empty for one part

    Raises UsageError where the kind is unknown, the lengths differ, or the embeddings have no
    dimension; DatasetError where there are fewer than two labels, or an embedding is not finite.
    """
    problem = _problem(embeddings, labels, folds, seed, blocks)
    small, expand = in_few_numbers(problem)
    with single_threaded():
        fitted = _kind(kind).fit(small)
    return replace(fitted, head=expand(fitted.head))


def cross_probabilities(
    head: Head,
    embeddings: Floats,
    labels: Sequence[str],
    folds: NDArray[np.int64],
    seed: int,
    blocks: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Out-of-fold probabilities: for each row from a head fitted without its fold.

    - `head`: fitted on just these rows; its kind and the settings it chose are used, its weights
      not

    Returns `probabilities`: ``(n, k)`` in the order of ``head.labels``.

    Raises UsageError as :func:`fit`; also where there is but one fold, or the labels are not the
    head's.
    """
    problem, _ = in_few_numbers(_problem(embeddings, labels, folds, seed, blocks))
    if not problem.can_hold_out or problem.labels != head.labels:
        raise UsageError("out-of-fold predictions need the head's own labels and at least 2 folds")
    probabilities = np.zeros((len(labels), len(head.labels)))
    refit = _kind(head.kind).refit

    def one(held: NDArray[np.bool_]) -> None:
        part = refit(problem.only(~held), dict(head.chosen))
        probabilities[held] = part.probabilities(problem.embeddings[held])

    with single_threaded():
        problem.for_each_fold(one)
    return probabilities


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise UsageError(f"unknown head {name!r}; choose one of {', '.join(sorted(KINDS))}")
    return KINDS[name]


def _problem(
    embeddings: Floats,
    labels: Sequence[str],
    folds: NDArray[np.int64],
    seed: int,
    blocks: Sequence[int],
) -> Problem:
    n = len(labels)
    shape = embeddings.shape
    if len(shape) != 2 or shape[0] != n or shape[1] == 0 or folds.shape != (n,):
        raise UsageError(f"{n} labels do not match embeddings {shape} and folds {folds.shape}")
    if blocks and (sum(blocks) != shape[1] or min(blocks) < 1):
        raise UsageError(f"blocks {list(blocks)} do not add up to {shape[1]} dimensions")
    names, classes = np.unique(np.array(labels, dtype=object), return_inverse=True)
    if len(names) < 2:
        raise DatasetError(
            f"a classifier needs at least 2 labels, the training part has {list(names)}; "
            "add photos of another class"
        )
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if broken.size:
        raise DatasetError(
            f"{broken.size} of {n} embeddings have values that are not finite (the first is row "
            f"{broken[0]}); check the backbone, or run it with `--precision fp32`"
        )
    return Problem(
        embeddings, tuple(map(str, names)), classes.astype(np.int64), folds, tuple(blocks), seed
    )
