"""A data frame of photos (pandas, polars or alike) as a table that a project can keep."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from closeup.core.errors import PhotosError
from closeup.photos.tables import is_web_address, places_of


class Frame(Protocol):
    """What is asked of a data frame: the names of its columns, and each column's values."""

    @property
    def columns(self) -> Iterable[Any]: ...

    def __getitem__(self, name: Any) -> Iterable[Any]: ...


def as_csv(frame: Frame) -> bytes:
    """The frame as CSV, as :func:`closeup.photos.tables.listed_photos` reads it.

    Paths become absolute, from the working directory. Missing values become empty cells, whole
    numbers are written without a point.

    Raises
    ------
    PhotosError
        Where it has no column for the path, or two of one name.
    """
    names = list(frame.columns)
    header = [str(name).strip().lower() for name in names]
    places = places_of("the data frame", header, ("path", "label"))
    for wanted in ("path", "label"):
        if wanted not in places:
            raise PhotosError(
                f"the data frame has no column {wanted} (it has: {', '.join(header) or 'none'}); "
                "rename the right one"
            )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise PhotosError(f"the data frame has the column {twice[0]} twice; rename one")
    columns = [[_text(value) for value in frame[name]] for name in names]
    columns[places["path"]] = [_absolute(path) for path in columns[places["path"]]]
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([header, *zip(*columns, strict=True)])
    return stream.getvalue().encode("utf8", "surrogateescape")


def _text(value: Any) -> str:
    """A cell as text; ``""`` for a missing value, whatever a library calls it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, str | Path | bool | int):
        return str(value)
    if hasattr(value, "is_integer"):  # a float, also NumPy's
        number = float(value)
        return "" if math.isnan(number) else f"{number:.0f}" if number.is_integer() else str(value)
    return str(value)


def _absolute(path: str) -> str:
    return path if not path or is_web_address(path) else os.path.abspath(path)  # noqa: PTH100 - no link is followed
