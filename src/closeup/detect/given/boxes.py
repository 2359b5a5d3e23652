"""The boxes of a collection's photos, from a file of the user's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock

from closeup.core.config import BoxesFrame
from closeup.core.errors import PhotosError
from closeup.core.text import first_of, listed
from closeup.core.types import Detection, Photo, PhotoState
from closeup.crops.cut import SAME_OBJECT
from closeup.detect.given.box import Fault, Given
from closeup.detect.given.frame import Fit, as_shares, in_shares, laid_over
from closeup.detect.given.names import Named, match
from closeup.detect.given.reading import KNOWN, read_boxes
from closeup.photos.reading import turn_of

UNNAMED = "unnamed"
"""The category of a box without one, where others in the file have one."""


class GivenBoxes:
    """Boxes of the user's own, matched to the photos by name before any photo is read.

    Read are COCO, Label Studio, MegaDetector and SpeciesNet JSON, Pascal VOC XML, YOLO folders and
    tables, see :mod:`closeup.detect.given.reading`; names are matched as
    :func:`closeup.detect.given.names.match` says. An annotation that cannot be used is counted in
    the `notes`. A box without a score counts as certain (1). Where no box has a category they suit
    every parent; where only some have none, these are :data:`UNNAMED`. Boxes are clipped to the
    photo. `photos` are all those of the collection.

    - `frame`: what the boxes were drawn on, see :func:`closeup.detect.given.frame.laid_over`

    Raises
    ------
    PhotosError
        Where the file cannot be read, holds no usable box, or matches no photo.
    """

    def __init__(self, file: Path, photos: Sequence[Named], frame: BoxesFrame = "auto") -> None:
        found = read_boxes(file)
        given = [row for row in found.rows if isinstance(row, Given)]
        self._file, self._frame = file, frame
        self._faults = _told([row for row in found.rows if isinstance(row, Fault)])
        self._by_label = False
        if not given:
            why = f": annotations that {'; that '.join(self._faults)}" if self._faults else ""
            raise PhotosError(f"{file} holds no boxes that can be used{why}; give {KNOWN}")
        self._shares = in_shares(given)
        if self._shares:
            given = [row if row.relative else as_shares(row) for row in given]
        matches, unmatched = match([row.name for row in given], found.base, photos)
        if unmatched:
            given, matches, unmatched = _by_other_name(given, matches, found.base, photos)
        if not matches:
            raise PhotosError(
                f"no name in {file} matches a photo: it has {first_of(unmatched)}, the photos are "
                f"{first_of(photo.path for photo in photos)}; use paths relative to the photos' "
                "folder"
            )
        self._unmatched = unmatched
        self._seen: dict[Fit, set[str]] = defaultdict(set)
        self._outside: set[str] = set()
        self._disputed: set[str] = set()
        self._lock = Lock()
        categories = {row.category for row in given}
        if len(categories) == 1 and categories.pop().isdecimal():
            given = [replace(row, category="") for row in given]  # one kind, without a name
        some = any(row.category for row in given)
        self._of: dict[str, list[Given]] = defaultdict(list)
        for row in given:
            if row.name in matches:
                named = row if row.category or not some else replace(row, category=UNNAMED)
                self._of[matches[row.name]].append(named)

    @property
    def categories(self) -> Counter[str]:
        """How many boxes of matched photos there are of each category; ``""`` for none."""
        return Counter(row.category for rows in self._of.values() for row in rows)

    @property
    def classes(self) -> Counter[str]:
        """How many there are of each class to learn: the label beside a box, or its category."""
        return Counter(_class_of(row) for rows in self._of.values() for row in rows)

    def learn(self, categories: Collection[str]) -> None:
        """From now on, give each box with its class in place of its category.

        - `categories`: those of which boxes are wanted; none stands for all
        """
        self._by_label = True
        for name, rows in self._of.items():
            self._of[name] = [row for row in rows if not categories or row.category in categories]

    def of(self, photo: Photo) -> list[Detection]:
        """The boxes of one photo in its pixels, ranked by falling score; none of an unreadable one.

        Not used are boxes that were drawn on a picture of other proportions.
        """
        given = self._of.get(photo.id, ()) if photo.state is PhotoState.READABLE else ()
        turn = cache(lambda: turn_of(photo.file))
        rows = []
        for one in given:
            box, fit = laid_over(one, photo, turn, self._frame)
            with self._lock:
                if fit is Fit.ANOTHER:
                    there, here = one.size, f"{photo.width} x {photo.height}"
                    said = f"{photo.path} ({there[0]} x {there[1]} there, {here} here)"
                    self._seen[fit].add(said)
                    continue
                self._seen[fit].add(photo.path)
                if box.area <= 0:
                    self._outside.add(one.place)
                    continue
            category = _class_of(one) if self._by_label else one.category
            rows.append(Detection(photo.id, 0, category, one.score, box))
        if self._by_label:
            rows = self._undisputed(photo, rows)
        ordered = sorted(rows, key=lambda row: -row.score)
        return [replace(row, rank=rank) for rank, row in enumerate(ordered)]

    def _undisputed(self, photo: Photo, rows: list[Detection]) -> list[Detection]:
        """Without the boxes of different classes on one object, of which one must be wrong."""
        wrong = {
            place
            for i, one in enumerate(rows)
            for j, other in enumerate(rows[:i])
            if one.category != other.category and one.box.iou(other.box) > SAME_OBJECT
            for place in (i, j)
        }
        if wrong:
            with self._lock:
                self._disputed.add(photo.path)
        return [row for place, row in enumerate(rows) if place not in wrong]

    @property
    def notes(self) -> list[str]:
        """What could not be used of the file, as far as photos have been asked for."""
        seen = self._seen
        notes = [f"{self._file}: annotations that {fault}" for fault in self._faults]
        if self._shares:
            notes.append(f"the boxes in {self._file} are taken as fractions of each picture's size,"
                         " for none is larger than 1")  # fmt: skip
        if self._unmatched:
            notes.append(f"{self._file} has boxes for names that match no photo, or more than one: "
                         f"{_counted(self._unmatched)}")  # fmt: skip
        notes += [f"boxes that {fit.value}: {_counted(seen[fit])}"
                  for fit in (Fit.SCALED, Fit.TURNED, Fit.ANOTHER) if seen[fit]]  # fmt: skip
        if seen[Fit.UNKNOWN]:
            notes.append(
                f"EXIF turns {_counted(seen[Fit.UNKNOWN])}, and {self._file} does not say which "
                "way up the boxes were drawn; they are taken as drawn on the upright photo "
                "(--boxes-frame upright; if your tool showed these photos lying, --boxes-frame "
                "stored)"
            )
        if self._outside:
            notes.append("boxes without area inside the photo are not used: "
                         f"{first_of(self._outside)}")  # fmt: skip
        if self._disputed:
            notes.append("boxes of different classes on one object are not used: "
                         f"{_counted(self._disputed)}")  # fmt: skip
        return notes


def _class_of(row: Given) -> str:
    return row.label or ("" if row.category == UNNAMED else row.category)


def _by_other_name(
    given: list[Given],
    matches: dict[str, str],
    base: Path,
    photos: Sequence[Named],
) -> tuple[list[Given], dict[str, str], list[str]]:
    """Rows whose name matches nothing go by their other name, if that is of a photo left over."""
    taken = set(matches.values())
    others = dict.fromkeys(row.also for row in given if row.also and row.name not in matches)
    more, _ = match(others, base, [photo for photo in photos if photo.id not in taken])
    given = [
        replace(row, name=row.also) if row.name not in matches and row.also in more else row
        for row in given
    ]
    both = matches | more
    return given, both, list(dict.fromkeys(row.name for row in given if row.name not in both))


def _told(faults: Sequence[Fault]) -> list[str]:
    """Why annotations are not used, each reason with how many and where the first are."""
    places: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for fault in faults:
        places[fault.why, fault.used].append(fault.place)
    return [
        f"{why}{'' if used else ' (not used)'}: {_counted(where)}"
        for (why, used), where in places.items()
    ]


def _counted(names: Collection[str], most: int = 5) -> str:
    """How many there are and which are the first, in their order."""
    some = listed(names if isinstance(names, list) else sorted(names), most)
    return f"{len(names)} ({some})" if len(names) > 1 else some
