from __future__ import annotations

import random

import pytest

from closeup.core.types import Photo, PhotoState
from closeup.dataset.groups import find_conflicts, group_photos


def photo(name: str, sha256: str = "", group: str = "", label: str = "x") -> Photo:
    state = PhotoState.READABLE if sha256 else PhotoState.UNREADABLE
    return Photo(name, "/r", name, label, group, "", state, "", "", 1, 1, 1, 1, sha256)


def test_no_photos() -> None:
    grouping = group_photos([])
    assert grouping.group_of == {}
    assert grouping.conflicts == ()


def test_unreadable_and_different_photos_stand_alone() -> None:
    photos = [photo("a"), photo("b"), photo("c", "1"), photo("d", "2")]
    assert group_photos(photos).group_of == {name: name for name in "abcd"}


def test_bytes_group_and_pairs_join_through_each_other() -> None:
    photos = [
        photo("e", "9"),
        photo("a", "1"),
        photo("b", "1", "g"),
        photo("c", "2", "g"),
        photo("d", "3"),
    ]
    groups = group_photos(photos, pairs=[("d", "c")]).group_of
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e"}


def test_a_group_name_is_no_hash() -> None:
    assert group_photos([photo("a", "1"), photo("b", "2", group="1")]).group_of["b"] == "b"


def test_order_does_not_matter() -> None:
    shuffle = random.Random(0)
    photos = [photo(f"{i:03}", str(i % 40), str(i % 7) if i % 3 else "") for i in range(100)]
    expected = group_photos(photos)
    for _ in range(5):
        shuffle.shuffle(photos)
        assert group_photos(photos) == expected


def test_pairs_must_be_photos() -> None:
    with pytest.raises(KeyError):
        group_photos([photo("a", "1")], pairs=[("a", "z")])


def test_conflicts() -> None:
    photos = [
        photo("a", "1", label="x"),
        photo("b", "1", label="y"),
        photo("c", "1", label="x"),
        photo("d", "2", label="x"),
        photo("e", "2", label="x"),
        photo("f", "2", label=""),
        photo("g", "", label="x"),
        photo("h", "", label="y"),
    ]
    (conflict,) = find_conflicts(photos)
    assert conflict.photo_ids == ("a", "b", "c")
    assert conflict.labels == ("x", "y")
    (note,) = map(str, group_photos(photos).conflicts)
    assert "3 identical photos have different labels (x, y)" in note
