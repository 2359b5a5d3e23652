"""A candidate fitted on the training part."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from closeup.evaluate.compare import Candidate, Compared, score_folds, work_of
from closeup.evaluate.predictions import Predictions
from closeup.learn import heads
from closeup.networks import Network
from closeup.pipeline.features import Features, Part, TrainingSet


@dataclass(frozen=True)
class Fit:
    """A backbone and view with a head fitted on the training part.

    - `predictions`: of the training rows `rows`, by heads that did not see them; None where nothing
      could be held out
    - `rows`, `folds`: ``(m,)`` each: which rows of the training part were held out, and the fold of
      each
    - `refits`: whether heads like this one can be fitted on parts of these features; not where the
      backbone itself was trained
    """

    data: TrainingSet
    candidate: Candidate
    backbone: Network
    features: Features
    fitted: heads.Fitted
    predictions: Predictions | None
    rows: NDArray[np.int64]
    folds: NDArray[np.int64]
    refits: bool = True

    @cached_property
    def train(self) -> Part:
        """The training part."""
        return Part.of(self.data, self.features, "train")

    @cached_property
    def test(self) -> Part:
        """The test part; it may be empty."""
        return Part.of(self.data, self.features, "test")

    @cached_property
    def crop_ids(self) -> list[str]:
        """Of the close-ups in `rows`."""
        return [self.train.examples[row].crop_id for row in self.rows]


def fit_candidate(
    data: TrainingSet,
    candidate: Candidate,
    backbone: Network,
    features: Features,
    folds: NDArray[np.int64],
    seed: int,
) -> tuple[Fit, Compared | None]:
    """Fit a head on the training part and its augmented views, and cross-validate it.

    - `folds`: one for each training close-up; all equal where nothing can be held out, which leaves
      nothing to compare by
    """
    start, blocks = time.perf_counter(), features.blocks
    train, views = Part.of(data, features, "train"), features.augmented
    times = 1 + len(views)
    vectors = np.concatenate(
        [train.vectors, *([view[e.crop_id] for e in train.examples] for view in views)]
    )
    labels, wide = train.labels * times, np.tile(folds, times)
    fitted = heads.fit(candidate.head, vectors, labels, wide, seed, blocks)
    predictions, row = None, None
    if np.ptp(folds):
        head, out_of_fold = fitted.head, fitted.out_of_fold
        if out_of_fold is None:
            out_of_fold = heads.cross_probabilities(head, vectors, labels, wide, seed, blocks)
        plain = out_of_fold[: len(folds)]  # augmented views are trained on, not scored
        predictions = Predictions(plain, head.labels, train.labels, train.groups)
        row = Compared(
            candidate,
            *score_folds(predictions, folds, seed),
            megabytes=backbone.card.bytes / 1e6,
            work=work_of(backbone, candidate.view),
            rate=round(features.rate, 1),
            seconds=round(time.perf_counter() - start, 3),
        )
    everyone = np.arange(len(folds))
    fit = Fit(data, candidate, backbone, features, fitted, predictions, everyone, folds)
    return fit, row
