"""From embeddings to a measured model: choose, fit, score the test part once, save the folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from closeup._version import __version__
from closeup.core.project import Table, key_of
from closeup.core.serialization import to_json
from closeup.core.types import ANY, NONE, Crop, Example, Photo, Result
from closeup.crops.cut import padded
from closeup.crops.view import View
from closeup.evaluate.compare import Compared
from closeup.evaluate.findings import Evaluation, Findings, Padding
from closeup.evaluate.label_issues import LabelIssues, find_label_issues
from closeup.evaluate.learning_curve import LearningCurve, LearningTask, learning_curve
from closeup.evaluate.limits import Limits, limits_of, too_many
from closeup.evaluate.neighbours import known_of
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import Difference, paired_difference
from closeup.evaluate.trust import UncertaintyRule, fit_uncertainty, measure_trust
from closeup.learn import heads
from closeup.model.card import AttributeHead, ModelCard, read_card
from closeup.model.history import MODEL, Outcome, Training
from closeup.model.parts import Parts
from closeup.networks import Network, find
from closeup.pipeline.attributes import facts, fit_attributes
from closeup.pipeline.features import Part, TrainingSet, features_stage
from closeup.pipeline.fit import Fit, fit_candidate
from closeup.pipeline.history import answers_of, finish, keep
from closeup.pipeline.measure import alike, measure
from closeup.pipeline.own_boxes import without_boxes
from closeup.pipeline.past import as_it_was, read_back
from closeup.pipeline.search import search
from closeup.pipeline.stages import Job
from closeup.report.result import Trained

VERSION = 14
MOST_COVERED = 200  # enough to see a shortcut by; each photo costs as much as an embedding
LEAST_FOR_CURVE = 4  # groups that each label must have in the training part for a learning curve

Tables = tuple[Table[Photo], Table[Crop], Table[Example]]


def train_stage(
    job: Job, tables: Tables, detector: Network | None, restored: Training | None = None
) -> Trained:
    """Embed, choose, fit, measure and save; everything is read back where nothing has changed.

    A training that was `restored` is read back even where the photos have changed since.
    """
    config, examples = job.config.train, tables[2]
    named = [find(name, "backbone", progress=job.progress) for name in config.backbone]
    hashes = [(n.card.sha256, n.card.input.model_dump()) for n in named]
    key = key_of("train", VERSION, examples.key, hashes, config.model_dump(),
                 job.config.engine.precision, detector.card.sha256 if detector else "",
                 __version__, *facts(tables[0].rows))  # fmt: skip
    trained = read_back(job, key, examples.rows)
    if trained is None and restored is not None:
        trained = as_it_was(job, restored, examples.rows)
    if trained is None:
        trained = _trained(job, key, TrainingSet.of(*tables), named, detector)
    else:
        job.notes += trained.training_notes
    finish(job)
    if config.pads and read_card(trained.model).view == "photo":
        job.notes.append("paddings were not compared: the model sees the whole photo alone, on "
                         "which padding has no effect")  # fmt: skip
    asked = ["paddings"] * bool(config.pads) + ["whole photos"] * config.compare_photo
    if asked and trained.log["kind"] == "finetune":
        job.notes.append(f"{' and '.join(asked)} were not compared: the backbone would have to be "
                         "fine-tuned for each")  # fmt: skip
    return trained


def _fit(job: Job, data: TrainingSet, named: Sequence[Network]) -> tuple[Fit, list[Compared]]:
    """The head of the chosen candidate, and what it was chosen from."""
    fit, compared = search(job, data)
    if job.config.train.finetune:
        from closeup.pipeline.tune import tune

        frozen, fit = fit, tune(job, data, named, fit)
        if fit is not frozen:
            compared = [replace(row, picked=False) for row in compared]
    return fit, compared


def _trained(
    job: Job, key: str, data: TrainingSet, named: Sequence[Network], detector: Network | None
) -> Trained:
    """Fit and calibrate the head, score the test part, and save the model and the scores.

    What is noted on the way is kept with the scores.
    """
    seed, before = job.config.split.seed, len(job.notes)
    fit, compared = _fit(job, data, named)
    job.progress("measure", 0, 3)
    with job.timed("train"):
        head, uncertainty = _calibrate(job, fit)
        probabilities = head.probabilities(fit.test.vectors)
        results, scores = measure(fit, head, probabilities, seed)
        trust = None
        if uncertainty is not None and results:
            answers = Predictions(probabilities, head.labels, fit.test.labels, fit.test.groups)
            trust = measure_trust(uncertainty, fit.test.vectors, answers, seed)
        attributes, attribute_scores, notes = fit_attributes(fit, seed)
        job.notes += notes
    job.progress("measure", 1, 3)
    findings = _findings(job, fit, head, results)
    job.progress("measure", 2, 3)
    gain = _crop_gain(job, fit, results)
    job.progress("measure", 3, 3)
    evaluation = Evaluation(key, scores, fit.fitted.log, tuple(compared), trust, findings, gain,
                            attributes=attribute_scores,
                            training_notes=tuple(job.notes[before:]))  # fmt: skip
    with job.timed("save"):
        rule = uncertainty.rule if uncertainty else None
        known = known_of([fit.train.examples[row] for row in fit.rows]) if uncertainty else None
        parts = Parts(detector, fit.backbone, head, rule, known, attributes)
        likely = to_json(uncertainty.conformal) if uncertainty else None
        files = parts.files()
        card = _card(job, fit, evaluation, parts, files, likely)
        answered = answers_of(fit, results)
        training = keep(job, fit, Outcome(evaluation, results, answered, card, files))
    networks = (fit.backbone,) if detector is None else (detector, fit.backbone)
    return Trained(**vars(evaluation), results=results, networks=networks,
                   model=job.project.place(MODEL), training=training)  # fmt: skip


def _calibrate(job: Job, fit: Fit) -> tuple[heads.Head, UncertaintyRule | None]:
    """The head, calibrated, and when it withholds its answer; None from too few photos."""
    head, config, predictions = fit.fitted.head, job.config.train, fit.predictions
    if predictions is None:
        return head, None
    uncertainty = fit_uncertainty(
        fit.train.vectors[fit.rows], predictions, fit.folds, config.coverage, config.miss_rate,
        config.accuracy,
    )  # fmt: skip
    job.notes += [uncertainty.note] if uncertainty.note else []
    return head.calibrated(uncertainty.temperature.value), uncertainty


def _findings(job: Job, fit: Fit, head: heads.Head, results: Sequence[Result]) -> Findings:
    """What training tells about the photos; all but what is `covered` from the training part."""
    seed = job.config.split.seed
    with job.timed("train"):
        limits = limits_of(fit.predictions, fit.train.labels, fit.train.groups, seed=seed)
        similar = alike(fit, results)
    if limits.withheld:
        return Findings(None, (), None, None, _pads(job, fit), similar, limits)
    covered = _covered(job, fit, head) if results else None
    with job.timed("train"):
        issues, limits = _label_issues(fit, limits)
        names = tuple(fit.crop_ids[row.index] for row in issues.rows) if issues else ()
        curve = _curve(fit, seed)
    return Findings(issues, names, curve, covered, _pads(job, fit), similar, limits)


def _label_issues(fit: Fit, limits: Limits) -> tuple[LabelIssues | None, Limits]:
    """The labels that may be wrong, or why there are too many to be believed."""
    issues = find_label_issues(fit.predictions) if fit.predictions else None
    if issues is None or not (why := too_many(issues)):
        return issues, limits
    return None, replace(limits, issues_withheld=why)


def _curve(fit: Fit, seed: int) -> LearningCurve | None:
    """None where heads cannot be fitted on parts of the training part, or it is too small."""
    if not fit.refits or fit.predictions is None:
        return None
    train, groups = fit.train, dict[str, set[str]]()
    for example in train.examples:
        groups.setdefault(example.label, set()).add(example.group)
    if min(map(len, groups.values())) < LEAST_FOR_CURVE:
        return None
    head, blocks = fit.fitted.head, fit.features.blocks
    return learning_curve(
        LearningTask(head, train.vectors, train.labels, train.groups, blocks), seed=seed
    )


def _covered(job: Job, fit: Fit, head: heads.Head) -> tuple[int, int]:
    """Right answers on test photos with the found object painted over, and out of how many."""
    found = [e for e in fit.test.examples if e.found]
    found = found[:: max(1, math.ceil(len(found) / MOST_COVERED))]
    data = fit.data.only([e.crop_id for e in found])
    features = features_stage(job, data, fit.backbone, fit.candidate.view, View(covered=True))
    if not found:
        return 0, 0
    best = head.probabilities(Part.of(data, features, "test").vectors).argmax(axis=1)
    right = [head.labels[i] == e.label for i, e in zip(best, found, strict=True)]
    return sum(right), len(found)


def _pads(job: Job, fit: Fit) -> tuple[Padding, ...]:
    """Each padding's macro-F1 by cross-validation: same folds, backbone, view and kind of head."""
    view, blocks, seed = fit.candidate.view, fit.features.blocks, job.config.split.seed
    if not fit.refits or fit.predictions is None or view == "photo":
        return ()
    data, photo_of, rows = fit.data, fit.data.photo_of, []
    for pad in job.config.train.pads:
        mine = tuple(padded(photo_of[crop.photo_id], crop, pad) for crop in data.crops)
        features = features_stage(job, replace(data, crops=mine), fit.backbone, "closeup",
                                  View(pad=pad))  # fmt: skip
        if view == "both":
            dim = sum(features.blocks)
            # The close-up comes first, and the photo behind it is the same at every padding.
            beside = {name: np.concatenate([vector, fit.features.of[name][dim:]])
                      for name, vector in features.of.items()}  # fmt: skip
            features = replace(features, of=beside, blocks=blocks)
        with job.timed("train"):
            _, row = fit_candidate(data, fit.candidate, fit.backbone, features, fit.folds, seed)
        rows += [Padding(pad, row.mean, row.error)] if row else []
    return tuple(rows)


def _crop_gain(job: Job, fit: Fit, results: Sequence[Result]) -> Difference | None:
    """By how much close-ups beat whole photos; None where that is not asked for, or no question."""
    wanted = job.config.train.compare_photo and fit.refits
    if not wanted or fit.candidate.view == "photo" or not results:
        return None
    features, split = features_stage(job, fit.data, fit.backbone, "photo"), job.config.split
    with job.timed("train"):
        train, test = (Part.of(fit.data, features, side) for side in ("train", "test"))
        head = heads.fit(fit.candidate.head, train.vectors, train.labels, fit.folds, split.seed,
                         features.blocks).head  # fmt: skip
        best = head.probabilities(test.vectors).argmax(axis=1)
        whole, closeups = [head.labels[i] for i in best], [result.answer for result in results]
        return paired_difference(test.labels, whole, closeups, test.groups, seed=split.seed)


def _card(
    job: Job,
    fit: Fit,
    evaluation: Evaluation,
    parts: Parts,
    files: Mapping[str, bytes],
    likely: dict[str, int | float] | None,
) -> ModelCard:
    """The card of the model folder; `likely` is the rule for sets of labels."""
    parent = job.config.detect.parent or (ANY,)
    return ModelCard(
        closeup=__version__,
        key=evaluation.key,
        labels=parts.head.labels,
        detect=without_boxes(job.config.detect).model_copy(update={"parent": parent}),
        crop=job.config.crop,
        detector=parts.detector.card.name if parts.detector else "",
        backbone=parts.backbone.card.name,
        view=fit.candidate.view,
        head=parts.head.kind,
        head_settings=dict(parts.head.settings()),
        unknown=parts.rule.settings() if parts.rule else None,
        likely=likely,
        none=NONE if NONE in parts.head.labels else "",
        attributes={name: AttributeHead.of(mine) for name, mine in parts.attributes.items()},
        scores=to_json(evaluation.scores) if evaluation.scores else {},
        counts={"train": len(fit.train.examples), "test": len(fit.test.examples)},
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )
