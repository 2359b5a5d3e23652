"""Each training becomes an entry of the history, and the model in use unless it is clearly worse.

What is put to use is decided by out-of-fold answers alone. The test part only reports.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from closeup._version import __version__
from closeup.core.config import RunConfig
from closeup.core.errors import ModelError, ProjectError
from closeup.core.project import Project
from closeup.core.types import Crop, Example, Photo, Result
from closeup.dataset.kept import split_id
from closeup.evaluate.against import Answered, Comparison, compare
from closeup.evaluate.checks import Check
from closeup.evaluate.findings import read_evaluation
from closeup.evaluate.progress import check_looks, check_progress
from closeup.evaluate.scores import macro_f1_interval
from closeup.model.card import CARD_FILE, check_files, read_card
from closeup.model.history import (
    MODEL,
    Changes,
    History,
    Named,
    Outcome,
    Training,
    mark_in_use,
    model_hash,
    next_number,
    prune,
    put_to_use,
    read_answers,
    read_history,
    write_training,
)
from closeup.pipeline.fit import Fit
from closeup.pipeline.stages import Job

FEW = 3  # paths of changed photos that an entry names

FIRST = "the first training"
UNKNOWN = "the answers of the training in use are not known"
ANOTHER_SPLIT = "another split: there is nothing to compare it with"
TOO_FEW = "too few photos have out-of-fold answers of both"
NOT_WORSE = "not clearly worse by out-of-fold answers"
WORSE = "clearly worse by out-of-fold answers"
ADOPTED = "in use when the history began"


def settle(job: Job) -> None:
    """Finish what a killed process began; take the model of a project without history into it.

    Call it before any stage runs: the entry of such a model is made from the tables beside it.
    """
    project = job.project
    if not project.config_file.exists():
        return
    past, key = read_history(project), key_in_use(project)
    job.notes.extend(f"{name} is damaged and was passed over" for name in past.damaged)
    if past.used is not None and past.used.key == key:
        return
    if not os.access(project.folder, os.W_OK):
        return  # it is only read
    known = past.with_key(key) if key else None
    if key and known is None:
        _adopt(job, past)
    elif past.used is None and known is not None:
        mark_in_use(project, known.number)
    elif past.used is not None:
        try:
            put_to_use(project, past.used)
        except ModelError:
            return  # no longer there: it is trained again


def key_in_use(project: Project) -> str:
    """The key of the model, the scores and the results; ``""`` where they do not fit together."""
    try:
        card = read_card(project.place(MODEL))
        results = project.read("results", Result)
    except (ModelError, ProjectError):
        return ""
    evaluation = read_evaluation(project)
    whole = all((project.folder / MODEL / name).is_file() for name in card.files)
    keys = {card.key, evaluation.key if evaluation else "", results.key if results else ""}
    return card.key if len(keys) == 1 and whole else ""


def _adopt(job: Job, past: History) -> None:
    """Make an entry of a model that another version of Closeup trained."""
    project, folder = job.project, job.project.place(MODEL)
    try:
        card, config = read_card(folder), project.config()
        check_files(folder, card)
        photos, crops = project.read("photos", Photo), project.read("crops", Crop)
        examples = project.read("dataset", Example)
    except (ModelError, ProjectError):
        return  # damaged: nothing that could be put to use again
    evaluation, results = read_evaluation(project), project.read("results", Result)
    if not (evaluation and results and photos and crops and examples):
        return
    crop_of, photo_of = {c.id: c for c in crops.rows}, {p.id: p for p in photos.rows}
    used = [(e, crop_of[e.crop_id], photo_of[e.photo_id]) for e in examples.rows
            if e.split and e.crop_id in crop_of and e.photo_id in photo_of]  # fmt: skip
    answers = _answered(used, {row.crop_id: row.answer for row in results.rows})
    outcome = Outcome(evaluation, results.rows, answers, card,
                      {name: folder / name for name in card.files})  # fmt: skip
    training = _entry(job, past, outcome, config)
    made = datetime.fromtimestamp((folder / CARD_FILE).stat().st_mtime, UTC)
    training = replace(training, date=made.isoformat(timespec="seconds"), closeup=card.closeup,
                       seconds=0.0, decisions={}, used=True, why=ADOPTED)  # fmt: skip
    write_training(project, training, outcome)
    mark_in_use(project, training.number)


def keep(job: Job, fit: Fit, outcome: Outcome) -> Training:
    """Enter a training into the history, and put it to use unless it is clearly worse."""
    past = read_history(job.project)
    training = _entry(job, past, outcome, job.config)
    if fit.predictions is not None:
        training = replace(training, out_of_fold=macro_f1_interval(fit.predictions))
    training = judged(job, past, training, outcome.answers)
    write_training(job.project, training, outcome)
    return use(job, training)


def answers_of(fit: Fit, results: Sequence[Result]) -> list[Answered]:
    """Every close-up of a training with its answer."""
    answers = {row.crop_id: row.answer for row in results}
    if fit.predictions is not None:
        labels = fit.predictions.labels
        answers |= {name: labels[place] for name, place
                    in zip(fit.crop_ids, fit.predictions.answer, strict=True)}  # fmt: skip
    data = fit.data
    pairs = zip(data.examples, data.crops, strict=True)
    return _answered([(e, crop, data.photo_of[e.photo_id]) for e, crop in pairs], answers)


def _answered(
    rows: Sequence[tuple[Example, Crop, Photo]], answers: Mapping[str, str]
) -> list[Answered]:
    return [Answered(photo.sha256, photo.path, crop.box, e.label, e.group, e.split,
                     answers.get(e.crop_id, "")) for e, crop, photo in rows]  # fmt: skip


def _entry(job: Job, past: History, outcome: Outcome, config: RunConfig) -> Training:
    """An entry that is not judged yet, and whose out-of-fold score is not known."""
    before = past.trainings[-1] if past.trainings else None
    answers, scores = outcome.answers, outcome.evaluation.scores
    options = config.model_dump(mode="json", exclude={"history", "report"})
    decisions = {str(kind): n for kind, n in job.decisions.counts().items() if n}
    split, old = split_id(job.project), known_answers(job, before)
    return Training(
        number=next_number(job.project, past),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        closeup=__version__,
        key=outcome.evaluation.key,
        model=model_hash(outcome.card),
        options=options,
        decisions=decisions,
        changes=_changes(before, old, options, decisions, answers) if before else None,
        train=sum(row.split == "train" for row in answers),
        test=sum(row.split == "test" for row in answers),
        macro_f1=scores.macro_f1 if scores else None,
        end_to_end=scores.macro_f1_end_to_end if scores else None,
        out_of_fold=None,
        seconds=round(sum(job.seconds.values()), 1),
        split=split,
        new_split=before is not None and before.split != split,
        same_test=before is not None and _photos(old, "test") == _photos(answers, "test"),
        looks=1 + sum(row.split == split and row.macro_f1 is not None for row in past.trainings)
        if scores else 0,
        against=None,
        used=False,
        why="",
    )  # fmt: skip


def known_answers(job: Job, training: Training | None) -> tuple[Answered, ...]:
    """What a training answered; nothing where that cannot be read."""
    try:
        return read_answers(job.project, training.number) if training else ()
    except ProjectError as err:
        job.notes.append(str(err))
        return ()


def _photos(answers: Sequence[Answered], split: str = "") -> set[str]:
    return {row.photo for row in answers if not split or row.split == split}


def _changes(
    before: Training,
    old: Sequence[Answered],
    options: Mapping[str, Mapping[str, Any]],
    decisions: Mapping[str, int],
    new: Sequence[Answered],
) -> Changes:
    """What is different from the training `before`, whose answers are `old`."""
    changed = {
        f"{section}.{name}": (before.options.get(section, {}).get(name), value)
        for section, values in options.items() if section != "engine"
        for name, value in values.items()
        if before.options.get(section, {}).get(name) != value
    }  # fmt: skip
    labels_old, labels_new = _labels(old), _labels(new)
    same = labels_old.keys() & labels_new.keys()
    kinds = dict.fromkeys([*before.decisions, *decisions])
    return Changes(
        changed,
        {kind: (before.decisions.get(kind, 0), decisions.get(kind, 0)) for kind in kinds
         if before.decisions.get(kind, 0) != decisions.get(kind, 0)},
        _named(new, labels_new.keys() - same),
        _named(old, labels_old.keys() - same),
        _named(new, {name for name in same if labels_old[name] != labels_new[name]}),
    )  # fmt: skip


def _labels(answers: Sequence[Answered]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in answers:
        found.setdefault(row.photo, set()).add(row.label)
    return found


def _named(answers: Sequence[Answered], photos: set[str]) -> Named:
    paths = sorted({row.path for row in answers if row.photo in photos})
    return Named(len(photos), tuple(paths[:FEW]))


def judged(job: Job, past: History, training: Training, answers: Sequence[Answered]) -> Training:
    """The training, compared with the one in use, and whether it is to be put to use."""
    used = past.used
    if used is not None and used.key == training.key:
        return replace(training, used=True)
    against, why = None, FIRST
    if used is not None and used.split != training.split:
        why = ANOTHER_SPLIT
    elif used is not None:
        old = known_answers(job, used)
        against = compare(used.number, old, answers, seed=job.config.split.seed) if old else None
        why = _why(against, any(row.answer and row.split == "train" for row in old))
    worse = against is not None and against.clearly_worse
    return replace(training, against=against, used=not worse, why=why)


def _why(against: Comparison | None, known: bool) -> str:
    if against is None or not known:
        return UNKNOWN
    if against.out_of_fold is None:
        return TOO_FEW
    return WORSE if against.clearly_worse else NOT_WORSE


def use(job: Job, training: Training) -> Training:
    """Put a judged training to use, or say why not."""
    if training.used:
        put_to_use(job.project, training)
    elif training.against is not None and (gap := training.against.out_of_fold) is not None:
        folder, delta = shlex.quote(str(job.project.folder)), gap.delta
        job.notes.append(
            f"training {training.number} (macro-F1 out of fold {gap.b:.3f}) is clearly worse than "
            f"training {training.against.number}, which stays in use ({gap.a:.3f}; difference "
            f"{delta.value:+.3f}, {delta.low:+.3f} to {delta.high:+.3f}); take it anyway with "
            f"`closeup train {folder} --restore {training.number}`"
        )
    return training


def finish(job: Job) -> None:
    """Remove the models that are no longer kept."""
    prune(job.project, job.config.history.keep)


def progress_checks(training: Training | None) -> list[Check]:
    """The checks that concern the trainings of a project."""
    against = training.against if training else None
    fold, test = (None, None) if against is None else (against.out_of_fold, against.test)
    return [
        check_progress(
            against.number if against else 0, test.delta if test else None,
            fold.delta if fold else None,
        ),
        check_looks(training.looks if training else 0),
    ]  # fmt: skip
