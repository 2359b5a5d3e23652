"""The two sides of the split with their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError
from closeup.core.types import Example, Floats, Result
from closeup.evaluate.explain import nearest
from closeup.evaluate.scores import Scores, evaluate, worst_mistakes
from closeup.learn.heads import Head
from closeup.pipeline.features import Features

ALIKE = 3
"""How many training close-ups are shown beside a mistake."""


@dataclass(frozen=True, slots=True)
class Part:
    """One side of the split: examples with pixels, and their ``(n, d)`` features."""

    examples: tuple[Example, ...]
    vectors: Floats

    @property
    def labels(self) -> list[str]:
        """One for each example."""
        return [example.label for example in self.examples]

    @property
    def groups(self) -> list[str]:
        """One for each example."""
        return [example.group for example in self.examples]


def part_of(used: Sequence[Example], features: Features, side: str) -> Part:
    """The examples of one side with their features; it may be empty."""
    mine = tuple(example for example in used if example.split == side)
    dim = sum(features.blocks)
    vectors = [features.of[example.crop_id] for example in mine]
    return Part(mine, np.stack(vectors) if vectors else np.zeros((0, dim), np.float32))


def alike(
    results: Sequence[Result], train: Part, test: Part, blocks: Sequence[int]
) -> dict[str, tuple[str, ...]]:
    """The training close-ups most alike to those that were answered wrongly, the worst ones."""
    place = {example.crop_id: row for row, example in enumerate(test.examples)}
    wrong = [result.crop_id for result in worst_mistakes(results)]
    rows, _ = nearest(train.vectors, test.vectors[[place[name] for name in wrong]], blocks, ALIKE)
    return {name: tuple(train.examples[row].crop_id for row in mine)
            for name, mine in zip(wrong, rows, strict=True)}  # fmt: skip


def measure(
    head: Head,
    test: Part,
    probabilities: NDArray[np.float64],
    examples: Sequence[Example],
    seed: int,
) -> tuple[list[Result], Scores | None]:
    """The answers on the test part and their scores; None where nothing was held out."""
    if not any(e.split == "test" for e in examples):
        return [], None
    if not test.examples:
        raise DatasetError(
            "the test part holds no photo with a close-up; check the photos with "
            "`closeup scout`, or keep misses with `--on-miss photo`"
        )
    best = probabilities.argmax(axis=1)
    results = [
        Result(e.crop_id, e.photo_id, e.label, head.labels[i], float(row[i]), e.found)
        for e, row, i in zip(test.examples, probabilities, best, strict=True)
    ]
    answered = {e.crop_id for e in test.examples}
    missed = [(e.label, e.group) for e in examples
              if e.split == "test" and e.crop_id not in answered]  # fmt: skip
    scores = evaluate(
        test.labels,
        probabilities,
        head.labels,
        test.groups,
        [e.found for e in test.examples],
        missed=missed,
        seed=seed,
    )
    return results, scores
