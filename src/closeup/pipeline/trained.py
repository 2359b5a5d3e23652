"""What an earlier training gave, read back where nothing has changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from closeup.core.errors import ModelError, NetworkError
from closeup.core.types import Example, Result
from closeup.evaluate.findings import read_evaluation
from closeup.model.card import read_card
from closeup.networks import Network, load
from closeup.pipeline.stages import Job
from closeup.report.result import Trained


def read_back(
    job: Job, key: str, detector: Network | None, examples: Sequence[Example]
) -> Trained | None:
    """What an earlier run with this very `key` gave; None where there is none, or not all of it.

    Nor where it names close-ups that are not among the `examples`.
    """
    evaluation = read_evaluation(job.project)
    results = job.project.read("results", Result)
    folder = job.project.place("model")
    if evaluation is None or results is None or not evaluation.key == results.key == key:
        return None
    try:
        card = read_card(folder)
        if card.key != key or not all((folder / name).is_file() for name in card.files):
            return None
        backbone = load(folder / "backbone", verify=False)
    except (ModelError, NetworkError):
        return None  # damaged: train again
    networks = (backbone,) if detector is None else (detector, backbone)
    found = Trained(**vars(evaluation), results=results.rows, networks=networks, model=folder)
    return found if _fits(found, examples) else None


def _fits(found: Trained, examples: Sequence[Example]) -> bool:
    owner = {e.crop_id: e.photo_id for e in examples}
    findings = found.findings
    issues = findings.label_issues.rows if findings.label_issues else ()
    named = {*findings.label_issue_crops, *findings.alike, *chain(*findings.alike.values())}
    return (
        all(owner.get(row.crop_id) == row.photo_id for row in found.results)
        and len(issues) == len(findings.label_issue_crops)
        and named <= owner.keys()
    )
