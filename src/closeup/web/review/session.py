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
    itself, and `missed` whether it found nothing: a decision must not change the order of the
    tiles, or which of them a list has. `waiting`: whether its photo was suggested for labelling and
    is no photo of the project yet. `collected`: whether it was fetched from an address; `copied`:
    whether another photo shows the same picture.
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
    missed: bool
    waiting: bool = False
    collected: bool = False
    copied: bool = False

    @property
    def decided(self) -> bool:
        """Whether any active decision is about it."""
        return self.boxes_decided or self.verdict != Verdict()

    @property
    def has_label_issue(self) -> bool:
        """Whether its label may be wrong and nobody has checked it."""
        emptied = self.boxes_decided and self.crop.state is CropState.NOT_FOUND
        return self.training.issue_score > 0 and not (
            self.verdict.accepted or self.verdict.label or self.verdict.rejected or emptied
        )

    @property
    def has_low_score(self) -> bool:
        """Whether the detector was unsure of the box."""
        return 0 < self.score < LOW_SCORE

    @property
    def open_in(self) -> tuple[str, ...]:
        """The lists of doubtful cases, of :data:`QUEUES`, in which it waits for a decision.

        A label says nothing about the box: one that is unsure or missing is judged by accepting,
        rejecting or redrawing it.
        """
        if self.waiting:
            return ()
        judged = self.boxes_decided or self.verdict.accepted or self.verdict.rejected
        found = {
            "new": self.collected and not self.decided,
            "doubted": self.has_label_issue,
            "mistakes": self.training.misclassified and not self.decided,
            "missed": self.missed and not judged,
            "unsure": self.has_low_score and not judged,
        }
        return tuple(name for name, is_open in found.items() if is_open)

    @property
    def suggested(self) -> str:
        """Another label to consider, ``""`` for none."""
        if self.has_label_issue:
            return self.training.suggested
        return self.training.answer if self.training.misclassified else ""

    @property
    def doubts(self) -> tuple[float, ...]:
        """For sorting: no object found, then near duplicates, then the least sure label and box."""
        seen = self.training
        wrong = seen.confidence if seen.misclassified else 1 - seen.confidence
        wrong = wrong if seen.answer else seen.issue_score
        return (0 if self.missed else 1 if self.copied else 2, -wrong, self.score, self.order)


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
    "new": ("most doubtful", lambda i: i.doubts),
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
    "missed": "no object found", "unsure": "low-score boxes", "open": "undecided",
    "decided": "decided", "left": "not used", "new": "new photos",
    "suggested": "suggested photos",
}  # fmt: skip
QUEUES: Mapping[str, tuple[str, str]] = {
    "new": ("New photos", "new"),
    "doubted": ("Label issues", "suspicion"), "mistakes": ("Mistakes", "mistake"),
    "missed": ("No object found", "photo"), "unsure": ("Low-score boxes", "score"),
}  # fmt: skip
"""The lists of doubtful cases, by the name in :data:`ONLY`: a title, and how they are sorted."""


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
            "missed": item.missed,
            "unsure": item.has_low_score,
            "open": not item.decided,
            "decided": item.decided,
            "new": item.collected,
            "left": not training.split and bool(training.reason),
        }.get(self.only, True)


def _folded(text: str) -> str:
    """For searching: ignores case and whether accents are characters of their own."""
    return unicodedata.normalize("NFKC", text).casefold()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list of `total` items; the next part follows the id `after`, ``""`` at the end.

    `done` of them wait for no decision any more, in a list of doubtful cases. `top` is the id of
    the first item of all where the part begins further down, else ``""``.
    """

    items: tuple[Item, ...]
    total: int
    after: str
    done: int = 0
    top: str = ""


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

        A list of doubtful cases starts further down where its first part is all decided.

        If `after` no longer exists because a box was redrawn, the remaining close-ups of its photo
        take its place, provided that they are neighbours in this order. Any other unknown `after`
        or `at` starts at the beginning.
        """
        now, after, queue = self.snapshot(), filters.after, filters.only
        every = sorted(now.all_items, key=SORTS.get(filters.sort, SORTS["photo"])[1])
        start = 0
        if after or filters.at:
            places = {item.crop.id: place for place, item in enumerate(every)}
            beside = filters.sort in ("photo", "label", "")  # a photo's close-ups are neighbours
            start = places.get(filters.at, 0)
            if after:
                start = _past(places, now.items if beside else {}, after)
        admitted = [(place, item) for place, item in enumerate(every) if filters.admits(item)]
        still = [place for place, item in admitted if queue in item.open_in]
        if still and not (after or filters.at) and [p for p, _ in admitted].index(still[0]) >= size:
            start = still[0]
        shown = [item for place, item in admitted if place >= start]
        more = shown[size - 1].crop.id if len(shown) > size else ""
        top = admitted[0][1].crop.id if len(shown) < len(admitted) else ""
        return Page(tuple(shown[:size]), len(admitted), more, len(admitted) - len(still), top)

    def first_queue(self) -> str:
        """The first list of :data:`QUEUES` in which a case waits for a decision, ``""`` if none."""
        counts = counts_of(self.snapshot().all_items)
        return next((name for name in QUEUES if counts[name]), "")

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
    copied = {name for pair in data.pairs for name in (pair.a, pair.b)}
    for order, name in enumerate(data.photos):
        if before is None or name in changed:
            now.items[name] = _items(now, name, order, name in copied)
    return now


def _past(places: Mapping[str, int], items: Mapping[str, Sequence[Item]], crop_id: str) -> int:
    """The position after a close-up, or after the rest of its photo if it no longer exists."""
    if crop_id in places:
        return places[crop_id] + 1
    mine = items.get(crop_id, ()) or items.get(crop_id.rpartition("-")[0], ())
    return max((places[item.crop.id] + 1 for item in mine), default=0)


def _photos_of(decision: Decision) -> tuple[str, ...]:
    return (decision.photo, decision.other) if decision.other else (decision.photo,)


def _items(now: Snapshot, name: str, order: int, copied: bool) -> tuple[Item, ...]:
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
            now.seen.get(name, 0), base.score, base.side, order,
            base.state is CropState.NOT_FOUND, name in data.waiting,
            name in data.collected, copied,
        ))  # fmt: skip
    return tuple(items)


def counts_of(items: Iterable[Item]) -> dict[str, int]:
    """How many close-ups each page has for review; the keys are those of :data:`ONLY`."""
    together = list(items)
    every = [item for item in together if not item.waiting]
    return {
        "suggested": sum(item.waiting and not item.decided for item in together),
        "all": len(every),
    } | {name: sum(name in i.open_in for i in every) for name in QUEUES}
