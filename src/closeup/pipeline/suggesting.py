"""``closeup suggest``: which photos of a pool to label next, by what the project's model knows.

The pool is looked at as a project's own photos are, in one pass, into a project of its own below
the folder: what is known of a photo is not computed again, and a kill costs seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from closeup.core.config import PhotosConfig, RunConfig
from closeup.core.errors import ProjectError, UsageError
from closeup.core.progress import Progress, silent
from closeup.core.project import Project, Table, key_of
from closeup.core.types import Crop, CropState, Detection, Example, Floats, Photo, PhotoState
from closeup.crops.cut import choose
from closeup.crops.view import views_of
from closeup.dataset.duplicates import Signatures, near_duplicates, signatures
from closeup.decisions.log import read_decisions
from closeup.evaluate.acquisition import choose_next, look_alikes, uncertainty
from closeup.model.model import Model, load_model
from closeup.photos.listing import pool_entries
from closeup.pipeline.features import TrainingSet, features_stage
from closeup.pipeline.resume import FOLDER
from closeup.pipeline.stages import (
    SIGNATURES_FILE,
    Job,
    Wanted,
    by_photo_id,
    crops_of,
    detections_stage,
    look,
    photos_stage,
)
from closeup.pipeline.suggested import TABLE, Suggested, is_decided, read_named, read_suggested

POOL = "pool"
MOST = 6000
"""Photos of the pool that are compared with one another; more are drawn from at random."""
NOT_FOUND = "no object found"
MISSED_SHARE = 10
"""One in so many suggestions may be a photo in which the object was not found."""


@dataclass(frozen=True, slots=True)
class SuggestResult:
    """What ``closeup suggest`` gives.

    - `photos`: files of the pool: `found` + `not_found` + `unreadable` + `known`
    - `known`: those whose content is in the project already, or was suggested and decided before,
      and copies within the pool
    - `suggested`: the most useful first
    """

    photos: int
    found: int
    not_found: int
    unreadable: int
    known: int
    suggested: tuple[Suggested, ...]
    folder: Path
    seconds: dict[str, float]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of ``suggest --json``."""
        rows = [{**asdict(row), "box": list(row.box)} for row in self.suggested]
        return {"photos": self.photos, "found": self.found, "not_found": self.not_found,
                "unreadable": self.unreadable, "known": self.known, "suggested": rows,
                "seconds": self.seconds, "notes": list(self.notes)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pool:
    """The pool's photos that are new, with the close-up and the features of each that has any."""

    photos: Table[Photo]
    new: Mapping[str, Photo]
    detections: Mapping[str, Sequence[Detection]]
    crops: Mapping[str, Crop]
    vectors: Mapping[str, Floats] = field(default_factory=dict)


def suggest(
    out: Path, pool: Iterable[str | Path], *, count: int = 100, progress: Progress = silent
) -> SuggestResult:
    """Name the photos of `pool` that are best labelled next; they wait in ``closeup review``.

    - `pool`: photos, folders or patterns; any labels their folders have are not used
    - `count`: how many to name at most

    Suggestions of earlier calls that nobody has decided about are replaced.

    Raises
    ------
    UsageError
        Where `count` is less than 1, or the project uses boxes of its own or several objects a
        photo.
    ProjectError
        Where `out` is no project, or has not been trained.
    PhotosError
        Where `pool` holds no photo.
    """
    if count < 1:
        raise UsageError(f"count: expected at least 1 photo to suggest, got {count}")
    project = Project(out)
    config = _usable(project)
    entries = pool_entries(pool)
    with project.held():
        model = load_model(project.place("model"), config.engine)
        if model.parts.detector is None:
            raise UsageError(f"the model of {out} has no detector to find the objects of a pool")
        job = Job(project, config, progress, decisions=read_decisions(out))
        mine = _pool_job(job, model)
        with mine.project.held():
            mine.project.write_config(mine.config)
            wanted = Wanted(model.parts.detector, backbone=model.parts.backbone,
                            views=views_of(model.card.view), saves=False)  # fmt: skip
            look(mine, entries, wanted)
            photos = photos_stage(mine)
            found = detections_stage(mine, photos, model.parts.detector)
            seen = _embedded(job, mine, model, photos, found)
            mine.project.remove_folder(FOLDER)
        with job.timed("suggest"):
            rows = _chosen(job, seen, model, count)
            decisions = read_decisions(out)
            kept = [row for row in read_named(project) if is_decided(row, decisions)]
            named = {row.photo_id for row in kept}
            rows = [row for row in rows if row.photo_id not in named]
            project.write(TABLE, Suggested, [*kept, *rows], key_of(TABLE, 1, rows))
    states = [seen.crops[name].state if name in seen.crops else None for name in seen.new]
    unreadable = sum(photo.state is PhotoState.UNREADABLE for photo in photos.rows)
    return SuggestResult(
        photos=len(photos.rows), found=states.count(CropState.CROPPED),
        not_found=len(states) - states.count(CropState.CROPPED), unreadable=unreadable,
        known=len(photos.rows) - len(states) - unreadable, suggested=tuple(rows), folder=out,
        seconds=mine.seconds | job.seconds, notes=(*mine.notes, *job.notes),
    )  # fmt: skip


def _usable(project: Project) -> RunConfig:
    """The project's configuration; an error where nothing can be suggested for it."""
    config = project.config()
    if config.detect.has_boxes:
        raise UsageError(
            f"{project.folder} uses boxes of your own, which the photos of a pool do not have; "
            "`closeup suggest` needs a project whose objects a detector finds"
        )
    if config.crop.which == "all":
        raise UsageError(
            f"{project.folder} uses every object of a photo (--which all); `closeup suggest` "
            "names photos with one label, so train with --which best"
        )
    if not project.place("model").is_dir():
        raise ProjectError(
            f"{project.folder} has no model yet; train one with `closeup train {project.folder}`"
        )
    return config


def _pool_job(job: Job, model: Model) -> Job:
    """A job over the project of the pool, which looks at photos as the model does."""
    folder = job.project.place(POOL)
    photos = PhotosConfig(source=str(folder), max_pixels=job.config.photos.max_pixels)
    config = job.config.model_copy(
        update={"photos": photos, "detect": model.card.detect, "crop": model.card.crop}
    )
    return Job(Project(folder), config, job.progress)


def _embedded(
    job: Job, mine: Job, model: Model, photos: Table[Photo], detections: Table[Detection]
) -> _Pool:
    """The photos of the pool that the project does not have yet, each content once."""
    own, decided = job.project.read("photos", Photo), job.decisions
    old = {row.sha256 for row in read_suggested(job.project) if is_decided(row, decided)}
    old |= {photo.sha256 for photo in (own.rows if own else ())}
    first: dict[str, Photo] = {}
    for photo in photos.rows:
        if photo.state is PhotoState.READABLE and photo.sha256 not in old:
            first.setdefault(photo.sha256, photo)
    new = {photo.id: photo for photo in first.values()}
    found = by_photo_id(detections.rows)
    # All that are readable, so that the cache holds every photo of the pool.
    readable = [photo for photo in photos.rows if photo.state is PhotoState.READABLE]
    crops = [crop for photo in readable for crop in crops_of(mine, photo, found.get(photo.id, ()))]
    data = TrainingSet(photos, tuple(crops), ())
    vectors: Mapping[str, Floats] = {}
    if crops:
        vectors = features_stage(mine, data, model.parts.backbone, model.card.view).of
    return _Pool(photos, new, found, {c.photo_id: c for c in crops if c.photo_id in new}, vectors)


def _chosen(job: Job, pool: _Pool, model: Model, count: int) -> list[Suggested]:
    """The photos to label, the most useful first, in groups of look-alikes."""
    missed = _missed(pool, model, count // MISSED_SHARE)
    names = [name for name, crop in pool.crops.items() if crop.state is CropState.CROPPED]
    if len(names) > MOST:
        rng = np.random.default_rng(job.config.split.seed)
        job.notes.append(
            f"{len(names)} photos of the pool are new and have the object: {MOST} of them, drawn "
            "at random, were compared with one another"
        )
        names = [names[row] for row in sorted(rng.permutation(len(names))[:MOST])]
    gains: dict[str, float] = {}
    if names:
        vectors = np.stack([pool.vectors[name] for name in names])
        weights = uncertainty(model.parts.head.probabilities(vectors))
        known = _known(job, model)
        rows, added = choose_next(weights, vectors, known, count + count // 4 + 8)
        gains = {names[row]: gain for row, gain in zip(rows, added, strict=True)}
    chosen = _without_copies(job, pool, [*missed, *gains])
    return _rows(pool, model, chosen[:count], gains)


def _missed(pool: _Pool, model: Model, most: int) -> list[str]:
    """Photos without an object in which the detector was near to finding one."""
    parent = model.card.detect.parent
    scores = {}
    for name in pool.new:
        crop = pool.crops.get(name)
        if crop is None or crop.state is not CropState.CROPPED:
            best = _best(pool.detections.get(name, ()), parent)
            if best is not None and name in pool.vectors:
                scores[name] = best.score
    return sorted(scores, key=lambda name: (-scores[name], name))[:most]


def _best(detections: Sequence[Detection], parent: Sequence[str]) -> Detection | None:
    """The box of the parent category with the highest score, however low."""
    return next(iter(choose(detections, parent, 0.0, "best")), None)


def _known(job: Job, model: Model) -> Floats:
    """``(m, d)`` features of the project's training part."""
    photos, crops = job.project.read("photos", Photo), job.project.read("crops", Crop)
    examples = job.project.read("dataset", Example)
    if photos is None or crops is None or examples is None:
        raise ProjectError(f"{job.project.folder} lacks its tables; run `closeup train` again")
    data = TrainingSet.of(photos, crops, examples)
    found = features_stage(job, data, model.parts.backbone, model.card.view)
    vectors = [found.of[example.crop_id] for example in data.side("train").examples]
    return np.stack(vectors) if vectors else np.zeros((0, sum(found.blocks)), np.float32)


def _without_copies(job: Job, pool: _Pool, names: Sequence[str]) -> list[str]:
    """`names` without near duplicates of the project's photos and of earlier ones."""
    if not job.config.split.near_duplicates:
        return list(names)
    own = job.project.read("photos", Photo)
    both = [p for p in (own.rows if own else ()) if p.state is PhotoState.READABLE]
    both += [pool.new[name] for name in names]
    known = Signatures.read(job.project.place(SIGNATURES_FILE))
    place = {name: number for number, name in enumerate(names)}
    copies = set()
    for pair in near_duplicates(both, signatures(both, known, job.progress)):
        places = [place.get(name, -1) for name in (pair.a, pair.b)]
        if max(places) >= 0:
            copies.add(names[max(places)])
    return [name for name in names if name not in copies]


def _rows(
    pool: _Pool, model: Model, names: Sequence[str], gains: Mapping[str, float]
) -> list[Suggested]:
    if not names:
        return []
    vectors = np.stack([pool.vectors[name] for name in names])
    shares = model.parts.head.probabilities(vectors)
    rule = model.parts.rule
    reasons = rule.reasons(shares, vectors) if rule is not None else [""] * len(names)
    numbers = look_alikes(vectors, shares.argmax(axis=1))
    rows = []
    for place, name in enumerate(names):
        photo, crop = pool.new[name], pool.crops.get(name)
        found = crop is not None and crop.state is CropState.CROPPED
        best = _best(pool.detections.get(name, ()), model.card.detect.parent)
        shown = crop if found else best
        assert shown is not None  # a missed one has a box that is too weak
        answer = int(shares[place].argmax())
        rows.append(Suggested(
            name, photo.path, photo.width, photo.height, photo.bytes, photo.mtime_ns, photo.sha256,
            found, shown.category, shown.score, shown.box,
            model.labels[answer], float(shares[place, answer]),
            reasons[place] if found else NOT_FOUND, gains.get(name, 0.0), int(numbers[place]),
        ))  # fmt: skip
    return rows
