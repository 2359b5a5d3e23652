"""From embeddings to a measured model: choose, fit, touch the test part once, save the folder."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from closeup._version import __version__
from closeup.core.config import View as ViewName
from closeup.core.errors import DatasetError
from closeup.core.project import SCORES_FILE, Table, key_of
from closeup.core.types import (
    Crop,
    Example,
    Floats,
    Photo,
    Result,
)
from closeup.crops.cut import padded
from closeup.crops.view import View
from closeup.dataset.split import folds
from closeup.evaluate.compare import (
    Candidate,
    Compared,
    candidates,
    cross_validated,
    pick,
    work_of,
)
from closeup.evaluate.findings import Padding, covered_answers
from closeup.evaluate.findings import find as find_in
from closeup.evaluate.learning_curve import LearningTask
from closeup.evaluate.neighbours import known_of
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import Difference, paired_difference
from closeup.evaluate.trust import UncertaintyRule, fit_uncertainty, measure_trust
from closeup.learn import heads
from closeup.model.card import ModelCard, read_card
from closeup.model.model import Parts, save_model
from closeup.networks import Network, find
from closeup.pipeline.features import Features, features_stage
from closeup.pipeline.sides import (
    Part,
    alike,
    measure,
    part_of,
)
from closeup.pipeline.stages import Job
from closeup.pipeline.trained import Networks, Trained, read_back

VERSION = 11
MOST_COVERED = 200
"""Enough to see a shortcut by; each photo costs as much as an embedding."""

Tables = tuple[Table[Photo], Table[Crop], Table[Example]]


@dataclass(frozen=True, slots=True)
class _Fit:
    """A candidate fitted on the training part.

    `out_of_fold` holds ``(m, k)`` answers for the training rows `rows`, ``(m,)``, by heads that did
    not see them, and `folds` a fold for each; None where nothing could be held out. `task` is
    whether heads like this one can be fitted on parts of these features.
    """

    candidate: Candidate
    backbone: Network
    features: Features
    fitted: heads.Fitted
    folds: NDArray[np.int64]
    out_of_fold: NDArray[np.float64] | None
    rows: NDArray[np.int64]
    task: bool = True

    def judged(self, train: Part) -> Predictions | None:
        """The out-of-fold answers with the truth."""
        if self.out_of_fold is None:
            return None
        labels, groups = ([of[i] for i in self.rows] for of in (train.labels, train.groups))
        return Predictions(self.out_of_fold, self.fitted.head.labels, labels, groups)


def train_stage(job: Job, tables: Tables, detector: Network | None) -> Trained:
    """Embed, choose, fit, measure and save; everything is read back where nothing has changed."""
    photos, crops, examples = tables
    config = job.config.train
    backbones = {name: find(name, "backbone", progress=job.progress) for name in config.backbone}
    hashes = [(n.card.sha256, n.card.input.model_dump()) for n in backbones.values()]
    key = key_of("train", VERSION, examples.key, hashes, config.model_dump(),
                 job.config.engine.precision, detector.card.sha256 if detector else "",
                 __version__)  # fmt: skip
    done = read_back(job, key, detector, examples.rows)
    if done is not None:
        _note_pads(job, read_card(done.model).view)
        return done
    by_id = {crop.id: crop for crop in crops.rows}
    used = [e for e in examples.rows if e.split and by_id[e.crop_id].side > 0]
    compared: list[Compared] = []
    if config.finetune:
        chosen = _tuned(job, photos, [by_id[e.crop_id] for e in used], used, backbones)
    else:
        features = _features(job, photos, by_id, used, backbones)
        with job.timed("train"):
            chosen, compared = _choose(job, used, backbones, features)
    with job.timed("train"):
        train, test = (part_of(used, chosen.features, side) for side in ("train", "test"))
        head, uncertainty = _calibrate(job, chosen, train)
        probabilities = head.probabilities(test.vectors)
        results, scores = measure(head, test, probabilities, examples.rows, job.config.split.seed)
        trust = None
        if uncertainty is not None and results:
            judged = Predictions(probabilities, head.labels, test.labels, test.groups)
            trust = measure_trust(uncertainty, test.vectors, judged, job.config.split.seed)
    covered = _covered(job, photos, by_id, head, chosen, test) if results else None
    with job.timed("train"):
        task = LearningTask(chosen.fitted.head, train.vectors, train.labels, train.groups,
                        chosen.features.blocks) if chosen.task else None  # fmt: skip
        names = [train.examples[row].crop_id for row in chosen.rows]
        findings = replace(
            find_in(chosen.judged(train), task, names, covered, job.config.split.seed),
            alike=alike(results, train, test, chosen.features.blocks),
        )
    if config.pads and chosen.task and chosen.out_of_fold is not None:
        pads = _pads(job, photos, [by_id[e.crop_id] for e in used], used, chosen)
        findings = replace(findings, pads=pads)
    _note_pads(job, chosen.candidate.view)
    gain = _crop_gain(job, photos, [by_id[e.crop_id] for e in used], used, chosen, results)
    networks = Networks(detector, chosen.backbone)
    with job.timed("save"):
        known = known_of([train.examples[row] for row in chosen.rows]) if uncertainty else None
        parts = Parts(
            detector, chosen.backbone, head, uncertainty.rule if uncertainty else None, known
        )
        card = _card(job, key, chosen, parts, uncertainty)
        counted = {
            "scores": scores.to_json() if scores else {},
            "counts": {"train": len(train.examples), "test": len(test.examples)},
        }
        model = save_model(job.project.place("model"), card.model_copy(update=counted), parts)
        job.project.write("results", Result, results, key)
        job.project.write_json(SCORES_FILE, {
            "key": key,
            "scores": scores.to_json() if scores else None,
            "log": chosen.fitted.log,
            "compared": [row.to_json() for row in compared],
            "trust": trust.to_json() if trust else None,
            "findings": findings.to_json(),
            "crop_gain": gain.to_json() if gain else None,
        })  # fmt: skip
    return Trained(key, scores, chosen.fitted.log, tuple(compared), tuple(results), trust,
                   findings, gain, networks, model)  # fmt: skip


def _features(
    job: Job,
    photos: Table[Photo],
    crops: Mapping[str, Crop],
    used: Sequence[Example],
    backbones: Mapping[str, Network],
) -> dict[tuple[str, ViewName], Features]:
    """The features of every backbone and view; of training close-ups the augmented ones too."""
    mine = [crops[e.crop_id] for e in used]
    train = [crops[e.crop_id] for e in used if e.split == "train"]
    config = job.config.train
    return {
        (name, view): replace(
            features_stage(job, photos, mine, network, view),
            augmented=tuple(
                features_stage(job, photos, train, network, view, View(number=number)).of
                for number in range(1, config.augment + 1)
            ),
        )
        for name, network in backbones.items()
        for view in config.view
    }


def _tuned(
    job: Job,
    photos: Table[Photo],
    crops: Sequence[Crop],
    used: Sequence[Example],
    backbones: Mapping[str, Network],
) -> _Fit:
    """The backbone fine-tuned on the training part; one fold was held out to judge by."""
    from closeup.pipeline.tune import check_tuning, tune

    check_tuning(job.config.train)
    ((name, network),) = backbones.items()
    tuned = tune(job, photos, crops, used, network)
    if job.config.train.compare_photo:
        job.notes.append("close-ups were not compared with whole photos: that is for frozen ones")
    judged = len(tuned.rows) > 0 and bool(np.ptp(tuned.folds))
    return _Fit(
        Candidate(name, "closeup", tuned.fitted.head.kind), tuned.network, tuned.features,
        tuned.fitted, tuned.folds, tuned.out_of_fold if judged else None, tuned.rows, task=False,
    )  # fmt: skip


def _covered(
    job: Job,
    photos: Table[Photo],
    crops: Mapping[str, Crop],
    head: heads.Head,
    chosen: _Fit,
    test: Part,
) -> tuple[int, int]:
    """Right answers on the test part with the object painted over, and of how many.

    Of the photos where it was found, and at most :data:`MOST_COVERED` of these.
    """
    mine = [e for e in test.examples if e.found]
    mine = mine[:: max(1, math.ceil(len(mine) / MOST_COVERED))]
    features = features_stage(job, photos, [crops[e.crop_id] for e in mine], chosen.backbone,
                              chosen.candidate.view, View(covered=True))  # fmt: skip
    if not mine:
        return 0, 0
    shares = head.probabilities(np.stack([features.of[e.crop_id] for e in mine]))
    return covered_answers([e.label for e in mine], head.labels, shares)


def _calibrate(job: Job, chosen: _Fit, train: Part) -> tuple[heads.Head, UncertaintyRule | None]:
    """The head, calibrated, and the rules for uncertainty; none from too few photos."""
    head, config = chosen.fitted.head, job.config.train
    judged = chosen.judged(train)
    if judged is None:
        return head, None
    vectors = train.vectors[chosen.rows]
    uncertainty = fit_uncertainty(vectors, judged, chosen.folds, config.coverage, config.miss_rate)
    return head.calibrated(uncertainty.temperature.value), uncertainty


def _choose(
    job: Job,
    used: Sequence[Example],
    backbones: Mapping[str, Network],
    features: Mapping[tuple[str, ViewName], Features],
) -> tuple[_Fit, list[Compared]]:
    """Fit every candidate on the training part, and pick one by its out-of-fold answers alone."""
    seed = job.config.split.seed
    fits, rows = [], []
    wanted = candidates(job.config.train)
    numbers = None
    for place, candidate in enumerate(wanted):
        mine = features[candidate.backbone, candidate.view]
        train = part_of(used, mine, "train")
        if not train.examples:
            raise DatasetError(
                "the training part holds no photo with a close-up; check the photos with "
                "`closeup scout`, or keep misses with `--on-miss photo`"
            )
        numbers = folds(train.examples, job.config.split) if numbers is None else numbers
        start = time.perf_counter()
        training = _with_augmented(train, mine, numbers)
        vectors, labels, _, wide = training
        fitted = heads.fit(candidate.head, vectors, labels, wide, seed, mine.blocks)
        network = backbones[candidate.backbone]
        shares = None
        if np.ptp(numbers):
            shares, pooled, mean, error = cross_validated(
                fitted, training, len(train.examples), seed, mine.blocks
            )
            rows.append(Compared(
                candidate, pooled, mean, error, network.card.bytes / 1e6,
                work_of(network, candidate.view), round(mine.rate, 1),
                round(time.perf_counter() - start, 3),
            ))  # fmt: skip
        rows_of = np.arange(len(train.examples))
        fits.append(_Fit(candidate, network, mine, fitted, numbers, shares, rows_of))
        if len(wanted) > 1:
            job.progress("compare", place + 1, len(wanted))
    if not rows:
        if len(wanted) > 1:
            job.notes.append(
                "too few photos to compare backbones, views or heads: the first of each was taken"
            )
        return fits[0], []
    best = pick(rows)
    least = min(row.work for row in rows)
    rows = [
        replace(row, work=round(row.work / least, 2), picked=place == best)
        for place, row in enumerate(rows)
    ]
    return fits[best], rows


def _with_augmented(
    train: Part, features: Features, numbers: NDArray[np.int64]
) -> tuple[Floats, list[str], list[str], NDArray[np.int64]]:
    """Embeddings, labels, groups and folds of the training part, its augmented views behind it."""
    times = 1 + len(features.augmented)
    rows = [train.vectors]
    for view in features.augmented:
        rows.append(np.stack([view[e.crop_id] for e in train.examples]))
    return (np.concatenate(rows), train.labels * times, train.groups * times,
            np.tile(numbers, times))  # fmt: skip


def _crop_gain(
    job: Job,
    photos: Table[Photo],
    crops: Sequence[Crop],
    used: Sequence[Example],
    chosen: _Fit,
    results: Sequence[Result],
) -> Difference | None:
    """By how much close-ups beat whole photos; None where that is not asked for, or no question."""
    wanted = job.config.train.compare_photo and chosen.task
    if not wanted or chosen.candidate.view != "closeup" or not results:
        return None
    features = features_stage(job, photos, crops, chosen.backbone, "photo")
    with job.timed("train"):
        return _compare_photo(job, used, features, chosen.candidate.head, results)


def _compare_photo(
    job: Job, used: Sequence[Example], features: Features, kind: str, results: Sequence[Result]
) -> Difference:
    """Train on the whole photos too: same photos, split, folds, backbone and kind of head."""
    train, test = (part_of(used, features, side) for side in ("train", "test"))
    numbers = folds(train.examples, job.config.split)
    seed = job.config.split.seed
    head = heads.fit(kind, train.vectors, train.labels, numbers, seed, features.blocks).head
    best = head.probabilities(test.vectors).argmax(axis=1)
    return paired_difference(
        test.labels,
        [head.labels[i] for i in best],
        [result.answer for result in results],
        test.groups,
        seed=seed,
    )


def _pads(
    job: Job, photos: Table[Photo], crops: Sequence[Crop], used: Sequence[Example], chosen: _Fit
) -> tuple[Padding, ...]:
    """Each padding's macro-F1 by cross-validation: same folds, backbone, view and kind of head.

    Beside the whole photo where the head sees that too; none where it sees nothing else.
    """
    view, blocks = chosen.candidate.view, chosen.features.blocks
    if view == "photo":
        return ()
    photo_of, rows = {photo.id: photo for photo in photos.rows}, []
    for pad in job.config.train.pads:
        mine = [padded(photo_of[crop.photo_id], crop, pad) for crop in crops]
        features = features_stage(job, photos, mine, chosen.backbone, "closeup", View(pad=pad))
        if view == "both":
            dim = sum(features.blocks)
            # The close-up comes first, and the photo behind it is the same at every padding.
            beside = {name: np.concatenate([vector, chosen.features.of[name][dim:]])
                      for name, vector in features.of.items()}  # fmt: skip
            features = replace(features, of=beside, blocks=blocks)
        train = part_of(used, features, "train")
        with job.timed("train"):
            seed = job.config.split.seed
            fitted = heads.fit(chosen.candidate.head, train.vectors, train.labels, chosen.folds,
                               seed, blocks)  # fmt: skip
            training = train.vectors, train.labels, train.groups, chosen.folds
            _, _, mean, error = cross_validated(fitted, training, len(train.examples), seed, blocks)
        rows.append(Padding(pad, mean, error))
    return tuple(rows)


def _note_pads(job: Job, view: str) -> None:
    if job.config.train.pads and view == "photo":
        job.notes.append("paddings were not compared: the model sees the whole photo alone, on "
                         "which padding has no effect")  # fmt: skip


def _card(
    job: Job, key: str, chosen: _Fit, parts: Parts, uncertainty: UncertaintyRule | None
) -> ModelCard:
    """The card of the model, without what was measured."""
    return ModelCard(
        closeup=__version__,
        key=key,
        labels=parts.head.labels,
        detect=job.config.detect.model_copy(update={"boxes": ""}),
        crop=job.config.crop,
        detector=parts.detector.card.name if parts.detector else "",
        backbone=parts.backbone.card.name,
        view=chosen.candidate.view,
        head=parts.head.kind,
        head_settings=dict(parts.head.settings()),
        unknown=uncertainty.rule.settings() if uncertainty else None,
        likely=uncertainty.conformal.to_json() if uncertainty else None,
        scores={},
        counts={},
        files={},
    )
