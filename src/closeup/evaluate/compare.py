"""Choose among backbones, views and heads by cross-validation inside the training part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import ViewName
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import macro_f1_interval
from closeup.learn.heads.head import LAYERS
from closeup.learn.heads.problem import macro_f1
from closeup.networks import Network
from closeup.networks.join import SIGN
from closeup.networks.variants import split_name

WORTH = 0.005
"""The macro-F1 that an answer of twice the cost has to gain."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to train: a backbone, its view of a photo, and a kind of head."""

    backbone: str
    view: ViewName
    head: str

    def __str__(self) -> str:
        return f"{self.backbone}, {self.view}, {self.head}"


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate and its cross-validation.

    - `macro_f1`: of the out-of-fold answers of all training close-ups, with its 95 % interval by
      group
    - `mean`, `error`: mean and standard error of macro-F1 over the folds
    - `megabytes`: size of the backbone's graph
    - `work`: input pixels times the graph's bytes, for all views, relative to the cheapest
      candidate: a rough measure of the cost of an answer
    - `rate`: close-ups embedded per second on this machine, decoding included; 0 where not measured
    - `seconds`: time taken by fitting, without the embeddings
    - `picked`: whether this candidate was chosen
    """

    candidate: Candidate
    macro_f1: Interval
    mean: float
    error: float
    megabytes: float
    work: float
    rate: float
    seconds: float
    picked: bool = False


def work_of(network: Network, view: ViewName) -> float:
    """Input pixels times bytes of the graph, for all views; more looks at a picture count."""
    card = network.card
    views = 2 if view == "both" else 1
    looks = max(
        variant.work if variant else 1 for _, variant in map(split_name, card.name.split(SIGN))
    )
    return float(card.input.width * card.input.height * card.bytes * views * looks)


def score_folds(
    predictions: Predictions, folds: NDArray[np.int64], seed: int
) -> tuple[Interval, float, float]:
    """Macro-F1 of out-of-fold predictions: of all together, and mean and error over the folds.

    - `folds`: ``(n,)``, at least two different ones
    """
    true, answer = predictions.true, predictions.answer
    by_fold = [macro_f1(true[folds == f], answer[folds == f]) for f in np.unique(folds)]
    pooled = macro_f1_interval(predictions, seed=seed)
    error = float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))
    return pooled, float(np.mean(by_fold)), error


def pick(rows: Sequence[Compared]) -> int:
    """The index of the best mean, where every doubling of the work has to gain at least `WORTH`.

    Of equals, the one with the least work, then the simplest head.
    """
    least = min(row.work for row in rows)

    def value(row: Compared) -> float:
        return round(row.mean - WORTH * math.log2(row.work / least), 12)

    kinds = list(LAYERS)
    return min(
        range(len(rows)),
        key=lambda i: (-value(rows[i]), rows[i].work, kinds.index(rows[i].candidate.head)),
    )
