"""One writer per format: items in, files out, as text by their names.

Boxes are those of the upright photo, as each of these formats means them. An object for which the
whole photo stands in has no box, so formats of boxes give its photo without one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

from closeup._version import __version__
from closeup.core.types import Box
from closeup.export.items import PARTS, Item, Items, Object
from closeup.photos.rights import licence_of

Files = Iterator[tuple[str, str]]
Placed = Callable[[Item], str]
"""Where an item's photo goes in the exported folder."""

VALIDATION_FOLD = 0
"""YOLO's trainers want a validation part: one fold of the training part."""


def in_images(item: Item) -> str:
    """``images/NAME``."""
    return f"images/{item.name}"


def coco(items: Items) -> Files:
    """COCO's detection format: a file of all photos, one of each part, and the answers.

    Sources: https://cocodataset.org/#format-data and https://cocodataset.org/#format-results.
    """
    number = {label: place for place, label in enumerate(items.labels, start=1)}
    categories = [{"id": n, "name": name, "supercategory": _parent(items, name)}
                  for name, n in number.items()]  # fmt: skip
    licences, licence_ids = _coco_licences(items)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for image_id, item in enumerate(items.items, start=1):
        images.append({
            "id": image_id, "file_name": item.name, "width": item.photo.width,
            "height": item.photo.height, "split": item.part, "label": item.label,
            **({"license": licence_ids[item.name], **item.credits} if licences else {}),
        })  # fmt: skip
        for one, box in _boxed(item):
            where = [box.x1, box.y1, box.width, box.height]
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "iscrowd": 0, "bbox": where,
                "category_id": number[one.label], "area": box.area, "segmentation": [],
            })  # fmt: skip
            if one.answer in number:
                answers.append({"image_id": image_id, "category_id": number[one.answer],
                                "bbox": where, "score": one.confidence})  # fmt: skip
    for part in ("", *PARTS):
        mine = [image for image in images if not part or image["split"] == part]
        ids = {image["id"] for image in mine}
        yield f"annotations/instances{f'_{part}' if part else ''}.json", _json({
            "info": {"description": f"exported by Closeup {__version__}"},
            "images": mine, "categories": categories, "licenses": licences,
            "annotations": [row for row in annotations if row["image_id"] in ids],
        })  # fmt: skip
    yield "annotations/predictions_test.json", _json(answers)


def _coco_licences(items: Items) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The list of licences, and the id of each item's; none where no rights are known."""
    read = {item.name: licence_of(item.rights) for item in items.items if item.rights}
    named = {name: (one.name, one.url) if one.known else ("unknown", "")
             for name, one in read.items()}  # fmt: skip
    number = {one: place for place, one in enumerate(sorted(set(named.values())), start=1)}
    rows = [{"id": place, "name": name, "url": url} for (name, url), place in number.items()]
    return rows, {name: number[one] for name, one in named.items()}


def _parent(items: Items, label: str) -> str:
    found = (one.category for item in items.items for one in item.objects if one.label == label)
    return next((name for name in found if name), "")


def yolo_place(item: Item) -> str:
    """``images/PART/NAME``."""
    return f"images/{_yolo_part(item)}/{item.name}"


def _yolo_part(item: Item) -> str:
    return "val" if item.part == "train" and item.fold == VALIDATION_FOLD else item.part or "unused"


def yolo(items: Items) -> Files:
    """Ultralytics' YOLO format, https://docs.ultralytics.com/datasets/detect/; no answers."""
    number = {label: place for place, label in enumerate(items.labels)}
    for item in items.items:
        lines = []
        for one, box in _boxed(item):
            width, height = item.photo.width, item.photo.height
            values = ((box.x1 + box.x2) / 2 / width, (box.y1 + box.y2) / 2 / height,
                      box.width / width, box.height / height)  # fmt: skip
            lines.append(" ".join([str(number[one.label]), *(f"{value:.10g}" for value in values)]))
        place = PurePosixPath(yolo_place(item)).with_suffix(".txt").as_posix()
        yield place.replace("images/", "labels/", 1), "".join(f"{line}\n" for line in lines)
    names = "".join(f"  {place}: {json.dumps(label, ensure_ascii=False)}\n"
                    for label, place in number.items())  # fmt: skip
    parts = {_yolo_part(item) for item in items.items}
    rows = [f"{part}: images/{part}\n" for part in ("train", "val", "test") if part in parts]
    yield "data.yaml", f"path: .\n{''.join(rows)}names:\n{names}"


def voc_place(item: Item) -> str:
    """``JPEGImages/NAME``."""
    return f"JPEGImages/{item.name}"


def voc(items: Items) -> Files:
    """Pascal VOC's: an XML file for each photo, with corners in whole pixels from 0; no answers."""
    for item in items.items:
        path = PurePosixPath(item.name)
        root = ET.Element("annotation")
        _sub(root, "folder", PurePosixPath(voc_place(item)).parent.as_posix())
        _sub(root, "filename", path.name)
        size = ET.SubElement(root, "size")
        for name, value in (("width", item.photo.width), ("height", item.photo.height),
                            ("depth", 3)):  # fmt: skip
            _sub(size, name, value)
        _sub(root, "segmented", 0)
        for one, box in _boxed(item):
            node = ET.SubElement(root, "object")
            for name, text in (("name", one.label), ("pose", "Unspecified"), ("truncated", 0),
                               ("difficult", 0)):  # fmt: skip
                _sub(node, name, text)
            corners = ET.SubElement(node, "bndbox")
            for name, number in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                _sub(corners, name, round(number))
        ET.indent(root)
        file = path.with_suffix(".xml").as_posix()
        yield f"Annotations/{file}", ET.tostring(root, encoding="unicode") + "\n"
    for part in PARTS:
        stems = [PurePosixPath(item.name).with_suffix("").as_posix() for item in items.of(part)]
        yield f"ImageSets/Main/{part}.txt", "".join(f"{stem}\n" for stem in stems)


def _sub(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)


def label_studio(items: Items) -> Files:
    """Label Studio's tasks, with answers as predictions, and the labelling interface.

    Serve the export with ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` set to its folder. Source:
    https://labelstud.io/guide/task_format.
    """
    tasks = []
    for number, item in enumerate(items.items, start=1):
        objects = [_region(item, one, box, one.label) for one, box in _boxed(item)]
        answers = [_region(item, one, box, one.answer, one.confidence)
                   for one, box in _boxed(item) if one.answer]  # fmt: skip
        task: dict[str, Any] = {
            "id": number,
            "data": {"image": f"/data/local-files/?d={in_images(item)}", "split": item.part,
                     "label": item.label, "group": item.group,
                     **item.credits},
            "annotations": [{"id": number, "result": objects}],
        }  # fmt: skip
        if answers:
            score = min(region["score"] for region in answers)
            task["predictions"] = [{"model_version": f"closeup-{__version__}", "score": score,
                                    "result": answers}]  # fmt: skip
        tasks.append(task)
    yield "tasks.json", _json(tasks)
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image")
    choices = ET.SubElement(view, "RectangleLabels", name="label", toName="image")
    for label in items.labels:
        ET.SubElement(choices, "Label", value=label)
    ET.indent(view)
    yield "config.xml", ET.tostring(view, encoding="unicode") + "\n"


def _region(
    item: Item, one: Object, box: Box, label: str, score: float | None = None
) -> dict[str, Any]:
    width, height = item.photo.width, item.photo.height
    value = {
        "x": 100 * box.x1 / width, "y": 100 * box.y1 / height, "width": 100 * box.width / width,
        "height": 100 * box.height / height, "rotation": 0, "rectanglelabels": [label],
    }  # fmt: skip
    region = {"id": one.id, "type": "rectanglelabels", "from_name": "label", "to_name": "image",
              "original_width": width, "original_height": height, "image_rotation": 0,
              "value": value}  # fmt: skip
    return region if score is None else {**region, "score": score}


def imagefolder_place(item: Item) -> str:
    """``PART/NAME``, for what is in neither part ``unused/NAME``."""
    return f"{item.part or 'unused'}/{item.name}"


def imagefolder(items: Items) -> Files:
    """The hub's ImageFolder: a ``metadata.jsonl`` for each part, as `datasets` reads it.

    Source: https://huggingface.co/docs/datasets/image_dataset.
    """
    for part in (*PARTS, ""):
        rows = []
        for item in items.of(part):
            boxed = list(_boxed(item))
            rows.append(json.dumps({
                "file_name": item.name, "label": item.label, "group": item.group,
                **item.credits,
                "objects": {
                    "bbox": [[box.x1, box.y1, box.width, box.height] for _, box in boxed],
                    "category": [one.label for one, _ in boxed],
                    "answer": [one.answer for one, _ in boxed],
                    "confidence": [one.confidence for one, _ in boxed],
                },
            }, ensure_ascii=False) + "\n")  # fmt: skip
        if rows:
            yield f"{part or 'unused'}/metadata.jsonl", "".join(rows)


COLUMNS = ("path", "label", "group", "split", "x1", "y1", "x2", "y2", "category", "score", "answer",
           "confidence", "whole_photo")  # fmt: skip


def table(items: Items) -> Files:
    """One CSV with a row per object, and one for a photo without any."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *(items.items[0].credits if items.items else ())))
    for item in items.items:
        rights = item.credits.values()
        start = (in_images(item), item.label, item.group, item.part)
        for one in item.objects:
            box: Sequence[object] = one.box or ("",) * 4
            confidence: object = one.confidence if one.answer else ""
            writer.writerow((start[0], one.label, *start[2:], *box, one.category, one.score,
                             one.answer, confidence, one.box is None, *rights))  # fmt: skip
        if not item.objects:
            writer.writerow((*start, *("",) * 8, False, *rights))
    yield "labels.csv", text.getvalue()


def fiftyone_place(item: Item) -> str:
    """``PART/data/NAME``."""
    return f"{item.part or 'unused'}/data/{item.name}"


def fiftyone(items: Items) -> Files:
    """FiftyOneImageDetectionDataset for each part: ``labels.json``, and the answers beside it.

    Source: https://docs.voxel51.com/user_guide/import_datasets.html.
    """
    for part in (*PARTS, ""):
        mine = items.of(part)
        if not mine:
            continue
        folder = part or "unused"
        yield f"{folder}/labels.json", _json(_fiftyone(items, mine, answers=False))
        if part == "test":
            yield f"{folder}/predictions.json", _json(_fiftyone(items, mine, answers=True))


def _fiftyone(items: Items, mine: Sequence[Item], *, answers: bool) -> dict[str, Any]:
    labels: dict[str, list[dict[str, Any]]] = {}
    for item in mine:
        width, height = item.photo.width, item.photo.height
        rows = []
        for one, box in _boxed(item):
            share = [box.x1 / width, box.y1 / height, box.width / width, box.height / height]
            label = one.answer if answers else one.label
            row: dict[str, Any] = {"label": label, "bounding_box": share}
            if answers:
                row["confidence"] = one.confidence
            if label:
                rows.append(row)
        labels[PurePosixPath(item.name).with_suffix("").as_posix()] = rows
    return {"classes": None, "labels": labels}


def _boxed(item: Item) -> Iterator[tuple[Object, Box]]:
    for one in item.objects:
        if one.box is not None:
            yield one, one.box


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


FORMATS: Mapping[str, tuple[Callable[[Items], Files], Placed]] = {
    "coco": (coco, in_images),
    "yolo": (yolo, yolo_place),
    "voc": (voc, voc_place),
    "label-studio": (label_studio, in_images),
    "imagefolder": (imagefolder, imagefolder_place),
    "csv": (table, in_images),
    "fiftyone": (fiftyone, fiftyone_place),
}
"""Each format's writer, and where it wants the photos."""
