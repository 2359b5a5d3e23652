"""iNaturalist's open data: four tab-separated files, read line by line from a folder.

`photos.csv.gz` alone has hundreds of millions of lines. What is held of it is a batch of
observations at a time, and the photos that are about to be given.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO, TypeVar

from closeup.collect.sources.found import Found, group_of
from closeup.collect.sources.inaturalist import SIZE, asked, licence_of
from closeup.core.errors import SourceError, UsageError
from closeup.core.text import first_of, visible

T = TypeVar("T")
Row = dict[str, str]

OBSERVATIONS_AT_ONCE = 200_000
PHOTOS_AT_ONCE = 1_000
_BUCKET = "https://inaturalist-open-data.s3.amazonaws.com/photos"
_LONGEST_LINE = 100_000
_COLUMNS = {
    "taxa": {"taxon_id", "ancestry", "name", "active"},
    "observations": {"observation_uuid", "taxon_id", "quality_grade"},
    "photos": {"photo_id", "observation_uuid", "observer_id", "extension", "license"}
    | {"width", "height"},
    "observers": {"observer_id", "login", "name"},
}


def find(folder: Path, words: str, codes: tuple[str, ...], count: int) -> Iterator[Found]:
    """The photos of a taxon, by its scientific name or number, and of all taxa below it.

    Raises `UsageError` where there is no such taxon, `SourceError` where a file is missing or
    damaged.
    """
    asked(codes)
    taxa = _taxa(folder, words)
    seen = (
        (row["observation_uuid"], row["taxon_id"])
        for row in _rows(folder, "observations", "taxon_id", taxa)
        if row["quality_grade"] == "research"
    )
    for batch in _batches(seen, OBSERVATIONS_AT_ONCE):
        observed = dict(batch)
        photos = (
            (row["observer_id"], _found(row, taxa[observed[row["observation_uuid"]]]))
            for row in _rows(folder, "photos", "observation_uuid", observed)
        )
        wanted = ((who, photo) for who, photo in photos if photo.licence.code in codes)
        for some in _batches(wanted, min(count, PHOTOS_AT_ONCE)):
            names = _names(folder, {who for who, _ in some})
            for who, photo in some:
                yield _credited(photo, names.get(who, ""))


def _taxa(folder: Path, words: str) -> dict[str, str]:
    """The names of a taxon and of those below it, by number."""
    at = "taxon_id" if words.isdigit() else "name"
    named = [row for row in _rows(folder, "taxa") if row[at].lower() == words.lower()]
    found = [row for row in named if row["active"].lower() in {"true", "t", "1"}] or named
    if not found:
        raise UsageError(
            f"{folder}: iNaturalist's files know no taxon '{visible(words)}'; give its scientific "
            "name, as they hold no others"
        )
    if len(found) > 1:
        numbers = first_of(row["taxon_id"] for row in found)
        raise UsageError(
            f"{len(found)} taxa are called '{visible(words)}'; give one by its number: {numbers}"
        )
    top = found[0]["taxon_id"]
    return {
        row["taxon_id"]: row["name"]
        for row in _rows(folder, "taxa")
        if top == row["taxon_id"] or top in re.split(r"[/\\]", row["ancestry"])
    }


def _names(folder: Path, observers: set[str]) -> dict[str, str]:
    """The names of observers, by number; their login where they give no name."""
    return {
        row["observer_id"]: row["name"].strip() or row["login"]
        for row in _rows(folder, "observers", "observer_id", observers)
    }


def _found(row: Row, taxon: str) -> Found:
    """One photo, by its line."""
    number = row["photo_id"]
    named = number.isdigit() and re.fullmatch(r"[a-z]{2,5}", row["extension"])
    return Found(
        url=f"{_BUCKET}/{number}/{SIZE}.{row['extension']}" if named else "",
        licence=licence_of(row["license"]),
        title=taxon,
        landing_page=f"https://www.inaturalist.org/photos/{number}" if named else "",
        group=group_of("inaturalist", row["observation_uuid"]),
        width=_pixels(row["width"]),
        height=_pixels(row["height"]),
    )


def _pixels(written: str) -> int:
    return int(written) if written.isdecimal() and len(written) < 7 else 0


def _credited(photo: Found, name: str) -> Found:
    """A photo with its creator, in the words that iNaturalist uses."""
    which = "no" if photo.licence.code == "cc0" else "some"
    line = f"(c) {name}, {which} rights reserved ({photo.licence.name}), via iNaturalist"
    return replace(photo, creator=name, attribution=line if name else "")


def _rows(folder: Path, table: str, column: str = "", wanted: Container[str] = ()) -> Iterator[Row]:
    """The lines of a table, by the names in its first line: all, or those wanted by a column."""
    path = next(
        (p for p in (folder / f"{table}.csv.gz", folder / f"{table}.csv") if p.is_file()), None
    )
    if path is None:
        raise SourceError(
            f"{folder}: {table}.csv.gz is missing; put iNaturalist's four open-data files there"
        )
    try:
        with _opened(path) as stream:
            columns = stream.readline(_LONGEST_LINE).rstrip("\r\n").split("\t")
            if missing := _COLUMNS[table].difference(columns):
                raise SourceError(f"{path}: expected the columns {first_of(missing)}")
            at = columns.index(column) if column else 0
            while line := stream.readline(_LONGEST_LINE):
                fields = line.rstrip("\r\n").split("\t")
                if len(fields) == len(columns) and (not column or fields[at] in wanted):
                    yield dict(zip(columns, fields, strict=True))
    except (OSError, EOFError, zlib.error) as err:
        raise SourceError(
            f"{path}: the file is damaged or cut off ({err}); fetch it again"
        ) from err


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="\n")
    return path.open(encoding="utf-8", errors="replace", newline="\n")


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter; nothing is taken before it is asked for."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
