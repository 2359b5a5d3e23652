"""The close-ups with what people have decided so far: listed, filtered, sorted, in pages."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from closeup.core.types import Crop, CropState
from closeup.decisions import (
    Current,
    Decision,
    Decisions,
    Kind,
    Row,
    Verdict,
    current,
    last_batch,
)
from closeup.decisions.apply import decided_crops
from closeup.decisions.log import Appended
from closeup.web.review.catalogue import (
    UNKNOWN,
    Catalogue,
    Fact,
    read_catalogue,
    stamp_of,
)

PAGE = 60
LOW_SCORE = 0.5


@dataclass(frozen=True, slots=True)
class Item:
    """One tile: a close-up as it would be cut now, and what is known of it.

    Attributes
    ----------
    path, given
        Of its photo: where it lies, and the label that it has by itself.
    own
        Whether the photo's boxes are a person's.
    seen
        The number of the last decision about the photo, 0 for none.
    score, side
        As Closeup found it by itself: what is sorted by must not change by deciding.
    """

    crop: Crop
    path: str
    given: str
    fact: Fact
    verdict: Verdict
    own: bool
    seen: int
    score: float
    side: int
    order: int

    @property
    def decided(self) -> bool:
        """Whether a person has said anything that still holds of it."""
        return self.own or self.verdict != Verdict()

    @property
    def doubted(self) -> bool:
        """Whether its label is a suspect that nobody has looked at."""
        settled = self.verdict.accepted or self.verdict.label or self.verdict.rejected
        return self.fact.suspicion > 0 and not settled


SORTS: Mapping[str, tuple[str, Callable[[Item], tuple[object, ...]]]] = {
    "photo": ("by photo", lambda i: (i.order,)),
    "label": ("by label", lambda i: (i.given, i.order)),
    "suspicion": ("most doubtful label", lambda i: (-i.fact.suspicion, i.order)),
    "mistake": (
        "surest mistake",
        lambda i: (-i.fact.confidence if i.fact.mistaken else 1.0, i.order),
    ),
    "score": ("least sure box", lambda i: (i.score, i.order)),
    "surest": ("surest box", lambda i: (-i.score, i.order)),
    "small": ("smallest", lambda i: (i.side, i.order)),
    "large": ("largest", lambda i: (-i.side, i.order)),
}
"""By name: what people read, and the key. None may change by deciding: pages would skip rows."""

STATES: Mapping[str, str] = {
    "": "any state", "found": "object found", "not_found": "nothing found",
    "rejected": "rejected", "unreadable": "unreadable",
}  # fmt: skip
ONLY: Mapping[str, str] = {
    "": "all of them", "doubted": "doubtful labels", "mistakes": "mistakes on the test part",
    "unsure": "unsure boxes", "open": "not decided", "decided": "decided",
    "left": "left out of training and test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """What is to be shown, all of it from the address; unknown words count as not given."""

    state: str = ""
    only: str = ""
    label: str = ""
    words: str = ""
    sort: str = "photo"

    def admits(self, item: Item) -> bool:
        """Whether the item is to be shown."""
        crop, fact = item.crop, item.fact
        state = "found" if crop.state is CropState.CROPPED else str(crop.state)
        if self.state in STATES and self.state and state != self.state:
            return False
        if self.label and self.label not in (crop.label, item.given):
            return False
        if self.words and _folded(self.words) not in _folded(item.path):
            return False
        return {
            "doubted": fact.suspicion > 0,
            "mistakes": fact.mistaken,
            "unsure": 0 < item.score < LOW_SCORE,
            "open": not item.decided,
            "decided": item.decided,
            "left": not fact.part and bool(fact.reason),
        }.get(self.only, True)


def _folded(text: str) -> str:
    """For searching: letter case aside, and whether accents are characters of their own."""
    return unicodedata.normalize("NFKC", text).casefold()


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: how many there are in all, and the id to go on after, ``""`` at the end."""

    items: tuple[Item, ...]
    total: int
    after: str


@dataclass(slots=True)
class _Now:
    """What holds at one moment."""

    catalogue: Catalogue
    decisions: Current
    rows: Sequence[Row]
    items: dict[str, tuple[Item, ...]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)


class ReviewSession:
    """A project under review, for any number of threads.

    Tables that another run of Closeup rewrote, and decisions of other processes, are seen at once.

    Raises
    ------
    ProjectError
        From every method: where the project or its log cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Decisions(folder)
        self._lock = threading.RLock()
        rows = self.log.rows()
        self._now = _Now(read_catalogue(folder), current(rows), rows)
        self._refresh(self._now.catalogue.photos)

    def now(self) -> _Now:
        """What holds now; what it holds is replaced, never changed, when people decide."""
        with self._lock:
            if stamp_of(self.folder) != self._now.catalogue.stamp:
                catalogue = read_catalogue(self.folder)
                self._now = _Now(catalogue, self._now.decisions, self._now.rows)
                self._note(self.log.rows())
                self._refresh(catalogue.photos)
                return self._now
            rows, before = self.log.rows(), self._now.rows
            if before and rows[len(before) - 1 : len(before)] != [before[-1]]:
                self._note(rows)  # another log is in its place
                self._refresh(self._now.catalogue.photos)
            elif len(rows) != len(before):
                new = rows[len(self._now.rows) :]
                self._note(rows)
                self._refresh({name for row in new for name in _about(row.decision)})
            return self._now

    def decide(self, who: str, decisions: Iterable[Decision], seen: Mapping[str, int]) -> Appended:
        """Write decisions; those about photos on which others decided meanwhile are not written.

        Raises
        ------
        UsageError
            Where one of them is not in order.
        """
        return self.log.append(who, decisions, seen)

    def undo(self, who: str, numbers: Sequence[int] = ()) -> Appended:
        """Take back these rows, or what `who` decided last; nothing where there is no such.

        Raises
        ------
        UsageError
            Where there is no row of such a number.
        """
        if not numbers:
            numbers = [row.number for row in last_batch(self.log.rows(), who)]
        return self.log.undo(who, numbers) if numbers else Appended((), frozenset())

    def page(self, filters: Filter, after: str = "", at: str = "", size: int = PAGE) -> Page:
        """The items that follow the item `after`, or begin with `at`, whether or not it is shown.

        Where `after` is gone, as a box was drawn anew, those of its photo that are left stand for
        it, if they are its neighbours in this order. Otherwise an unknown `after` or `at` begins at
        the beginning.
        """
        now = self.now()
        key = SORTS.get(filters.sort, SORTS["photo"])[1]
        every = sorted((item for mine in now.items.values() for item in mine), key=key)
        start = 0
        if after or at:
            places = {item.crop.id: place for place, item in enumerate(every)}
            beside = filters.sort in ("photo", "label", "")  # a photo's close-ups are neighbours
            start = places.get(at, 0)
            if after:
                start = _past(places, now.items if beside else {}, after)
        shown: list[Item] = []
        total, more = 0, False
        for place, item in enumerate(every):
            if not filters.admits(item):
                continue
            total += 1
            if place >= start:
                more = len(shown) == size
                if not more:
                    shown.append(item)
                elif after:
                    break
        return Page(tuple(shown), total, shown[-1].crop.id if more else "")

    def find(self, crop_id: str) -> Item | None:
        """The item of a close-up."""
        now = self.now()
        photo = crop_id if crop_id in now.items else crop_id.rpartition("-")[0]
        mine = now.items.get(photo, ())
        return next((item for item in mine if item.crop.id == crop_id), None)

    def labels(self) -> list[str]:
        """Every label there is, given by folders or by people, sorted."""
        now = self.now()
        found = {item.crop.label for mine in now.items.values() for item in mine}
        return sorted((found | {p.label for p in now.catalogue.photos.values()}) - {""})

    def _note(self, rows: Sequence[Row]) -> None:
        before = self._now
        self._now = _Now(before.catalogue, current(rows), rows, dict(before.items), {})

    def _refresh(self, photos: Iterable[str]) -> None:
        now = self._now
        for row in now.rows:
            for name in _about(row.decision):
                now.seen[name] = row.number
        orders = {name: place for place, name in enumerate(now.catalogue.photos)}
        for name in photos:
            if name in orders:
                now.items[name] = _items(now, name, orders[name])


def _past(places: Mapping[str, int], items: Mapping[str, Sequence[Item]], crop_id: str) -> int:
    """The place behind a close-up, or behind those of its photo where it is gone."""
    if crop_id in places:
        return places[crop_id] + 1
    mine = items.get(crop_id, ()) or items.get(crop_id.rpartition("-")[0], ())
    return max((places[item.crop.id] + 1 for item in mine), default=0)


def _about(decision: Decision) -> tuple[str, ...]:
    return (decision.photo, decision.other) if decision.other else (decision.photo,)


def _items(now: _Now, name: str, order: int) -> tuple[Item, ...]:
    """The tiles of one photo."""
    catalogue = now.catalogue
    photo, config = catalogue.photos[name], catalogue.config
    found = {crop.id: crop for crop in catalogue.found.get(name, ())}
    crops: Iterable[Crop] = found.values()
    if name in now.decisions.boxes or name in now.decisions.verdicts:
        crops = decided_crops([photo], catalogue.detections, config.crop, config.detect,
                              now.decisions)  # fmt: skip
    items = []
    for crop in crops:
        base = found.get(crop.id, crop)
        items.append(Item(
            crop, photo.path, photo.label, catalogue.facts.get(crop.id, UNKNOWN),
            now.decisions.verdict(name, crop.id), name in now.decisions.boxes,
            now.seen.get(name, 0), base.score, base.side, order,
        ))  # fmt: skip
    return tuple(items)


def counts_of(items: Iterable[Item]) -> dict[str, int]:
    """How many there are to look at, for the pages' names."""
    every = list(items)
    return {
        "all": len(every),
        "not_found": sum(i.crop.state is CropState.NOT_FOUND and not i.decided for i in every),
        "doubted": sum(i.doubted for i in every),
        "mistakes": sum(i.fact.mistaken and not i.decided for i in every),
        "unsure": sum(0 < i.score < LOW_SCORE and not i.decided for i in every),
    }


__all__ = [
    "ONLY",
    "PAGE",
    "SORTS",
    "STATES",
    "Filter",
    "Item",
    "Kind",
    "Page",
    "ReviewSession",
    "counts_of",
]
