"""Parts hold each photo once, and the manifest is only an index of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closeup.batch.asks import rows_of
from closeup.batch.files import Store
from closeup.batch.parts import MANIFEST, missing_from, read_parts, settle
from closeup.batch.source import Listed
from closeup.batch.worker import PARTS, encode_part, part_name
from closeup.core.errors import ProjectError
from closeup.core.types import Answer, Box
from closeup.model.prediction import Prediction


def listed(name: str, time: int = 1) -> Listed:
    return Listed(name, f"/{name}", 10, time)


def answer(photo: str, label: str = "ash") -> Prediction:
    """`label` may also be an error's code."""
    if label in ("io_error", "damaged"):
        return Prediction(photo, False, (), label, "why")
    if label == "none":
        return Prediction(photo, False, ())
    one = Answer(Box(0, 0, 9, 9), "thing", 0.5, label, 0.75, ((label, 0.75),), "", ())
    return Prediction(photo, True, (one, one) if label == "two" else (one,))


def write(store: Store, run: int, photos: Sequence[Listed], labels: Sequence[str]) -> str:
    ids = [one.id for one in photos]
    answers = [answer(one.photo, label) for one, label in zip(photos, labels, strict=True)]
    name = part_name(run, ids)
    store.write(f"{PARTS}/{name}", encode_part(rows_of(answers), [b"/x"] * len(ids), ids))
    return name


def rows(store: Store) -> list[tuple[str, str]]:
    assert store.local is not None
    table = pq.read_table(store.local / PARTS)
    pairs = zip(table["photo"].to_pylist(), table["label"].to_pylist(), strict=True)
    return sorted(pairs)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def test_what_is_done_and_what_is_tried_again(store: Store) -> None:
    photos = [listed(name) for name in "abcd"]
    write(store, 1, photos, ["two", "io_error", "damaged", "none"])
    for _ in range(2):  # from the part, then from the manifest
        parts = read_parts(store)
        assert parts.run == 2
        assert parts.photos == 4
        assert parts.counts() == {"two": 2, "unreadable": 2, "not found": 1}
        ids = np.array([one.id for one in [*photos, listed("e")]], "S16")
        assert missing_from(parts.done(), ids).tolist() == [False, True, False, False, True]
        settle(store, parts)
    assert missing_from(parts.done()[:0], ids).all()


def test_the_later_answer_stays(store: Store) -> None:
    write(store, 1, [listed("a"), listed("b"), listed("c")], ["ash", "io_error", "ash"])
    write(store, 1, [listed("d")], ["ash"])
    # b is tried again, c was changed, d was done again by a run that was killed
    write(store, 2, [listed("b"), listed("c", 2)], ["birch", "birch"])
    write(store, 2, [listed("d"), listed("e")], ["birch", "birch"])
    for _ in range(2):
        parts = read_parts(store)
        settle(store, parts)
        assert rows(store) == [("a", "ash"), *((name, "birch") for name in "bcde")]
        assert parts.photos == 5
        assert len(parts.held) == 3  # the part that held d alone is gone
    assert read_parts(store).photos == 5


def test_a_kill_between_parts_and_manifest_is_made_good(store: Store) -> None:
    write(store, 1, [listed("a"), listed("b")], ["ash", "ash"])
    settle(store, read_parts(store))
    old = store.read(MANIFEST)
    assert old is not None
    write(store, 2, [listed("b", 2)], ["birch"])
    settle(store, read_parts(store))
    store.write(MANIFEST, old)  # as if the new one had not been written
    parts = read_parts(store)
    settle(store, parts)
    assert rows(store) == [("a", "ash"), ("b", "birch")]
    assert parts.counts() == {"ash": 1, "birch": 1}


@pytest.mark.parametrize("damage", [b"", b"no parquet", None])
def test_a_damaged_manifest_is_made_again(store: Store, damage: bytes | None) -> None:
    write(store, 1, [listed("a")], ["ash"])
    settle(store, read_parts(store))
    good = store.read(MANIFEST)
    assert good is not None
    store.write(MANIFEST, good[:-30] if damage is None else damage)
    parts = read_parts(store)
    assert parts.photos == 1
    settle(store, parts)
    assert store.read(MANIFEST) == good


def test_a_damaged_part_is_named(store: Store) -> None:
    name = write(store, 1, [listed("a")], ["ash"])
    store.write(f"{PARTS}/{name}", b"PAR1 nonsense")
    with pytest.raises(ProjectError, match=f"{name} is damaged.*delete it"):
        read_parts(store)
    assert store.read("nothing") is None
    assert store.names("nowhere") == []


def test_a_damaged_part_with_pictures_is_named(store: Store) -> None:
    photos = [listed(name) for name in "ab"]
    answers = rows_of([answer(one.photo) for one in photos])
    pictures = pa.array([os.urandom(600_000) for _ in photos])
    made = replace(answers, table=answers.table.append_column("closeup", pictures))
    name, good = part_name(1, []), encode_part(made, [b"/x"] * 2, [one.id for one in photos])
    store.write(f"{PARTS}/{name}", good)
    assert read_parts(store).photos == 2
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    store.write(f"{PARTS}/{name}", good[:footer] + bytes(9) + good[footer + 9 :])
    with pytest.raises(ProjectError, match=f"{name} is damaged.*delete it"):
        read_parts(store)


def test_a_retried_shard_replaces_its_part(store: Store) -> None:
    first = write(store, 1, [listed("a")], ["ash"])
    assert write(store, 1, [listed("a")], ["birch"]) == first
    assert rows(store) == [("a", "birch")]
