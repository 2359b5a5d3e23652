"""What earlier versions wrote still opens: fixtures made once, never changed.

``tools/make_format_fixture.py`` makes the one of a new format.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import closeup
from closeup.core.config import CONFIG_FILE
from closeup.core.errors import ModelError, NetworkDamaged, ProjectError
from closeup.core.project import Project
from closeup.core.types import Crop, Detection, Example, Photo, Result
from closeup.decisions.kinds import Kind
from closeup.decisions.log import read_decisions
from closeup.networks import load

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("format-*"))
TOLERANCE = 1e-3
"""Of a probability: engines and processors differ in the last digits."""
PIXELS = 0.5
"""Of a box's corner."""


@pytest.fixture(params=FIXTURES, ids=lambda folder: folder.name)
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a fixture, whose configuration names the photos where they lie now.

    The networks of its model are in the cache, as they were for whoever made it.
    """
    folder = Path(shutil.copytree(request.param, tmp_path / "old"))
    file = folder / "project" / CONFIG_FILE
    place = str(folder / "photos")
    file.write_text(file.read_text().replace('"/photos"', json.dumps(place)))
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    for kind in ("detector", "backbone"):
        network = folder / "project" / "model" / kind
        name = json.loads((network / "card.json").read_text())["name"]
        shutil.copytree(network, tmp_path / "cache" / "networks" / name)
    return folder


def stored_answers(old: Path) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = json.loads((old / "answers.json").read_text())
    assert len(answers) == 20
    return answers


def test_there_is_one() -> None:
    assert [folder.name for folder in FIXTURES][:1] == ["format-1"]


def test_its_model_answers_as_it_did(old: Path) -> None:
    model = closeup.load(old / "project" / "model")
    for stored in stored_answers(old):
        answer = model.predict(old / stored["photo"], always=True)
        assert answer.found == stored["found"]
        assert len(answer.objects) == len(stored["objects"]) > 0
        for mine, its in zip(answer.objects, stored["objects"], strict=True):
            assert mine.box == pytest.approx(its["box"], abs=PIXELS)
            assert mine.confidence == pytest.approx(its["confidence"], abs=TOLERANCE)
            ranked = [p for _, p in its["top"]]
            if ranked[0] - ranked[1] > 2 * TOLERANCE:
                assert mine.label == its["label"]


def test_a_model_card_of_format_1_opens(old: Path) -> None:
    """It knew neither unknown photos, nor sets of labels, nor other views."""
    file = old / "project" / "model" / "model.json"
    card = json.loads(file.read_text())
    for name in ("unknown", "likely", "view"):
        card.pop(name, None)
    file.write_text(json.dumps({**card, "format": 1}))
    stored = stored_answers(old)[0]
    answer = closeup.load(file.parent).predict(old / stored["photo"])
    assert answer.objects[0].confidence == pytest.approx(
        stored["objects"][0]["confidence"], abs=TOLERANCE
    )
    assert answer.objects[0].likely == ()


def test_its_tables_are_read(old: Path) -> None:
    project = Project(old / "project")
    photos = len(list((old / "photos").rglob("*.jpg")))
    tables = {"photos": Photo, "detections": Detection, "crops": Crop, "dataset": Example}
    for name, row in tables.items():
        table = project.read(name, row)
        assert table is not None
        assert len(table.rows) == photos
    results = project.read("results", Result)
    assert results is not None
    assert 0 < len(results.rows) < photos


def test_its_decisions_are_read(old: Path) -> None:
    assert read_decisions(old / "project").counts()[Kind.RELABEL] == 1


def test_it_is_run_again_and_scores_as_it_did(old: Path) -> None:
    """Stages that have changed since are computed anew, which photos this small do not show."""
    project = Project(old / "project")
    (project.folder / "decisions.sqlite").unlink()  # they ask for another training
    before = project.read("results", Result)
    result = closeup.run(out=project.folder)
    assert result.report.stat().st_size > 10_000
    assert result.counts.photos == len(stored_answers(old))
    assert result.counts.unreadable == result.counts.not_found == 0
    after = project.read("results", Result)
    assert before is not None
    assert after is not None
    for mine, its in zip(after.rows, before.rows, strict=True):
        assert replace(mine, confidence=its.confidence) == its
        assert mine.confidence == pytest.approx(its.confidence, abs=10 * TOLERANCE)


def test_what_is_run_twice_is_not_trained_twice(old: Path) -> None:
    folder = old / "project"
    closeup.run(out=folder)
    model = (folder / "model" / "model.json").stat()
    closeup.run(out=folder)
    assert (folder / "model" / "model.json").stat().st_mtime_ns == model.st_mtime_ns


def test_it_opens_with_its_first_entry(old: Path) -> None:
    folder = old / "project"
    key = json.loads((folder / "model" / "model.json").read_text())["key"]
    result = closeup.train(folder, head="prototype")
    first, second = closeup.history(folder).trainings
    assert (first.number, first.key, first.used, first.out_of_fold) == (1, key, True, None)
    assert first.macro_f1 is not None
    assert second.against is not None
    assert second.against.n > 0
    assert closeup.history(folder).in_use == 2
    closeup.train(folder, restore=1)
    assert json.loads((folder / "model" / "model.json").read_text())["key"] == key
    assert closeup.load(result.model).predict(old / stored_answers(old)[0]["photo"]).objects


def test_it_is_trained_further(old: Path) -> None:
    result = closeup.train(old / "project", head="ridge,prototype")
    assert [row.candidate.head for row in result.compared] == ["ridge", "prototype"]
    assert closeup.load(result.model).labels


# Numbers that this version does not know


@pytest.mark.parametrize(("number", "words"), [(0, "delete it and run again"), (99, "upgrade")])
def test_a_table_of_another_format_says_how_to_go_on(old: Path, number: int, words: str) -> None:
    file = old / "project" / "crops.parquet"
    table = pq.read_table(file)
    facts = {**json.loads(table.schema.metadata[b"closeup"]), "format": number}
    pq.write_table(table.replace_schema_metadata({"closeup": json.dumps(facts)}), file)
    with pytest.raises(ProjectError, match=rf"crops\.parquet has format {number}.*{words}"):
        closeup.run(out=old / "project")


@pytest.mark.parametrize(("number", "words"), [(0, "train the model again"), (99, "upgrade")])
def test_a_model_of_another_format_says_how_to_go_on(old: Path, number: int, words: str) -> None:
    file = old / "project" / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": number}))
    with pytest.raises(ModelError, match=rf"model\.json has format {number}.*{words}"):
        closeup.load(file.parent)


@pytest.mark.parametrize(("number", "words"), [(0, "add or pull"), (99, "update closeup")])
def test_a_network_of_another_format_says_how_to_go_on(old: Path, number: int, words: str) -> None:
    folder = old / "project" / "model" / "backbone"
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "format": number}))
    with pytest.raises(NetworkDamaged, match=rf"of format {number}.*{words}"):
        load(folder)


def test_decisions_of_a_later_format_say_how_to_go_on(old: Path) -> None:
    db = sqlite3.connect(old / "project" / "decisions.sqlite")
    with db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ProjectError, match=r"99"):
        closeup.run(out=old / "project")
