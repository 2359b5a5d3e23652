"""The dialect of an annotation file or folder, found by what it holds, and its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from closeup.core.errors import PhotosError
from closeup.core.text import first_of
from closeup.detect.given.box import Given, Row, Rows
from closeup.detect.given.coco import coco
from closeup.detect.given.label_studio import is_label_studio, label_studio
from closeup.detect.given.megadetector import is_megadetector, megadetector
from closeup.detect.given.table import table
from closeup.detect.given.voc import parse, voc
from closeup.detect.given.yolo import may_hold_boxes, yolo
from closeup.photos.walk import TABLE_SUFFIXES

KNOWN = (
    "COCO, Label Studio, MegaDetector or SpeciesNet JSON, Pascal VOC XML, a YOLO folder or a table "
    "with the columns path,x1,y1,x2,y2"
)


def read_boxes(path: Path) -> Rows:
    """The rows of a file or folder, with names that are relative to it.

    Raises PhotosError where it is in no known dialect, in several at once, or cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise PhotosError(f"there is no boxes file {path}; check the path")
    if path.suffix.lower() in (".yaml", ".yml", ".names") or path.name == "classes.txt":
        return _folder(path.parent)
    if path.suffix.lower() in TABLE_SUFFIXES - {".jsonl"}:
        return Rows("table", path.parent, list(table(path)))
    if path.suffix.lower() == ".xml":
        return Rows("Pascal VOC", path.parent, list(_xml(path, path.stem)))
    content = _json(path)
    dialect, read = _of_json(content, path)
    return Rows(dialect, path.parent, list(read()))


def _folder(folder: Path) -> Rows:
    """YOLO's text files, VOC's XML files, or JSON files and tables, wherever they lie below it."""
    found: dict[str, list[Row]] = {}
    try:
        files = sorted(folder.rglob("*"))
        texts = [file for file in files if may_hold_boxes(file)]
        others = [file for file in files if _is_annotation(file)]
    except OSError as err:
        raise PhotosError(f"{folder} cannot be listed: {err}; check its permissions") from err
    if rows := list(yolo(folder, texts)):
        found["YOLO"] = rows
    for file in others:
        below = file.relative_to(folder).with_suffix("").as_posix()
        if file.suffix.lower() == ".xml":
            if rows := list(_xml(file, below, strict=False)):
                found.setdefault("Pascal VOC", []).extend(rows)
            continue
        for dialect, rows in _one_of_many(file):
            found.setdefault(dialect, []).extend(_moved(rows, folder, file))
    real = [name for name, rows in found.items() if any(isinstance(row, Given) for row in rows)]
    if len(real) > 1:
        raise PhotosError(
            f"{folder} holds boxes in several dialects ({', '.join(sorted(real))}), which would be "
            "counted twice; name the file or folder of one of them"
        )
    name = real[0] if real else next(iter(found), "")
    return Rows(name or "", folder, found.get(name, []))


def _is_annotation(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in (".xml", ".json", ".csv", ".tsv") and file.is_file()


def _one_of_many(file: Path) -> Iterator[tuple[str, list[Row]]]:
    """The rows of a JSON file or a table in a folder, which may hold something else."""
    try:
        if file.suffix.lower() != ".json":
            yield "table", list(table(file))
            return
        dialect, read = _of_json(_json(file), file)
        yield dialect, list(read())
    except PhotosError:
        return  # not boxes: a folder of photos may hold any other table


def _moved(rows: list[Row], folder: Path, file: Path) -> Iterator[Row]:
    """Rows of a file somewhere in a folder: places name the file, names start at the folder."""
    inside = file.relative_to(folder)
    for row in rows:
        place = f"{inside.as_posix()}, {row.place}"
        if isinstance(row, Given) and not PurePosixPath(row.name).is_absolute():
            name = os.path.normpath(PurePosixPath(inside.parent.as_posix(), row.name))
            yield replace(row, place=place, name=name)
        else:
            yield replace(row, place=place)


def _xml(file: Path, below: str, *, strict: bool = True) -> Iterator[Row]:
    try:
        root = parse(file.read_bytes(), str(file))
    except OSError as err:
        raise PhotosError(f"{file} cannot be read: {err.strerror}; check the path") from err
    if root.tag == "annotation":
        yield from voc(root, below)
    elif strict:
        raise PhotosError(
            f"{file} is XML of another kind (<{root.tag[:40]}>, expected <annotation> as in Pascal "
            f"VOC); give {KNOWN}"
        )


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as err:
        raise PhotosError(f"{file} is not readable JSON: {err}; give {KNOWN}") from err


def _of_json(content: Any, file: Path) -> tuple[str, Callable[[], Iterator[Row]]]:
    """The name and the reader of the dialect that a file's JSON is in."""
    if isinstance(content, dict):
        if is_megadetector(content):
            return "MegaDetector", lambda: megadetector(content)
        if "annotations" in content or "images" in content:
            return "COCO", lambda: coco(content, str(file))
        keys = first_of(map(str, content))
        raise PhotosError(
            f"{file} is JSON of another kind (with {keys or 'nothing'}); give {KNOWN}"
        )
    if is_label_studio(content):
        return "Label Studio", lambda: label_studio(content)
    if (
        isinstance(content, list)
        and content
        and all(isinstance(row, dict) and "image_id" in row for row in content)
    ):
        raise PhotosError(
            f"{file} is a list of COCO results, which does not name the photos; put them into the "
            "`annotations` of the COCO file that was predicted"
        )
    raise PhotosError(f"{file} is JSON of another kind; give {KNOWN}")
