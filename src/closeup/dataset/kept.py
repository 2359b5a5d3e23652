"""The split that a project keeps: ``split.parquet``, the side and fold of each photo by content.

Once drawn, a photo's place is kept: rows are added, never removed, so a photo that vanishes and
comes back finds its place again. Another :func:`recipe` asks for another draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from closeup.core.config import SplitConfig
from closeup.core.errors import ProjectError
from closeup.core.project import Project, Table, key_of
from closeup.core.types import Example, Photo
from closeup.dataset.groups import DROPPED
from closeup.dataset.placing import number_folds

SIDES = ("train", "test")
MOST_FOLDS = 20  # as many as the option allows


@dataclass(frozen=True, slots=True)
class Place:
    """Where the photos with this content are.

    `side` is ``"train"`` or ``"test"``; `fold` that of a training photo, -1 where it has none.
    """

    sha256: str
    side: str
    fold: int


def recipe(config: SplitConfig, photos: Iterable[Photo]) -> dict[str, Any]:
    """What a split is drawn by; where it changes, the split is drawn anew."""
    own = any(photo.split == "test" for photo in photos)
    facts = config.model_dump(include={"seed", "test_fraction", "folds"})
    return {**facts, "own_test": own}


def read_split(project: Project) -> Table[Place] | None:
    """The split that the project keeps, None where it has none yet.

    Its `meta` holds the :func:`recipe` as ``draw``, and as ``notes`` the sentences on its last
    change, by the key of the dataset table that came of it; its `key` is :func:`split_id`.

    Raises
    ------
    ProjectError
        Where the table is damaged or cannot be one of ours.
    """
    table = project.read("split", Place)
    if table is None:
        return None
    good = all(p.side in SIDES and -1 <= p.fold < MOST_FOLDS for p in table.rows)
    once = len({place.sha256 for place in table.rows}) == len(table.rows)
    if not (good and once and isinstance(table.meta.get("draw"), dict) and _are_notes(table.meta)):
        raise ProjectError(
            f"{project.place('split.parquet')} does not hold one side and fold for each photo; "
            "delete it and run again: the split is then taken from dataset.parquet"
        )
    return table


def _are_notes(meta: Mapping[str, Any]) -> bool:
    notes = meta.get("notes")
    return isinstance(notes, dict) and all(
        isinstance(lines, list) and all(isinstance(line, str) for line in lines)
        for lines in notes.values()
    )


def split_id(project: Project) -> str:
    """Changes exactly when the split is drawn anew and comes out differently; ``""`` without one.

    The hash of the recipe and of the places first drawn by it. What is added to the split later
    does not change it.
    """
    table = read_split(project)
    return table.key if table else ""


def keep(
    project: Project,
    draw: Mapping[str, Any],
    old: Table[Place] | None,
    places: Mapping[str, Place],
    notes: Mapping[str, list[str]] = {},
) -> Table[Place]:
    """Add `places` to the `old` split, or begin one with them where that is None.

    `notes` replace the old ones where there are any.
    """
    known = {place.sha256: place for place in old.rows} if old else {}
    rows = [place for _, place in sorted({**known, **places}.items())]
    meta = {"draw": dict(draw), "notes": dict(notes or (old.meta["notes"] if old else {}))}
    if old is not None and (tuple(rows), meta) == (old.rows, old.meta):
        return old
    name = old.key if old else key_of("split", 1, draw, rows)
    return project.write("split", Place, rows, name, meta)


def note_on_draw(before: Table[Place] | None, places: Mapping[str, Place]) -> Iterator[str]:
    """A sentence on a split that was drawn although there was one before."""
    if before is None:
        return
    known = {place.sha256: place for place in before.rows}
    if all(known.get(sha) == place for sha, place in places.items()):
        yield (
            "the split was drawn anew and is the same as before, since photos, labels and seed "
            "are; give another --seed for another one"
        )
    else:
        yield "the split was drawn anew, so scores from before are of other test photos"


def take_over(project: Project) -> None:
    """Keep the split that the dataset table holds, where none is kept yet.

    So it is for a project of an earlier version: the sides stay, and so do the folds, which were
    drawn from the table at each run. Call before any stage runs.
    """
    if project.place("split.parquet").exists() or not project.config_file.exists():
        return
    photos, examples = project.read("photos", Photo), project.read("dataset", Example)
    if photos is None or examples is None:
        return
    config = project.config().split
    sha_of = {p.id: p.sha256 for p in photos.rows if p.sha256 and p.split != "test"}
    places: dict[str, Place] = {}
    for row in _with_folds(examples.rows, config):
        sha = sha_of.get(row.photo_id)
        # What is on both sides, in a table that is not ours, has been trained on.
        if sha and row.split in SIDES and (row.split == "train" or sha not in places):
            fold = row.fold if row.split == "train" and 0 <= row.fold < MOST_FOLDS else -1
            places[sha] = Place(sha, row.split, fold)
    if places:
        keep(project, recipe(config, photos.rows), None, places)


def _with_folds(rows: Sequence[Example], config: SplitConfig) -> list[Example]:
    """`rows` with the folds that earlier versions computed whenever they were needed."""
    train = [row for row in rows if row.split == "train" and row.reason != DROPPED]
    if any(row.fold >= 0 for row in train):
        return list(rows)
    folds = number_folds(train, config, {})
    return [replace(row, fold=folds.get(row.group, -1)) for row in rows]
