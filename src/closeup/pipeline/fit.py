"""From embeddings to a measured model: fit the head, touch the test part once, save the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import closeup
from closeup import heads
from closeup.dataset import folds
from closeup.embed import content_key
from closeup.errors import DatasetError, ModelError
from closeup.evaluate import Difference, Scores, evaluate, paired_difference
from closeup.model import ModelCard, Parts, read_card, save_model
from closeup.pipeline.stages import Job, embeddings_stage
from closeup.project import Table, key_of
from closeup.types import Box, Crop, Example, Floats, Photo, Result
from closeup.zoo import Network, find

VERSION = 1
SCORES_FILE = "scores.json"


@dataclass(frozen=True, slots=True)
class Networks:
    """The frozen networks of a run; no detector where all boxes were given."""

    detector: Network | None
    backbone: Network


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gave.

    Attributes
    ----------
    scores
        Measured on the test part.
    log
        How the head was chosen: its cross-validation or epoch table.
    results
        One row per test example that has an answer.
    crop_gain
        By how much close-ups beat whole photos; None where that was not asked for.
    model
        The model folder.
    key
        Changes with anything that goes into training.
    """

    key: str
    scores: Scores
    log: dict[str, Any]
    results: tuple[Result, ...]
    crop_gain: Difference | None
    networks: Networks
    model: Path


@dataclass(frozen=True, slots=True)
class _Part:
    """One side of the split: examples with pixels, and their ``(n, dim)`` embeddings."""

    examples: tuple[Example, ...]
    vectors: Floats

    @property
    def labels(self) -> list[str]:
        return [example.label for example in self.examples]


def train_stage(
    job: Job,
    tables: tuple[Table[Photo], Table[Crop], Table[Example]],
    detector: Network | None,
) -> Trained:
    """Embed, fit, measure and save; everything is read back where nothing has changed."""
    photos, crops, examples = tables
    networks = Networks(detector, find(job.config.train.backbone, "backbone",
                                       progress=job.progress))  # fmt: skip
    by_id = {crop.id: crop for crop in crops.rows}
    used = [e for e in examples.rows if e.split and by_id[e.crop_id].side > 0]
    embeddings, embed_key = embeddings_stage(
        job, photos, [by_id[e.crop_id] for e in used], networks.backbone
    )
    key = key_of("train", VERSION, examples.key, embed_key, job.config.train.model_dump(),
                 detector.card.sha256 if detector else "", closeup.__version__)  # fmt: skip
    done = _read_back(job, key, networks)
    if done is not None:
        return done
    photo_of = {p.id: p for p in photos.rows}
    vector_of = embeddings.as_mapping()
    vectors = {
        e.crop_id: vector_of[content_key(photo_of[e.photo_id], by_id[e.crop_id])] for e in used
    }
    with job.timed("train"):
        train, test = (_part(used, vectors, side) for side in ("train", "test"))
        head, log = _fit(job, train)
        results, scores = _measure(job, head, test, examples.rows)
    gain = None
    if job.config.train.compare_photo:
        gain = _compare_photo(
            job, photos, [by_id[e.crop_id] for e in used], used, results, networks
        )
    with job.timed("save"):
        model = _save(job, key, networks, head, scores, (len(train.examples), len(test.examples)))
        job.project.write("results", Result, results, key)
        stored = {"key": key, "scores": scores.to_json(), "log": log}
        if gain is not None:
            stored["crop_gain"] = gain.to_json()
        job.project.write_json(SCORES_FILE, stored)
    return Trained(key, scores, log, tuple(results), gain, networks, model)


def _compare_photo(
    job: Job,
    photos: Table[Photo],
    crops: Sequence[Crop],
    used: Sequence[Example],
    results: Sequence[Result],
    networks: Networks,
) -> Difference:
    """Train on the whole photos too: same photos, split, folds, backbone and kind of head."""
    photo_of = {p.id: p for p in photos.rows}
    whole = []
    for crop in crops:
        photo = photo_of[crop.photo_id]
        window = Box(0, 0, photo.width, photo.height)
        whole.append(replace(crop, window=window, side=max(photo.width, photo.height)))
    embeddings, _ = embeddings_stage(job, photos, whole, networks.backbone, "photo")
    vector_of = embeddings.as_mapping()
    vectors = {c.id: vector_of[content_key(photo_of[c.photo_id], c)] for c in whole}
    with job.timed("train"):
        train, test = (_part(used, vectors, side) for side in ("train", "test"))
        head, _ = _fit(job, train)
        best = head.probabilities(test.vectors).argmax(axis=1)
        return paired_difference(
            test.labels,
            [head.labels[i] for i in best],
            [result.answer for result in results],
            [example.group for example in test.examples],
            seed=job.config.split.seed,
        )


def _read_back(job: Job, key: str, networks: Networks) -> Trained | None:
    stored = job.project.read_json(SCORES_FILE)
    results = job.project.read("results", Result)
    folder = job.project.folder / "model"
    if stored is None or results is None or not stored.get("key") == results.key == key:
        return None
    try:
        card = read_card(folder)
    except ModelError:
        return None
    if card.key != key or not all((folder / name).is_file() for name in card.files):
        return None
    scores = Scores.from_json(stored["scores"])
    gain = Difference.from_json(stored["crop_gain"]) if "crop_gain" in stored else None
    return Trained(key, scores, stored["log"], results.rows, gain, networks, folder)


def _part(used: Sequence[Example], vectors: Mapping[str, Floats], side: str) -> _Part:
    mine = tuple(example for example in used if example.split == side)
    if not mine:
        raise DatasetError(
            f"the {side} part holds no photo with a close-up; check the photos with "
            "`closeup scout`, or keep misses with `--on-miss photo`"
        )
    return _Part(mine, np.stack([vectors[example.crop_id] for example in mine]))


def _fit(job: Job, train: _Part) -> tuple[heads.Head, dict[str, Any]]:
    config = job.config
    numbers: NDArray[np.int64] = folds(train.examples, config.split)
    fitted = heads.fit(config.train.head, train.vectors, train.labels, numbers, config.split.seed)
    return fitted.head, fitted.log


def _measure(
    job: Job, head: heads.Head, test: _Part, examples: Sequence[Example]
) -> tuple[list[Result], Scores]:
    probabilities = head.probabilities(test.vectors)
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
        [e.group for e in test.examples],
        [e.found for e in test.examples],
        missed=missed,
        seed=job.config.split.seed,
    )
    return results, scores


def _save(
    job: Job, key: str, networks: Networks, head: heads.Head, scores: Scores, sizes: tuple[int, int]
) -> Path:
    card = ModelCard(
        closeup=closeup.__version__,
        key=key,
        labels=head.labels,
        detect=job.config.detect.model_copy(update={"boxes": ""}),
        crop=job.config.crop,
        detector=networks.detector.card.name if networks.detector else "",
        backbone=networks.backbone.card.name,
        head=head.kind,
        head_settings=dict(head.settings()),
        scores=scores.to_json(),
        counts={"train": sizes[0], "test": sizes[1]},
        files={},
    )
    parts = Parts(networks.detector, networks.backbone, head)
    return save_model(job.project.folder / "model", card, parts)
