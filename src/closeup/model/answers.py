"""Predictions for other programs: JSON, CSV, Parquet, annotated pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from closeup.core.types import Answer, Pixels, Prediction
from closeup.model.outputs import write_output
from closeup.photos.reading import read_photo

COLUMNS = ("photo", "found", "x1", "y1", "x2", "y2", "parent", "parent_score", "label",
           "confidence", "reason", "error_code", "error_message")  # fmt: skip
_FIRST = COLUMNS[:6]
"""By these a table is known as one of answers, whatever version wrote it."""
_MARK = b"closeup: answer"


def to_json(prediction: Prediction) -> dict[str, Any]:
    """The stable object of ``predict --json`` (docs/formats.md)."""
    error = None
    if prediction.error_code:
        error = {"code": prediction.error_code, "message": prediction.error_message}
    return {
        "photo": prediction.photo,
        "found": prediction.found,
        "objects": [
            {
                "box": [round(v, 2) for v in one.box],
                "parent": one.parent,
                "parent_score": round(one.parent_score, 6),
                "label": one.label,
                "confidence": round(one.confidence, 6),
                "reason": one.reason,
                "top": [[label, round(p, 6)] for label, p in one.top],
                "likely": list(one.likely),
            }
            for one in prediction.objects
        ],
        "error": error,
    }


def to_rows(predictions: Sequence[Prediction]) -> Iterator[tuple[Any, ...]]:
    """Rows of :data:`COLUMNS`: one per object, and one for a photo without any."""
    for p in predictions:
        for one in p.objects:
            yield (p.photo, p.found, *(round(v, 2) for v in one.box), one.parent,
                   one.parent_score, one.label, one.confidence, one.reason, "", "")  # fmt: skip
        if not p.objects:
            yield (p.photo, False, None, None, None, None, "", None, "", None, "", p.error_code,
                   p.error_message)  # fmt: skip


def write_csv(predictions: Sequence[Prediction], file: Path) -> None:
    """Write a CSV file with a header, UTF-8.

    Raises ProjectError where the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(to_rows(predictions))
    write_output(file, text.getvalue().encode("utf8", "surrogateescape"))


def write_parquet(predictions: Sequence[Prediction], file: Path) -> None:
    """Write a Parquet file of the same rows.

    Raises ProjectError where the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.string(), pa.bool_(), *[pa.float64()] * 4, pa.string(), pa.float64(), pa.string(),
             pa.float64(), *[pa.string()] * 3]  # fmt: skip
    rows = [tuple(_text(v) for v in row) for row in to_rows(predictions)]
    columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
    arrays = [pa.array(list(c), kind) for c, kind in zip(columns, kinds, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(zip(COLUMNS, arrays, strict=True))), sink)
    write_output(file, bytes(sink.getvalue()))


def is_csv(file: Path) -> bool:
    """Whether an existing file is what :func:`write_csv` writes."""
    with file.open("rb") as stream:
        return stream.readline(1000).startswith(",".join(_FIRST).encode())


def is_parquet(file: Path) -> bool:
    """Whether an existing file is what :func:`write_parquet` writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(file).names[: len(_FIRST)]) == _FIRST
    except pa.ArrowException:
        return False


def is_drawn(file: Path) -> bool:
    """Whether an existing file is what :func:`draw_prediction` writes."""
    with file.open("rb") as stream:
        return _MARK in stream.read(1000)


def _text(value: Any) -> Any:
    """File names need not be UTF-8; tables must be."""
    return os.fsencode(value).decode("utf8", "replace") if isinstance(value, str) else value


def draw_prediction(prediction: Prediction, file: Path) -> None:
    """Write the photo with its boxes and answers as a JPEG; the photo itself is not touched.

    Raises PhotoError where the photo cannot be read any more; ProjectError where the file cannot be
    written.
    """
    picture = annotate(read_photo(Path(prediction.photo)), prediction.objects)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=92, comment=_MARK)
    write_output(file, data.getvalue())


def annotate(pixels: Pixels, objects: Sequence[Answer]) -> Image.Image:
    """The photo with boxes and labels drawn on a copy; widths follow the photo's size."""
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    unit = max(picture.size) / 640
    font = ImageFont.load_default(size=max(9.0, 15 * unit))
    line = max(1, round(3 * unit))
    for one in objects:
        draw.rectangle(one.box, outline=(255, 176, 0), width=line)
        known = f"{one.label} {one.confidence:.0%}"
        text = f" {one.label}: {one.reason} " if one.reason else f" {known} "
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left, bottom - top + line
        x = min(max(0, one.box.x1), max(0, picture.width - width))
        y = one.box.y1 - height if one.box.y1 >= height else one.box.y1
        draw.rectangle((x, y, x + width, y + height), fill=(255, 176, 0))
        draw.text((x - left, y - top), text, fill=(0, 0, 0), font=font)
    return picture
