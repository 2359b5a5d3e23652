"""The training close-ups behind an answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import closeup
from closeup.core.errors import ModelError
from closeup.core.project import Project
from closeup.core.types import Crop, Example, Photo
from closeup.evaluate.neighbours import Known, beside, known_of, neighbours
from closeup.evaluate.unknown import MAX_REFERENCES, UnknownRule, reference_rows
from tests import tiny


def rule(rows: int, dim: int = 6) -> UnknownRule:
    """References that are rows of noise, in all directions there are."""
    draw = np.random.default_rng(rows)
    found = draw.normal(size=(rows, dim)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return UnknownRule(0.0, 2.0, 1.0, 1.0, np.eye(dim, dtype=np.float32), found.astype(np.float16))


def examples(count: int) -> list[Example]:
    return [Example(f"c{n}", f"p{n}", f"label {n % 3}", f"p{n}", "train", True, "")
            for n in range(count)]  # fmt: skip


@given(rows=st.integers(1, 40), count=st.integers(0, 50))
def test_beside_a_reference_are_the_others_of_the_largest_cosine(rows: int, count: int) -> None:
    mine = rule(rows)
    own = rows // 2
    found = beside(mine, known_of(examples(rows)), f"c{own}", count)
    exact = mine.references.astype(np.float64)
    cosines = exact @ exact[own] / np.linalg.norm(exact[own])
    wanted = sorted(set(range(rows)) - {own}, key=lambda row: -cosines[row])[:count]
    assert [near.crop for near in found] == [f"c{row}" for row in wanted]
    assert [near.similarity for near in found] == pytest.approx(cosines[wanted], abs=1e-5)
    assert beside(mine, known_of(examples(rows)), "somebody else", count) == ()


@given(rows=st.integers(1, 40), count=st.integers(0, 50))
def test_the_nearest_are_those_of_the_largest_cosine_in_order(rows: int, count: int) -> None:
    mine = rule(rows)
    embedding = np.random.default_rng(7).normal(size=6).astype(np.float32)
    found = neighbours(mine, known_of(examples(rows)), embedding, count)
    root = np.sign(embedding) * np.sqrt(np.abs(embedding))
    cosines = mine.references.astype(np.float64) @ (root / np.linalg.norm(root))
    wanted = sorted(range(rows), key=lambda row: -cosines[row])[:count]
    assert [near.crop for near in found] == [f"c{row}" for row in wanted]
    assert [near.similarity for near in found] == pytest.approx(cosines[wanted], abs=1e-3)


def test_only_so_many_references_are_kept_and_each_is_named() -> None:
    many = examples(MAX_REFERENCES + 7)
    known = known_of(many)
    assert len(known.crops) == MAX_REFERENCES
    rows = reference_rows(len(many))
    assert known.crops == tuple(many[row].crop_id for row in rows)
    assert len(set(known.crops)) == MAX_REFERENCES


@pytest.mark.parametrize("data", [
    b"", b"[]", b"{}", b"\xff", b'{"crops": [], "labels": []}', b'{"crops": 1, "labels": 1}',
    b'{"crops": ["a"], "labels": [1]}', b'{"crops": ["a", "b"], "labels": ["x", "y"]}',
    b"[" * 100_000,
])  # fmt: skip
def test_a_damaged_list_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="training close-ups"):
        Known.from_bytes(data, 1)


def test_the_list_is_read_back() -> None:
    known = known_of(examples(5))
    assert Known.from_bytes(known.to_bytes(), 5) == known


def test_a_training_photo_is_its_own_nearest(tmp_path: Path) -> None:
    model = closeup.load(tiny.make_project(tmp_path))
    table = Project(tmp_path / "out").read("crops", Crop)
    data = Project(tmp_path / "out").read("dataset", Example)
    assert table is not None
    assert data is not None
    photo_of = {crop.id: crop for crop in table.rows}
    paths = {row.id: row.path for row in _photos(tmp_path)}
    trained = [row for row in data.rows if row.split == "train" and row.found]
    for row in trained[:6]:
        path = tmp_path / "photos" / paths[photo_of[row.crop_id].photo_id]
        alike = model.predict(path, nearest=len(trained)).objects[0].alike
        assert [near.similarity for near in alike] == sorted(
            (near.similarity for near in alike), reverse=True
        )
        own = {near.crop: near for near in alike}[row.crop_id]
        assert own.label == row.label
        assert own.similarity == pytest.approx(1, abs=0.002)
        assert alike[0].similarity - own.similarity < 0.002
    assert model.predict(path).objects[0].alike == ()


def test_a_model_of_before_has_none_and_a_wrong_list_is_refused(tmp_path: Path) -> None:
    folder = tiny.make_project(tmp_path)
    card = json.loads((folder / "model.json").read_text())
    kept = card["files"].pop("references.json")
    (folder / "model.json").write_text(json.dumps(card))
    old = closeup.load(folder)
    assert old.predict(next((tmp_path / "photos").rglob("*.png")), nearest=3).objects[0].alike == ()
    (folder / "model.json").write_text(
        json.dumps(card | {"files": card["files"] | {"references.json": kept}})
    )
    (folder / "references.json").write_text("{}")
    with pytest.raises(ModelError, match=r"references\.json"):
        closeup.load(folder)


def _photos(base: Path) -> list[Photo]:
    table = Project(base / "out").read("photos", Photo)
    assert table is not None
    return list(table.rows)
