"""One pass over the photos: each is decoded once, and what is frozen is computed from it.

Decode, detect, crop and embed run at the same time, each a few photos ahead of the next, so memory
does not grow with the number of photos. This is the only way in which a project's photos are read;
the stages (:mod:`closeup.pipeline.stages`) turn what the pass has seen into tables.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from closeup.core.parallel import ordered_map
from closeup.core.types import Crop, Detection, Floats, Photo, PhotoState
from closeup.crops.cut import cut_out, encode_crop, saved_as
from closeup.crops.view import View
from closeup.dataset.duplicates import Signature, signature_of
from closeup.detect import Detector
from closeup.detect.detector import FLOOR, Seen, as_rows
from closeup.learn.embed import Embedder
from closeup.networks.engine import Feeds, Graph, Results
from closeup.networks.preprocess import prepare
from closeup.photos.listing import Entry, look, unchanged
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture_again


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier runs left, so that a pass need not compute it again.

    - `photos`: as :func:`closeup.photos.listing.known_photos` gives them
    - `detections`: by photo id and sha256
    - `signatures`: sha256 of the photos that have one
    - `files`: name of each saved close-up -> what it shows, see :func:`closeup.crops.cut.saved_as`
    - `vectors`: name of each embeddings file -> the content keys in it
    """

    photos: Mapping[Any, Photo] = field(default_factory=dict)
    detections: Mapping[tuple[str, str], list[Detection]] = field(default_factory=dict)
    signatures: Collection[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, Collection[str]] = field(default_factory=dict)

    def photo(self, entry: Entry) -> Photo | None:
        """The row of a file that has not changed since; None of any other."""
        return unchanged(entry, self.photos)


@dataclass(frozen=True, slots=True)
class Steps:
    """What a pass does with each photo beside reading it.

    - `boxes`: the user's own boxes of a photo; they take the place of `detector`
    - `crops_of`: the close-ups with pixels of a photo, from its detections
    - `is_there`, `save`: whether a close-up's file exists; write its JPEG, of the given quality.
      Where `saves` is False no close-up is
    - `embedder`, `views`: the backbone, and for each of its views the name of the embeddings file
    - `look`: what reads a photo, as :func:`closeup.photos.listing.look` does
    """

    max_pixels: int
    detector: Detector | None = None
    boxes: Callable[[Photo], list[Detection]] | None = None
    sign: bool = False
    crops_of: Callable[[Photo, Sequence[Detection]], list[Crop]] = lambda *_: []
    is_there: Callable[[str], bool] = lambda _: False
    save: Callable[[str, bytes], object] = lambda *_: None
    saves: bool = True
    quality: int = 95
    embedder: Embedder | None = None
    views: Mapping[str, View] = field(default_factory=dict)
    look: Callable[[Entry, Mapping[Any, Photo], int], tuple[Photo, Picture | None]] = look


@dataclass(slots=True)
class Item:
    """A photo on its way. What a graph needs or gave is dropped as soon as it is used.

    `is_new` tells whether anything was computed from its pixels, and `feeds` holds what each graph
    is to be given: the detector's under ``""``, the backbone's under the embeddings files' names.
    `is_sound` is False where the detector gave values that are not finite numbers.
    """

    photo: Photo
    picture: Picture | None = None
    is_new: bool = False
    signature: Signature | None = None
    detections: list[Detection] | None = None
    is_sound: bool = True
    files: dict[str, str] = field(default_factory=dict)
    seen: Seen | None = None
    outputs: Results = field(default_factory=dict)
    feeds: dict[str, list[tuple[str, Feeds]]] = field(default_factory=dict)


def look_at(
    entries: Iterable[Entry], known: Known, steps: Steps, vectors: Mapping[str, dict[str, Floats]]
) -> Iterator[Item]:
    """The photos in order, each finished when it comes; only what is not `known` is computed.

    - `vectors`: by name of the embeddings file: the new embeddings are added, by content key

    Raises CloseupError where a network fails or a close-up cannot be saved.
    """
    items: Iterator[Item] = ordered_map(lambda entry: _open(entry, known, steps), entries)
    if steps.detector is not None:
        items = _detected(steps.detector, items)
    items = ordered_map(lambda item: _cut(item, known, steps), items)
    for name in steps.views:
        assert steps.embedder is not None
        items = _embedded(steps.embedder, items, name, vectors[name])
    return items


def _open(entry: Entry, known: Known, steps: Steps) -> Item:
    """Read a photo as far as anything of it is not known."""
    photo, picture = steps.look(entry, known.photos, steps.max_pixels)
    item = Item(photo, picture)
    if photo.state is not PhotoState.READABLE:
        return item
    unsigned = steps.sign and photo.sha256 not in known.signatures
    if steps.boxes is not None:
        item.detections = steps.boxes(photo)
    elif steps.detector is not None:
        item.detections = known.detections.get((photo.id, photo.sha256))
    undetected = steps.detector is not None and item.detections is None
    if item.picture is None and (unsigned or undetected or is_work_left(item, known, steps)):
        item.picture = read_picture_again(photo)
    if item.picture is None:
        return item
    item.is_new = True
    try:
        if unsigned:
            item.signature = signature_of(item.picture)
        if undetected and steps.detector is not None:
            feed, item.seen = steps.detector.feed(item.picture)
            item.feeds[""] = [("", feed)]
    except MemoryError:
        reason = "there is not enough memory to turn the picture and to make it smaller"
        return Item(replace(photo, state=PhotoState.UNREADABLE, code="too_large", reason=reason,
                            width=0, height=0, sha256=""))  # fmt: skip
    return item


def is_work_left(item: Item, known: Known, steps: Steps) -> bool:
    """Whether pixels are needed to save or embed the photo's close-ups."""
    return any(
        not _is_saved(item.photo, crop, known, steps)
        or any(
            view.key(item.photo, crop) not in known.vectors[name]
            for name, view in steps.views.items()
        )
        for crop in steps.crops_of(item.photo, item.detections or ())
    )


def _is_saved(photo: Photo, crop: Crop, known: Known, steps: Steps) -> bool:
    if not steps.saves:
        return True
    what = saved_as(photo, crop, steps.quality)
    return known.files.get(crop.file) == what and steps.is_there(crop.file)


def _cut(item: Item, known: Known, steps: Steps) -> Item:
    """Read what the detector gave; cut, save and prepare the close-ups."""
    photo, picture = item.photo, item.picture
    if item.seen is not None and steps.detector is not None:
        found = steps.detector.read(item.outputs, item.seen, FLOOR)
        item.detections = as_rows(photo.id, found)
        item.is_sound = steps.detector.is_sound(item.outputs)
        item.outputs, item.seen = {}, None
    if item.detections is None:
        return item
    inputs: dict[str, dict[str, Feeds]] = {name: {} for name in steps.views}
    for crop in steps.crops_of(photo, item.detections):
        closeup = None
        if not _is_saved(photo, crop, known, steps):
            assert picture is not None
            closeup = cut_out(picture, crop.window, crop.side)
            steps.save(crop.file, encode_crop(closeup, steps.quality))
        if steps.saves:
            item.files[crop.file] = saved_as(photo, crop, steps.quality)
        for name, view in steps.views.items():
            key = view.key(photo, crop)
            if key in known.vectors[name] or key in inputs[name]:
                continue
            assert picture is not None
            assert steps.embedder is not None
            spec = steps.embedder.card.input
            plain = closeup if view == View() else None
            shown = plain or view.show(picture, crop, spec)
            inputs[name][key] = steps.embedder.feed(prepare(shown, spec)[0])
    item.feeds = {name: list(feeds.items()) for name, feeds in inputs.items()}
    item.picture = None
    return item


class Once:
    """Calls a function the first time it is called, and has whoever comes meanwhile wait."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        with self._lock:
            if not self._done:
                self._function()
                self._done = True


def _through(
    graph: Callable[[], Graph],
    items: Iterable[Item],
    name: str,
    take: Callable[[Item, str, Results], None],
) -> Iterator[Item]:
    """The items in order, after `take` has had what the graph gave for each of their feeds."""
    waiting: deque[tuple[Item, str, bool]] = deque()
    rest = iter(items)

    def feeds(item: Item, keyed: Sequence[tuple[str, Feeds]]) -> Iterator[Feeds | None]:
        while True:
            for number, (key, feed) in enumerate(keyed, 1):
                waiting.append((item, key, number == len(keyed)))
                yield feed
            if not keyed:
                waiting.append((item, "", True))
                yield None
            following = next(rest, None)
            if following is None:
                return
            item, keyed = following, following.feeds.pop(name, ())

    for item in rest:
        keyed = item.feeds.pop(name, ())
        if not keyed:
            yield item
            continue
        for outputs in graph().stream(feeds(item, keyed)):
            done, key, is_last = waiting.popleft()
            if outputs:
                take(done, key, outputs)
            if is_last:
                yield done


def _detected(detector: Detector, items: Iterable[Item]) -> Iterator[Item]:
    """The items with what the detector gave for those that it is to look at."""

    def take(item: Item, _: str, outputs: Results) -> None:
        item.outputs = outputs

    return _through(lambda: detector.graph, items, "", take)


def _embedded(
    embedder: Embedder, items: Iterable[Item], name: str, vectors: dict[str, Floats]
) -> Iterator[Item]:
    """The items, their close-ups of one view embedded into `vectors`."""

    def take(_: Item, key: str, outputs: Results) -> None:
        vectors[key] = embedder.read(outputs)

    return _through(lambda: embedder.graph, items, name, take)
