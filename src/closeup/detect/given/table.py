"""CSV, TSV and Parquet: one box a line, under the column names of various tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from closeup.core.errors import PhotosError
from closeup.detect.given.box import (
    Given,
    Row,
    Unusable,
    corners,
    each,
    numbers,
    score_of,
    size_of,
    sized,
)
from closeup.photos.tables import TableRow, read_table

_NAMES = {
    "path": "path file_name filename file filepath file_path image image_path image_name img_path "
            "imageid image_id photo",
    "x1": "x1 xmin x_min left xtl bbox_x1",
    "y1": "y1 ymin y_min top ytl bbox_y1",
    "x2": "x2 xmax x_max right xbr bbox_x2",
    "y2": "y2 ymax y_max bottom ybr bbox_y2",
    "x": "x bbox_x",
    "y": "y bbox_y",
    "w": "w bbox_width bbox_w",
    "h": "h bbox_height bbox_h",
    "width": "width image_width img_width",
    "height": "height image_height img_height",
    "category": "category class class_name classname labelname parent name",
    "label": "label",
    "score": "score parent_score confidence conf prob probability",
    "found": "found",
}  # fmt: skip
_CORNERS, _SIZED = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h")


def columns(header: Mapping[str, object]) -> dict[str, str]:
    """The table's own name of each column that is there."""
    found = {}
    for ours, theirs in _NAMES.items():
        if names := [name for name in theirs.split() if name in header]:
            found[ours] = names[0]
    if "x" in found and "x2" not in found and "w" not in found and "width" in found:
        # Beside a corner alone, the width is the box's.
        found |= {"w": found.pop("width"), "h": found.pop("height", "")}
    return found


def table(file: Path) -> Iterator[Row]:
    """The boxes of a table.

    Raises PhotosError where it cannot be read, or lacks a column.
    """
    rows = read_table(file, ())
    if not rows:
        return
    named = columns(rows[0].cells)
    sides = _SIZED if set(_SIZED) <= named.keys() else _CORNERS
    if missing := [name for name in ("path", *sides) if name not in named]:
        raise PhotosError(
            f"{file} lacks the column {', '.join(missing)} (it has: "
            f"{', '.join(rows[0].cells) or 'none'}); line 1 must name the columns, including "
            "path,x1,y1,x2,y2"
        )
    as_box = sized if sides is _SIZED else corners

    def read(row: TableRow) -> Iterator[Row]:
        cells = {ours: row.cells.get(theirs, "") for ours, theirs in named.items()}
        if not cells["path"]:
            raise Unusable("name no photo")
        given = [cells[side] for side in sides]
        if not any(given):
            return  # a photo without an object
        if cells.get("found", "").lower() in ("false", "0"):
            raise Unusable("say that no object was found")
        yield Given(
            "",
            cells["path"],
            as_box(*numbers(given, 4)),
            category=cells.get("category", ""),
            label=cells.get("label", ""),
            score=score_of(cells.get("score")),
            size=size_of(cells.get("width"), cells.get("height")),
        )

    yield from each(rows, lambda _, row: f"line {row.line}", read)
