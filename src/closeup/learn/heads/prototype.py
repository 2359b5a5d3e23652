"""The nearest class mean (Mensink et al. 2013): for one to five photos a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from closeup.learn.heads.head import Fitted, Head
from closeup.learn.heads.problem import Problem, macro_f1
from closeup.learn.heads.ridge import fit_temperature

DEFAULT_TEMPERATURE = 5.0


def fit_prototype(problem: Problem) -> Fitted:
    """Class means of the standardised embeddings; the folds choose the temperature alone.

    A class's score is minus half the mean squared difference to its mean, which is a dense layer;
    how frequent a class is does not matter.
    """
    chosen: dict[str, Any] = {"temperature": DEFAULT_TEMPERATURE}
    log: dict[str, Any] = {"kind": "prototype", "folds": 0, "table": []}
    if problem.can_hold_out:
        scores = np.zeros((len(problem.classes), len(problem.labels)))
        by_fold = []
        for held in problem.held_out():
            head = refit_prototype(problem.only(~held), {"temperature": 1.0})
            shares = head.probabilities(problem.embeddings[held])
            scores[held] = np.log(np.maximum(shares, 1e-300))
            answers = scores[held].argmax(axis=1)
            by_fold.append(macro_f1(problem.classes[held], answers))
        chosen = {"temperature": fit_temperature(scores, problem.classes)}
        error = float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))
        log |= {"folds": len(by_fold), "macro_f1": float(np.mean(by_fold)), "error": error}
    return Fitted(refit_prototype(problem, chosen), {**log, **chosen})


def refit_prototype(problem: Problem, chosen: dict[str, Any]) -> Head:
    """The head of the given temperature, from all rows; a class without rows is never answered."""
    standardise = problem.standardiser()
    rows = standardise(problem.embeddings).astype(np.float64)
    dim = rows.shape[1]
    k = len(problem.labels)
    counts = np.bincount(problem.classes, minlength=k)
    sums = np.zeros((k, dim))
    np.add.at(sums, problem.classes, rows)
    means = sums / np.maximum(counts, 1)[:, None]
    t = chosen["temperature"]
    bias = np.where(counts > 0, -t * (means**2).sum(axis=1) / (2 * dim), -1e4)
    return Head(
        "prototype", problem.labels, (standardise.fold_into(t * means / dim, bias),), chosen
    )
