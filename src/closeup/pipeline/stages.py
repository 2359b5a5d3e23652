"""The stages over a project folder, each run only where its key has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from closeup.core.config import RunConfig
from closeup.core.errors import UsageError
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.project import Project, Table, key_of
from closeup.core.types import (
    Crop,
    Detection,
    Example,
    Floats,
    Photo,
    PhotoState,
    Pixels,
)
from closeup.crops import augment
from closeup.crops.cut import cut_covered, cut_out, encode_crop, saved_as
from closeup.dataset.duplicates import (
    Pair,
    Signature,
    Signatures,
    near_duplicates,
    signatures,
)
from closeup.dataset.groups import group_photos, labelled
from closeup.dataset.split import make_dataset, notes_on_rows
from closeup.decisions import NOTHING, Current
from closeup.decisions.apply import (
    decided_crops,
    decided_pairs,
    notes_on,
    without_gone,
)
from closeup.detect import Detector
from closeup.detect.boxes import read_boxes
from closeup.detect.stage import FLOOR, detect_photos
from closeup.learn.embed import Embedder, Embeddings, all_of, embed_crops
from closeup.networks import Network
from closeup.networks.engine import precision_for
from closeup.networks.preprocess import InputSpec
from closeup.photos.listing import list_photos
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture_again

VERSIONS = {"photos": 1, "detect": 4, "crop": 1, "dataset": 2, "duplicates": 3}
SIGNATURES_FILE = "signatures.safetensors"
SIDES = ("train", "test")


@dataclass
class Harvest:
    """What a pass over the photos has seen, for the stages to make tables of.

    Attributes
    ----------
    photos
        A row for each file, in order.
    detections
        By photo id.
    files
        Name of each close-up that lies saved -> what it shows, see :func:`saved_as`.
    signatures
        By sha256, of photos that had none.
    vectors
        Name of the embeddings file -> content key -> embedding.
    rate
        Photos a second.
    fresh_files
        The names in `files` that are not in any part of :mod:`closeup.pipeline.resume` yet.
    """

    photos: list[Photo] = field(default_factory=list)
    detections: dict[str, list[Detection]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    signatures: MutableMapping[str, Signature] = field(default_factory=dict)
    vectors: dict[str, dict[str, Floats]] = field(default_factory=dict)
    rate: float = 0.0
    fresh_files: list[str] = field(default_factory=list)


@dataclass
class Job:
    """One run over a project: where it writes, what decides it, and what it took.

    `harvest` is what a pass over the photos has seen already; None where there was none.
    `decisions` are what people decided about the project, see :mod:`closeup.decisions`.
    """

    project: Project
    config: RunConfig
    progress: Progress = silent
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    harvest: Harvest | None = None
    decisions: Current = NOTHING

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall-clock seconds of the block to the stage's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + taken, 3)


def photos_stage(job: Job) -> Table[Photo]:
    """List and check the photos; unchanged files are not read again."""
    with job.timed("photos"):
        if job.harvest is not None:
            rows = job.harvest.photos
        else:
            old = job.project.read("photos", Photo)
            rows = list_photos(
                job.config.photos, previous=old.rows if old else (), progress=job.progress
            )
        key = key_of("photos", VERSIONS["photos"], rows)
        return job.project.stage("photos", Photo, key, lambda _: rows)


def detections_stage(job: Job, photos: Table[Photo], network: Network | None) -> Table[Detection]:
    """Look for objects with the detector `network`, or read the user's own boxes.

    Raises
    ------
    UsageError
        Where there is neither.
    """
    with job.timed("detect"):
        if job.config.detect.boxes:
            return _given_boxes(job, photos)
        if network is None:
            raise UsageError("neither a detector nor a boxes file is named; give one of the two")
        return _detected(job, photos, network)


def _given_boxes(job: Job, photos: Table[Photo]) -> Table[Detection]:
    boxes = read_boxes(Path(job.config.detect.boxes), photos.rows)
    job.notes.extend(note for note in boxes.notes if note not in job.notes)
    key = key_of("boxes", VERSIONS["detect"], boxes.detections)
    return job.project.stage("detections", Detection, key, lambda _: boxes.detections)


def detection_recipe(job: Job, network: Network) -> str:
    """Changes with anything that changes what the detector finds in given pixels."""
    card, engine = network.card, job.config.engine
    precision = precision_for(network.file, engine)
    return key_of("detector", VERSIONS["detect"], card.sha256, card.input.model_dump(),
                  card.classes, card.family, precision, FLOOR)  # fmt: skip


def _detected(job: Job, photos: Table[Photo], network: Network) -> Table[Detection]:
    recipe = detection_recipe(job, network)
    seen = {p.id: p.sha256 for p in photos.rows if p.state is PhotoState.READABLE}
    key = key_of("detect", VERSIONS["detect"], recipe, seen)
    old = job.project.read("detections", Detection)
    if old is not None and old.key == key:
        return old
    known: dict[str, list[Detection]] = {}
    if job.harvest is not None:
        known = job.harvest.detections
    elif old is not None and old.meta.get("recipe") == recipe:
        before = old.meta.get("photos", {})
        known = {name: [] for name, sha in seen.items() if before.get(name) == sha}
        for row in old.rows:
            if row.photo_id in known:
                known[row.photo_id].append(row)
    detector = Detector(network, job.config.engine)
    rows = detect_photos(photos.rows, detector, known, job.progress)
    known.clear()  # they are in the table now
    meta = {"recipe": recipe, "photos": seen}
    return job.project.write("detections", Detection, rows, key, meta)


def crops_stage(job: Job, photos: Table[Photo], detections: Table[Detection]) -> Table[Crop]:
    """Choose boxes, cut the close-ups, and write them as an ImageFolder."""
    with job.timed("crop"):
        config, detect = job.config.crop, job.config.detect
        facts = [(p.id, p.label, p.state, p.reason, p.width, p.height, p.sha256)
                 for p in photos.rows]  # fmt: skip
        key = key_of("crop", VERSIONS["crop"], facts, detections.key, config.model_dump(),
                     detect.parent, detect.threshold, *_for_crops(job.decisions))  # fmt: skip
        old = job.project.read("crops", Crop)
        whole = old is not None and {p.id for p in photos.rows} == {c.photo_id for c in old.rows}
        if old is not None and old.key == key and whole and _all_there(job.project, old.rows):
            return old
        by_photo: dict[str, list[Detection]] = {}
        for row in detections.rows:
            by_photo.setdefault(row.photo_id, []).append(row)
        rows = decided_crops(photos.rows, by_photo, config, detect, job.decisions)
        return _write_crops(job, photos, rows, key)


def _for_crops(decisions: Current) -> list[object]:
    """What of the decisions changes close-ups; nothing where there is none, as for other keys."""
    verdicts = [(photo, name, v.label, v.rejected) for photo, mine in decisions.verdicts.items()
                for name, v in mine.items() if v.label or v.rejected]  # fmt: skip
    return [sorted(verdicts), decisions.boxes] if verdicts or decisions.boxes else []


def _all_there(project: Project, crops: Sequence[Crop]) -> bool:
    return all((project.folder / crop.file).is_file() for crop in crops if crop.file)


def _write_crops(job: Job, photos: Table[Photo], rows: Sequence[Crop], key: str) -> Table[Crop]:
    """Write the close-ups that changed, remove those that no row names, then the table.

    The table is first written as unfinished, so that after a kill none that was to change counts as
    current.
    """
    project, quality = job.project, job.config.crop.quality
    by_id = {p.id: p for p in photos.rows}
    wanted = {
        crop.file: saved_as(by_id[crop.photo_id], crop, quality) for crop in rows if crop.file
    }
    old = project.read("crops", Crop)
    current: dict[str, str] = old.meta.get("files", {}) if old else {}
    if job.harvest is not None:
        current = job.harvest.files
    ours = {crop.file for crop in old.rows if crop.file} if old else set()
    stale = sorted((ours | set(old.meta.get("stale", ())) if old else ours) - set(wanted))
    todo: dict[str, list[Crop]] = {}
    for crop in rows:
        if crop.file and not (
            current.get(crop.file) == wanted[crop.file] and (project.folder / crop.file).is_file()
        ):
            todo.setdefault(crop.photo_id, []).append(crop)
    changing = {crop.file for many in todo.values() for crop in many}
    safe = {file: what for file, what in wanted.items() if file not in changing}
    project.write("crops", Crop, rows, "unfinished", {"stale": stale, "files": safe})

    def write(photo_id: str) -> None:
        picture = read_picture_again(by_id[photo_id])
        for crop in todo[photo_id]:
            closeup = cut_out(picture, crop.window, crop.side)
            project.write_bytes(crop.file, encode_crop(closeup, quality), durable=False)

    for _ in track(ordered_map(write, todo), "crop", len(todo), job.progress):
        pass
    project.remove(stale)
    return project.write("crops", Crop, rows, key, {"files": wanted})


def duplicates_stage(job: Job, photos: Table[Photo]) -> Table[Pair]:
    """Find the pairs of photos that show one picture; none where that is not asked for."""
    with job.timed("duplicates"):
        readable = [p for p in photos.rows if p.state is PhotoState.READABLE]
        wanted = job.config.split.near_duplicates
        seen = {p.id: p.sha256 for p in readable}
        key = key_of("duplicates", VERSIONS["duplicates"], seen if wanted else {}, wanted)

        def stored() -> Signatures:
            old = Signatures.read(job.project.place(SIGNATURES_FILE))
            fresh = job.harvest.signatures if job.harvest is not None else None
            known = signatures(readable, old, job.progress, fresh)
            job.project.write_bytes(SIGNATURES_FILE, known.parts(), durable=False)  # a cache
            if fresh is not None:
                fresh.clear()
            return known

        def find(_: object) -> list[Pair]:
            return list(near_duplicates(readable, stored())) if wanted else []

        def fits(pairs: Sequence[Pair]) -> bool:
            return all(pair.a in seen and pair.b in seen for pair in pairs)

        table = job.project.stage("duplicates", Pair, key, find, fits)
        if wanted and job.harvest is not None and job.harvest.signatures:
            stored()  # the pairs are known, but the pass missed some: the file was damaged
        return table


def dataset_stage(
    job: Job, photos: Table[Photo], crops: Table[Crop], pairs: Table[Pair]
) -> Table[Example]:
    """Labels and groups -> leak-free splits."""
    with job.timed("dataset"):
        decided = without_gone(job.decisions, photos.rows)
        together = decided_pairs([(pair.a, pair.b) for pair in pairs.rows], decided)
        grouping = group_photos(labelled(photos.rows, crops.rows), pairs=together)
        job.notes.extend(grouping.notes)
        job.notes.extend(notes_on(job.decisions, photos.rows, crops.rows))
        facts = [(p.id, p.label, p.split, grouping.group_of[p.id]) for p in photos.rows]
        owners = {(crop.id, crop.photo_id) for crop in crops.rows}
        key = key_of(
            "dataset", VERSIONS["dataset"], crops.key, facts, job.config.split.model_dump()
        )
        table = job.project.stage(
            "dataset",
            Example,
            key,
            lambda _: make_dataset(photos.rows, crops.rows, job.config.split, grouping.group_of),
            lambda rows: {(e.crop_id, e.photo_id) for e in rows} == owners,
        )
        job.notes.extend(notes_on_rows(table.rows, photos.rows))
        sides = {side: {e.label for e in table.rows if e.split == side} for side in SIDES}
        if untested := sorted(sides["train"] - sides["test"]):
            job.notes.append(
                f"not tested, because nothing could be held out: {', '.join(untested)}; "
                "more photos of them are needed"
            )
        return table


@dataclass(frozen=True, slots=True)
class Look:
    """What is embedded: the close-up or the whole photo, plain or changed.

    `number` is that of an augmented view, 0 for none; `covered` paints the object over; `pad` names
    the padding of crops whose windows have another than the run's.
    """

    view: str = "closeup"
    number: int = 0
    covered: bool = False
    pad: float | None = None

    def __str__(self) -> str:
        if self.pad is not None:
            return f"{self.view}-pad{self.pad:g}"
        if self.covered:
            return f"{self.view}-covered"
        return f"{self.view}-augmented{augment.VERSION}-{self.number}" if self.number else self.view

    def __call__(self, picture: Picture, crop: Crop, spec: InputSpec) -> Pixels | Image.Image:
        """What a network with the input `spec` is shown of a photo for a crop of it."""
        if self.number:
            return augment.augmented(picture, crop, self.number)
        if self.view == "photo":
            return all_of(picture, spec, crop.box if self.covered else None)
        if self.covered:
            return cut_covered(picture, crop.box, crop.window, crop.side)
        return cut_out(picture, crop.window, crop.side)


def embeddings_file(look: Look, embedder: Embedder) -> str:
    """Where the embeddings of one look are kept, relative to the project."""
    return f"embeddings/{look}-{embedder.key[:16]}.safetensors"


def embeddings_stage(
    job: Job, photos: Table[Photo], crops: Sequence[Crop], backbone: Network, look: Look
) -> tuple[Embeddings, str]:
    """The embeddings of `crops` (those with pixels) and the key of the way they were made.

    Each `look` has a file of its own, which holds the crops of the last call. Where it is the
    whole photo, that is what the windows of `crops` must be already.
    """
    with job.timed("embed"):
        embedder = Embedder(backbone, job.config.engine)
        name = embeddings_file(look, embedder)
        old = Embeddings.read(job.project.place(name))
        known = old.as_mapping() if old else {}
        if job.harvest is not None:
            known |= job.harvest.vectors.get(name, {})
        by_id = {p.id: p for p in photos.rows}

        def progress(_: str, done: int, total: int) -> None:
            job.progress(f"embed {'covered' if look.covered else look.view}", done, total)

        new = embed_crops(by_id, crops, embedder, known, progress, look)
        if old is not None and not new.rate:
            new = replace(new, rate=old.rate)
        if old is None or old.keys != new.keys or new.rate != old.rate:
            job.project.write_bytes(name, new.to_bytes(), durable=False)  # it is a cache
        return new, key_of("look", 1, embedder.key, str(look))
