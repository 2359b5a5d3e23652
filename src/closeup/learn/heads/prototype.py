"""The nearest class mean (Mensink et al. 2013): for one to five photos a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from closeup.learn.heads.head import Fitted, Head
from closeup.learn.heads.numerics import DEFAULT_SCALE, fit_scale
from closeup.learn.heads.problem import Problem, macro_f1


def fit_prototype(problem: Problem) -> Fitted:
    """Class means of the standardised embeddings; only the scale of the scores is fitted.

    A class's score is minus half the mean squared difference to its mean, which is a dense layer;
    how frequent a class is does not matter.
    """
    chosen: dict[str, Any] = {"temperature": DEFAULT_SCALE}
    log: dict[str, Any] = {"kind": "prototype", "folds": 0, "table": []}
    if problem.can_hold_out:
        scores = np.zeros((len(problem.classes), len(problem.labels)))
        by_fold = []
        for held in problem.held_out():
            head = refit_prototype(problem.only(~held), {"temperature": 1.0})
            probabilities = head.probabilities(problem.embeddings[held])
            scores[held] = np.log(np.maximum(probabilities, 1e-300))
            by_fold.append(macro_f1(problem.classes[held], scores[held].argmax(axis=1)))
        chosen = {"temperature": fit_scale(scores, problem.classes)}
        error = float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))
        log |= {"folds": len(by_fold), "macro_f1": float(np.mean(by_fold)), "error": error}
    return Fitted(refit_prototype(problem, chosen), {**log, **chosen})


def refit_prototype(problem: Problem, chosen: dict[str, Any]) -> Head:
    """The head of the given scale, from all rows; a class without rows is never answered."""
    standardise = problem.standardiser()
    rows = standardise(problem.embeddings).astype(np.float64)
    dim, k = rows.shape[1], len(problem.labels)
    counts = np.bincount(problem.classes, minlength=k)
    sums = np.zeros((k, dim))
    np.add.at(sums, problem.classes, rows)
    means = sums / np.maximum(counts, 1)[:, None]
    scale = chosen["temperature"]
    bias = np.where(counts > 0, -scale * (means**2).sum(axis=1) / (2 * dim), -1e4)
    layer = standardise.fold_into(scale * means / dim, bias)
    return Head("prototype", problem.labels, (layer,), chosen)
