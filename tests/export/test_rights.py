"""Exports say whose the photos are, in what each format has for it and in a page of credits."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import closeup
from closeup.core.config import PhotosConfig
from closeup.core.project import Project
from closeup.core.types import Photo
from closeup.export.formats import FORMATS
from closeup.export.model import export_model
from closeup.export.training import training_photos
from closeup.export.write import export_project
from closeup.model.card import read_card
from closeup.model.history import read_answers
from closeup.photos.listing import collect
from closeup.photos.rights import read_rights
from tests import tiny
from tests.collecting import BY, saved, write_collected

PER_LABEL = 10


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose photos of `ash` were collected under a licence, those of `birch` without."""
    base = tmp_path_factory.mktemp("rights")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(base / "cache", patch)
        photos = tiny.make_photos(base / "photos", per_label=PER_LABEL)
        ash, birch = ((photos / label).iterdir() for label in ("ash", "birch"))
        rows = [*(saved(file, photos, **BY) for file in ash),
                *(saved(file, photos) for file in birch)]  # fmt: skip
        write_collected(photos, rows)
        closeup.run(photos, out=base / "out", preset="quick", **tiny.TINY)
    return base / "out"


@pytest.fixture(scope="module")
def exported(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The project in every format."""
    folder = tmp_path_factory.mktemp("exported")
    for to in FORMATS:
        export_project(project, to, folder / to)  # type: ignore[arg-type]
    return {to: folder / to for to in FORMATS}


def test_each_export_has_a_page_of_credits(exported: dict[str, Path]) -> None:
    for to, folder in exported.items():
        lines = [line for line in (folder / "ATTRIBUTION.md").read_text().splitlines()
                 if line.startswith("- ")]  # fmt: skip
        assert len(lines) == 2 * PER_LABEL, to
        for line in lines:
            name = line.removeprefix("- ").split(": ")[0]
            assert (folder / name).is_file(), (to, name)


def test_coco_has_licences(exported: dict[str, Path]) -> None:
    found = json.loads((exported["coco"] / "annotations" / "instances.json").read_text())
    assert found["licenses"] == [
        {"id": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
        {"id": 2, "name": "unknown", "url": ""},
    ]
    assert {(one["label"], one["license"]) for one in found["images"]} == {
        ("ash", 1), ("birch", 2), ("cedar", 2)
    }  # fmt: skip
    assert {one["creator"] for one in found["images"]} == {"Ada", ""}


def test_a_table_brings_its_rights_back(exported: dict[str, Path]) -> None:
    table = exported["csv"] / "labels.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["licence"] for row in rows if row["label"] == "ash"} == {"CC BY 4.0"}
    again = collect(PhotosConfig(source=str(table))).entries
    assert len(again) == 3 * PER_LABEL
    known = {entry.label: entry.rights for entry in again}
    assert known["cedar"] is None
    assert known["ash"] is not None
    assert (known["ash"].creator, known["ash"].landing_page) == ("Ada", BY["landing_page"])
    assert known["birch"] is not None  # the address that it was collected from
    assert known["birch"].landing_page.startswith("https://photos.example/")


def test_metadata_and_tasks_have_them(exported: dict[str, Path]) -> None:
    lines = (exported["imagefolder"] / "train" / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({tuple(row) for row in rows}) == 1  # each row has the same keys
    assert {row["creator"] for row in rows if row["label"] == "ash"} == {"Ada"}
    tasks = json.loads((exported["label-studio"] / "tasks.json").read_text())
    assert {one["data"]["licence"] for one in tasks} == {"CC BY 4.0", ""}


@pytest.mark.parametrize("to", ["hub", "onnx"])
def test_a_model_credits_what_it_was_trained_on(project: Path, tmp_path: Path, to: str) -> None:
    export_model(project, to, tmp_path / "out")  # type: ignore[arg-type]
    credits = (tmp_path / "out" / "ATTRIBUTION.md").read_text()
    trained = [row for row in read_answers(Project(project), 1) if row.split == "train"]
    collected = [row.path for row in trained if row.label in ("ash", "birch")]
    assert credits.count("\n- ") == len(collected) < 2 * PER_LABEL
    assert all(f"- {path}: " in credits for path in collected)
    if to == "hub":
        ash = sum(row.label == "ash" for row in trained)
        readme = (tmp_path / "out" / "README.md").read_text()
        assert f"{ash} of {len(trained)} have a known licence" in readme
        assert (f"| CC BY 4.0 | https://creativecommons.org/licenses/by/4.0/ | {ash} | attribution"
                in readme)  # fmt: skip
        assert f"| unknown |  | {len(trained) - ash} |" in readme


def test_a_copy_of_a_photo_does_not_hide_its_rights(project: Path, tmp_path: Path) -> None:
    copy = Project(Path(shutil.copytree(project, tmp_path / "copied")))
    photos = copy.read("photos", Photo)
    assert photos is not None
    copies = [replace(one, id=f"z-{one.id}", path=f"z/{one.path}") for one in photos.rows]
    copy.write("photos", Photo, [*photos.rows, *copies], photos.key)
    found = [training_photos(one / "model", read_card(one / "model"))
             for one in (project, copy.folder)]  # fmt: skip
    assert found[0] == found[1]
    assert any(rights for _, rights in found[0])


def test_a_model_folder_without_its_project_names_nobody(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "model", tmp_path / "model")
    done = export_model(tmp_path / "model", "hub", tmp_path / "out")
    assert "ATTRIBUTION.md" not in done.files
    assert "Training photos" not in (tmp_path / "out" / "README.md").read_text()


def test_a_project_of_ones_own_photos_exports_what_it_did(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "own"))
    (copy / "rights.parquet").unlink()
    assert read_rights(Project(copy)) == {}
    for to in ("csv", "coco", "imagefolder"):
        export_project(copy, to, tmp_path / to)  # type: ignore[arg-type]
        assert not (tmp_path / to / "ATTRIBUTION.md").exists()
    header = (tmp_path / "csv" / "labels.csv").read_text().splitlines()[0]
    assert header.endswith("confidence,whole_photo")
    found = json.loads((tmp_path / "coco" / "annotations" / "instances.json").read_text())
    assert found["licenses"] == []
    assert "license" not in found["images"][0]
