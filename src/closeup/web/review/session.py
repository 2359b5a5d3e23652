"""The close-ups with what people have decided so far: listed, filtered, sorted, in pages."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from closeup.core.types import Crop, CropState
from closeup.decisions.apply import decided_crops
from closeup.decisions.fold import Current, Verdict, current, last_batch
from closeup.decisions.kinds import Decision, Row
from closeup.decisions.log import Appended, Decisions
from closeup.web.refusal import Refusal
from closeup.web.review.data import NOT_TRAINED, ProjectData, TrainingInfo, read_data, stamp_of

PAGE = 60
LOW_SCORE = 0.5


@dataclass(frozen=True, slots=True)
class Item:
    """One tile: a close-up as it would be cut now, and what is known about it and its photo.

    `own_label` is the label from before any decision; `boxes_decided` whether a person drew or
    chose the photo's boxes; `seen` the number of the last decision about the photo, 0 for none;
    `order` the photo's position in the project. `score` and `side` are as Closeup found them by
    itself: a decision must not change the order of the tiles. `waiting`: whether its photo was
    suggested for labelling and is no photo of the project yet.
    """

    crop: Crop
    path: str
    own_label: str
    training: TrainingInfo
    verdict: Verdict
    boxes_decided: bool
    seen: int
    score: float
    side: int
    order: int
    waiting: bool = False

    @property
    def decided(self) -> bool:
        """Whether any active decision is about it."""
        return self.boxes_decided or self.verdict != Verdict()

    @property
    def has_label_issue(self) -> bool:
        """Whether its label may be wrong and nobody has checked it."""
        checked = self.verdict.accepted or self.verdict.label or self.verdict.rejected
        return self.training.issue_score > 0 and not checked

    @property
    def has_low_score(self) -> bool:
        """Whether the detector was unsure of the box."""
        return 0 < self.score < LOW_SCORE

    @property
    def suggested(self) -> str:
        """Another label to consider, ``""`` for none."""
        if self.has_label_issue:
            return self.training.suggested
        return self.training.answer if self.training.misclassified else ""


SORTS: Mapping[str, tuple[str, Callable[[Item], tuple[object, ...]]]] = {
    "photo": ("photo", lambda i: (i.order,)),
    "label": ("label", lambda i: (i.own_label, i.order)),
    "suspicion": ("most likely label issue", lambda i: (-i.training.issue_score, i.order)),
    "mistake": (
        "most confident mistake",
        lambda i: (-i.training.confidence if i.training.misclassified else 1.0, i.order),
    ),
    "score": ("lowest box score", lambda i: (i.score, i.order)),
    "surest": ("highest box score", lambda i: (-i.score, i.order)),
    "small": ("smallest", lambda i: (i.side, i.order)),
    "large": ("largest", lambda i: (-i.side, i.order)),
}
"""By name: what people read, and the key. None may depend on decisions: pages would skip rows."""

STATES: Mapping[str, str] = {
    "": "any state", "found": "object found", "not_found": "no object found",
    "rejected": "rejected", "unreadable": "unreadable",
}  # fmt: skip
ONLY: Mapping[str, str] = {
    "": "all", "doubted": "label issues", "mistakes": "test-set mistakes",
    "unsure": "low-score boxes", "open": "undecided", "decided": "decided",
    "left": "not used", "suggested": "suggested photos",
}  # fmt: skip


Text = Annotated[str, Field(max_length=1000)]


class Filter(BaseModel):
    """Which tiles to show, as query parameters; unknown values count as not given.

    The list continues after the close-up `after`, or starts at `at`, whether or not it is shown.
    """

    state: Text = ""
    only: Text = ""
    label: Text = ""
    words: Annotated[Text, StringConstraints(strip_whitespace=True)] = ""
    sort: Text = "photo"
    after: Text = ""
    at: Text = ""

    def admits(self, item: Item) -> bool:
        """Whether the item is to be shown."""
        crop, training = item.crop, item.training
        if item.waiting != (self.only == "suggested"):
            return False
        state = "found" if crop.state is CropState.CROPPED else str(crop.state)
        if self.state in STATES and self.state and state != self.state:
            return False
        if self.label and self.label not in (crop.label, item.own_label):
            return False
        if self.words and _folded(self.words) not in _folded(item.path):
            return False
        return {
            "doubted": training.issue_score > 0,
            "mistakes": training.misclassified,
            "unsure": item.has_low_score,
            "open": not item.decided,
            "decided": item.decided,
            "left": not training.split and bool(training.reason),
        }.get(self.only, True)


def _folded(text: str) -> str:
    """For searching: ignores case and whether accents are characters of their own."""
    return unicodedata.normalize("NFKC", text).casefold()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list of `total` items; the next part follows the id `after`, ``""`` at the end."""

    items: tuple[Item, ...]
    total: int
    after: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The project and its decisions at one moment; `items` and `seen` are by photo id."""

    data: ProjectData
    decisions: Current
    rows: Sequence[Row]
    items: dict[str, tuple[Item, ...]]
    seen: Mapping[str, int]

    @property
    def all_items(self) -> list[Item]:
        """The items of all photos."""
        return [item for mine in self.items.values() for item in mine]


class ReviewSession:
    """A project under review, for any number of threads.

    Tables that another run of Closeup rewrote, and decisions of other processes, are seen at once.

    Raises
    ------
    ProjectError
        From every method: if the project or its log cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Decisions(folder)
        self._lock = threading.RLock()
        self._now = _snapshot(read_data(folder), self.log.rows())

    def snapshot(self) -> Snapshot:
        """The present state; later decisions replace what it holds, and never change it."""
        with self._lock:
            rows, before = self.log.rows(), self._now
            known = len(before.rows)
            if stamp_of(self.folder) != before.data.stamp:
                self._now = _snapshot(read_data(self.folder), rows)
            elif known and rows[known - 1 : known] != [before.rows[-1]]:
                self._now = _snapshot(before.data, rows)  # another log has taken its place
            elif len(rows) != known:
                self._now = _snapshot(before.data, rows, before)
            return self._now

    def undo(self, who: str, numbers: Sequence[int] = ()) -> Appended:
        """Undo these decisions (UsageError if there is none), or the last ones of `who`, if any."""
        if not numbers:
            numbers = [row.number for row in last_batch(self.log.rows(), who)]
        return self.log.undo(who, numbers) if numbers else Appended((), frozenset())

    def page(self, filters: Filter, size: int = PAGE) -> Page:
        """The next `size` items that `filters` asks for.

        If `after` no longer exists because a box was redrawn, the remaining close-ups of its photo
        take its place, provided that they are neighbours in this order. Any other unknown `after`
        or `at` starts at the beginning.
        """
        now, after = self.snapshot(), filters.after
        every = sorted(now.all_items, key=SORTS.get(filters.sort, SORTS["photo"])[1])
        start = 0
        if after or filters.at:
            places = {item.crop.id: place for place, item in enumerate(every)}
            beside = filters.sort in ("photo", "label", "")  # a photo's close-ups are neighbours
            start = places.get(filters.at, 0)
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

    def item(self, crop_id: str) -> Item:
        """The item of a close-up; a 404 Refusal if there is none."""
        items = self.snapshot().items
        mine = items.get(crop_id) or items.get(crop_id.rpartition("-")[0], ())
        for item in mine:
            if item.crop.id == crop_id:
                return item
        raise Refusal(404, "gone", f"close-up {crop_id} no longer exists; reload the page")

    def batches(self) -> list[tuple[Item, ...]]:
        """The suggested photos that wait for a label, in groups of look-alikes."""
        now = self.snapshot()
        found: dict[int, list[Item]] = {}
        for name, row in now.data.waiting.items():
            found.setdefault(row.group, []).extend(now.items[name][:1])
        groups = [tuple(found[number]) for number in sorted(found)]
        return [group for group in groups if not all(item.decided for item in group)]

    def labels(self) -> list[str]:
        """All labels, from folders and from people, sorted."""
        now = self.snapshot()
        found = {item.crop.label for item in now.all_items}
        return sorted((found | {p.label for p in now.data.photos.values()}) - {""})


def _snapshot(data: ProjectData, rows: Sequence[Row], before: Snapshot | None = None) -> Snapshot:
    """The state after `rows`; what new rows do not concern is copied from `before`."""
    seen = {name: row.number for row in rows for name in _photos_of(row.decision)}
    now = Snapshot(data, current(rows), rows, dict(before.items) if before else {}, seen)
    new = rows[len(before.rows) :] if before else ()
    changed = {name for row in new for name in _photos_of(row.decision)}
    for order, name in enumerate(data.photos):
        if before is None or name in changed:
            now.items[name] = _items(now, name, order)
    return now


def _past(places: Mapping[str, int], items: Mapping[str, Sequence[Item]], crop_id: str) -> int:
    """The position after a close-up, or after the rest of its photo if it no longer exists."""
    if crop_id in places:
        return places[crop_id] + 1
    mine = items.get(crop_id, ()) or items.get(crop_id.rpartition("-")[0], ())
    return max((places[item.crop.id] + 1 for item in mine), default=0)


def _photos_of(decision: Decision) -> tuple[str, ...]:
    return (decision.photo, decision.other) if decision.other else (decision.photo,)


def _items(now: Snapshot, name: str, order: int) -> tuple[Item, ...]:
    """The items of one photo."""
    data, decisions = now.data, now.decisions
    photo, config = data.photos[name], data.config
    found = {crop.id: crop for crop in data.found.get(name, ())}
    crops: Iterable[Crop] = found.values()
    if name in decisions.boxes or name in decisions.verdicts:
        crops = decided_crops([photo], data.detections, config.crop, config.detect, decisions)
    items = []
    for crop in crops:
        base = found.get(crop.id, crop)
        items.append(Item(
            crop, photo.path, photo.label or base.label, data.training.get(crop.id, NOT_TRAINED),
            decisions.verdict(name, crop.id), name in decisions.boxes,
            now.seen.get(name, 0), base.score, base.side, order, name in data.waiting,
        ))  # fmt: skip
    return tuple(items)


def counts_of(items: Iterable[Item]) -> dict[str, int]:
    """How many close-ups each page has for review; the keys are those of :data:`ONLY`."""
    together = list(items)
    every = [item for item in together if not item.waiting]
    return {
        "suggested": sum(item.waiting and not item.decided for item in together),
        "all": len(every),
        "not_found": sum(i.crop.state is CropState.NOT_FOUND and not i.decided for i in every),
        "doubted": sum(i.has_label_issue for i in every),
        "mistakes": sum(i.training.misclassified and not i.decided for i in every),
        "unsure": sum(i.has_low_score and not i.decided for i in every),
    }
