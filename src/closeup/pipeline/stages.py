"""The stages over a project folder: one pass over the photos, then a table of each kind of row."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from closeup.core.config import RunConfig
from closeup.core.progress import Progress, silent, track
from closeup.core.project import Project, Table, key_of
from closeup.core.text import first_of
from closeup.core.types import Crop, Detection, Example, Photo, PhotoState
from closeup.crops.view import View
from closeup.dataset.duplicates import Pair, Signatures, near_duplicates, signatures
from closeup.dataset.groups import group_photos, labelled
from closeup.dataset.kept import SIDES, Place, keep, note_on_draw, read_split, recipe
from closeup.dataset.split import make_dataset, notes_on_rows
from closeup.decisions.apply import decided_crops, decided_pairs, notes_on, without_gone
from closeup.decisions.fold import NOTHING, Current
from closeup.decisions.moved import find_moved
from closeup.detect import Detector
from closeup.detect.detector import FLOOR
from closeup.detect.given import GivenBoxes
from closeup.learn.embed import Embedder, Embeddings, embed_crops
from closeup.networks import Network
from closeup.networks.engine import precision_for
from closeup.photos.listing import Entry, known_photos
from closeup.pipeline.one_pass import Known, Once, Steps, look_at
from closeup.pipeline.resume import Observed, Unfinished
from closeup.pipeline.suggested import read_suggested

VERSIONS = {"photos": 1, "detect": 4, "crop": 1, "dataset": 3, "duplicates": 3}
SIGNATURES_FILE = "signatures.safetensors"


@dataclass
class Job:
    """One run over a project: where it writes, what decides it, and what it took.

    `seen` is what the pass over its photos has seen, see :func:`look`. `decisions` are what people
    decided about the project, see :mod:`closeup.decisions`. `new_split`: whether to draw the split
    anew.
    """

    project: Project
    config: RunConfig
    progress: Progress = silent
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seen: Observed = field(default_factory=Observed)
    decisions: Current = NOTHING
    new_split: bool = False

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall-clock seconds of the block to the stage's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + taken, 3)

    def change_detect(self, **values: object) -> None:
        """Put what has been found out about the photos into the options of detection."""
        detect = self.config.detect.model_copy(update=values)
        self.config = self.config.model_copy(update={"detect": detect})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the pass computes of each photo: its row always, the rest as asked for.

    The object is found by `detector`, or given by the user's own `boxes`. `views` are what
    `backbone` is shown. `saves`: whether close-ups are written to the project.
    """

    detector: Network | None = None
    boxes: GivenBoxes | None = None
    backbone: Network | None = None
    views: tuple[View, ...] = ()
    signatures: bool = False
    saves: bool = True


def look(job: Job, entries: Sequence[Entry], wanted: Wanted) -> None:
    """Look at every photo once, for all that is `wanted` and not known from an earlier run.

    Close-ups are saved on the way; the rest goes to ``job.seen``, for the stages to make tables of.
    What ``job.seen`` holds already of some photos (of scouting for the parent) is used again.

    Raises CloseupError where a network fails or a file cannot be written; what was written before
    stays.
    """
    with job.timed("look"):
        unfinished = Unfinished(job.project, detection_recipe(job, wanted.detector))
        kept = unfinished.read()
        engine = job.config.engine
        embedder = Embedder(wanted.backbone, engine) if wanted.backbone else None
        views = {embeddings_file(view, embedder): view for view in wanted.views} if embedder else {}
        kept.photos += job.seen.photos
        kept.detections.update(job.seen.detections)
        known = known_of(job, wanted, kept, views)
        named = None if wanted.boxes else wanted.detector
        detector = Detector(named, engine) if named else None
        mark = Once(lambda: _mark_unfinished(job, known, unfinished))
        before = job.project.read("crops", Crop)
        moved = find_moved(job.project.folder, before.rows if before else (), job.decisions)
        job.notes.extend(moved.notes(job.project.folder))
        steps = Steps(
            max_pixels=job.config.photos.max_pixels,
            detector=detector,
            boxes=wanted.boxes.of if wanted.boxes else None,
            sign=wanted.signatures,
            crops_of=partial(crops_of, job),
            # What a person has moved is not put back.
            is_there=lambda name: name in moved.files or (job.project.folder / name).is_file(),
            save=partial(_save, job, mark),
            saves=wanted.saves,
            quality=job.config.crop.quality,
            embedder=embedder,
            views=views,
        )
        vectors = {name: kept.vectors.get(name, {}) for name in views}
        seen = job.seen = Observed(signatures=kept.signatures, vectors=vectors)
        unfinished.begin(seen)
        items = look_at(entries, known, steps, vectors)
        for item in track(items, "look", len(entries), job.progress):
            seen.photos.append(item.photo)
            seen.files.update(item.files)
            if item.detections is not None:
                seen.detections[item.photo.id] = item.detections
            if not item.is_sound:
                seen.unsound[item.photo.id] = item.photo.path
            if item.signature is not None:
                seen.signatures[item.photo.sha256] = item.signature
            if item.is_new:
                unfinished.keep(seen)
        if wanted.boxes:
            job.notes.extend(wanted.boxes.notes)
        if named and seen.unsound:
            some = first_of(seen.unsound.values())
            job.notes.append(
                f"{named.card.name} gave values that are not finite numbers for "
                f"{len(seen.unsound)} of {len(entries)} photos ({some}): "
                "boxes with such values are left out; try `--precision fp32`, or a file of the "
                "network that is not in half precision"
            )


def known_of(job: Job, wanted: Wanted, kept: Observed, views: Iterable[str]) -> Known:
    """What the tables, the caches and the parts of killed passes hold."""
    project = job.project
    photos, crops = project.read("photos", Photo), project.read("crops", Crop)
    found = project.read("detections", Detection)
    recipe = detection_recipe(job, wanted.detector)
    same = found is not None and found.meta.get("recipe") == recipe != ""
    shas: dict[str, str] = found.meta.get("photos", {}) if found and same else {}
    before = by_photo_id(found.rows if found and same else ())
    signed: Collection[str] = ()
    if wanted.signatures:
        stored = Signatures.read(project.place(SIGNATURES_FILE))
        signed = frozenset(stored.keys if stored else ()) | kept.signatures.keys()
    vectors = {}
    for name in views:
        cached = Embeddings.read(project.place(name))
        old = frozenset(cached.keys if cached else ())
        vectors[name] = old | kept.vectors.get(name, {}).keys()
    return Known(
        known_photos([*(photos.rows if photos else ()), *kept.photos]),
        {(name, sha): before.get(name, []) for name, sha in shas.items()}
        | {(p.id, p.sha256): kept.detections[p.id] for p in kept.photos if p.id in kept.detections},
        signed,
        {**(crops.meta.get("files", {}) if crops else {}), **kept.files},
        vectors,
    )


def by_photo_id(rows: Iterable[Detection]) -> dict[str, list[Detection]]:
    """The rows of each photo that has any, in their order."""
    by_photo: dict[str, list[Detection]] = {}
    for row in rows:
        by_photo.setdefault(row.photo_id, []).append(row)
    return by_photo


def crops_of(job: Job, photo: Photo, rows: Sequence[Detection]) -> list[Crop]:
    """The close-ups of a photo that are saved."""
    config, detect = job.config.crop, job.config.detect
    found = decided_crops([photo], {photo.id: rows}, config, detect, job.decisions)
    return [crop for crop in found if crop.file]


def _save(job: Job, before_the_first: Once, name: str, data: bytes) -> None:
    before_the_first()
    job.project.write_bytes(name, data, durable=False)


def _mark_unfinished(job: Job, known: Known, unfinished: Unfinished) -> None:
    """Say that the saved close-ups are about to change.

    After a kill, only those are taken for current that have not been written since.
    """
    old = job.project.read("crops", Crop)
    if old is not None:
        unfinished.keep_files(known.files)
        job.project.write("crops", Crop, old.rows, "unfinished", {"stale": _saved(old)})


def _saved(table: Table[Crop] | None) -> list[str]:
    """The close-ups that a table of crops, finished or not, may have left in the project."""
    if table is None:
        return []
    return sorted(
        {crop.file for crop in table.rows if crop.file} | set(table.meta.get("stale", ()))
    )


def photos_stage(job: Job) -> Table[Photo]:
    """The photos as the pass has read and checked them."""
    rows = job.seen.photos
    key = key_of("photos", VERSIONS["photos"], rows)
    return job.project.stage("photos", Photo, key, lambda _: rows)


def detections_stage(job: Job, photos: Table[Photo], network: Network | None) -> Table[Detection]:
    """What the detector `network` found, or the user's own boxes."""
    found = job.seen.detections
    rows = [row for photo in photos.rows for row in found.get(photo.id, ())]
    if job.config.detect.has_boxes:
        key = key_of("boxes", VERSIONS["detect"], rows)
        return job.project.stage("detections", Detection, key, lambda _: rows)
    recipe = detection_recipe(job, network)
    shas = {p.id: p.sha256 for p in photos.rows if p.state is PhotoState.READABLE}
    sound = {name: sha for name, sha in shas.items() if name not in job.seen.unsound}
    key = key_of("detect", VERSIONS["detect"], recipe, shas)
    old = job.project.read("detections", Detection)
    if old is not None and old.key == key:
        return old
    meta = {"recipe": recipe, "photos": sound}
    return job.project.write("detections", Detection, rows, key, meta)


def detection_recipe(job: Job, network: Network | None) -> str:
    """Changes with anything that changes what the detector finds in given pixels.

    ``""`` where there is none, or where the user's own boxes take its place.
    """
    if network is None or job.config.detect.has_boxes:
        return ""
    card, engine = network.card, job.config.engine
    precision = precision_for(network.file, engine)
    return key_of("detector", VERSIONS["detect"], card.sha256, card.input.model_dump(),
                  card.classes, card.family, precision, FLOOR)  # fmt: skip


def crops_stage(job: Job, photos: Table[Photo], detections: Table[Detection]) -> Table[Crop]:
    """The close-ups that the pass has saved, and those of photos that have none.

    Files of close-ups that are no more are removed.
    """
    with job.timed("crop"):
        config, detect = job.config.crop, job.config.detect
        facts = [(p.id, p.label, p.state, p.reason, p.width, p.height, p.sha256)
                 for p in photos.rows]  # fmt: skip
        key = key_of("crop", VERSIONS["crop"], facts, detections.key, config.model_dump(),
                     detect.parent, detect.threshold, *_for_crops(job.decisions),
                     *(["labels"] if detect.labels_from == "boxes" else []))  # fmt: skip
        old = job.project.read("crops", Crop)
        whole = old is not None and {p.id for p in photos.rows} == {c.photo_id for c in old.rows}
        if old is not None and old.key == key and whole:
            return old
        by_photo = by_photo_id(detections.rows)
        rows = decided_crops(photos.rows, by_photo, config, detect, job.decisions)
        files = {crop.file: job.seen.files[crop.file] for crop in rows if crop.file}
        job.project.remove(sorted(set(_saved(old)) - files.keys()))
        return job.project.write("crops", Crop, rows, key, {"files": files})


def _for_crops(decisions: Current) -> list[object]:
    """What of the decisions changes close-ups; nothing where there is none, as for other keys."""
    verdicts = [(photo, name, v.label, v.rejected) for photo, mine in decisions.verdicts.items()
                for name, v in mine.items() if v.label or v.rejected]  # fmt: skip
    return [sorted(verdicts), decisions.boxes] if verdicts or decisions.boxes else []


def duplicates_stage(job: Job, photos: Table[Photo]) -> Table[Pair]:
    """Find the pairs of photos that show one picture; none where that is not asked for."""
    with job.timed("duplicates"):
        readable = [p for p in photos.rows if p.state is PhotoState.READABLE]
        wanted = job.config.split.near_duplicates
        seen = {p.id: p.sha256 for p in readable}
        key = key_of("duplicates", VERSIONS["duplicates"], seen if wanted else {}, wanted)

        def stored() -> Signatures:
            old = Signatures.read(job.project.place(SIGNATURES_FILE))
            known = signatures(readable, old, job.progress, job.seen.signatures)
            job.project.write_bytes(SIGNATURES_FILE, known.parts(), durable=False)  # a cache
            return known

        def find(_: object) -> list[Pair]:
            once = track([readable] if wanted else [], "duplicates", int(wanted), job.progress)
            return [pair for photos in once for pair in near_duplicates(photos, stored())]

        def fits(pairs: Sequence[Pair]) -> bool:
            return all(pair.a in seen and pair.b in seen for pair in pairs)

        table = job.project.stage("duplicates", Pair, key, find, fits)
        if wanted and job.seen.signatures:
            stored()  # the pairs are known, but the pass missed some: the file was damaged
        return table


def dataset_stage(
    job: Job, photos: Table[Photo], crops: Table[Crop], pairs: Table[Pair]
) -> Table[Example]:
    """Labels and groups -> leak-free splits; what the project's split holds stays where it is.

    The `meta` of the table holds ``split``, see :func:`closeup.dataset.kept.split_id`.
    """
    with job.timed("dataset"):
        decided = without_gone(job.decisions, photos.rows)
        together = decided_pairs([(pair.a, pair.b) for pair in pairs.rows], decided)
        grouping = group_photos(labelled(photos.rows, crops.rows), pairs=together)
        job.notes.extend(map(str, grouping.conflicts))
        left = [row.photo_id for row in read_suggested(job.project)]
        job.notes.extend(notes_on(job.decisions, photos.rows, crops.rows, left))
        facts = [(p.id, p.label, p.split, grouping.group_of[p.id]) for p in photos.rows]
        owners = {(crop.id, crop.photo_id) for crop in crops.rows}
        present = sorted({p.sha256 for p in photos.rows})

        def key_with(places: Mapping[str, Place]) -> str:
            return key_of("dataset", VERSIONS["dataset"], crops.key, facts,
                          job.config.split.model_dump(),
                          [places[sha] for sha in present if sha in places])  # fmt: skip

        split, draw = read_split(job.project), recipe(job.config.split, photos.rows)
        before = split
        if split is not None and (split.meta["draw"] != draw or job.new_split):
            split = None
        kept = {place.sha256: place for place in split.rows} if split else {}
        table = job.project.read("dataset", Example)
        if (
            split is None
            or table is None
            or table.key != key_with(kept)
            or {(e.crop_id, e.photo_id) for e in table.rows} != owners
        ):
            made = make_dataset(photos.rows, crops.rows, job.config.split, grouping.group_of, kept)
            key = key_with(kept | made.places)
            notes = [*note_on_draw(before, made.places)] if split is None else [*made.notes]
            # The split first: a run that is killed in between goes on with it.
            split = keep(job.project, draw, split, made.places, {key: notes} if notes else {})
            table = job.project.write("dataset", Example, made.rows, key, {"split": split.key})
        job.notes.extend(split.meta["notes"].get(table.key, ()))
        job.notes.extend(notes_on_rows(table.rows, photos.rows))
        sides = {side: {e.label for e in table.rows if e.split == side} for side in SIDES}
        if untested := sides["train"] - sides["test"]:
            job.notes.append(
                f"not tested, because nothing could be held out: {first_of(untested)}; "
                "more photos of them are needed"
            )
        return table


def embeddings_file(view: View, embedder: Embedder) -> str:
    """Where the embeddings of one view are kept, relative to the project."""
    return f"embeddings/{view}-{embedder.key[:16]}.safetensors"


def embeddings_stage(
    job: Job, photos: Table[Photo], crops: Sequence[Crop], backbone: Network, view: View
) -> tuple[Embeddings, str]:
    """The embeddings of `crops` (those with pixels) and the key of the way they were made.

    What neither the cache nor the pass has is computed: views of training photos alone, and what
    is compared, each timed by itself. Each `view` has a file of its own, which holds the crops of
    the last call.
    """
    with job.timed("embed"):
        embedder = Embedder(backbone, job.config.engine)
        name = embeddings_file(view, embedder)
        old = Embeddings.read(job.project.place(name))
        known = (old.as_mapping() if old else {}) | job.seen.vectors.get(name, {})
        by_id = {p.id: p for p in photos.rows}

        def progress(_: str, done: int, total: int) -> None:
            job.progress(f"embed {'covered' if view.covered else view.name}", done, total)

        new = embed_crops(by_id, crops, embedder, known, progress, view)
        if old is not None and not new.rate:
            new = replace(new, rate=old.rate)
        if old is None or old.keys != new.keys or new.rate != old.rate:
            job.project.write_bytes(name, new.to_bytes(), durable=False)  # it is a cache
        return new, key_of("look", 1, embedder.key, str(view))
