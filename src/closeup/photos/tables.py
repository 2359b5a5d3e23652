"""Tables of photos: CSV, TSV and Parquet files as people and other tools write them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from closeup.core.errors import PhotosError
from closeup.core.tables import decode_parquet
from closeup.core.text import first_of
from closeup.core.types import Rights
from closeup.photos.attributes import COLUMN, attributes_of
from closeup.photos.layout import NO_PART, part_of
from closeup.photos.rights import ALIASES as RIGHTS
from closeup.photos.rights import of_cells

ALIASES: Mapping[str, tuple[str, ...]] = {
    "path": (
        *("file_name", "filename", "file", "filepath", "file_path", "filepaths", "image", "img"),
        *("image_path", "img_path", "image_name", "image_file", "image_filename", "photo"),
        *("photo_path", "photo_name"),
    ),
    "label": (
        *("labels", "class", "class_name", "classname", "category", "category_name"),
        *("label_name", "species", "target"),
    ),
    "group": ("group_id", "groups"),
    "split": ("subset", "data_set", "dataset_split", "partition"),
    "url": (
        *("uri", "urls", "image_url", "img_url", "photo_url", "image_uri", "original_url", "link"),
        *("href", "image_link", "media_url", "identifier"),
    ),
    **RIGHTS,
}
"""What a column may be called instead, in lower case with ``_`` for spaces and hyphens."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a CSV, TSV or Parquet file: its line (counted from 1) and its cells as text."""

    line: int
    cells: dict[str, str]


def read_table(file: Path, required: Sequence[str], optional: Sequence[str] = ()) -> list[TableRow]:
    """The rows of a CSV (comma, semicolon, tab) or Parquet file with named columns.

    Names are compared ignoring case and surrounding spaces. A column that is asked for is also
    found by one of its :data:`ALIASES`; its cells are under the name that was asked for. Blank
    lines, and a first line such as ``sep=;``, are skipped; empty and null cells are ``""``.

    Raises
    ------
    PhotosError
        Where the file cannot be read, a required column is missing (named), a column that is
        asked for is there twice, or a line has more or fewer cells than the header (numbered).
    """
    try:
        header, rows = _READERS.get(file.suffix.lower(), _csv)(file)
    except OSError as err:
        raise _unreadable(file, err) from err
    places = places_of(file, header, (*required, *optional))
    missing = [name for name in required if name not in places]
    if missing:
        known = "; ".join(f"{name} may also be called {', '.join(ALIASES[name][:6])} …"
                          for name in missing if name in ALIASES)  # fmt: skip
        raise PhotosError(
            f"{file} lacks the column {', '.join(missing)} (it has: {', '.join(header) or 'none'});"
            f" line 1 must name the columns, including {','.join(required)}"
            f"{f' ({known})' if known else ''}"
        )
    names = {place: name for name, place in places.items()}
    columns = [names.get(place, name) for place, name in enumerate(header)]
    return [TableRow(line, dict(zip(columns, cells, strict=True))) for line, cells in rows]


def places_of(file: Path | str, header: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Which column holds each of the `wanted` that are there; `file` is for messages."""
    plain = [re.sub(r"[\s\-]+", "_", name) for name in header]
    found = {}
    for name in wanted:
        exact = [place for place, column in enumerate(header) if column == name]
        others = [place for place, column in enumerate(plain)
                  if column in ALIASES.get(name, ()) and header[place] not in wanted]  # fmt: skip
        several = exact if exact else others
        if len(several) > 1:
            called = " and ".join(header[place] for place in several)
            advice = "delete one" if exact else f"rename the right one to {name}"
            raise PhotosError(
                f"{file}: the columns {called} could both be the {name} of a photo; {advice}"
            )
        if several:
            found[name] = several[0]
    return found


def is_web_address(path: str) -> bool:
    """Whether a path in a table is a URL."""
    return bool(re.match(r"[a-z][a-z0-9+.]+://", path, re.IGNORECASE))


def text_of(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark; raises PhotosError or OSError."""
    data = file.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as err:
        save = "CSV UTF-8" if file.suffix.lower() == ".csv" else "UTF-8"
        raise PhotosError(f"{file} is not UTF-8 text ({err}); save it as {save}") from err


_Rows = list[tuple[int, list[str]]]


def _unreadable(file: Path, err: OSError) -> PhotosError:
    return PhotosError(f"{file} cannot be read: {err.strerror}; check the path")


def read_columns(file: Path) -> tuple[list[str], list[list[str]]]:
    """The names of a Parquet file's columns, and the cells of each as text; see :func:`read_table`.

    Raises PhotosError where it cannot be read, or is no Parquet file.
    """
    import pyarrow as pa

    try:
        data = file.read_bytes()
    except OSError as err:
        raise _unreadable(file, err) from err
    try:
        table = decode_parquet(data)
        header = [str(name).strip().lower() for name in table.column_names]
        columns = [
            ["" if v is None else str(v).strip() for v in column.to_pylist()]
            for column in table.columns
        ]
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RuntimeError) as err:
        why = " ".join(str(err).split())
        raise PhotosError(f"{file} is not a readable Parquet file: {why}; write it again") from err
    return header, columns


def _parquet(file: Path) -> tuple[list[str], _Rows]:
    header, columns = read_columns(file)
    rows = zip(*columns, strict=True)
    return header, [(number, list(cells)) for number, cells in enumerate(rows, start=1)]


def _csv(file: Path) -> tuple[list[str], _Rows]:
    text = text_of(file)
    first, delimiter = _dialect(text)
    stream = io.StringIO(text, newline="")
    for _ in range(first):
        stream.readline()
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: _Rows = []
    try:
        for cells in reader:
            line = first + reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip().lower() for cell in cells]
                continue
            if len(cells) != len(header):
                raise PhotosError(
                    f"{file}, line {line}: {len(cells)} cells where the header has "
                    f"{len(header)}; put names that contain {delimiter!r} in double quotes"
                )
            rows.append((line, [cell.strip() for cell in cells]))
    except csv.Error as err:
        raise PhotosError(f"{file}, line {first + reader.line_num}: {err}; fix this line") from err
    return header, rows


def _dialect(text: str) -> tuple[int, str]:
    """How many lines come before the header, and what separates its cells."""
    for number, line in enumerate(io.StringIO(text, newline="")):
        plain = line.strip("\r\n")
        told = re.fullmatch(r"\"?sep=(.)\"?[,;\t]*", plain.strip(" "), re.IGNORECASE)
        if told:
            return number + 1, told[1]
        if plain.strip():
            return number, max(",;\t", key=plain.count)
    return 0, ","


@dataclass(slots=True)
class Listed:
    """One photo of a table: its cells, and why it cannot be read where that is known already.

    Of a photo that is listed twice, the first `rights` count.
    """

    line: int
    path: str
    label: str
    group: str
    part: str
    code: str = ""
    reason: str = ""
    attributes: str = ""
    rights: Rights | None = field(default=None, compare=False)


def listed_photos(file: Path, attributes: Sequence[str] = ()) -> tuple[list[Listed], list[str]]:
    """The photos of a table ``path,label[,group][,split]``, each once, and notes on them.

    `part` is ``train``, ``val``, ``test``, ``none`` (not labelled) or ``""``, as the column
    ``split`` says. The table that ``closeup predict --csv`` writes can be read as well: answers
    that were withheld, and photos whose objects got different labels, have no label. `attributes`
    are as for :func:`closeup.photos.attributes.attributes_of`.

    Raises
    ------
    PhotosError
        As :func:`read_table`, and where a path is missing, a part is no known word, or a photo is
        listed twice with different cells; the message names the lines.
    """
    names = [name.lower() for name in attributes]
    rows = read_table(file, ("path", "label"), ("group", "split", COLUMN, *names))
    kept, more_notes = attributes_of(file, [row.cells for row in rows], names)
    if not rows:
        raise PhotosError(f"{file} has a header but no rows; list one photo per line")
    answers = rows[0].cells.keys() >= _ANSWERS
    found: dict[str, Listed] = {}
    several: set[str] = set()
    for row, mine in zip(rows, kept, strict=True):
        one = replace(_listed(file, row, answers), attributes=mine, rights=of_cells(row.cells))
        first = found.setdefault(one.path, one)
        if replace(one, line=first.line) == first:
            continue
        if not answers:
            raise PhotosError(
                f"{file}, lines {first.line} and {row.line} give {one.path} different labels, "
                "groups or parts of the split, or different attributes; keep one of them"
            )
        several.add(one.path)
        first.label = first.attributes = ""
    notes = [f"{len(several)} photos with objects of different labels have no label: "
             f"{first_of(several)}"] if several else []  # fmt: skip
    if not any(one.code or os.path.lexists(file.parent / one.path) for one in found.values()):
        raise PhotosError(
            f"{file} names {len(found)} photos, and none of them is there; the first, "
            f"{next(iter(found))}, would be {file.parent / next(iter(found))}: write paths "
            "relative to the table's folder, or absolute"
        )
    return list(found.values()), [*notes, *more_notes]


_ANSWERS = frozenset({"found", "parent", "confidence", "reason", "error_code"})


def _listed(file: Path, row: TableRow, answers: bool) -> Listed:
    """One row as a photo; `answers` tells whether the table is one of predictions."""
    given, cells = row.cells["path"], row.cells
    if not given:
        raise PhotosError(f"{file}, line {row.line}: the path is empty; fix or delete the line")
    word = cells.get("split", "")
    part = part_of(word)
    if word and not part:
        raise PhotosError(
            f"{file}, line {row.line}: {word!r} is no part of a split; write train, val or test, "
            "or rename the column"
        )
    withheld = answers and (cells["reason"] or cells["error_code"])
    label = "" if withheld or part == NO_PART else cells["label"]
    if is_web_address(given):
        why = "this is a web address; download the photo and name the file"
        return Listed(row.line, given, label, cells.get("group", ""), part, "missing", why)
    if "\\" in given and not os.path.lexists(file.parent / given):
        given = given.replace("\\", "/")
    path = Path(os.path.normpath(given)).as_posix()
    return Listed(row.line, path, label, cells.get("group", ""), part)


def _jsonl(file: Path) -> tuple[list[str], _Rows]:
    """One JSON object a line, as the hub's ``metadata.jsonl``; what is no plain value is ``""``."""
    header: dict[str, None] = {}
    objects: list[tuple[int, dict[str, str]]] = []
    try:
        for number, line in enumerate(text_of(file).split("\n"), start=1):
            if not line.strip():
                continue
            found = json.loads(line)
            if not isinstance(found, dict):
                raise PhotosError(f"{file}, line {number}: expected an object; fix this line")
            cells = {str(name).strip().lower(): "" if isinstance(value, dict | list | None)
                     else str(value).strip() for name, value in found.items()}  # fmt: skip
            header.update(dict.fromkeys(cells))
            objects.append((number, cells))
    except (ValueError, RecursionError) as err:
        raise PhotosError(f"{file} is not one JSON object a line: {err}; export it again") from err
    return list(header), [(n, [cells.get(name, "") for name in header]) for n, cells in objects]


_READERS = {".parquet": _parquet, ".jsonl": _jsonl, ".ndjson": _jsonl}
