"""The photos that were suggested for labelling, and how they join the project once labelled.

``suggested.parquet`` names them; their labels are decisions like any other, so they can be undone.
A photo with a label is a photo of the collection from the next run on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.types import Box, Detection, Photo, PhotoState
from closeup.decisions.fold import Current
from closeup.photos.listing import Collection, Entry
from closeup.photos.origins import COLLECTED_FILE, Origins

TABLE = "suggested"


@dataclass(frozen=True, slots=True)
class Suggested:
    """One photo to label.

    Attributes
    ----------
    photo_id, path, width, height, bytes, mtime_ns, sha256
        The photo, as in :class:`~closeup.core.types.Photo`; `path` is absolute.
    found, category, score, box
        Whether the object was found; the best box of the parent category, also where its score is
        too low to count.
    answer, confidence
        The model's most probable label and its probability.
    reason
        Why the model would answer ``unknown``, ``"no object found"``, or ``""``.
    gain
        What the photo adds to the share of the pool's uncertainty that labelled photos cover; 0
        where no object was found.
    group
        Photos of one number look alike and have the same `answer`; 0 is the group to begin with.
    """

    photo_id: str
    path: str
    width: int
    height: int
    bytes: int
    mtime_ns: int
    sha256: str
    found: bool
    category: str
    score: float
    box: Box
    answer: str
    confidence: float
    reason: str
    gain: float
    group: int

    @property
    def photo(self) -> Photo:
        """The row of the photo, without a label."""
        return Photo(
            id=self.photo_id, root="", path=self.path, label="", group="", split="train",
            state=PhotoState.READABLE, code="", reason="", width=self.width, height=self.height,
            bytes=self.bytes, mtime_ns=self.mtime_ns, sha256=self.sha256,
        )  # fmt: skip

    @property
    def detection(self) -> Detection:
        """Its box."""
        return Detection(self.photo_id, 0, self.category, self.score, self.box)


def read_suggested(project: Project) -> tuple[Suggested, ...]:
    """All that are named; none where nothing was ever suggested.

    Raises ProjectError where the table is damaged, or a size in it cannot be.
    """
    table = project.read(TABLE, Suggested)
    rows = table.rows if table else ()
    once = len({row.photo_id for row in rows}) == len(rows)
    if not once or any(min(row.width, row.height, row.group + 1) < 1 for row in rows):
        raise ProjectError(
            f"{project.place(f'{TABLE}.parquet')} does not hold one photo a row; delete it, and "
            "ask for suggestions again"
        )
    return rows


def is_labelled(row: Suggested, decisions: Current) -> bool:
    """Whether a person has given the photo a label that is to be used."""
    verdict = decisions.verdict(row.photo_id, row.photo_id)
    return bool(verdict.label) and not verdict.rejected


def is_decided(row: Suggested, decisions: Current) -> bool:
    """Whether a person has decided anything about it."""
    return row.photo_id in decisions.photos


def with_suggested(collection: Collection, project: Project, decisions: Current) -> Collection:
    """The collection with the suggested photos that have got a label, and what is known of them."""
    there = {entry.id for entry in collection.entries}
    new = [
        Entry(row.photo_id, "", row.path, "", "", "train")
        for row in read_suggested(project)
        if is_labelled(row, decisions) and row.photo_id not in there
    ]
    if not new:
        return collection
    above = {folder for entry in new for folder in entry.file.parents[:2]}
    origins = Origins.beside(folder / COLLECTED_FILE for folder in sorted(above))
    note = (f"{len(new)} photo{'s' if len(new) > 1 else ''} that `closeup suggest` named and you "
            "labelled are trained on, and never tested")  # fmt: skip
    entries = [*collection.entries, *map(origins.completed, new)]
    return replace(collection, entries=entries, notes=(*collection.notes, note))
