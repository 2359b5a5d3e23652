"""Boxes that carry the classes to learn: each is an example, and its photo is the group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.api import settings
from closeup.core.errors import PhotosError, UsageError
from closeup.core.project import Project
from closeup.core.types import Crop, CropState, Detection, Example, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.model.model import load_model
from closeup.pipeline.planning import plan
from tests import tiny

LABELS = ("ash", "birch", "cedar")
PHOTOS = 15
EMPTY = 2
"""How many photos come on top without a box."""
OPTIONS: dict[str, Any] = {"backbone": "tiny-pool", "preset": "quick", "near_duplicates": False}


def make(folder: Path) -> None:
    """Photos that each show two of three kinds of patches, and their COCO file."""
    (folder / "photos").mkdir(parents=True)
    images, annotations = [], []
    for number in range(PHOTOS + EMPTY):
        rng = np.random.default_rng(number)
        pixels = rng.integers(90, 160, (60, 100, 3), dtype=np.uint8)
        images.append({"id": number, "file_name": f"{number:02}.png", "width": 100, "height": 60})
        for place in range(2 if number < PHOTOS else 0):
            kind = (number + place) % 3
            x, y = 5 + 50 * place, 10
            pixels[y : y + 40, x : x + 40, kind] = 250
            annotations.append({"id": len(annotations), "image_id": number, "category_id": kind,
                                "bbox": [x, y, 40, 40]})  # fmt: skip
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02}.png")
    categories = [{"id": kind, "name": name} for kind, name in enumerate(LABELS)]
    (folder / "coco.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("boxes")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        make(folder)
        yield folder


@pytest.fixture(autouse=True)
def _cache(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))


@pytest.fixture(scope="module")
def ran(base: Path) -> closeup.RunResult:
    return closeup.run(base / "photos", out=base / "out", boxes=base / "coco.json",
                       detector="tiny-box", parent="thing", **OPTIONS)  # fmt: skip


def test_every_box_is_an_example_with_its_own_label(base: Path, ran: closeup.RunResult) -> None:
    project = Project(base / "out")
    photos, crops = project.read("photos", Photo), project.read("crops", Crop)
    assert photos is not None
    assert crops is not None
    assert {photo.label for photo in photos.rows} == {""}
    found = [crop for crop in crops.rows if crop.state is CropState.CROPPED]
    assert len(found) == 2 * PHOTOS
    assert all(crop.label == crop.category in LABELS for crop in found)
    assert all((base / "out" / crop.file).is_file() for crop in found)
    assert ran.counts.photos == PHOTOS + EMPTY
    assert ran.counts.cropped == PHOTOS
    assert ran.counts.not_found == EMPTY
    assert ran.counts.objects == dict.fromkeys(LABELS, 10)
    assert ran.counts.labels == {"": EMPTY} | dict.fromkeys(LABELS, 10)
    assert any("each of 30 boxes is an example" in note for note in ran.notes)
    assert not any("no label" in note for note in ran.notes)


def test_the_plan_counts_the_labels_of_boxes(base: Path, tmp_path: Path) -> None:
    options = {"boxes": str(base / "coco.json"), "detector": "tiny-box", "parent": "thing"}
    found = plan(settings(None, options | OPTIONS, base / "photos"), tmp_path / "out")
    assert found.to_json()["labels"] == {"ash": 10, "birch": 10, "cedar": 10}
    options["parent"] = "ash"
    found = plan(settings(None, options | OPTIONS, base / "photos"), tmp_path / "out")
    assert found.labels == {"ash": 10}


def test_no_photo_stands_on_two_sides_or_in_two_folds(base: Path, ran: closeup.RunResult) -> None:
    examples = Project(base / "out").read("dataset", Example)
    assert examples is not None
    places: dict[str, set[tuple[str, int]]] = {}
    for row in examples.rows:
        places.setdefault(row.photo_id, set()).add((row.split, row.fold))
    assert all(len(found) == 1 for found in places.values())
    assert {side for found in places.values() for side, _ in found} == {"train", "test", ""}
    left_out = [row for row in examples.rows if not row.split]
    assert len(left_out) == EMPTY
    assert {row.reason for row in left_out} == {
        "no box that can be used was given for this photo"
    }  # fmt: skip


def test_scores_count_objects_and_photos(ran: closeup.RunResult) -> None:
    assert ran.scores is not None
    assert ran.scores.n == len(ran.results)
    right, photos = ran.by_photo
    assert 2 * photos == len(ran.results)
    assert right <= photos
    assert ran.scores.macro_f1.value > 0.9
    test = ran.to_json()["test"]
    assert (test["n"], test["photos"], test["photos_right"]) == (2 * photos, photos, right)


def test_the_model_finds_all_objects_by_the_detector(base: Path, ran: closeup.RunResult) -> None:
    model = load_model(ran.model)
    assert model.card.crop.which == "all"
    assert model.card.detect.labels_from == "auto"
    assert model.card.detect.parent == ("thing",)
    answer = model.predict(base / "photos" / "00.png")
    assert answer.found
    assert {one.parent for one in answer.objects} == {"thing"}


def test_running_again_does_nothing_and_remembers(base: Path, ran: closeup.RunResult) -> None:
    again = closeup.run(out=base / "out")
    assert again.scores == ran.scores
    assert "train" not in again.seconds
    assert Project(base / "out").config().detect.labels_from == "boxes"


def test_a_redrawn_box_keeps_its_label_and_a_person_may_change_it(
    base: Path, ran: closeup.RunResult, tmp_path: Path
) -> None:
    import shutil

    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    found = Project(out).read("detections", Detection)
    assert found is not None
    first, second = found.rows[:2]
    moved = first.box._replace(x1=first.box.x1 + 2)
    log = Decisions(out)
    log.append("me", [Decision(Kind.BOXES, first.photo_id, boxes=(moved, second.box))])
    log.append("me", [Decision(Kind.RELABEL, first.photo_id, f"{first.photo_id}-2", label="cedar")])
    log.close()
    result = closeup.run(out=out)
    crops = Project(out).read("crops", Crop)
    assert crops is not None
    mine = [crop for crop in crops.rows if crop.photo_id == first.photo_id]
    assert [(crop.label, crop.box) for crop in mine] == [
        (first.category, moved),
        ("cedar", second.box),
    ]
    assert result.reviewed is not None
    assert result.reviewed.relabelled == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"boxes": "coco.json", "labels_from": "photos"}, PhotosError, "no label"),
        ({"labels_from": "boxes", **tiny.TINY}, UsageError, "no boxes are given"),
        ({"boxes": "coco.json", "detector": "tiny-box"}, UsageError, "say what tiny-box calls"),
        ({"boxes": "coco.json", "parent": "oak"}, UsageError, "it has ash 10, birch 10, cedar 10"),
        ({"boxes": "one.csv"}, PhotosError, "neither the photos nor the boxes"),
        ({"boxes": "bare.csv", "labels_from": "boxes"}, UsageError, "has a class to learn"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    base: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    (base / "one.csv").write_text("path,x1,y1,x2,y2,class\n00.png,1,1,20,20,oak\n")
    (base / "bare.csv").write_text("path,x1,y1,x2,y2\n00.png,1,1,20,20\n")
    if "boxes" in options:
        options = options | {"boxes": base / options["boxes"]}
    with pytest.raises(error, match=words):
        closeup.run(base / "photos", out=tmp_path / "out", **OPTIONS | options)
    assert not (tmp_path / "out").exists()


def test_the_parent_chooses_among_the_classes(base: Path, tmp_path: Path) -> None:
    result = closeup.crop(base / "photos", out=tmp_path / "out", boxes=base / "coco.json",
                          parent="Ash,cedar")  # fmt: skip
    assert result.counts.objects == {"ash": 10, "cedar": 10}


def test_a_label_beside_the_box_is_the_class(base: Path, tmp_path: Path) -> None:
    rows = ["path,x1,y1,x2,y2,category,label"]
    for number in range(4):
        rows += [f"{number:02}.png,5,10,45,50,clock,{LABELS[number % 2]}",
                 f"{number:02}.png,55,10,95,50,person,nobody"]  # fmt: skip
    (tmp_path / "b.csv").write_text("\n".join(rows))
    result = closeup.crop(base / "photos", out=tmp_path / "out", boxes=tmp_path / "b.csv",
                          parent="clock")  # fmt: skip
    assert result.counts.objects == {"ash": 2, "birch": 2}


def test_two_classes_on_one_object_are_not_used(base: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(
        "path,x1,y1,x2,y2,class\n00.png,5,10,45,50,ash\n00.png,6,10,45,50,birch\n"
        "01.png,5,10,45,50,ash\n01.png,55,10,95,50,birch\n01.png,55,10,95,50,birch\n"
    )
    result = closeup.crop(base / "photos", out=tmp_path / "out", boxes=tmp_path / "b.csv")
    assert result.counts.objects == {"ash": 1, "birch": 1}
    assert any("different classes on one object are not used: 00.png" in n for n in result.notes)


def test_photos_with_labels_keep_them(base: Path, tmp_path: Path) -> None:
    tiny.make_photos(tmp_path / "photos", per_label=3)
    (tmp_path / "b.csv").write_text(
        "path,x1,y1,x2,y2,class\nash/0.png,1,1,30,30,clock\nbirch/0.png,1,1,30,30,cup\n"
    )
    result = closeup.crop(tmp_path / "photos", out=tmp_path / "out", boxes=tmp_path / "b.csv")
    assert result.counts.labels == dict.fromkeys(LABELS, 3)
    result = closeup.crop(out=tmp_path / "out", labels_from="boxes")
    assert result.counts.objects == {"clock": 1, "cup": 1}


def test_what_is_none_of_the_classes_is_answered_as_unknown(base: Path, tmp_path: Path) -> None:
    content = json.loads((base / "coco.json").read_text())
    content["categories"][2]["name"] = "none"
    (tmp_path / "coco.json").write_text(json.dumps(content))
    result = closeup.run(base / "photos", out=tmp_path / "out", boxes=tmp_path / "coco.json",
                         coverage=1, **OPTIONS)  # fmt: skip
    assert result.none is not None
    assert result.none.support == sum(row.truth == "none" for row in result.results) > 0
    assert result.none.recall > 0.9
    assert result.to_json()["test"]["none"]["n"] == result.none.support
    assert any("'none' stands for objects that are none" in note for note in result.notes)
    model = load_model(result.model)
    assert model.card.none == "none"
    found = Project(tmp_path / "out").read("crops", Crop)
    assert found is not None
    for crop in found.rows[:12]:
        if crop.file:
            (answer,) = model.predict(tmp_path / "out" / crop.file).objects
            assert answer.top[0][0] == crop.label
            assert (answer.reason == "none of the classes") == (crop.label == "none")
            assert answer.label == ("unknown" if answer.reason else crop.label)
            (sure,) = model.predict(tmp_path / "out" / crop.file, always=True).objects
            assert sure.label == crop.label


def test_a_yolo_tree_brings_photos_and_labels(base: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(base / "photos", tmp_path / "set" / "images" / "train")
    labels = tmp_path / "set" / "labels" / "train"
    labels.mkdir(parents=True)
    (tmp_path / "set" / "data.yaml").write_text(f"names: {list(LABELS)}\n")
    for number in range(PHOTOS):
        kinds = (number % 3, (number + 1) % 3)
        (labels / f"{number:02}.txt").write_text(
            f"{kinds[0]} 0.25 0.5 0.4 0.66\n{kinds[1]} 0.75 0.5 0.4 0.66\n"
        )
    result = closeup.crop(tmp_path / "set", out=tmp_path / "out", boxes=tmp_path / "set")
    assert result.counts.objects == dict.fromkeys(LABELS, 10)
