"""One pass over the photos: each is decoded once, and what is frozen is computed from it.

Decode, detect, crop and embed run at the same time, each a few photos ahead of the next, so that
memory does not grow with the number of photos. The stages stay what they are: they are handed what
the pass has seen as if an earlier run had left it, find nothing more to do, and write the tables.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from closeup.core.memory import keep_memory
from closeup.core.parallel import ordered_map
from closeup.core.progress import track
from closeup.core.types import (
    Crop,
    Detection,
    Floats,
    Photo,
    PhotoState,
)
from closeup.crops.cut import content_key, cut_out, encode_crop, saved_as, whole_photo
from closeup.dataset.duplicates import Signature, Signatures, signature_of
from closeup.decisions.apply import decided_crops
from closeup.detect import Detector
from closeup.detect.detector import Seen
from closeup.detect.stage import FLOOR, as_rows
from closeup.learn.embed import Embedder, Embeddings, all_of
from closeup.networks import Network
from closeup.networks.engine import Feeds, Graph, Results
from closeup.networks.preprocess import prepare
from closeup.photos.listing import Entry, known_photos, look
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture_again
from closeup.pipeline.resume import Kept, Unfinished
from closeup.pipeline.stages import (
    SIGNATURES_FILE,
    Harvest,
    Job,
    Look,
    detection_recipe,
    embeddings_file,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is computed of each photo: crops always, the rest as asked for.

    `detector` is None where the boxes are known already. `views` are what `backbone` looks at, none
    for no embeddings.
    """

    detector: Network | None = None
    backbone: Network | None = None
    views: tuple[str, ...] = ()
    signatures: bool = False


@dataclass(slots=True)
class _Item:
    """A photo on its way. What a graph needs or gave is dropped as soon as it is used."""

    photo: Photo
    picture: Picture | None = None
    looked: bool = False
    feed: Feeds | None = None
    seen: Seen | None = None
    outputs: Results = field(default_factory=dict)
    detections: list[Detection] | None = None
    signature: Signature | None = None
    files: dict[str, str] = field(default_factory=dict)
    inputs: list[list[tuple[str, Floats]]] = field(default_factory=list)


def one_pass(job: Job, entries: Sequence[Entry], wanted: Wanted) -> Harvest:
    """Look at every photo once, for all that is `wanted` and not known from an earlier run.

    Close-ups are saved on the way.

    Raises
    ------
    CloseupError
        As the stages do; what they had written before stays.
    """
    with job.timed("look"), keep_memory():
        recipe = detection_recipe(job, wanted.detector) if wanted.detector else ""
        unfinished = Unfinished(job.project, recipe)
        known = _Known.of(job, wanted, recipe, unfinished)
        harvest = Harvest(signatures=known.kept.signatures, vectors=known.kept.vectors)
        unfinished.begin(harvest)
        start = time.perf_counter()
        items = _stream(job, known, entries, harvest)
        for item in track(items, "look", len(entries), job.progress):
            harvest.photos.append(item.photo)
            harvest.files.update(item.files)
            harvest.fresh_files.extend(item.files)
            if item.detections is not None:
                harvest.detections[item.photo.id] = item.detections
            if item.signature is not None:
                harvest.signatures[item.photo.sha256] = item.signature
            if item.looked:
                unfinished.keep(harvest)
        harvest.rate = len(entries) / max(time.perf_counter() - start, 1e-9)
        return harvest


@dataclass(frozen=True, slots=True)
class _Known:
    """What earlier runs left, and the networks for the rest.

    `detections` holds those of photos whose bytes are ``shas[photo id]``; `files` says what each
    saved close-up shows.
    """

    photos: Mapping[Any, Photo]
    shas: Mapping[str, str]
    detections: Mapping[str, list[Detection]]
    signatures: frozenset[str] | None
    files: Mapping[str, str]
    detector: Detector | None
    embedder: Embedder | None
    looks: tuple[tuple[str, frozenset[str]], ...]
    views: tuple[str, ...]
    kept: Kept
    unfinished: Unfinished

    @classmethod
    def of(cls, job: Job, wanted: Wanted, recipe: str, unfinished: Unfinished) -> _Known:
        kept = unfinished.read()
        project, engine = job.project, job.config.engine
        photos = project.read("photos", Photo)
        old = project.read("detections", Detection)
        shas: Mapping[str, str] = {}
        by_photo: dict[str, list[Detection]] = {}
        if wanted.detector is None:
            shas = {photo.id: photo.sha256 for photo in (photos.rows if photos else ())}
        elif old is not None and old.meta.get("recipe") == recipe:
            shas = old.meta.get("photos", {})
        for row in old.rows if old is not None and shas else ():
            by_photo.setdefault(row.photo_id, []).append(row)
        if wanted.detector is not None:
            by_photo |= kept.detections
            shas = {**shas, **{p.id: p.sha256 for p in kept.photos if p.id in kept.detections}}
        crops = project.read("crops", Crop)
        signatures = None
        if wanted.signatures:
            stored = Signatures.read(project.place(SIGNATURES_FILE))
            signatures = frozenset(stored.keys if stored else ()) | kept.signatures.keys()
        embedder = Embedder(wanted.backbone, engine) if wanted.backbone else None
        looks = []
        for view in wanted.views if embedder else ():
            assert embedder is not None
            name = embeddings_file(Look(view), embedder)
            cached = Embeddings.read(project.place(name))
            mine = frozenset(cached.keys if cached else ()) | kept.vectors.get(name, {}).keys()
            looks.append((name, mine))
        return cls(
            known_photos([*(photos.rows if photos else ()), *kept.photos]),
            shas, by_photo, signatures,
            {**(crops.meta.get("files", {}) if crops else {}), **kept.files},
            Detector(wanted.detector, engine) if wanted.detector else None,
            embedder, tuple(looks), wanted.views, kept, unfinished,
        )  # fmt: skip


def _stream(job: Job, known: _Known, entries: Sequence[Entry], harvest: Harvest) -> Iterator[_Item]:
    """The photos in order, each done with when it comes."""
    items = ordered_map(lambda entry: _open(job, known, entry), entries)
    if known.detector is not None:
        items = _detected(known.detector, items)
    mark = _Once(lambda: _mark_unfinished(job, known))
    items = ordered_map(lambda item: _cut(job, known, item, mark), items)
    for place, (name, _) in enumerate(known.looks):
        assert known.embedder is not None
        items = _embedded(known.embedder, items, place, harvest.vectors.setdefault(name, {}))
    return items


def _open(job: Job, known: _Known, entry: Entry) -> _Item:
    """Read a photo as far as anything of it is not known."""
    photo, picture = look(entry, known.photos, job.config.photos.max_pixels)
    item = _Item(photo, picture)
    if photo.state is not PhotoState.READABLE:
        return item
    unsigned = known.signatures is not None and photo.sha256 not in known.signatures
    rows = None
    if known.shas.get(photo.id) == photo.sha256:
        rows = known.detections.get(photo.id, [])
        item.detections = rows
    if item.picture is None and (unsigned or rows is None or _todo(job, known, photo, rows)):
        item.picture = read_picture_again(photo)
    if item.picture is None:
        return item
    item.looked = True
    try:
        if unsigned:
            item.signature = signature_of(item.picture)
        if rows is None and known.detector is not None:
            item.feed, item.seen = known.detector.feed(item.picture)
    except MemoryError:
        reason = "there is not enough memory to turn the picture and to make it smaller"
        return _Item(replace(photo, state=PhotoState.UNREADABLE, code="too_large", reason=reason,
                             width=0, height=0, sha256=""))  # fmt: skip
    return item


def _todo(job: Job, known: _Known, photo: Photo, rows: Sequence[Detection]) -> bool:
    """Whether pixels are needed to save or embed the close-ups of a photo."""
    return any(
        not _is_saved(job, known, photo, crop) or any(_unknown(known, photo, crop))
        for crop in _crops_of(job, photo, rows)
    )


def _crops_of(job: Job, photo: Photo, rows: Sequence[Detection]) -> list[Crop]:
    config, detect = job.config.crop, job.config.detect
    found = decided_crops([photo], {photo.id: rows}, config, detect, job.decisions)
    return [crop for crop in found if crop.file]


def _is_saved(job: Job, known: _Known, photo: Photo, crop: Crop) -> bool:
    what = saved_as(photo, crop, job.config.crop.quality)
    return known.files.get(crop.file) == what and (job.project.folder / crop.file).is_file()


def _unknown(known: _Known, photo: Photo, crop: Crop) -> list[str | None]:
    """For each look, the content key of what is to be embedded; None where that is known."""
    found: list[str | None] = []
    for (_, keys), view in zip(known.looks, known.views, strict=False):
        seen = crop if view == "closeup" else whole_photo(photo, crop)
        key = content_key(photo, seen)
        found.append(None if key in keys else key)
    return found


def _cut(job: Job, known: _Known, item: _Item, mark: Callable[[], None]) -> _Item:
    """Read what the detector gave; cut, save and prepare the close-ups."""
    photo, picture = item.photo, item.picture
    if item.seen is not None and known.detector is not None:
        found = known.detector.read(item.outputs, item.seen, FLOOR)
        item.detections = as_rows(photo.id, found)
        item.outputs, item.seen = {}, None
    item.inputs = [[] for _ in known.looks]
    if item.detections is None:
        return item
    quality = job.config.crop.quality
    for crop in _crops_of(job, photo, item.detections):
        closeup = None
        if not _is_saved(job, known, photo, crop):
            assert picture is not None
            mark()
            closeup = cut_out(picture, crop.window, crop.side)
            job.project.write_bytes(crop.file, encode_crop(closeup, quality), durable=False)
        item.files[crop.file] = saved_as(photo, crop, quality)
        todo = zip(known.views, item.inputs, _unknown(known, photo, crop), strict=False)
        for view, inputs, key in todo:
            if key is not None and key not in {known_key for known_key, _ in inputs}:
                assert picture is not None
                assert known.embedder is not None
                spec = known.embedder.card.input
                if view == "closeup":
                    seen = closeup or cut_out(picture, crop.window, crop.side)
                else:
                    seen = all_of(picture, spec)
                inputs.append((key, prepare(seen, spec)[0]))
    item.picture = None
    return item


class _Once:
    """Calls a function the first time it is called, and has whoever comes meanwhile wait."""

    def __init__(self, function: Callable[[], None]) -> None:
        import threading

        self._function = function
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        with self._lock:
            if not self._done:
                self._function()
                self._done = True


def _mark_unfinished(job: Job, known: _Known) -> None:
    """Say that the saved close-ups are about to change.

    After a kill, only those are taken for current that have not been written since.
    """
    old = job.project.read("crops", Crop)
    if old is not None:
        known.unfinished.keep_files(known.files)
        ours = {crop.file for crop in old.rows if crop.file} | set(old.meta.get("stale", ()))
        job.project.write("crops", Crop, old.rows, "unfinished", {"stale": sorted(ours)})


def _through(
    graph: Callable[[], Graph],
    items: Iterable[_Item],
    feeds_of: Callable[[_Item], Sequence[tuple[str, Feeds]]],
    take: Callable[[_Item, str, Results], None],
) -> Iterator[_Item]:
    """The items in order, after `take` has had what the graph gave for each of their feeds.

    A feed has a name. The graph is opened when the first one comes.
    """
    waiting: deque[tuple[_Item, str, bool]] = deque()
    rest = iter(items)

    def feeds(item: _Item, named: Sequence[tuple[str, Feeds]]) -> Iterator[Feeds | None]:
        while True:
            for number, (name, feed) in enumerate(named, 1):
                waiting.append((item, name, number == len(named)))
                yield feed
            if not named:
                waiting.append((item, "", True))
                yield None
            following = next(rest, None)
            if following is None:
                return
            item, named = following, feeds_of(following)

    for item in rest:
        named = feeds_of(item)
        if not named:
            yield item
            continue
        for outputs in graph().stream(feeds(item, named)):
            done, name, is_last = waiting.popleft()
            if outputs:
                take(done, name, outputs)
            if is_last:
                yield done


def _detected(detector: Detector, items: Iterable[_Item]) -> Iterator[_Item]:
    """The items with what the detector gave for those that are to be looked at."""

    def feeds_of(item: _Item) -> Sequence[tuple[str, Feeds]]:
        feed, item.feed = item.feed, None
        return [] if feed is None else [("photo", feed)]

    def take(item: _Item, _: str, outputs: Results) -> None:
        item.outputs = outputs

    return _through(lambda: detector.graph, items, feeds_of, take)


def _embedded(
    embedder: Embedder, items: Iterable[_Item], place: int, vectors: dict[str, Floats]
) -> Iterator[_Item]:
    """The items, their close-ups of one look embedded into `vectors`."""

    def feeds_of(item: _Item) -> Sequence[tuple[str, Feeds]]:
        inputs = item.inputs[place] if item.inputs else []
        feeds = [(key, embedder.feed(values)) for key, values in inputs]
        inputs.clear()
        return feeds

    def take(_: _Item, key: str, outputs: Results) -> None:
        vectors[key] = embedder.read(outputs)

    return _through(lambda: embedder.graph, items, feeds_of, take)
