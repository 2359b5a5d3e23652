"""Annotation files as tools write them and people post them: the right boxes, or a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from closeup.core.config import BoxesFrame
from closeup.core.errors import PhotosError
from closeup.core.types import Photo, PhotoState
from closeup.detect.given import GivenBoxes

Box = tuple[str, float, float, float, float]
"""Category and corners, in pixels of the upright photo."""

WATCH: Box = ("watch", 10, 20, 40, 60)
BBOX = [10, 20, 30, 40]
SIZE = (100, 80)


@dataclass(frozen=True)
class Case:
    """Files below a folder, what is read of them, and what must come of it.

    - `photos`: path -> upright size, and EXIF orientation where it is not 1
    - `boxes`: by photo; of photos that are not named there must be none
    - `told`, `error`: words that the notes, or the refusal, must hold; there are no others
    """

    name: str
    files: dict[str, Any]
    read: str = "b.json"
    photos: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"a.jpg": SIZE})
    boxes: dict[str, list[Box]] = field(default_factory=lambda: {"a.jpg": [WATCH]})
    told: tuple[str, ...] = ()
    error: str = ""
    frame: BoxesFrame = "auto"


def coco(
    *annotations: Any, name: str = "a.jpg", size: tuple[int, int] | None = SIZE, **more: Any
) -> Any:
    image = {"id": 1, "file_name": name}
    if size:
        image |= {"width": size[0], "height": size[1]}
    rows = [{"id": n, "image_id": 1, "category_id": 1, "bbox": BBOX} | a
            for n, a in enumerate(annotations or ({},), start=1)]  # fmt: skip
    return {"images": [image], "annotations": rows,
            "categories": [{"id": 1, "name": "watch"}], **more}  # fmt: skip


def region(**more: Any) -> Any:
    value = {"x": 10, "y": 25, "width": 30, "height": 50, "rotation": 0,
             "rectanglelabels": ["watch"]}  # fmt: skip
    return {"type": "rectanglelabels", "original_width": 100, "original_height": 80,
            "value": value | more.pop("value", {}), **more}  # fmt: skip


def task(*regions: Any, image: str = "/data/upload/1/a1b2c3d4-a.jpg", **more: Any) -> Any:
    return {"id": 7, "data": {"image": image}, "annotations": [{"result": list(regions)}], **more}


def voc(name: str = "a.jpg", inner: str = "", size: tuple[int, int] = SIZE, head: str = "") -> str:
    box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"
    return (
        f"{head}<annotation><filename>{name}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size><object><name>watch</name>{box}</object>{inner}"
        "</annotation>"
    )


YOLO = "0 0.25 0.5 0.3 0.5\n"
"""The same box in fractions of 100 x 80."""
MEGA = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.25, 0.3, 0.5]}
TURNED = {"a.jpg": (*SIZE, 6)}  # stored as 80 x 100, turned clockwise to be seen
# The box in the stored photo: x there is y here, y there is 100 - x here.
STORED = [20, 60, 40, 30]
SPLIT = {"train/images/a.jpg": SIZE, "valid/images/a.jpg": SIZE}

CASES = [
    # COCO
    Case("coco", {"b.json": coco()}),
    Case("coco, identifiers as text", {"b.json": coco({"image_id": "1", "category_id": "1"})}),
    Case("coco without categories", {"b.json": coco(categories=None)},
         boxes={"a.jpg": [("", 10, 20, 40, 60)]}),
    Case("coco, two categories without names",
         {"b.json": coco({}, {"category_id": 2, "bbox": [1, 1, 5, 5]}, categories=[])},
         boxes={"a.jpg": [("1", 10, 20, 40, 60), ("2", 1, 1, 6, 6)]}),
    Case("coco, one bad annotation of each kind", {"b.json": coco(
        {}, {"image_id": 9}, {"bbox": []}, {"bbox": None}, {"bbox": [1, 2, -3, 4]},
        {"bbox": [1, 2, 0, 4]}, {"bbox": [1, 2, 3]}, {"bbox": ["x", 2, 3, 4]}, {"score": 7},
        {"iscrowd": 1})},
         told=("belong to no image of the file (not used): annotation 2",
               "have no box (not used): 2 (annotation 3, annotation 4)",
               "negative width or height (not used): annotation 5",
               "box without area (not used): annotation 6",
               "have a box of 3 numbers rather than 4 (not used): annotation 7",
               "something else than numbers for a box (not used): annotation 8",
               "not between 0 and 1 (not used): annotation 9", "mark a crowd")),
    Case("coco, a score of null", {"b.json": coco({"score": None})},
         told=("have no score (null) and count as certain: annotation 1",)),
    Case("coco, polygons alone",
         {"b.json": coco({"bbox": [], "segmentation": [[10, 20, 40, 20, 40, 60, 10, 60]]})}),
    Case("coco of a picture half as large", {"b.json": coco(size=(50, 40)), },
         boxes={"a.jpg": [("watch", 20, 40, 80, 80)]}, told=("are scaled: a.jpg",)),
    Case("coco of a picture of other proportions", {"b.json": coco(size=(64, 64))}, boxes={},
         told=("other proportions and are not used: a.jpg (64 x 64 there, 100 x 80 here)",)),
    Case("coco in fractions", {"b.json": coco({"bbox": [0.1, 0.25, 0.3, 0.5]})},
         told=("taken as fractions",)),
    Case("coco of the photo as it is stored", {"b.json": coco({"bbox": STORED}, size=(80, 100))},
         photos=TURNED, told=("turned as EXIF says: a.jpg",)),
    Case("coco of a turned photo, upright", {"b.json": coco()}, photos=TURNED),
    Case("coco without sizes, of a turned photo", {"b.json": coco(size=None)}, photos=TURNED,
         told=("EXIF turns a.jpg", "--boxes-frame stored")),
    Case("coco as Roboflow exports it: a file in each split",
         {"d/train/_annotations.coco.json": coco(), "d/valid/_annotations.coco.json": coco()},
         read="d", photos={"d/train/a.jpg": SIZE, "d/valid/a.jpg": SIZE},
         boxes={"d/train/a.jpg": [WATCH], "d/valid/a.jpg": [WATCH]}),
    Case("coco results without images", {"b.json": [{"image_id": 1, "bbox": BBOX, "score": 1}]},
         error="list of COCO results, which does not name the photos"),
    Case("json of something else", {"b.json": {"version": 3, "tags": []}},
         error="JSON of another kind (with tags, version)"),
    Case("json that is broken", {"b.json": "{"}, error="not readable JSON"),
    Case("coco without annotations", {"b.json": {"images": []}}, error="no list of annotations"),
    # Names
    Case("names with other folders", {"b.json": coco(name="D:\\work\\x\\a.jpg")},
         photos={"x/a.jpg": SIZE, "y/a.jpg": SIZE}, boxes={"x/a.jpg": [WATCH]}),
    Case("names in other case", {"b.json": coco(name="A.JPG")}),
    Case("names in other case, of two photos", {"b.json": coco(name="A.JPG")},
         photos={"a.jpg": SIZE, "a.Jpg": SIZE}, error="no name in"),
    Case("names decomposed", {"b.json": coco(name="cafe\u0301.jpg")},
         photos={"café.jpg": SIZE}, boxes={"café.jpg": [WATCH]}),
    Case("names with %20", {"b.json": coco(name="my%20watch%C3%A9.jpg")},
         photos={"my watché.jpg": SIZE}, boxes={"my watché.jpg": [WATCH]}),
    Case("names as Roboflow makes them",
         {"b.json": coco(name="a_jpg.rf.0123456789abcdef0123456789abcdef.jpg")}),
    Case("names that match nothing are listed", {"b.json": {
        **coco(), "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "zz.jpg"}],
        "annotations": [{"image_id": n, "bbox": BBOX, "category_id": 1} for n in (1, 2)]}},
         told=("match no photo, or more than one: zz.jpg",)),
    # YOLO
    Case("yolo", {"d/a.txt": YOLO, "d/classes.txt": "watch\n"}, read="d"),
    Case("yolo, the suffix of the photo kept", {"d/a.jpg.txt": YOLO, "d/classes.txt": "watch"},
         read="d"),
    Case("yolo, darknet", {"d/obj_train_data/a.txt": YOLO, "d/obj.names": "watch\n",
                           "d/obj.data": "classes = 1", "d/train.txt": "data/obj_train_data/a.jpg"},
         read="d"),
    Case("yolo, Roboflow's tree", {
        "d/train/labels/a.txt": YOLO, "d/valid/labels/a.txt": "0 0.5 0.5 0.2 0.2\n",
        "d/data.yaml": "names: [watch]\nnc: 1\ntrain: ../train/images\n",
        "d/README.roboflow.txt": "3 watches were exported", "d/README.dataset.txt": "# watches"},
         read="d", photos={f"d/{name}": size for name, size in SPLIT.items()},
         boxes={"d/train/images/a.jpg": [WATCH],
                "d/valid/images/a.jpg": [("watch", 40, 32, 60, 48)]}),
    Case("yolo, ultralytics' tree, of its labels", {
        "d/labels/train/a.txt": YOLO, "d/dataset.yaml": "names: {0: watch}\n"},
         read="d/labels", photos={"d/images/train/a.jpg": SIZE, "d/images/val/a.jpg": SIZE},
         boxes={"d/images/train/a.jpg": [WATCH]}),
    Case("yolo, its data.yml is named", {"d/labels/a.txt": YOLO, "d/data.yml": "names: [watch]"},
         read="d/data.yml"),
    Case("yolo without names", {"d/a.txt": f"{YOLO}3 0.5 0.5 0.2 0.2 0.7\n"}, read="d",
         boxes={"a.jpg": [("0", 10, 20, 40, 60), ("3", 40, 32, 60, 48)]}),
    Case("yolo with keypoints", {"d/a.txt": "0 0.25 0.5 0.3 0.5 0.1 0.2 1 0.3 0.4 2",
                                 "d/data.yaml": "names: [watch]\nkpt_shape: [2, 3]"}, read="d"),
    Case("yolo, other text beside it", {"d/a.txt": YOLO, "d/classes.txt": "watch",
                                        "d/b.txt": "a poem about time"}, read="d",
         told=("are text, not boxes (not used): b.txt",)),
    Case("yolo of a turned photo, as it is stored",
         {"d/a.txt": "0 0.5 0.75 0.5 0.3\n", "d/classes.txt": "watch"}, read="d", photos=TURNED,
         frame="stored", told=("turned as EXIF says: a.jpg",)),
    Case("yolo of a turned photo", {"d/a.txt": YOLO, "d/classes.txt": "watch"}, read="d",
         photos=TURNED, told=("does not say which way up",)),
    Case("yolo of a turned photo, said to be upright", {"d/a.txt": YOLO, "d/classes.txt": "watch"},
         read="d", photos=TURNED, frame="upright"),
    Case("yolo in pixels", {"d/a.txt": "0 25 40 30 40"}, read="d",
         error="look like pixels"),
    # Pascal VOC
    Case("voc", {"d/Annotations/a.xml": voc()}, read="d"),
    Case("voc, one file", {"a.xml": voc()}, read="a.xml"),
    Case("voc with a wrong filename", {"d/a.xml": voc("IMG_7.png")}, read="d"),
    Case("voc without a box, and without corners", {"d/a.xml": voc(
        inner="<object><name>x</name></object><object><bndbox><xmin>1</xmin></bndbox></object>")},
         read="d", told=("have no box (not used): 2 (a.xml, object 2, a.xml, object 3)",)),
    Case("voc of a picture twice as large", {"d/a.xml": voc(size=(200, 160))}, read="d",
         boxes={"a.jpg": [("watch", 5, 10, 20, 30)]}, told=("are scaled: a.jpg",)),
    Case("voc with entities", {"a.xml": voc(
        head='<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z SYSTEM "file:///etc/passwd">]>')},
         read="a.xml", error="declares XML entities"),
    Case("xml of another kind", {"a.xml": "<annotations/>"}, read="a.xml",
         error="XML of another kind (<annotations>, expected <annotation>"),
    # Tables
    Case("csv as TensorFlow has it", {"b.csv":
         "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,watch,10,20,40,60\n"},
         read="b.csv"),
    Case("csv as Open Images has it", {"b.csv":
         "ImageID,LabelName,XMin,XMax,YMin,YMax\na,watch,0.1,0.4,0.25,0.75\n"}, read="b.csv",
         told=("taken as fractions",)),
    Case("csv with width and height of the box", {"b.csv":
         "image;x;y;width;height;category\na.jpg;10;20;30;40;watch\n"}, read="b.csv"),
    Case("csv as predict writes it", {"b.csv":
         "photo,object,found,x1,y1,x2,y2,parent,parent_score,label,confidence\n"
         "a.jpg,1,true,10,20,40,60,watch,0.8,Averlund,0.4\nb.jpg,1,false,0,0,9,9,,0,Brisandt,0.4\n"},
         read="b.csv", told=("no object was found (not used): line 3",)),
    Case("csv without boxes", {"b.csv": "path,label\na.jpg,watch\n"}, read="b.csv",
         error="lacks the column x1, y1, x2, y2"),
    Case("csv where some boxes have no category", {"b.csv":
         "path,x1,y1,x2,y2,class\na.jpg,10,20,40,60,watch\na.jpg,1,1,5,5,\n"}, read="b.csv",
         boxes={"a.jpg": [WATCH, ("unnamed", 1, 1, 5, 5)]}),
    # Label Studio
    Case("label studio", {"b.json": [task(region())]}),
    Case("label studio, local files", {"b.json": [
        task(region(), image="/data/local-files/?d=photos/a.jpg")]}),
    Case("label studio, a link", {"b.json": [task(region(), image="s3://bucket/x/a.jpg?v=2")]}),
    Case("label studio, minimal", {"b.json": [{
        "id": 1, "image": "/data/upload/1/a1b2c3d4-a.jpg", "label": [
            {"x": 10, "y": 25, "width": 30, "height": 50, "rotation": 0,
             "rectanglelabels": ["watch"], "original_width": 100, "original_height": 80}]}]}),
    Case("label studio, rotated", {"b.json": [task(region(
        value={"x": 40, "y": 25, "width": 40, "height": 37.5, "rotation": 90}))]}),
    Case("label studio, not annotated, cancelled and twice", {"b.json": [
        task(region()), {"id": 8, "data": {"image": "b.jpg"}, "annotations": []},
        {"id": 9, "data": {"image": "c.jpg"}, "annotations": [
            {"was_cancelled": True, "result": [region()]}]},
        {**task(region()), "id": 10, "annotations": [{"result": [region()]}, {"result": []}]}]},
         boxes={"a.jpg": [WATCH, WATCH]},
         told=("have not been annotated (not used): 2 (task 8, task 9)",
               "annotated more than once, of which one annotation is used: task 10")),
    # MegaDetector and SpeciesNet
    Case("megadetector", {"b.json": {
        "images": [{"file": "a.jpg", "detections": [MEGA, MEGA | {"bbox": None}]},
                   {"file": "b.jpg", "failure": "Failure image access", "detections": None}],
        "detection_categories": {"1": "watch"}}},
         told=("have no box (not used): a.jpg, detection 2", "could not be looked at")),
    Case("speciesnet", {"b.json": {"predictions": [
        {"filepath": "/home/x/a.jpg", "detections": [MEGA | {"label": "watch"}]}]}}),
    # Folders and files
    Case("two dialects in one folder", {"d/a.txt": YOLO, "d/a.xml": voc()}, read="d",
         error="several dialects (Pascal VOC, YOLO)"),
    Case("nothing at all", {"d/notes.md": "x"}, read="d", error="holds no boxes"),
    Case("no such file", {}, error="there is no boxes file"),
]  # fmt: skip


def place(folder: Path, path: str, size: tuple[int, ...]) -> Photo:
    """A photo on disk, stored so that EXIF turns it to its upright size."""
    orientation = size[2] if len(size) > 2 else 1
    width, height = size[:2] if orientation < 5 else size[1::-1]
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (width, height)).save(file, "JPEG", exif=exif)
    return Photo(path, str(folder), path, "x", "", "", PhotoState.READABLE, "", "", *size[:2], 1,
                 1, path)  # fmt: skip


def test_there_are_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_gives_the_right_boxes_or_the_right_sentence(tmp_path: Path, case: Case) -> None:
    for name, content in case.files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    photos = [place(tmp_path, path, size) for path, size in case.photos.items()]
    if case.error:
        with pytest.raises(PhotosError) as refused:
            GivenBoxes(tmp_path / case.read, photos, case.frame)
        assert case.error in str(refused.value)
        return
    given = GivenBoxes(tmp_path / case.read, photos, case.frame)
    found = {photo.path: given.of(photo) for photo in photos}
    boxes = {
        path: [(row.category, *(round(side, 3) for side in row.box)) for row in rows]
        for path, rows in found.items()
        if rows
    }
    assert boxes == case.boxes
    notes = "\n".join(given.notes)
    for words in case.told:
        assert words in notes
    assert bool(given.notes) == bool(case.told), notes


def test_turning_agrees_with_pillow_for_every_orientation(tmp_path: Path) -> None:
    """A white patch in the stored photo: its box, turned, is where the patch is seen."""
    import numpy as np

    from closeup.photos.reading import read_photo

    stored = np.zeros((40, 100, 3), np.uint8)
    stored[5:15, 60:90] = 255
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        file = tmp_path / f"{orientation}.png"
        Image.fromarray(stored).save(file, exif=exif)
        seen = read_photo(file)
        rows, columns = np.nonzero(seen[:, :, 0])
        photo = Photo(file.name, str(tmp_path), file.name, "", "", "", PhotoState.READABLE, "", "",
                      seen.shape[1], seen.shape[0], 1, 1, file.name)  # fmt: skip
        (tmp_path / "b.csv").write_text(f"path,x1,y1,x2,y2\n{file.name},60,5,90,15\n")
        (row,) = GivenBoxes(tmp_path / "b.csv", [photo], "stored").of(photo)
        patch = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert tuple(row.box) == pytest.approx(patch), orientation
