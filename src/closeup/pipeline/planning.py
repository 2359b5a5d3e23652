"""What a run would do, told beforehand: nothing is written, downloaded or detected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from closeup.core.config import DetectConfig, Preset, RunConfig
from closeup.core.project import Project
from closeup.core.types import Photo
from closeup.decisions.log import read_decisions
from closeup.detect.given import GivenBoxes
from closeup.learn.embed import Embedder
from closeup.networks import Network
from closeup.networks.cache import installed
from closeup.networks.names import name_here
from closeup.networks.variants import has_feature_maps
from closeup.networks.words import OPEN_VOCABULARY, name_with_words
from closeup.photos.listing import Collection, Entry
from closeup.pipeline.forecast import forecast
from closeup.pipeline.one_pass import Item, Known, Steps, is_work_left
from closeup.pipeline.own_boxes import collected, count_labels
from closeup.pipeline.resume import Unfinished
from closeup.pipeline.search import RICHER, is_plain, views_to_embed, views_to_try
from closeup.pipeline.stages import (
    Job,
    Wanted,
    crops_of,
    detection_recipe,
    embeddings_file,
    known_of,
)
from closeup.pipeline.suggested import with_suggested
from closeup.pipeline.verbs import require_classes


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of a run: with what, and for how many of all photos it is left to do."""

    stage: str
    what: str
    total: int
    left: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How the photos were understood, and what a run over them would do.

    - `labels`: label -> number of photos, or of boxes where these bring the labels
    - `steps`: the stages that look at photos
    - `missing`: networks that are not in the cache yet
    - `seconds`: about how long it takes with each preset, measured on this machine; empty where a
      network is missing, PyTorch draws the boxes, or nothing is left to do
    """

    collection: Collection
    labels: Counter[str]
    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    seconds: dict[Preset, float]

    def to_json(self) -> dict[str, Any]:
        """The object of ``run --dry-run --json``."""
        entries = self.collection.entries
        return {
            "photos": len(entries),
            "test": sum(entry.split == "test" for entry in entries),
            "labels": dict(sorted(self.labels.items())),
            "tree": list(self.collection.tree),
            "notes": list(self.collection.notes),
            "stages": [asdict(step) for step in self.steps],
            "missing": list(self.missing),
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }


def plan(config: RunConfig, out: Path) -> Plan:
    """What :func:`closeup.pipeline.run` with the same arguments would do.

    Raises CloseupError where it would refuse the photos, the boxes or the project.
    """
    job = Job(Project(out), config, decisions=read_decisions(out))
    collection = with_suggested(collected(config), job.project, job.decisions)
    entries = collection.entries
    require_classes(job, collection)
    here = {network.card.name: network for network in installed()}
    detect, train = config.detect, config.train
    boxes = GivenBoxes(Path(detect.boxes), entries, detect.boxes_frame) if detect.boxes else None
    labels = count_labels(detect, boxes, entries)
    named = _detector_here(detect)
    missing = [detect.detector] if named and named not in here else []
    missing += [name for name in train.backbone if name not in here]
    backbone = _first_backbone(job, here)
    wanted = Wanted(here.get(named), boxes, backbone, views_to_embed(train))
    unchanged, detected, done = _known_of(job, entries, wanted)
    total = len(entries)
    finder = "your boxes" if boxes else detect.boxes_by or detect.detector
    shown = f"{', '.join(train.backbone)} ({', '.join(views_to_try(train))})"
    steps = (
        Step("read", "files", total, total - unchanged),
        Step("detect", finder, total, 0 if boxes else total - detected),
        Step("crop and embed", shown, total, total - done),
    )
    left = total - done
    measured = left and not missing and not detect.boxes_by
    seconds = forecast(config, left) if measured else {}
    return Plan(collection, labels, steps, tuple(dict.fromkeys(missing)), seconds)


def _detector_here(detect: DetectConfig) -> str:
    """What the detector is called in the cache; ``""`` for none."""
    if detect.detector in OPEN_VOCABULARY:
        return name_with_words(detect.detector, detect.parent)
    return name_here(detect.detector)


def _first_backbone(job: Job, here: dict[str, Network]) -> Network | None:
    """The backbone whose embeddings the pass makes; None where it has to be made or fetched."""
    train = job.config.train
    plain = here.get(train.backbone[0])
    if plain is None or len(train.backbone) > 1:
        return None
    name = plain.card.name
    if train.preset == "quick" or not is_plain(name) or not has_feature_maps(plain):
        return plain
    return here.get(f"{name}@{RICHER}")


def _known_of(job: Job, entries: Sequence[Entry], wanted: Wanted) -> tuple[int, int, int]:
    """Of how many photos the row, the detections, and everything is known."""
    recipe = detection_recipe(job, wanted.detector)
    kept = Unfinished(job.project, recipe).read()
    embedder = Embedder(wanted.backbone, job.config.engine) if wanted.backbone else None
    views = {embeddings_file(view, embedder): view for view in wanted.views} if embedder else {}
    known = known_of(job, wanted, kept, views)
    folder = job.project.folder
    steps = Steps(
        max_pixels=job.config.photos.max_pixels,
        crops_of=partial(crops_of, job),
        is_there=lambda name: (folder / name).is_file(),
        quality=job.config.crop.quality,
        embedder=embedder,
        views=views,
    )
    unchanged = detected = done = 0
    for entry in entries:
        photo = known.photo(entry)
        if photo is None:
            continue
        unchanged += 1
        rows = _detections(photo, known, wanted)
        if rows is None:
            continue
        detected += 1
        item = Item(photo, detections=rows)
        done += embedder is not None and not is_work_left(item, known, steps)
    return unchanged, detected, done


def _detections(photo: Photo, known: Known, wanted: Wanted) -> Any:
    if wanted.boxes is not None:
        return wanted.boxes.of(photo)
    return known.detections.get((photo.id, photo.sha256))
