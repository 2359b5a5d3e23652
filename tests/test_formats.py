"""docs/formats.md is true: its tables and keys are those of what a small run writes."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import closeup
from closeup.collect import CollectResult
from closeup.collect.record import Collected, Status
from closeup.core.project import Project
from closeup.core.types import (
    Answer,
    Box,
    Crop,
    CropState,
    Detection,
    Example,
    Photo,
    PhotoState,
    Result,
    Rights,
)
from closeup.dataset.duplicates import Pair
from closeup.dataset.kept import Place
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import DECISIONS_FILE, Decisions
from closeup.detect.scouting import Scouted
from closeup.evaluate.against import Answered
from closeup.evaluate.checks import CheckState
from closeup.model.prediction import COLUMNS
from closeup.model.tracks import TRACK_COLUMNS, Sighting, Track
from closeup.networks.card import Card
from closeup.photos.films import FRAMES_COLUMNS
from closeup.pipeline.suggested import Suggested
from tests import commands, tiny

PAGE = Path(__file__).parent.parent.joinpath("docs", "formats.md").read_text(encoding="utf8")
ROWS = {"photos": Photo, "detections": Detection, "crops": Crop, "duplicates": Pair,
        "split": Place, "dataset": Example, "results": Result, "suggested": Suggested,
        "answers": Answered, "rights": Rights}  # fmt: skip


def section(title: str) -> str:
    """What stands below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/formats.md has no section {title!r}"
    return found[1]


def table(title: str) -> dict[str, str]:
    """The rows of a section's table: each name of the first cell, and the second cell."""
    cells = re.findall(r"^\| (`.+?) \| (.+) \|$", section(title), re.MULTILINE)
    return {name: what for names, what in cells for name in re.findall(r"`([^`]+)`", names)}


def sample(title: str) -> dict[str, Any]:
    """The example of a section, with a null in place of each ellipsis."""
    text = section(title).split("```")[1]
    text = re.sub(r",\s*…", "", text).replace("…", "null")
    text = re.sub(r"\bx1, y1, x2, y2\b", "0, 0, 1, 1", text)
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def keys_of(value: object) -> object:
    """The keys of nested objects; of a list those of its first item."""
    if isinstance(value, Mapping):
        return {name: keys_of(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [keys_of(value[0])]
    return None


def labelled(photos: Path) -> Path:
    """The photos of a folder as a table, with an attribute and a licence."""
    files = sorted(path.relative_to(photos) for path in photos.rglob("*.*"))
    rows = [f"{file},{file.parent},{'steel,CC BY 4.0' if n % 2 else 'leather,'}"
            for n, file in enumerate(files)]  # fmt: skip
    table = photos / "photos.csv"
    table.write_text("\n".join(["path,label,strap,licence", *rows]))
    return table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a rejected close-up, and what ``run --json`` printed of it."""
    base = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(base / "cache", patch)
        photos = tiny.make_photos(base / "photos", per_label=30, dark=2)
        (photos / "ash" / "broken.jpg").write_bytes(b"no picture")
        out = base / "out"
        closeup.run(labelled(photos), out=out, compare_photo=True, attributes="strap", **tiny.TINY)
        closeup.crop(photos, out=base / "scouted", detector="tiny-box")
        first = next(c for c in crops_of(out) if c.state is CropState.CROPPED)
        with closing(Decisions(out)) as log:
            log.append("tester", [Decision(Kind.REJECT, photo=first.photo_id, crop=first.id)])
        done = commands.closeup("run", "--out", out, "--json")
        assert done.returncode == 0, done.stderr
        (base / "run.json").write_text(done.stdout)
        (base / "people.txt").write_text(commands.closeup("report", out).stdout)
        (base / "crop.json").write_text(commands.closeup("crop", "--out", out, "--json").stdout)
        said = commands.closeup("suggest", out, photos, "--count", "2", "--json").stdout
        (base / "suggest.json").write_text(said)
        model, photo = out / "model", photos / "birch" / "1.png"
        said = commands.closeup("predict", model, photo, "gone.jpg", "--json").stdout
        (base / "predict.json").write_text(said)
        said = commands.closeup("scout", photos, "--detector", "tiny-box", "--json").stdout
        (base / "scout.json").write_text(said)
    return base


def crops_of(out: Path) -> tuple[Crop, ...]:
    found = Project(out).read("crops", Crop)
    assert found is not None
    return found.rows


@pytest.fixture(scope="module")
def printed(made: Path) -> dict[str, Any]:
    value = json.loads((made / "run.json").read_text())
    assert isinstance(value, dict)
    return value


def test_keys_of_a_run(printed: dict[str, Any]) -> None:
    assert table("`run --json`").keys() == printed.keys()


@pytest.mark.parametrize("key", ["test", "trust", "crop_gain", "review", "training"])
def test_keys_of_an_object_of_a_run(printed: dict[str, Any], key: str) -> None:
    assert table(f"`{key}`").keys() == printed[key].keys()


def test_the_summary_of_many_photos() -> None:
    from closeup.batch import Summary
    from closeup.batch.looking import CLOSEUP, EMBEDDING, LOOK_COLUMNS

    assert {"answers/RUN-HASH.parquet", "manifest.parquet", "batch.json"} <= set(
        table("`predict --ray`")
    )
    names = set(table("`predict --ray`"))
    assert {field.name for field in fields(Summary)} <= names
    assert {*LOOK_COLUMNS, CLOSEUP, EMBEDDING} <= names


def test_keys_of_an_attribute(printed: dict[str, Any]) -> None:
    (row,) = printed["attributes"]
    assert table("`attributes`").keys() == row.keys()


def test_keys_of_the_rights(printed: dict[str, Any]) -> None:
    said, found = table("`rights`"), printed["rights"]
    assert said.keys() == found.keys()
    assert found["licences"][0].keys() < set(re.findall(r"`([a-z]+)`", said["licences"]))


def test_keys_of_what_was_scouted(made: Path) -> None:
    kept = json.loads((made / "scouted" / "scouted.json").read_text())
    assert table("`scouted`").keys() == kept.keys() == {f.name for f in fields(Scouted)}
    assert "`scouted.json`" in section("The project folder")


def test_keys_of_a_wanted_accuracy(printed: dict[str, Any]) -> None:
    found, said = printed["trust"]["at_accuracy"], table("`at_accuracy`")
    assert said.keys() == found.keys()
    assert {f"`{name}`" for name in found["rule"]} <= set(re.findall("`[a-z_]+`", said["rule"]))


@pytest.mark.parametrize("key", ["compared", "checks"])
def test_keys_of_a_list_of_a_run(printed: dict[str, Any], key: str) -> None:
    assert table(f"`{key}`").keys() == printed[key][0].keys()


def test_keys_of_the_history(made: Path, printed: dict[str, Any]) -> None:
    training = printed["training"]
    assert table("`against`").keys() == training["against"].keys()
    changes = table("`training`")["changes"]
    assert all(f"`{name}`" in changes for name in training["changes"])
    found = json.loads(commands.closeup("history", made / "out", "--json").stdout)
    assert found.keys() == {"in_use", "trainings"}
    last = found["trainings"][-1]
    assert last.keys() == table("`training`").keys() | {"in_use", "restorable"}
    folder = made / "out" / "history"
    listed = {name.replace("N/", "") for name in table("The history")}
    there = {path.name for path in (folder / "1").iterdir()}
    assert there | {"in-use.json", "files/SHA256"} == listed
    assert {path.name for path in folder.iterdir()} == {"in-use.json", "files", "1", "2"}


def test_every_photo_is_counted_once(made: Path, printed: dict[str, Any]) -> None:
    states = ("cropped", "not_found", "unreadable", "rejected")
    assert [printed[state] for state in states] == [89, 6, 1, 1]
    assert printed["photos"] == sum(printed[state] for state in states)
    assert all(f"`{state}`" in table("`run --json`")["photos"] for state in states)
    first = (made / "people.txt").read_text().splitlines()[0]
    assert re.findall(r"[0-9.]+", first) == ["97", "89", "93.7", "6", "1", "1"]
    assert "1 rejected" in first


def test_keys_of_the_other_commands(made: Path) -> None:
    crop = json.loads((made / "crop.json").read_text())
    assert set(re.findall(r"`([a-z_]+)`", section("`crop --json`"))) == crop.keys()
    found, missing = map(json.loads, (made / "predict.json").read_text().splitlines())
    assert keys_of(found) == keys_of(sample("`predict --json`"))
    assert missing["error"].keys() == {"code", "message"}
    scout, shown = json.loads((made / "scout.json").read_text()), sample("`scout --json`")
    assert scout.keys() == shown.keys()
    for key in ("categories", "choices"):
        assert scout[key][0].keys() == shown[key][0].keys()
    listed = re.findall(r"`([a-z_0-9]+)`", section("`predict --csv`"))
    assert tuple(listed) == COLUMNS


def test_keys_of_the_objects_in_a_film() -> None:
    one = Answer(Box(0, 0, 9, 9), "clock", 0.5, "omega", 0.9, (("omega", 0.9),))
    track = Track("clip.mp4", 1, [Sighting(0.0, one)])
    assert keys_of(track.to_dict() | {"counts": None}) == keys_of(
        sample("`predict FILM --json`") | {"counts": None}
    )
    listed = re.findall(r"`([a-z_0-9]+)`", section("`predict FILM --csv`").split("The box")[0])
    assert tuple(listed) == TRACK_COLUMNS
    written = re.findall(r"`([a-z]+)`", section("`frames`").split("with the columns")[1])
    assert tuple(written[:5]) == FRAMES_COLUMNS


def test_keys_of_suggestions(made: Path) -> None:
    found = json.loads((made / "suggest.json").read_text())
    assert table("`suggest --json`").keys() == found.keys()
    assert found["photos"] == sum(found[name] for name in ("found", "not_found", "unreadable",
                                                           "known"))  # fmt: skip
    assert "`pool/`" in section("The project folder")
    assert {path.name for path in (made / "out" / "pool").iterdir()} <= {
        "closeup.toml", "photos.parquet", "detections.parquet", "embeddings", ".closeup-lock"
    }  # fmt: skip


def test_columns_of_what_was_collected() -> None:
    described = table("`collected.parquet`")
    assert list(described) == [field.name for field in fields(Collected)]
    assert all(f"`{status}`" in described["status"] for status in Status)
    assert table("`collect --json`").keys() == {field.name for field in fields(CollectResult)}


def test_keys_of_the_scores(made: Path) -> None:
    scores = json.loads((made / "out" / "scores.json").read_text())
    assert table("`scores.json`").keys() == scores.keys()


def test_columns_of_the_tables() -> None:
    columns = {name: re.findall(r"`(\w+)`", cell) for name, cell in
               table("Columns of the tables").items()}  # fmt: skip
    assert columns == {name: [field.name for field in fields(row)] for name, row in ROWS.items()}


@pytest.mark.parametrize(
    ("title", "states"),
    [("Columns of the tables", [*PhotoState, *CropState]), ("`checks`", [*CheckState])],
)
def test_every_state_is_named(title: str, states: list[str]) -> None:
    assert not [state for state in states if f"`{state}`" not in section(title)]


def test_every_file_of_a_project_is_listed(made: Path) -> None:
    listed = {name.split("/")[0] for name in table("The project folder")}
    assert {path.name for path in (made / "out").iterdir()} <= listed | {f"{name}.parquet" for name
                                                                        in ROWS}  # fmt: skip
    inside = {name.rstrip("/") for name in table("The model folder")}
    assert {path.name for path in (made / "out" / "model").iterdir()} == inside


def test_decisions_are_as_described(made: Path) -> None:
    with closing(sqlite3.connect(made / "out" / DECISIONS_FILE)) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(decisions)")]
    described = table("Decisions")
    assert list(described) == names
    assert set(re.findall(r"`(\w+)`", described["kind"])) == set(Kind)


def test_keys_of_a_networks_card() -> None:
    assert table("A network's card").keys() == Card.model_fields.keys()
