from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closeup.core.config import CropConfig, DetectConfig, PhotosConfig, SplitConfig
from closeup.core.errors import DatasetError
from closeup.core.types import Box, Crop, CropState, Detection, Example, Photo, PhotoState
from closeup.crops.cut import find_crops
from closeup.dataset.groups import DROPPED, group_photos
from closeup.dataset.split import folds, make_dataset
from closeup.photos.listing import list_photos


def photo(name: str, label: str, sha256: str = "", group: str = "", split: str = "") -> Photo:
    return Photo(
        id=name, root="/r", path=f"{label}/{name}.jpg", label=label, group=group, split=split,
        state=PhotoState.READABLE, code="", reason="", width=10, height=10, bytes=1, mtime_ns=1,
        sha256=sha256 or name,
    )  # fmt: skip


def some(label: str, count: int, split: str = "") -> list[Photo]:
    return [photo(f"{split}{label}{i:03}", label, split=split) for i in range(count)]


def crops_of(photos: list[Photo], on_miss: str = "photo", missed: tuple[str, ...] = ()):
    found = {
        p.id: [Detection(p.id, 0, "clock", 0.9, Box(1, 1, 5, 5))]
        for p in photos
        if p.id not in missed
    }
    return find_crops(photos, found, CropConfig(on_miss=on_miss), DetectConfig())


def dataset(
    photos: list[Photo], crops: list[Crop] | None = None, **config: object
) -> list[Example]:
    crops = crops_of(photos) if crops is None else crops
    rows = make_dataset(photos, crops, SplitConfig(**config), group_photos(photos).group_of).rows
    assert {row.photo_id for row in rows} == {p.id for p in photos}
    assert all(row.reason for row in rows if not row.split)
    assert all(row.group for row in rows)
    sides = {(row.group, row.split) for row in rows if row.split}
    assert len(sides) == len({group for group, _ in sides}), "a group on two sides"
    return rows


def sides(rows: list[Example]) -> Counter[tuple[str, str]]:
    return Counter((row.label, row.split) for row in rows)


# What does not make a classification problem


@pytest.mark.parametrize(
    ("photos", "match"),
    [
        ([], "at least 2 labels, the photos have 0"),
        (some("a", 9), r"have 1 \(a\)"),
        (some("", 9), "have 0"),
        (some("a", 9) + some("b", 9, split="test"), r"training photos have 1 \(a\)"),
        (
            some("a", 3) + some("b", 3) + some("c", 3, split="test"),
            "has the labels c, the training photos have a, b: none in common",
        ),
    ],
)
def test_refused(photos: list[Photo], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        dataset(photos)


# Hold-out


def test_one_photo_of_each_class_is_trained_on_and_nothing_is_tested() -> None:
    assert set(sides(dataset(some("a", 1) + some("b", 1)))) == {("a", "train"), ("b", "train")}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_class_of_one_group_is_trained_on(seed: int, share: float) -> None:
    photos = some("a", 9) + some("b", 1) + [photo(f"c{i}", "c", "same") for i in range(5)]
    counts = sides(dataset(photos, seed=seed, test_fraction=share))
    assert counts["b", "train"] == 1
    assert counts["c", "train"] == 5
    assert {side for label, side in counts if label == "a"} == {"train", "test"}


def test_two_photos_of_each_class_are_parted() -> None:
    counts = sides(dataset(some("a", 2) + some("b", 2)))
    assert set(counts.values()) == {1}
    assert len(counts) == 4


@pytest.mark.parametrize(("share", "held"), [(0.2, 20), (0.25, 25), (0.3, 30), (0.5, 50)])
def test_shares(share: float, held: int) -> None:
    counts = sides(dataset(some("a", 100) + some("b", 100), test_fraction=share))
    assert counts["a", "test"] == counts["b", "test"] == held


@pytest.mark.parametrize("share", [0.001, 0.05, 0.2, 0.9, 0.999])
@pytest.mark.parametrize("seed", range(4))
def test_small_classes_are_on_both_sides(share: float, seed: int) -> None:
    photos = some("a", 60) + some("b", 2) + some("c", 3) + some("d", 7)
    counts = sides(dataset(photos, test_fraction=share, seed=seed))
    assert set(counts) == {(label, side) for label in "abcd" for side in ("train", "test")}


def test_groups_stay_whole() -> None:
    shuffle = random.Random(1)
    photos = [
        photo(f"{label}{i:03}", label, f"{label}{shuffle.randrange(400)}", f"{label}{i // 4}")
        for label in "ab"
        for i in range(80)
    ]
    rows = dataset(photos)
    assert {row.split for row in rows} == {"train", "test"}


def test_groups_that_hold_several_labels() -> None:
    photos = [photo(f"{label}{i}", label, group=f"g{i}") for label in "ab" for i in range(10)]
    counts = sides(dataset(photos))
    assert counts["a", "test"] == counts["b", "test"] == 2


def test_same_seed_same_split_whatever_the_order() -> None:
    photos = some("a", 40) + some("b", 30) + some("c", 5)
    expected = {row.crop_id: row for row in dataset(photos, seed=3)}
    shuffled = list(photos)
    random.Random(0).shuffle(shuffled)
    assert {row.crop_id: row for row in dataset(shuffled, seed=3)} == expected
    assert {row.crop_id: row for row in dataset(photos, seed=4)} != expected


def test_rows_keep_the_order_of_the_crops() -> None:
    photos = some("b", 4) + some("a", 4)
    assert [row.crop_id for row in dataset(photos)] == [p.id for p in photos]


def test_several_crops_of_a_photo_stay_together() -> None:
    photos = some("a", 10) + some("b", 10)
    crops = [
        replace(crop, id=crop.id + suffix) for crop in crops_of(photos) for suffix in ("", "-2")
    ]
    assert len(dataset(photos, crops)) == 40


# Rows that are left out


def test_every_photo_is_accounted_for() -> None:
    good = some("a", 10) + some("b", 10)
    bad = replace(
        photo("bad", "a"),
        state=PhotoState.UNREADABLE,
        code="empty",
        reason="it is empty",
        sha256="",
    )
    loose = photo("loose", "")
    twins = [photo("t1", "a", "same"), photo("t2", "b", "same")]
    rejected, uncut = photo("rejected", "a"), photo("uncut", "a")
    photos = [*good, bad, loose, *twins, rejected, uncut]
    crops = [
        replace(crop, state=CropState.REJECTED) if crop.photo_id == "rejected" else crop
        for crop in crops_of(photos)
        if crop.photo_id != "uncut"
    ]
    left = {row.photo_id: row.reason for row in dataset(photos, crops) if not row.split}
    assert left == {
        "bad": "unreadable: it is empty",
        "loose": left["loose"],
        "t1": "identical photos are labelled a and b",
        "t2": "identical photos are labelled a and b",
        "rejected": "rejected in review",
        "uncut": "no close-up was looked for",
    }
    assert "no label" in left["loose"]


def test_stand_ins_are_used_and_marked() -> None:
    photos = some("a", 5) + some("b", 5)
    rows = dataset(photos, crops_of(photos, missed=("a000",)))
    assert {row.photo_id for row in rows if not row.found} == {"a000"}
    assert all(row.split for row in rows)


def test_dropped_misses_count_in_the_test_part_only() -> None:
    photos = some("a", 40) + some("b", 40)
    missed = tuple(p.id for p in photos if p.id.endswith(("1", "2", "3")))
    rows = dataset(photos, crops_of(photos, "drop", missed))
    dropped = [row for row in rows if row.photo_id in missed]
    assert {row.reason for row in dropped} == {DROPPED}
    assert {row.split for row in dropped} == {"", "test"}
    assert all(row.reason == "" for row in rows if row.split == "train")


def test_classes_are_counted_without_dropped_misses() -> None:
    photos = some("a", 9) + some("b", 3)
    rows = dataset(photos, crops_of(photos, "drop", ("b000", "b001")))
    assert [r.photo_id for r in rows if r.label == "b" and r.split == "train"] == ["b002"]
    with pytest.raises(DatasetError, match="no usable photo of b"):
        dataset(photos, crops_of(photos, "drop", ("b000", "b001", "b002")))


# The user's own test photos


def test_own_test_folder() -> None:
    photos = some("a", 5) + some("b", 5) + some("a", 2, "test")
    counts = sides(dataset(photos))
    assert counts == {("a", "train"): 5, ("b", "train"): 5, ("a", "test"): 2}


def test_training_copies_of_test_photos_are_left_out() -> None:
    photos = [
        *some("a", 5),
        *some("b", 5),
        photo("copy", "a", "twin"),
        photo("near", "a", group="g"),
        photo("original", "a", "twin", split="test"),
        photo("seen", "b", group="g", split="test"),
    ]
    rows = {row.photo_id: row for row in dataset(photos)}
    assert (rows["copy"].split, rows["original"].split) == ("", "test")
    assert rows["copy"].reason == "identical to the test photo a/original.jpg"
    assert rows["near"].reason == "in one group with the test photo b/seen.jpg"


def test_unknown_test_labels_are_left_out() -> None:
    photos = some("a", 5) + some("b", 5) + some("a", 1, "test") + some("c", 2, "test")
    rows = dataset(photos)
    assert sides(rows)["c", ""] == 2
    assert sides(rows)["a", "test"] == 1


# Folds


def test_folds_of_nothing() -> None:
    assert folds([]).tolist() == []


def test_nothing_can_be_held_out_of_one_group_a_class() -> None:
    rows = dataset(some("a", 2) + some("b", 2))
    assert folds(rows).tolist() == [0, 0]


def test_folds() -> None:
    photos = [photo(f"{x}{i:03}", x, group=f"{x}{i // 2}") for x in "abc" for i in range(50)]
    rows = dataset(photos)
    train = [row for row in rows if row.split == "train"]
    numbers = folds(rows)
    assert numbers.shape == (len(train),)
    assert set(numbers.tolist()) == set(range(5))
    of_group: dict[str, set[int]] = {}
    for row, number in zip(train, numbers.tolist(), strict=True):
        of_group.setdefault(row.group, set()).add(number)
    assert all(len(found) == 1 for found in of_group.values())
    for number in range(5):
        inside = Counter(r.label for r, n in zip(train, numbers, strict=True) if n == number)
        assert len(inside) == 3
    order = np.random.default_rng(0).permutation(len(train))
    shuffled = folds([train[i] for i in order])
    assert np.array_equal(shuffled, numbers[order])


def test_fewer_folds_for_few_photos() -> None:
    rows = dataset(some("a", 4) + some("b", 4))
    numbers = folds(rows)
    assert set(numbers.tolist()) == {0, 1, 2}


# Real photos


def test_real_photos_with_copies(shared: Path) -> None:
    photos = list_photos(PhotosConfig(source=str(shared / "photos" / "watches")))
    assert len(photos) == 1951
    assert {p.state for p in photos} == {PhotoState.READABLE}
    assert len(set(group_photos(photos).group_of.values())) == 1906
    counts = sides(dataset(photos))
    assert {n for (_, side), n in counts.items() if side == "test"} <= {29, 30, 31}
    assert sum(counts.values()) == 1951
