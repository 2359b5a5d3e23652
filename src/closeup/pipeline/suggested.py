"""Photos from outside the collection, and how they join the project once labelled.

``suggested.parquet`` names those that were suggested for labelling. The folder ``corrected`` has
those that a served model got wrong, each with its row beside it in JSON. Their labels are decisions
like any other, so they can be undone. A photo with a label is a photo of the collection from the
next run on.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from closeup.core.config import RunConfig
from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.serialization import from_json, to_json
from closeup.core.types import Box, Detection, Photo, PhotoState
from closeup.decisions.fold import Current
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.photos.listing import Collection, Entry
from closeup.photos.origins import COLLECTED_FILE, Origins

TABLE = "suggested"
CORRECTED = "corrected"
"""The folder of photos that were corrected."""


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
    """All that were suggested, and then those that were corrected, each a group of its own.

    Raises ProjectError where the table or a row is damaged, or a size in it cannot be.
    """
    named = read_named(project)
    first = max((row.group for row in named), default=-1) + 1
    corrected = enumerate(read_corrected(project), first)
    return (*named, *(replace(row, group=number) for number, row in corrected))


def read_named(project: Project) -> tuple[Suggested, ...]:
    """Those that ``closeup suggest`` named; raises as :func:`read_suggested`."""
    table = project.read(TABLE, Suggested)
    rows = table.rows if table else ()
    once = len({row.photo_id for row in rows}) == len(rows)
    if not once or not all(map(_is_possible, rows)):
        raise ProjectError(
            f"{project.place(f'{TABLE}.parquet')} does not hold one photo a row; delete it, and "
            "ask for suggestions again"
        )
    return rows


def _is_possible(row: Suggested) -> bool:
    return min(row.width, row.height, row.group + 1) >= 1


def read_corrected(project: Project) -> tuple[Suggested, ...]:
    """Those that were corrected, by their ids; raises as :func:`read_suggested`.

    A row says which file of its own folder is the photo, and nothing outside it.
    """
    rows = []
    for file in sorted(project.place(CORRECTED).glob("*.json")):
        name = f"{CORRECTED}/{file.name}"
        try:
            row = from_json(Suggested, json.loads(project.place(name).read_text(encoding="utf8")))
            there = row.photo_id == file.stem and Path(row.path).name == row.path
        except (OSError, ValueError, TypeError, RecursionError):
            there = False
        if not there or not _is_possible(row):
            raise ProjectError(
                f"{project.place(name)} does not describe a corrected photo; delete it, and the "
                "photo of that name"
            )
        photo = project.place(f"{CORRECTED}/{row.path}")
        rows.append(replace(row, path=str(photo.absolute())))
    return tuple(rows)


def keep_corrected(project: Project, data: bytes, row: Suggested, who: str, label: str) -> bool:
    """Keep a photo that a model got wrong, with the right label, for the next training.

    `row.path` is its name in the folder :data:`CORRECTED`. The file comes first, then what is known
    of it, then the decision: whatever is interrupted, no label lacks its photo. No lock is needed,
    so this works while the project is trained: a photo that is there is not written again.

    False, and nothing is kept, where the last decision about the photo is somebody else's than
    those of `who`. Raises ProjectError where nothing can be written.
    """
    decision = Decision(Kind.RELABEL, row.photo_id, row.photo_id, label=label)
    with closing(Decisions(project.folder)) as log:
        mine = [one for one in log.rows() if one.decision.photo == row.photo_id]
        if mine and mine[-1].who != who:
            return False
        there = {file.suffix for file in project.place(CORRECTED).glob(f"{row.photo_id}.*")}
        if len(there) < 2:  # the photo and its row
            photo = project.write_bytes(f"{CORRECTED}/{row.path}", data)
            known = photo.stat()
            row = replace(row, bytes=known.st_size, mtime_ns=known.st_mtime_ns)
            project.write_json(f"{CORRECTED}/{row.photo_id}.json", to_json(row))
        if mine and mine[-1].decision == decision:
            return True
        seen = {row.photo_id: mine[-1].number if mine else 0}
        return not log.append(who, [decision], seen).overtaken


def takes_new(config: RunConfig) -> bool:
    """Whether photos from outside can join: a detector finds the one object that has the label."""
    return not config.detect.has_boxes and config.crop.which != "all"


def is_labelled(row: Suggested, decisions: Current) -> bool:
    """Whether a person has given the photo a label that is to be used."""
    verdict = decisions.verdict(row.photo_id, row.photo_id)
    return bool(verdict.label) and not verdict.rejected


def is_decided(row: Suggested, decisions: Current) -> bool:
    """Whether a person has decided anything about it."""
    return row.photo_id in decisions.photos


def with_suggested(collection: Collection, project: Project, decisions: Current) -> Collection:
    """The collection with the suggested and the corrected photos that have got a label.

    What is known of the origin of suggested photos comes along.
    """
    there = {entry.id for entry in collection.entries}
    entries, notes = list(collection.entries), list(collection.notes)
    for rows, what in (
        (read_named(project), "`closeup suggest` named and you labelled"),
        (read_corrected(project), "visitors of `closeup serve` corrected"),
    ):
        new = [
            Entry(row.photo_id, "", row.path, "", "", "train")
            for row in rows
            if is_labelled(row, decisions) and row.photo_id not in there
        ]
        if new:
            many = "photos that" if len(new) > 1 else "photo that"
            notes.append(f"{len(new)} {many} {what} are trained on, and never tested")
            above = {folder for entry in new for folder in entry.file.parents[:2]}
            origins = Origins.beside(folder / COLLECTED_FILE for folder in sorted(above))
            entries += map(origins.completed, new)
    return replace(collection, entries=entries, notes=tuple(notes))
