"""A split, once drawn, is kept: whatever happens to the photos, those with a place stay there."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closeup.core.config import CONFIG_FILE, CropConfig, DetectConfig, SplitConfig
from closeup.core.errors import DatasetError
from closeup.core.project import Project
from closeup.core.types import Box, Crop, CropState, Detection, Example, Photo, PhotoState
from closeup.crops.cut import find_crops
from closeup.dataset.groups import DROPPED, group_photos, labelled
from closeup.dataset.kept import Place, keep, read_split, recipe, split_id, take_over
from closeup.dataset.split import Dataset, folds, make_dataset


@dataclass(frozen=True)
class Item:
    """A photo as a test sees it: what it shows, its label, group and name."""

    sha: str
    label: str
    group: str = ""
    name: str = ""
    rejected: bool = False
    found: bool = True

    @property
    def photo(self) -> Photo:
        return Photo(self.name or f"p-{self.sha}", "/r", f"{self.name or self.sha}.jpg", self.label,
                     self.group, "", PhotoState.READABLE, "", "", 10, 10, 1, 1,
                     self.sha)  # fmt: skip


@dataclass
class Collection:
    """Photos by content, and the split that is kept of them."""

    items: dict[str, Item]
    config: SplitConfig = field(default_factory=SplitConfig)
    on_miss: str = "photo"
    kept: dict[str, Place] = field(default_factory=dict)
    made: Dataset | None = None

    def dataset(self, shuffled: int = 0, renamed: bool = False) -> Dataset:
        items = list(self.items.values())
        if renamed:
            order = random.Random(shuffled + 1).sample(range(len(items)), len(items))
            items = [replace(item, name=f"x{n}") for n, item in zip(order, items, strict=True)]
        random.Random(shuffled).shuffle(items)
        photos = [item.photo for item in items]
        boxes = {i.photo.id: [Detection(i.photo.id, 0, "clock", 0.9, Box(1, 1, 5, 5))]
                 for i in items if i.found}  # fmt: skip
        crops = find_crops(photos, boxes, CropConfig(on_miss=self.on_miss), DetectConfig())
        away = {item.photo.id for item in items if item.rejected}
        crops = [rejected(crop) if crop.photo_id in away else crop for crop in crops]
        groups = group_photos(labelled(photos, crops)).group_of
        return make_dataset(photos, crops, self.config, groups, self.kept)

    def update(self) -> Dataset:
        self.made = self.dataset()
        self.kept |= self.made.places
        return self.made

    def sides(self) -> dict[str, str]:
        """The side of each photo that is used now, by content."""
        assert self.made is not None
        return {sha: self.kept[sha].side for sha in self.made.places}

    def fold_of(self) -> dict[str, int]:
        assert self.made is not None
        return {sha: place.fold for sha, place in self.made.places.items() if place.fold >= 0}


def rejected(crop: Crop) -> Crop:
    return replace(crop, state=CropState.REJECTED, reason="rejected in review", file="")


def some(per_label: int, labels: str = "abc") -> dict[str, Item]:
    items = [Item(f"{label}{n:03}", label) for label in labels for n in range(per_label)]
    return {item.sha: item for item in items}


@pytest.fixture
def drawn() -> Collection:
    collection = Collection(some(40))
    collection.update()
    return collection


def one(collection: Collection, side: str, number: int = 0) -> Item:
    names = sorted(sha for sha, found in collection.sides().items() if found == side)
    return collection.items[names[number]]


# Any changes, one after the other

LABELS = st.sampled_from("abcd")
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "restore", "relabel", "reject", "join", "part", "lose"]),
        st.integers(0, 999), LABELS, st.sampled_from(["", "g", "h"]),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


def changed(collection: Collection, gone: dict[str, Item], change: tuple[str, int, str, str]):
    """One change to the photos."""
    what, number, label, group = change
    items = collection.items
    sha = sorted(items)[number % len(items)]
    item = items[sha]
    if what == "add":
        items[f"n{number}"] = Item(f"n{number}", label, group)
    elif what == "remove" and len(items) > 1:
        gone[sha] = items.pop(sha)
    elif what == "restore":
        items.update(gone)
        gone.clear()
    elif what == "relabel":
        items[sha] = replace(item, label=label)
    elif what == "reject":
        items[sha] = replace(item, rejected=not item.rejected)
    elif what in ("join", "part"):
        items[sha] = replace(item, group=group if what == "join" else "")
    else:
        items[sha] = replace(item, found=not item.found)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 9), st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.5]), CHANGES,
    st.sampled_from(["photo", "drop"]),
)  # fmt: skip
def test_after_any_changes_photos_stay_where_they_are(
    per_label: int, seed: int, share: float, changes: list[tuple[str, int, str, str]], miss: str
) -> None:
    config = SplitConfig(seed=seed, test_fraction=share)
    collection = Collection(some(per_label, "ab"), config, miss)
    collection.update()
    gone: dict[str, Item] = {}
    pending = False  # whether changes before could not be drawn yet
    for change in changes:
        before, before_folds = dict(collection.kept), dict(collection.kept)
        changed(collection, gone, change)
        try:
            made = collection.update()
        except DatasetError:
            pending = True
            continue  # a label without usable photos: nothing is drawn
        groups = {row.group: set[str]() for row in made.rows}
        for row in made.rows:
            groups[row.group] |= {row.split} if row.split else set()
        assert max(map(len, groups.values())) <= 1, "a group on two sides"
        used = [row for row in made.rows if row.split]
        trained = {row.label for row in used if row.split == "train"}
        assert {row.label for row in used if row.reason != DROPPED} <= trained
        moved = {sha for sha, place in before.items() if collection.kept[sha].side != place.side}
        assert all(before[sha].side == "test" for sha in moved), "trained on, and tested now"
        assert all(any(f"{sha}.jpg" in note for note in made.notes) for sha in moved)
        assert not made.notes or moved
        if change[0] in ("add", "remove", "reject", "lose") and not change[3] and not pending:
            # A lone photo can only take from the test part what a label then needs.
            assert all("label would have no" in note for note in made.notes)
        pending = False
        assert collection.kept.keys() >= before_folds.keys()
        again = collection.dataset(shuffled=1)
        assert again.places == made.places
        assert not again.notes
        other = collection.dataset(shuffled=2, renamed=True)
        assert other.places == made.places
        numbers = folds(made.rows)
        train = [row for row in made.rows if row.split == "train"]
        assert len({(row.group, n) for row, n in zip(train, numbers.tolist(), strict=True)}) == len(
            {row.group for row in train}
        )


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 30), st.integers(0, 9), st.floats(0.05, 0.9))
def test_the_first_draw_depends_on_content_and_labels_alone(
    per_label: int, seed: int, share: float
) -> None:
    collection = Collection(some(per_label), SplitConfig(seed=seed, test_fraction=share))
    drawn = collection.dataset()
    assert collection.dataset(shuffled=5, renamed=True).places == drawn.places


# Kinds of change


@pytest.mark.parametrize("side", ["train", "test"])
@pytest.mark.parametrize("what", ["rejected", "relabelled", "removed", "renamed"])
def test_a_change_to_one_photo_moves_no_other(drawn: Collection, side: str, what: str) -> None:
    before = dict(drawn.kept)
    item = one(drawn, side)
    if what == "removed":
        del drawn.items[item.sha]
    else:
        changes: dict[str, dict[str, object]] = {
            "rejected": {"rejected": True}, "relabelled": {"label": "c"}, "renamed": {"name": "z"},
        }  # fmt: skip
        drawn.items[item.sha] = replace(item, **changes[what])  # type: ignore[arg-type]
    made = drawn.update()
    assert drawn.kept == before
    assert not made.notes
    assert len(made.places) == len(before) - (what in ("rejected", "removed"))


def test_a_photo_that_comes_back_finds_its_place(drawn: Collection) -> None:
    before, item = dict(drawn.kept), one(drawn, "test")
    del drawn.items[item.sha]
    drawn.update()
    drawn.items[item.sha] = replace(item, name="another")
    drawn.update()
    assert drawn.kept == before


def test_new_photos_are_placed_by_the_share_and_move_nothing(drawn: Collection) -> None:
    before = dict(drawn.kept)
    drawn.items |= {f"new{n}": Item(f"new{n}", "a") for n in range(60)}
    drawn.items |= {f"own{n}": Item(f"own{n}", "d") for n in range(10)}
    drawn.update()
    assert {sha: drawn.kept[sha] for sha in before} == before
    counts = Counter((drawn.items[sha].label, place.side) for sha, place in drawn.kept.items())
    assert (counts["a", "test"], counts["d", "test"]) == (20, 2)
    inside = Counter((drawn.items[sha].label, n) for sha, n in drawn.fold_of().items())
    assert {inside["a", n] for n in range(5)} == {16}


def test_photos_added_one_by_one_end_with_the_share() -> None:
    collection = Collection(some(1, "ab"))
    collection.update()
    for n in range(1, 50):
        collection.items |= {f"{x}{n:03}": Item(f"{x}{n:03}", x) for x in "ab"}
        collection.update()
    assert Counter(collection.sides().values()) == {"train": 80, "test": 20}
    numbers = Counter(n for _, n in sorted(collection.fold_of().items()))
    assert set(numbers) == set(range(5))
    assert max(numbers.values()) - min(numbers.values()) <= 4


def test_a_new_label_of_two_photos_is_on_both_sides(drawn: Collection) -> None:
    drawn.items |= {f"d{n}": Item(f"d{n}", "d") for n in range(2)}
    drawn.update()
    assert {drawn.kept["d0"].side, drawn.kept["d1"].side} == {"train", "test"}


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_new_photo_of_a_group_goes_where_the_others_are(drawn: Collection, side: str) -> None:
    before, item = dict(drawn.kept), one(drawn, side)
    drawn.items[item.sha] = replace(item, group="g")
    drawn.items |= {f"new{n}": Item(f"new{n}", item.label, "g") for n in range(5)}
    drawn.update()
    place = before[item.sha]
    assert drawn.kept == before | {f"new{n}": replace(place, sha256=f"new{n}") for n in range(5)}


def test_a_group_of_both_sides_goes_to_training_and_is_named(drawn: Collection) -> None:
    before = dict(drawn.kept)
    for item in (first := one(drawn, "train"), other := one(drawn, "test")):
        drawn.items[item.sha] = replace(item, group="g")
    made = drawn.update()
    assert drawn.kept == before | {
        other.sha: Place(other.sha, "train", before[first.sha].fold)
    }  # fmt: skip
    assert made.notes == (
        "1 photo moved from the test part to training, because it now belongs together with "
        f"training photos: {other.sha}.jpg",
    )
    drawn.items[other.sha] = other  # parted again
    drawn.update()
    assert drawn.kept[other.sha].side == "train"


def test_the_fold_of_a_group_is_that_of_most_of_its_photos(drawn: Collection) -> None:
    of_fold: dict[int, list[str]] = {}
    for sha, fold in sorted(drawn.fold_of().items()):
        of_fold.setdefault(fold, []).append(sha)
    for sha in (*of_fold[3][:2], *of_fold[1][:1]):
        drawn.items[sha] = replace(drawn.items[sha], group="most")
    for sha in (*of_fold[4][5:6], *of_fold[2][5:6]):
        drawn.items[sha] = replace(drawn.items[sha], group="tie")
    drawn.update()
    assert drawn.kept[of_fold[1][0]].fold == 3
    assert drawn.kept[of_fold[4][5]].fold == 2


def test_a_label_left_in_the_test_part_alone_gets_one_photo_to_train_on(drawn: Collection) -> None:
    tested = [sha for sha, side in sorted(drawn.sides().items()) if side == "test"][:3]
    for sha in tested:
        drawn.items[sha] = replace(drawn.items[sha], label="new")
    before = dict(drawn.kept)
    made = drawn.update()
    assert drawn.kept[tested[0]].side == "train"
    assert drawn.kept == before | {tested[0]: drawn.kept[tested[0]]}
    assert made.notes == (
        "1 photo moved from the test part to training, because its label would have no training "
        f"photo otherwise: {tested[0]}.jpg",
    )


def test_a_label_left_in_one_fold_gets_a_second(drawn: Collection) -> None:
    mine = [sha for sha, fold in sorted(drawn.fold_of().items()) if fold == 2][:3]
    for sha in mine:
        drawn.items[sha] = replace(drawn.items[sha], label="new")
    before = dict(drawn.kept)
    drawn.update()
    assert [drawn.kept[sha].fold == 2 for sha in mine] == [False, True, True]
    assert drawn.kept == before | {mine[0]: drawn.kept[mine[0]]}


def test_folds_are_drawn_once_there_are_photos_enough() -> None:
    collection = Collection(some(1, "ab"))
    assert {row.fold for row in collection.update().rows} == {-1}
    collection.items |= some(9, "ab")
    assert set(folds(collection.update().rows).tolist()) == set(range(5))


# The table


def project_with(folder: Path) -> Project:
    folder.mkdir()
    (folder / CONFIG_FILE).write_text('[photos]\nsource = "/r"\n[split]\nseed = 3\n')
    return Project(folder)


def test_the_table_only_grows_and_its_id_stays(tmp_path: Path) -> None:
    project = project_with(tmp_path / "p")
    assert split_id(project) == ""
    draw = recipe(SplitConfig(), [])
    first = keep(project, draw, None, {"b": Place("b", "train", 0)})
    more = keep(project, draw, first, {"a": Place("a", "test", -1)})
    assert more.rows == (Place("a", "test", -1), Place("b", "train", 0))
    assert split_id(project) == first.key == more.key
    assert read_split(project) == more
    assert keep(project, draw, None, dict(zip("ab", more.rows, strict=True))).key != first.key


def test_the_split_of_an_earlier_version_is_taken_over(tmp_path: Path, drawn: Collection) -> None:
    project, photos = project_with(tmp_path / "p"), [i.photo for i in drawn.items.values()]
    assert drawn.made is not None
    rows = [replace(row, fold=-1) for row in drawn.made.rows]
    project.write("photos", Photo, photos, "k")
    project.write("dataset", Example, rows, "k")
    take_over(project)
    table = read_split(project)
    assert table is not None
    assert table.meta["draw"] == {"seed": 3, "test_fraction": 0.2, "folds": 5, "own_test": False}
    assert {p.sha256: p.side for p in table.rows} == drawn.sides()
    assert {p.fold for p in table.rows if p.side == "train"} == set(range(5))
    drawn.kept = {place.sha256: place for place in table.rows}
    drawn.update()
    assert drawn.kept == {place.sha256: place for place in table.rows}
