"""Choose among backbones, views and heads by cross-validation inside the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import TrainConfig, View
from closeup.core.types import Floats
from closeup.evaluate.scores import Interval, macro_f1_interval
from closeup.learn import heads
from closeup.learn.heads.problem import macro_f1
from closeup.networks import Network

SIMPLEST_FIRST = ("prototype", "ridge", "logistic", "mlp")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to train: a backbone, what it looks at, and a kind of head."""

    backbone: str
    view: View
    head: str

    def __str__(self) -> str:
        return f"{self.backbone}, {self.view}, {self.head}"


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate with what cross-validation says of it.

    Attributes
    ----------
    macro_f1
        Of the out-of-fold answers of all training close-ups, with its 95 % interval by group.
    mean, error
        Mean and standard error of macro-F1 over the folds.
    megabytes
        Size of the backbone's graph.
    work
        Input pixels times the graph's bytes, for all views, relative to the cheapest candidate:
        a rough measure of what an answer costs.
    rate
        Close-ups embedded a second on this machine, decoding included; 0 where not known.
    seconds
        What fitting took, embeddings not counted.
    picked
        Whether this one was taken.
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

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Compared:
        """Read what :meth:`to_json` gave."""
        return cls(**{
            **value,
            "candidate": Candidate(**value["candidate"]),
            "macro_f1": Interval(**value["macro_f1"]),
        })  # fmt: skip


def candidates(config: TrainConfig) -> list[Candidate]:
    """All combinations that the configuration names."""
    return [Candidate(*three) for three in product(config.backbone, config.view, config.head)]


def work_of(network: Network, view: View) -> float:
    """Input pixels times bytes of the graph, for all views; a mirrored view counts twice."""
    card = network.card
    views = 2 if view == "both" else 1
    mirrored = 2 if card.name.endswith("flip") else 1
    return float(card.input.width * card.input.height * card.bytes * views * mirrored)


def cross_validated(
    fitted: heads.Fitted,
    training: tuple[Floats, Sequence[str], Sequence[str], NDArray[np.int64]],
    plain: int,
    seed: int,
    blocks: Sequence[int],
) -> tuple[NDArray[np.float64], Interval, float, float]:
    """Out-of-fold probabilities ``(n, k)``, and macro-F1: pooled, mean and error over the folds.

    Parameters
    ----------
    training
        Embeddings, labels, groups and folds of the n training close-ups, and of augmented views
        behind them; at least two folds.
    plain
        n: augmented views are learned from, not judged by.
    """
    vectors, labels, groups, folds = training
    shares = fitted.out_of_fold
    if shares is None:
        shares = heads.cross_probabilities(fitted.head, vectors, labels, folds, seed, blocks)
    shares, labels, groups, folds = shares[:plain], labels[:plain], groups[:plain], folds[:plain]
    place = {label: number for number, label in enumerate(fitted.head.labels)}
    truth = np.array([place[label] for label in labels])
    answers = shares.argmax(axis=1)
    by_fold = [macro_f1(truth[folds == f], answers[folds == f]) for f in np.unique(folds)]
    error = float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))
    pooled = macro_f1_interval(labels, [fitted.head.labels[i] for i in answers], groups, seed=seed)
    return shares, pooled, float(np.mean(by_fold)), error


def pick(rows: Sequence[Compared]) -> int:
    """The place of the simplest candidate within one standard error of the best mean.

    Simplest is the least work, then the plainest head (Breiman et al. 1984 for the rule).
    """
    best = max(rows, key=lambda row: row.mean)
    enough = [i for i, row in enumerate(rows) if row.mean >= best.mean - best.error]
    return min(
        enough,
        key=lambda i: (rows[i].work, SIMPLEST_FIRST.index(rows[i].candidate.head), -rows[i].mean),
    )
