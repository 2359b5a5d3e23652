"""Attributes: columns of a table that are learned beside the label, each by a head of its own."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import closeup
from closeup.batch.asks import Predict
from closeup.batch.worker import PARTS, Job, answer_shard
from closeup.core.config import EngineConfig, PhotosConfig
from closeup.core.errors import ModelError, PhotosError
from closeup.core.project import Project
from closeup.core.types import Example, Photo
from closeup.model.answers import COLUMNS, write_csv, write_parquet
from closeup.model.model import load_model
from closeup.photos.attributes import TAKEN, of_text, to_text
from closeup.photos.listing import list_photos
from tests import commands, tiny
from tests.pipeline.test_stage_keys import keys_of

LABELS = ("ash", "birch")
STRAPS = ("leather", "steel")
PER_LABEL = 16
OPTIONS: dict[str, Any] = {**tiny.TINY, "preset": "quick", "near_duplicates": False}


def make(folder: Path) -> list[tuple[str, str, str, str]]:
    """Photos whose middle's colour is the label, and whose lower edge is the strap: independent.

    Every fourth has no known strap, and all have one ``dial``.
    """
    rows = []
    for number in range(len(LABELS) * PER_LABEL):
        label, strap = number % 2, number // 2 % 2
        rng = np.random.default_rng(number)
        pixels = rng.integers(60, 200, (64, 64, 3), dtype=np.uint8)
        pixels[16:40, 16:48, label] = 250
        pixels[44:56, 8:56, 2] = 250 if strap else 10
        Image.fromarray(pixels).save(folder / f"{number}.png")
        known = "" if number % 8 > 5 else STRAPS[strap]
        rows.append((f"{number}.png", LABELS[label], known, "blue"))
    return rows


def write(file: Path, header: str, rows: list[tuple[str, ...]]) -> Path:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])
    return file


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("attributes")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        rows = make(folder)
        write(folder / "all.csv", "path,label,Strap,dial", [*rows])
        cells = [(path, label, f"strap={strap}; dial={dial}") for path, label, strap, dial in rows]
        write(folder / "cells.csv", "path,label,attributes", [*cells])
        yield folder


@pytest.fixture(autouse=True)
def _cache(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))


@pytest.fixture(scope="module")
def ran(base: Path) -> closeup.RunResult:
    return closeup.run(base / "all.csv", out=base / "out", attributes="Strap", **OPTIONS)


@pytest.fixture(scope="module")
def plain(base: Path) -> closeup.RunResult:
    return closeup.run(base / "all.csv", out=base / "plain", **OPTIONS)


def rows_of(out: Path, name: str, kind: Any) -> Any:
    table = Project(out).read(name, kind)
    assert table is not None
    return table.rows


def test_an_attribute_has_a_score_of_its_own(base: Path, ran: closeup.RunResult) -> None:
    (row,) = ran.attributes
    photos = {
        p.id: json.loads(p.attributes or "{}") for p in rows_of(base / "out", "photos", Photo)
    }
    sides = [e.split for e in rows_of(base / "out", "dataset", Example) if photos[e.photo_id]]
    assert (row.name, row.values) == ("strap", STRAPS)
    assert (row.train, row.n) == (sides.count("train"), sides.count("test"))
    assert row.n > 0
    assert row.macro_f1 is not None
    assert row.macro_f1.low < row.macro_f1.value == 1.0
    (told,) = ran.to_json()["attributes"]
    assert told["macro_f1"]["value"] == 1.0


def test_the_label_is_learned_as_ever(
    base: Path, ran: closeup.RunResult, plain: closeup.RunResult
) -> None:
    assert ran.scores == plain.scores
    assert plain.attributes == ()
    mine, other = base / "out" / "model", base / "plain" / "model"
    for name in ("head.safetensors", "unknown.safetensors", "references.json"):
        assert (mine / name).exists() == (other / name).exists()
        if (mine / name).exists():
            assert (mine / name).read_bytes() == (other / name).read_bytes()
    assert (mine / "attributes.safetensors").is_file()
    assert not (other / "attributes.safetensors").exists()
    assert "attributes" not in json.loads((other / "model.json").read_text())


def test_the_test_part_is_not_learned_from(base: Path, tmp_path: Path) -> None:
    """Other straps on the test photos change the score, and nothing of the model."""
    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    tested = {e.photo_id for e in rows_of(out, "dataset", Example) if e.split == "test"}
    paths = {p.path for p in rows_of(out, "photos", Photo) if p.id in tested}
    turned = {"leather": "steel", "steel": "leather", "": ""}
    with (base / "all.csv").open() as stream:
        header, *rows = csv.reader(stream)
    file = write(base / "turned.csv", ",".join(header), [
        (path, label, turned[strap] if path in paths else strap, dial)
        for path, label, strap, dial in rows
    ])  # fmt: skip
    again = closeup.run(file, out=out)
    (row,) = again.attributes
    assert row.macro_f1 is not None
    assert row.macro_f1.value == 0.0
    name = "model/attributes.safetensors"
    assert (out / name).read_bytes() == (base / "out" / name).read_bytes()


def test_predictions_give_the_attributes(
    base: Path, ran: closeup.RunResult, tmp_path: Path
) -> None:
    model = load_model(ran.model)
    photos = [base / "0.png", base / "2.png", base / "gone.png"]
    answers = list(model.predict_many(photos))
    assert [one.attributes[0].value for answer in answers for one in answer.objects] == [*STRAPS]
    told = answers[0].to_dict()["objects"][0]["attributes"]
    assert told["strap"][0] == "leather"
    assert 0.5 < told["strap"][1] <= 1
    write_csv(answers, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["strap"] for row in rows] == ["leather", "steel", ""]
    assert float(rows[1]["strap_confidence"]) > 0.5
    write_parquet(answers, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet", use_threads=False)
    assert table.column("strap").to_pylist() == ["leather", "steel", ""]
    assert table.column("strap_confidence").to_pylist()[2] is None


@pytest.mark.parametrize("photo", ["2.png", "gone.png"])
def test_every_part_of_many_answers_has_their_columns(
    base: Path, ran: closeup.RunResult, tmp_path: Path, photo: str
) -> None:
    ask = Predict(ran.model, False)
    path, job = str(base / photo).encode(), Job(str(tmp_path), 1, ask, EngineConfig())
    answer = ask.open(ran.model, job.engine)
    report = answer_shard(answer, job, [path], [path], [b"0" * 16])
    table = pq.read_table(tmp_path / PARTS / report.part, use_threads=False)
    assert table.column_names == [*COLUMNS, "strap", "strap_confidence", "source", "id"]
    assert table.column("strap").to_pylist() == ["steel" if photo == "2.png" else ""]


def test_the_command_line_tells_of_them(base: Path, ran: closeup.RunResult) -> None:
    done = commands.closeup("report", base / "out")
    assert "  strap       1.000" in done.stdout
    page = (base / "out" / "report.html").read_text()
    assert 'id="attributes"' in page
    done = commands.closeup("predict", ran.model, base / "2.png")
    assert "strap" in done.stdout
    assert "steel" in done.stdout


def test_they_are_in_the_keys_of_what_they_decide(base: Path, ran: closeup.RunResult,
                                                  plain: closeup.RunResult) -> None:  # fmt: skip
    with_them, without = keys_of(base / "out"), keys_of(base / "plain")
    changed = {name for name in with_them if with_them[name] != without[name]}
    assert changed == {"photos", "train", "report"}


def test_a_project_takes_them_later_and_gives_them_back(
    base: Path, plain: closeup.RunResult, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(base / "plain", tmp_path / "out"))
    assert [row.name for row in closeup.run(out=out, attributes="strap").attributes] == ["strap"]
    assert closeup.run(out=out).attributes
    assert closeup.run(out=out, attributes="").attributes == ()
    assert keys_of(out)["train"] == keys_of(base / "plain")["train"]
    assert not (out / "model" / "attributes.safetensors").exists()
    assert (out / "model" / "model.json").read_bytes() == (plain.model / "model.json").read_bytes()


def test_a_column_of_them(base: Path, ran: closeup.RunResult, tmp_path: Path) -> None:
    """One value alone is not learned, and a note says so."""
    found = closeup.run(base / "cells.csv", out=tmp_path / "out", **OPTIONS)
    assert found.attributes == ran.attributes
    assert any("attribute dial is not learned" in note and "blue" in note for note in found.notes)


def test_two_photos_are_learned_from_but_not_tested(
    base: Path, ran: closeup.RunResult, tmp_path: Path
) -> None:
    project = Project(ran.model.parent)
    trained = {
        e.photo_id for e in rows_of(project.folder, "dataset", Example) if e.split == "train"
    }
    photos = [p for p in rows_of(project.folder, "photos", Photo) if p.id in trained]
    one_each = {next(p.path for p in photos if strap in p.attributes) for strap in STRAPS}
    with (base / "all.csv").open() as stream:
        header, *rows = csv.reader(stream)
    few = [(path, label, strap if path in one_each else "", dial)
           for path, label, strap, dial in rows]  # fmt: skip
    file = write(base / "few.csv", ",".join(header), [*few])
    found = closeup.run(file, out=tmp_path / "out", attributes="strap", **OPTIONS)
    (row,) = found.attributes
    assert (row.train, row.n, row.macro_f1) == (2, 0, None)
    assert "not tested" in found.report.read_text()
    assert "not tested" in commands.closeup("report", tmp_path / "out").stdout


def attributes_of(file: Path, **options: Any) -> dict[str, str]:
    config = PhotosConfig(source=str(file), **options)
    return {photo.path: photo.attributes for photo in list_photos(config)}


def test_values_that_look_alike_are_one(base: Path) -> None:
    file = write(base / "alike.csv", "path,label,strap", [
        ("0.png", "a", "Steel"), ("1.png", "b", "Steel"), ("2.png", "a", "steel "),
        ("3.png", "b", ""),
    ])  # fmt: skip
    found = attributes_of(file, attributes="strap")
    assert found == {f"{n}.png": '{"strap": "Steel"}' for n in range(3)} | {"3.png": ""}


def test_a_column_that_holds_something_else_is_left_alone(base: Path) -> None:
    file = write(base / "prose.csv", "path,label,attributes",
                 [("0.png", "a", "nice"), ("1.png", "b", "strap=steel")])  # fmt: skip
    assert set(attributes_of(file).values()) == {""}


@pytest.mark.parametrize(
    ("header", "rows", "names", "told"),
    [
        ("path,label,strap", [("0.png", "a", "x"), ("1.png", "b", "y")], "dial", "value of dial"),
        ("path,label,strap", [("0.png", "a", ""), ("1.png", "b", "")], "strap", "value of strap"),
        ("path,label,reason", [("0.png", "a", "x"), ("1.png", "b", "y")], "reason", "be called"),
        ("path,label,attributes", [("0.png", "a", "label=x"), ("1.png", "b", "")], "", "be called"),
        ("path,label,strap", [("0.png", "a", "x"), ("0.png", "a", "y")], "strap", "lines 2 and 3"),
        ("path,label,strap,Strap", [("0.png", "a", "x", "y")], "strap", "strap and strap"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    base: Path, header: str, rows: list[tuple[str, ...]], names: str, told: str
) -> None:
    file = write(base / "refused.csv", header, rows)
    with pytest.raises(PhotosError, match=told):
        attributes_of(file, attributes=names)


@pytest.mark.parametrize("text", ["x", "[1]", '{"a": 1}', "[" * 100_000])
def test_what_is_kept_may_be_damaged(text: str) -> None:
    assert of_text(text) == {}
    assert of_text(to_text({"b": "ä; =", "a": "x", "c": ""})) == {"a": "x", "b": "ä; ="}


def test_a_folder_has_no_columns(base: Path, tmp_path: Path) -> None:
    photos = tiny.make_photos(tmp_path / "photos", per_label=2)
    with pytest.raises(PhotosError, match="names columns of a table"):
        list_photos(PhotosConfig(source=str(photos), attributes="strap"))


def test_a_model_whose_arrays_are_not_those_of_the_card_is_refused(
    ran: closeup.RunResult, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(ran.model, tmp_path / "model"))
    card = json.loads((folder / "model.json").read_text())
    for broken, told in (
        ({"dial": card["attributes"]["strap"]}, "cannot be loaded"),
        ({"strap": {**card["attributes"]["strap"], "values": ["a", "b", "c"]}}, "3 labels"),
    ):
        (folder / "model.json").write_text(json.dumps({**card, "attributes": broken}))
        with pytest.raises(ModelError, match=told):
            load_model(folder)
    files = {name: sha for name, sha in card["files"].items() if "attributes" not in name}
    (folder / "model.json").write_text(json.dumps({**card, "files": files}))
    with pytest.raises(ModelError, match="no hash for attributes"):
        load_model(folder)


def test_no_attribute_is_called_like_a_column_of_answers() -> None:
    assert {*COLUMNS, "source", "id"} < TAKEN


def test_the_head_kinds_are_those_of_the_label(ran: closeup.RunResult) -> None:
    card = load_model(ran.model).card
    assert card.attributes["strap"].head == card.head
    assert card.files.keys() >= {"attributes.safetensors"}
