"""What earlier trainings gave: read back where nothing has changed, and restored by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from closeup.core.config import RunConfig, to_toml, validated
from closeup.core.errors import ModelError, NetworkError, ProjectError, UsageError
from closeup.core.project import SCORES_FILE, Project
from closeup.core.types import Example, Result
from closeup.evaluate.findings import read_evaluation, without_settled
from closeup.model.history import (
    FOLDER,
    MODEL,
    Training,
    choose,
    kept_card,
    mark_restored,
    put_to_use,
    read_history,
    stored_file,
)
from closeup.networks import Card, Network, load
from closeup.pipeline.history import judged, key_in_use, known_answers, use
from closeup.pipeline.stages import Job
from closeup.report.result import Trained

SECTIONS = ("detect", "crop", "split", "train")
"""The options that a restored training brings back."""


def read_back(job: Job, key: str, examples: Sequence[Example]) -> Trained | None:
    """What an earlier training with this very `key` gave; None where there is none.

    One that is not in use is put to use, unless it is clearly worse than the one that is. None is
    taken that names close-ups that are not among the `examples`.
    """
    project = job.project
    past = read_history(project)
    known = past.used if past.used and past.used.key == key else past.with_key(key)
    if key_in_use(project) == key:
        found = _in_use(project, known)
        if found is not None and fits(found, examples):
            return found
    found = _kept(project, known) if known else None
    if known is None or found is None or not fits(found, examples):
        return None
    try:
        training = use(job, judged(job, past, known, known_answers(job, known)))
    except ModelError:
        return None  # its model is no longer kept: train again
    return replace(found, training=training)


def _in_use(project: Project, training: Training | None) -> Trained | None:
    """What is told by ``model/``, ``scores.json`` and ``results.parquet``."""
    folder = project.place(MODEL)
    try:
        kinds = [name for name in ("detector", "backbone") if (folder / name).is_dir()]
        networks = [load(folder / name, verify=False) for name in kinds]
    except NetworkError:
        return None  # damaged
    used = replace(training, used=True) if training else None
    return _trained(project, "", networks, used)


def _kept(project: Project, training: Training) -> Trained | None:
    """What the history tells of a training."""
    try:
        card, networks = kept_card(project, training.number), list[Network]()
        for name in sorted(card.files, reverse=True):
            folder, _, file = name.rpartition("/")
            if file == "card.json":
                about = Card.model_validate_json(stored_file(project, card, name).read_bytes())
                graph = stored_file(project, card, f"{folder}/{about.graph}")
                mine = about.model_copy(update={"graph": graph.name})
                networks.insert(0, Network(mine, graph.parent))
    except (ModelError, ValueError):
        return None
    return _trained(project, f"{FOLDER}/{training.number}/", networks, training)


def _trained(
    project: Project, prefix: str, networks: Sequence[Network], training: Training | None
) -> Trained | None:
    evaluation = read_evaluation(project, f"{prefix}{SCORES_FILE}")
    results = project.read(f"{prefix}results", Result)
    if evaluation is None or results is None:
        return None
    return Trained(**vars(evaluation), results=results.rows, networks=tuple(networks),
                   model=project.place(MODEL), training=training)  # fmt: skip


def fits(found: Trained, examples: Sequence[Example]) -> bool:
    """Whether what is told is of close-ups that are there."""
    owner = {e.crop_id: e.photo_id for e in examples}
    findings = found.findings
    issues = findings.label_issues.rows if findings.label_issues else ()
    named = {*findings.label_issue_crops, *findings.alike, *chain(*findings.alike.values())}
    return (
        all(owner.get(row.crop_id) == row.photo_id for row in found.results)
        and len(issues) == len(findings.label_issue_crops)
        and named <= owner.keys()
    )


def restored_config(out: Path, number: int) -> RunConfig:
    """The configuration of the project with the options of one of its trainings.

    Where the photos are, how the networks run and what the report shows stay as they are.

    Raises ProjectError where there is no such training, or its options cannot be used.
    """
    project = Project(out)
    config = project.config()
    training = choose(read_history(project), number, project)
    values = config.model_dump() | {name: training.options.get(name, {}) for name in SECTIONS}
    precision = training.options.get("engine", {}).get("precision")
    values["engine"] = {**values["engine"], **({"precision": precision} if precision else {})}
    try:
        return validated(RunConfig, values)
    except UsageError as err:
        raise ProjectError(f"the options of training {number} cannot be used: {err}") from err


def restore(job: Job, number: int) -> Training:
    """Put a training of the history to use, with its options.

    Raises ProjectError where there is no such training, ModelError where its model has changed.
    """
    project = job.project
    training = choose(read_history(project), number, project)
    put_to_use(project, training, {project.config_file: to_toml(job.config).encode()})
    mark_restored(project, training, datetime.now(UTC).isoformat(timespec="seconds"))
    return training


def as_it_was(job: Job, training: Training, examples: Sequence[Example]) -> Trained | None:
    """A restored training, where photos or decisions have changed since: what is still there."""
    found = _in_use(job.project, training)
    if found is None:
        return None
    there = {e.crop_id: e.photo_id for e in examples}
    findings = without_settled(
        found.findings, {name for name in found.findings.label_issue_crops if name not in there}
    )
    alike = {name: mine for name, mine in findings.alike.items() if {name, *mine} <= there.keys()}
    results = tuple(r for r in found.results if there.get(r.crop_id) == r.photo_id)
    job.notes.append(
        f"the photos or decisions have changed since training {training.number}, whose scores are "
        "those of its own photos; `closeup train` trains on the photos as they are now"
    )
    return replace(found, results=results, findings=replace(findings, alike=alike))
