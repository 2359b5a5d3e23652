"""The answers on the test part, their scores, and training close-ups like the mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError
from closeup.core.types import Result
from closeup.evaluate.explain import nearest
from closeup.evaluate.scores import Scores, evaluate, worst_mistakes
from closeup.learn.heads import Head
from closeup.pipeline.fit import Fit

ALIKE = 3  # how many training close-ups are shown beside a mistake
MOST_ALIKE = 200  # mistakes that have them: the report shows fewer, review all of them


def alike(fit: Fit, results: Sequence[Result]) -> dict[str, tuple[str, ...]]:
    """The training close-ups most similar to each of the worst mistakes, by crop id."""
    train, test = fit.train, fit.test
    place = {example.crop_id: row for row, example in enumerate(test.examples)}
    wrong = [result.crop_id for result in worst_mistakes(results, MOST_ALIKE)]
    seen = test.vectors[[place[name] for name in wrong]]
    rows, _ = nearest(train.vectors, seen, fit.features.blocks, ALIKE)
    return {name: tuple(train.examples[row].crop_id for row in mine)
            for name, mine in zip(wrong, rows, strict=True)}  # fmt: skip


def measure(
    fit: Fit, head: Head, probabilities: NDArray[np.float64], seed: int
) -> tuple[tuple[Result, ...], Scores | None]:
    """The answers on the test part and their scores; None where nothing was held out.

    Raises DatasetError where there is a test part, but no close-up in it.
    """
    test, missed = fit.test.examples, fit.data.missed
    if not test and not missed:
        return (), None
    if not test:
        raise DatasetError(
            "the test part holds no photo with a close-up; check the photos with "
            "`closeup scout`, or keep misses with `--on-miss photo`"
        )
    best = probabilities.argmax(axis=1)
    results = tuple(
        Result(e.crop_id, e.photo_id, e.label, head.labels[i], float(row[i]), e.found)
        for e, row, i in zip(test, probabilities, best, strict=True)
    )
    scores = evaluate(
        fit.test.labels,
        probabilities,
        head.labels,
        fit.test.groups,
        [e.found for e in test],
        missed=[(e.label, e.group) for e in missed],
        seed=seed,
    )
    return results, scores
