"""Attributes: further heads on the chosen embeddings, each measured by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from closeup.core.types import Example, Photo
from closeup.dataset.split import folds
from closeup.evaluate.calibration import fit_temperature
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import AttributeScore, evaluate
from closeup.learn import heads
from closeup.photos.attributes import of_text
from closeup.pipeline.features import Part
from closeup.pipeline.fit import Fit


def facts(photos: Sequence[Photo]) -> list[object]:
    """What of the attributes goes into training; nothing where there is none, as for other keys."""
    known = [(photo.id, photo.attributes) for photo in photos if photo.attributes]
    return [known] if known else []


def fit_attributes(
    fit: Fit, seed: int
) -> tuple[dict[str, heads.Head], tuple[AttributeScore, ...], list[str]]:
    """A calibrated head for each attribute, its score on the test part, and notes.

    Kind of head, embeddings, split and folds are those of the labels. Trained on are the close-ups
    in ``fit.rows``, those that a fine-tuned backbone was not trained on, whose photo has a value.
    """
    photo_of = fit.data.photo_of
    values = {e.photo_id: of_text(photo_of[e.photo_id].attributes) for e in fit.data.examples}
    train = [replace(fit.train.examples[row], fold=int(fold))
             for row, fold in zip(fit.rows, fit.folds, strict=True)]  # fmt: skip
    vectors = fit.train.vectors[fit.rows]
    found, scores, notes = dict[str, heads.Head](), list[AttributeScore](), list[str]()
    for name in sorted({name for mine in values.values() for name in mine}):
        part = _with_values(Part(tuple(train), vectors), values, name)
        different = sorted({*part.labels})
        if len(different) < 2:
            notes.append(f"the attribute {name} is not learned: its training photos have "
                         f"{f'one value alone, {different[0]}' if different else 'no value'}"
                         )  # fmt: skip
            continue
        found[name] = _head(fit, part, seed)
        scores.append(_score(name, found[name], part, _with_values(fit.test, values, name), seed))
    return found, tuple(scores), notes


def _with_values(part: Part, values: Mapping[str, Mapping[str, str]], name: str) -> Part:
    """The close-ups whose photo has a value of the attribute, with that as their label."""
    rows = [row for row, e in enumerate(part.examples) if name in values[e.photo_id]]
    mine: list[Example] = [part.examples[row] for row in rows]
    return Part(tuple(replace(e, label=values[e.photo_id][name]) for e in mine), part.vectors[rows])


def _head(fit: Fit, part: Part, seed: int) -> heads.Head:
    """Fitted, and calibrated by out-of-fold answers where some can be held out."""
    numbers, blocks = folds(part.examples), fit.features.blocks
    fitted = heads.fit(fit.candidate.head, part.vectors, part.labels, numbers, seed, blocks)
    if not np.ptp(numbers):
        return fitted.head
    out_of_fold = fitted.out_of_fold
    if out_of_fold is None:
        out_of_fold = heads.cross_probabilities(
            fitted.head, part.vectors, part.labels, numbers, seed, blocks
        )
    predictions = Predictions(out_of_fold, fitted.head.labels, part.labels, part.groups)
    return fitted.head.calibrated(fit_temperature(predictions).value)


def _score(name: str, head: heads.Head, train: Part, test: Part, seed: int) -> AttributeScore:
    n, accuracy, macro_f1 = len(test.examples), None, None
    if n:
        scores = evaluate(test.labels, head.probabilities(test.vectors), head.labels, test.groups,
                          [e.found for e in test.examples], seed=seed)  # fmt: skip
        accuracy, macro_f1 = scores.accuracy, scores.macro_f1
    return AttributeScore(name, head.labels, len(train.examples), n, macro_f1, accuracy)
