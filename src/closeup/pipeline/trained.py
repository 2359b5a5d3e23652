"""What training gave, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from closeup.core.errors import ModelError, NetworkError
from closeup.core.project import SCORES_FILE, Table
from closeup.core.types import Example, Result
from closeup.evaluate.compare import Compared
from closeup.evaluate.findings import Findings
from closeup.evaluate.scores import Difference, Scores
from closeup.evaluate.trust import Trust
from closeup.model.card import read_card
from closeup.networks import Network, load
from closeup.pipeline.stages import Job


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
        Measured on the test part; None where there are too few photos for one.
    log
        How the head was chosen: its cross-validation or epoch table.
    compared
        What was to choose from, in the order given; one row where nothing was.
    results
        One row per test example that has an answer.
    trust
        How well calibrated its answers on the test part are, and what withholding some gains; None
        without a test part or from too few photos.
    findings
        Doubtful labels, the learning curve, and whether the object is needed at all.
    crop_gain
        By how much close-ups beat whole photos; None where that was not asked for.
    model
        The model folder.
    key
        Changes with anything that goes into training.
    """

    key: str
    scores: Scores | None
    log: dict[str, Any]
    compared: tuple[Compared, ...]
    results: tuple[Result, ...]
    trust: Trust | None
    findings: Findings
    crop_gain: Difference | None
    networks: Networks
    model: Path


def read_back(
    job: Job, key: str, detector: Network | None, examples: Sequence[Example]
) -> Trained | None:
    """What an earlier run with this very `key` gave; None where there is none, or not all of it.

    Nor where it tells of close-ups that are not among the `examples`.
    """
    stored = job.project.read_json(SCORES_FILE)
    results = job.project.read("results", Result)
    folder = job.project.place("model")
    if stored is None or results is None or not stored.get("key") == results.key == key:
        return None
    try:
        card = read_card(folder)
    except ModelError:
        return None
    if card.key != key or not all((folder / name).is_file() for name in card.files):
        return None
    try:
        networks = Networks(detector, load(folder / "backbone", verify=False))
        found = _restored(stored, results, networks, folder)
    except (NetworkError, LookupError, TypeError, ValueError, AttributeError):
        return None  # damaged: it is made anew
    return found if _fits(found, examples) else None


def _fits(found: Trained, examples: Sequence[Example]) -> bool:
    owner = {e.crop_id: e.photo_id for e in examples}
    findings = found.findings
    suspected = findings.suspects.rows if findings.suspects else ()
    named = {*findings.suspect_crops, *findings.alike, *chain(*findings.alike.values())}
    return (
        all(owner.get(row.crop_id) == row.photo_id for row in found.results)
        and len(suspected) == len(findings.suspect_crops)
        and named <= owner.keys()
    )


def _restored(
    stored: Mapping[str, Any], results: Table[Result], networks: Networks, folder: Path
) -> Trained:
    return Trained(
        results.key,
        Scores.from_json(stored["scores"]) if stored["scores"] else None,
        stored["log"],
        tuple(map(Compared.from_json, stored["compared"])),
        results.rows,
        Trust.from_json(stored["trust"]) if stored["trust"] else None,
        Findings.from_json(stored["findings"]),
        Difference.from_json(stored["crop_gain"]) if stored["crop_gain"] else None,
        networks,
        folder,
    )
