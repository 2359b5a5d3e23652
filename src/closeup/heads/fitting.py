"""Fit a head of a named kind, after checking what it is fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from closeup.errors import DatasetError, UsageError
from closeup.heads.head import Fitted
from closeup.heads.logistic import fit_logistic
from closeup.heads.mlp import fit_mlp
from closeup.types import Floats

FITTERS = {"logistic": fit_logistic, "mlp": fit_mlp}


def fit(
    kind: str, embeddings: Floats, labels: Sequence[str], folds: NDArray[np.int64], seed: int
) -> Fitted:
    """Fit a head on the training part. The same input gives the same head.

    Parameters
    ----------
    kind
        ``"logistic"``: multinomial logistic regression, C chosen by cross-validation over all
        folds. ``"mlp"``: one hidden layer, trained on all folds but the first, which chooses
        the epoch.
    embeddings
        ``(n, d)`` float32, one row per close-up.
    labels
        n class names; the head's labels are the different ones, sorted.
    folds
        ``(n,)`` fold number of each row; no group may straddle two.
    seed
        Decides the ``mlp``'s start and order of batches; ``logistic`` has no use for it.

    Raises
    ------
    UsageError
        Where the kind is unknown, the lengths differ, or the embeddings have no dimension.
    DatasetError
        Where there are fewer than two labels or two folds, or an embedding is not finite.
    """
    if kind not in FITTERS:
        raise UsageError(f"unknown head {kind!r}; choose one of {', '.join(sorted(FITTERS))}")
    n = len(labels)
    shape = embeddings.shape
    if len(shape) != 2 or shape[0] != n or shape[1] == 0 or folds.shape != (n,):
        raise UsageError(f"{n} labels do not go with embeddings {shape} and folds {folds.shape}")
    names, classes = np.unique(np.array(labels, dtype=object), return_inverse=True)
    if len(names) < 2:
        raise DatasetError(
            f"a classifier needs at least 2 labels, the training part has {list(names)}; "
            "add photos of another class"
        )
    if len(np.unique(folds)) < 2:
        raise DatasetError(
            "choosing a head needs at least 2 folds; add photos to the training part"
        )
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if broken.size:
        raise DatasetError(
            f"{broken.size} of {n} embeddings hold numbers that are not finite (the first is row "
            f"{broken[0]}); check the backbone, or run it with `--precision fp32`"
        )
    return FITTERS[kind](embeddings, tuple(map(str, names)), classes.astype(np.int64), folds, seed)
