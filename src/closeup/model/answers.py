"""Predictions for other programs: JSON, CSV, Parquet, annotated pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from closeup.core.types import Answer, Pixels
from closeup.model.outputs import write_output
from closeup.model.prediction import COLUMNS, Prediction, attributes_in, columns_of, to_rows
from closeup.model.tracks import TRACK_COLUMNS, Track
from closeup.photos.reading import read_photo

_FIRST = COLUMNS[:6]
"""By these a table is known as one of answers, whatever version wrote it."""
_FIRST_OF_TRACKS = TRACK_COLUMNS[:6]
_WHOLE = ("track", "frames", "votes")
_NUMBERS = ("x1", "y1", "x2", "y2", "parent_score", "confidence", "start", "end")
_MARK = b"closeup: answer"


def write_csv(predictions: Sequence[Prediction], file: Path) -> None:
    """Write a CSV file with a header, UTF-8.

    Raises ProjectError where the file cannot be written.
    """
    names = attributes_in(predictions)
    _write_csv(columns_of(names), to_rows(predictions, names), file)


def write_parquet(predictions: Sequence[Prediction], file: Path) -> None:
    """Write a Parquet file of the same rows.

    Raises ProjectError where the file cannot be written.
    """
    names = attributes_in(predictions)
    _write_parquet(columns_of(names), to_rows(predictions, names), file)


def write_csv_of_tracks(tracks: Sequence[Track], errors: Mapping[str, str], file: Path) -> None:
    """As :func:`write_csv`: a row per object of a film, and one for a film that cannot be read."""
    _write_csv(TRACK_COLUMNS, _rows_of(tracks, errors), file)


def write_parquet_of_tracks(tracks: Sequence[Track], errors: Mapping[str, str], file: Path) -> None:
    """As :func:`write_parquet`, of the same rows."""
    _write_parquet(TRACK_COLUMNS, _rows_of(tracks, errors), file)


def _rows_of(tracks: Sequence[Track], errors: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    yield from (track.row() for track in tracks)
    for film, error in errors.items():
        yield (film, None, None, None, 0, "", 0, None, "", None, None, None, None, "", error)


def _write_csv(columns: Sequence[str], rows: Iterable[tuple[Any, ...]], file: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    write_output(file, text.getvalue().encode("utf8", "surrogateescape"))


def _write_parquet(columns: Sequence[str], rows: Iterable[tuple[Any, ...]], file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(as_table(columns, rows), sink)
    write_output(file, bytes(sink.getvalue()))


def to_table(predictions: Sequence[Prediction], attributes: Sequence[str]) -> Any:
    """The rows of :func:`to_rows` as an Arrow table, also where no answer has the attributes."""
    return as_table(columns_of(attributes), to_rows(predictions, attributes))


def as_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """Rows as an Arrow table; which columns are numbers is known by their names."""
    import pyarrow as pa

    kinds = {"found": pa.bool_(), **dict.fromkeys(_WHOLE, pa.int64()),
             **dict.fromkeys(_NUMBERS, pa.float64())}  # fmt: skip
    kinds |= {name: pa.float64() for name in columns if name.endswith("_confidence")}
    cells = list(zip(*(map(_text, row) for row in rows), strict=True)) or [()] * len(columns)
    arrays = [pa.array(list(column), kinds.get(name, pa.string()))
              for name, column in zip(columns, cells, strict=True)]  # fmt: skip
    return pa.table(dict(zip(columns, arrays, strict=True)))


def is_csv(file: Path, columns: Sequence[str] = _FIRST) -> bool:
    """Whether an existing file is what :func:`write_csv` writes."""
    with file.open("rb") as stream:
        return stream.readline(1000).startswith(",".join(columns).encode())


def is_parquet(file: Path, columns: Sequence[str] = _FIRST) -> bool:
    """Whether an existing file is what :func:`write_parquet` writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(file).names[: len(columns)]) == tuple(columns)
    except pa.ArrowException:
        return False


is_csv_of_tracks = partial(is_csv, columns=_FIRST_OF_TRACKS)
is_parquet_of_tracks = partial(is_parquet, columns=_FIRST_OF_TRACKS)


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
