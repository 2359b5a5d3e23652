"""Out and in again: each format is read by its peer's library, and gives the same boxes back."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
import yaml

from closeup.core.config import PhotosConfig
from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import Project
from closeup.core.types import Box, Photo
from closeup.detect.given import GivenBoxes
from closeup.export import Format
from closeup.export.formats import FORMATS
from closeup.export.items import Items, read_items
from closeup.export.write import export_project
from closeup.photos.listing import list_photos
from tests import tiny
from tests.commands import closeup

HALF_PIXEL = 0.5


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on photos of which one is broken and one has no object."""
    folder = tmp_path_factory.mktemp("export")
    tiny.make_project(folder)
    return folder


@pytest.fixture(scope="module")
def items(base: Path) -> Items:
    return read_items(Project(base / "out"))


@pytest.fixture(params=get_args(Format))
def to(request: pytest.FixtureRequest) -> Format:
    name: Format = request.param
    return name


def boxes_of(items: Items, part: str = "") -> dict[str, list[Box]]:
    return {item.name: [one.box for one in item.objects if one.box]
            for item in items.items if not part or item.part == part}  # fmt: skip


def near(found: dict[str, list[Any]], wanted: dict[str, list[Box]], most: float = 1e-6) -> None:
    assert found.keys() == wanted.keys()
    for name, boxes in wanted.items():
        assert len(found[name]) == len(boxes)
        for one, other in zip(found[name], boxes, strict=True):
            assert list(one) == pytest.approx(list(other), abs=most)


def test_every_format_is_named_once() -> None:
    assert tuple(FORMATS) == get_args(Format)


def test_a_folder_that_is_no_project_and_one_without_close_ups(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not a Closeup project"):
        export_project(tmp_path, "coco", tmp_path / "out")
    (tmp_path / "closeup.toml").write_text(f"[photos]\nsource = '{tmp_path / 'photos'}'\n")
    with pytest.raises(ProjectError, match="no close-ups yet"):
        export_project(tmp_path, "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_photo_is_exported_as_it_is(base: Path, tmp_path: Path, to: Format) -> None:
    done = export_project(base / "out", to, tmp_path / "out")
    photos = [f for f in (base / "photos").rglob("*") if f.is_file()]
    found = sorted(f.read_bytes() for f in (tmp_path / "out").rglob("*.png"))
    assert found == sorted(f.read_bytes() for f in photos)
    assert done.photos == sum(done.parts.values()) == len(photos)
    linked = export_project(base / "out", to, tmp_path / "linked", link=True)
    links = [f for f in (tmp_path / "linked").rglob("*.png") if f.is_symlink()]
    assert len(links) == linked.photos == done.photos
    names = sorted(f.relative_to(tmp_path / "out") for f in (tmp_path / "out").rglob("*"))
    assert names == sorted(f.relative_to(tmp_path / "linked")
                           for f in (tmp_path / "linked").rglob("*"))  # fmt: skip


def test_nothing_that_exists_is_replaced(base: Path, tmp_path: Path, to: Format) -> None:
    held = tmp_path / "held"
    held.mkdir()
    (held / "mine.txt").write_text("mine")
    for target in (held, held / "mine.txt"):
        with pytest.raises(UsageError, match="name a new folder"):
            export_project(base / "out", to, target)
    assert [f.name for f in held.rglob("*")] == ["mine.txt"]
    export_project(base / "out", to, tmp_path / "a" / "b" / "new")
    with pytest.raises(UsageError, match="is not empty"):
        export_project(base / "out", to, tmp_path / "a" / "b" / "new")


def test_photos_that_have_gone_are_counted(base: Path, tmp_path: Path, to: Format) -> None:
    shutil.copytree(base, tmp_path / "copy")
    gone = tmp_path / "copy" / "photos" / "ash" / "1.png"
    config = tmp_path / "copy" / "out" / "closeup.toml"
    table = Project(config.parent).read("photos", Photo)
    assert table is not None
    moved = [Photo(**{**{n: getattr(p, n) for n in Photo.__slots__},
                      "root": str(tmp_path / "copy" / "photos")}) for p in table.rows]  # fmt: skip
    Project(config.parent).write("photos", Photo, moved, table.key, table.meta)
    gone.unlink()
    done = export_project(config.parent, to, tmp_path / "out")
    assert done.left_out == {"no longer where they were": 1}
    text = "".join(f.read_text() for f in (tmp_path / "out").rglob("*")
                   if f.suffix in {".json", ".xml", ".csv", ".jsonl"})  # fmt: skip
    assert "ash/1.png" not in text


def test_coco_read_by_pycocotools(base: Path, tmp_path: Path, items: Items) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    export_project(base / "out", "coco", tmp_path / "out")
    for part in ("", "train", "test"):
        file = tmp_path / "out" / "annotations" / f"instances{f'_{part}' if part else ''}.json"
        read = coco.COCO(file)
        names = {c["id"]: c["name"] for c in read.loadCats(read.getCatIds())}
        found: dict[str, list[Box]] = {}
        labels = {}
        for image in read.loadImgs(read.getImgIds()):
            rows = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
            found[image["file_name"]] = [
                Box(x, y, x + w, y + h) for x, y, w, h in (row["bbox"] for row in rows)
            ]
            labels[image["file_name"]] = {names[row["category_id"]] for row in rows}
            assert (tmp_path / "out" / "images" / image["file_name"]).is_file()
        near(found, boxes_of(items, part))
        assert all(labels[i.name] == {one.label for one in i.objects if one.box}
                   for i in items.items if i.name in labels)  # fmt: skip
    answers = coco.COCO(tmp_path / "out/annotations/instances_test.json").loadRes(
        str(tmp_path / "out/annotations/predictions_test.json"))  # fmt: skip
    scored = [one for item in items.of("test") for one in item.objects if one.box and one.answer]
    assert len(answers.getAnnIds()) == len(scored) > 0


@pytest.mark.parametrize(
    ("to", "photos", "boxes", "most"),
    [("coco", "images", "annotations/instances.json", 1e-6),
     ("csv", "images", "labels.csv", 1e-6),
     ("yolo", "images/train", "labels/train", 1e-4)],
)  # fmt: skip
def test_our_own_boxes_give_the_same_pixels(
    base: Path, tmp_path: Path, items: Items, to: Format, photos: str, boxes: str, most: float
) -> None:
    out = tmp_path / "out"
    export_project(base / "out", to, out)
    listed = list_photos(PhotosConfig(source=str(out / photos)))
    given = GivenBoxes(out / boxes, listed)
    found = {photo.path: [row.box for row in given.of(photo)] for photo in listed}
    wanted = boxes_of(items)
    near(found, {name: wanted[name] for name in found}, most)
    assert sum(map(len, found.values())) > 5


def test_yolo_has_the_trainers_layout(base: Path, tmp_path: Path, items: Items) -> None:
    out = tmp_path / "out"
    export_project(base / "out", "yolo", out)
    about = yaml.safe_load((out / "data.yaml").read_text())
    assert list(about["names"].values()) == list(items.labels)
    images = sorted(out.glob("images/**/*.png"))
    labels = sorted(out.glob("labels/**/*.txt"))
    assert [f.relative_to(out / "images").with_suffix("") for f in images] == [
        f.relative_to(out / "labels").with_suffix("") for f in labels]  # fmt: skip
    parts = {part: len(list((out / about[part]).rglob("*.png"))) for part in ("train", "val")}
    assert sum(parts.values()) == len(items.of("train"))
    assert min(parts.values()) > 0
    values = [float(v) for f in labels for line in f.read_text().splitlines()
              for v in line.split()[1:]]  # fmt: skip
    assert all(0 <= v <= 1 for v in values)


def test_voc_read_by_the_standard_parser(base: Path, tmp_path: Path, items: Items) -> None:
    out = tmp_path / "out"
    export_project(base / "out", "voc", out)
    found = {}
    for item in items.items:
        root = ET.parse(out / "Annotations" / Path(item.name).with_suffix(".xml")).getroot()
        size = root.find("size")
        assert size is not None
        assert [size.findtext("width"), size.findtext("height")] == [
            str(item.photo.width), str(item.photo.height)]  # fmt: skip
        corners = [node.find("bndbox") for node in root.iter("object")]
        found[item.name] = [[float(c.findtext(n) or "") for n in ("xmin", "ymin", "xmax", "ymax")]
                            for c in corners if c is not None]  # fmt: skip
    near(found, boxes_of(items), HALF_PIXEL)
    for part in ("train", "test"):
        lines = (out / "ImageSets" / "Main" / f"{part}.txt").read_text().splitlines()
        assert lines == [str(Path(i.name).with_suffix("")) for i in items.of(part)]


def test_voc_read_by_torchvision(base: Path, tmp_path: Path, items: Items) -> None:
    voc = pytest.importorskip("torchvision.datasets.voc", reason="needs torchvision")
    export_project(base / "out", "voc", tmp_path / "out")
    file = tmp_path / "out" / "Annotations" / Path(items.items[0].name).with_suffix(".xml")
    read = voc.VOCDetection.parse_voc_xml(ET.parse(file).getroot())["annotation"]
    assert [one["name"] for one in read["object"]] == [o.label for o in items.items[0].objects]


def test_imagefolder_read_by_datasets(
    base: Path, tmp_path: Path, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    export_project(base / "out", "imagefolder", tmp_path / "out")
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"),
                                 cache_dir=str(tmp_path / "cache"))  # fmt: skip
    for part in ("train", "test"):
        mine = {(i.label, i.group): i for i in items.of(part)}
        assert len(read[part]) == len(items.of(part))
        for row in read[part]:
            item = mine[row["label"], row["group"]]
            assert row["image"].size == (item.photo.width, item.photo.height)
            boxes = [Box(x, y, x + w, y + h) for x, y, w, h in row["objects"]["bbox"]]
            near({"": boxes}, {"": [one.box for one in item.objects if one.box]})


def test_label_studio_tasks(base: Path, tmp_path: Path, items: Items) -> None:
    out = tmp_path / "out"
    export_project(base / "out", "label-studio", out)
    tasks = json.loads((out / "tasks.json").read_text())
    view = ET.parse(out / "config.xml").getroot()
    assert [node.get("value") for node in view.iter("Label")] == list(items.labels)
    found = {}
    for task in tasks:
        name = task["data"]["image"].removeprefix("/data/local-files/?d=images/")
        assert (out / "images" / name).is_file()
        regions = task["annotations"][0]["result"]
        for region in regions:
            assert {region["from_name"], region["to_name"]} == {"label", "image"}
            assert set(region["value"]["rectanglelabels"]) <= set(items.labels)
        found[name] = [
            Box(v["x"] * w, v["y"] * h, (v["x"] + v["width"]) * w, (v["y"] + v["height"]) * h)
            for v, w, h in ((r["value"], r["original_width"] / 100, r["original_height"] / 100)
                            for r in regions)]  # fmt: skip
    near(found, boxes_of(items))
    assert sum("predictions" in task for task in tasks) > 0


def test_label_studio_read_by_its_converter(base: Path, tmp_path: Path, items: Items) -> None:
    reason = "needs label-studio-sdk"
    converter = pytest.importorskip("label_studio_sdk.converter", reason=reason)
    out = tmp_path / "out"
    export_project(base / "out", "label-studio", out)
    read = converter.Converter((out / "config.xml").read_text(), str(out), download_resources=False)
    read.convert_to_coco(str(out / "tasks.json"), str(tmp_path / "coco"), is_dir=False)
    back = json.loads((tmp_path / "coco" / "result.json").read_text())
    assert len(back["annotations"]) == sum(map(len, boxes_of(items).values()))


def test_fiftyone_reads_its_folders(
    base: Path, tmp_path: Path, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export_project(base / "out", "fiftyone", out)
    for part in ("train", "test"):
        about = json.loads((out / part / "labels.json").read_text())
        assert about["labels"].keys() == {str(Path(i.name).with_suffix("")) for i in items.of(part)}
        for name, rows in about["labels"].items():
            assert len(list((out / part / "data").glob(f"{name}.*"))) == 1
            assert all(0 <= v <= 1 for row in rows for v in row["bounding_box"])
    monkeypatch.setenv("FIFTYONE_DISABLE_SERVICES", "1")
    name = "fiftyone.utils.data.importers"
    importers = pytest.importorskip(name, reason="needs fiftyone")
    with importers.FiftyOneImageDetectionDatasetImporter(dataset_dir=str(out / "test")) as reader:
        found = {}
        for path, _, detections in reader:
            name = Path(path).relative_to(out / "test" / "data").as_posix()
            photo = next(item.photo for item in items.items if item.name == name)
            width, height = photo.width, photo.height
            boxes = [row.bounding_box for row in detections.detections]
            found[name] = [
                Box(x * width, y * height, (x + w) * width, (y + h) * height)
                for x, y, w, h in boxes]  # fmt: skip
    near(found, boxes_of(items, "test"))


def test_the_table_says_all(base: Path, tmp_path: Path, items: Items) -> None:
    export_project(base / "out", "csv", tmp_path / "out")
    with (tmp_path / "out" / "labels.csv").open(encoding="utf8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["path"] for row in rows} == {f"images/{item.name}" for item in items.items}
    assert {row["split"] for row in rows} == {"train", "test"}
    answered = [row for row in rows if row["answer"]]
    assert {row["split"] for row in answered} == {"test"}
    whole = [row for row in rows if row["whole_photo"] == "True"]
    assert all(row["x1"] == "" for row in whole)
    assert len(whole) == 6


def test_the_command(base: Path, tmp_path: Path) -> None:
    done = closeup("export", base / "out", tmp_path / "out", "--to", "coco", "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["photos"] == sum(about["parts"].values())
    again = closeup("export", base / "out", tmp_path / "out", "--to", "coco")
    assert again.returncode == 2
    assert "not empty" in again.stderr
