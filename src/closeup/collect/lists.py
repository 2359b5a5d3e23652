"""Lists of addresses: CSV, TSV, Parquet and JSON lines with a column url, or plain text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from closeup.collect.address import Address, unique
from closeup.core.errors import PhotosError
from closeup.photos.tables import is_web_address, read_table, text_of

_TABLES = frozenset({".csv", ".tsv", ".parquet", ".jsonl", ".ndjson"})
_OPTIONAL = tuple(field.name for field in fields(Address) if field.name not in ("url", "label"))


def read_addresses(file: Path, label: str = "") -> list[Address]:
    """The addresses of a list, in its order, each label of an address once.

    A table has the columns ``url,label[,group,licence,licence_url,creator,landing_page,title,
    attribution,source]``, by these or other usual names. A text file has an address a line, with
    its label after a space; empty lines and those that begin with ``#`` are skipped.

    - `label`: of the addresses for which the list gives none

    Raises
    ------
    PhotosError
        Where the file cannot be read or understood, or an address has no label; it says which.
    """
    if file.is_dir():
        raise PhotosError(f"{file} is a folder; give a list of web addresses")
    rows = _table(file, label) if _is_table(file) else _text(file)
    if not rows:
        raise PhotosError(f"{file} holds no address; list one per line")
    found = []
    for line, cells in rows:
        url, mine = cells["url"], cells.get("label") or label
        if not url:
            raise PhotosError(f"{file}, line {line}: the address is empty; fix or delete the line")
        if not mine:
            raise PhotosError(
                f"{file}, line {line}: {url} has no label; fill it in, or give --label LABEL for "
                "all that have none"
            )
        more = {name: cells[name] for name in _OPTIONAL if cells.get(name)}
        found.append(Address(url, mine, **more))
    return unique(found)


def _is_table(file: Path) -> bool:
    """By its suffix; a text file is one where its first line names columns."""
    if file.suffix.lower() in _TABLES:
        return True
    lines = _numbered(file)
    return bool(lines) and not is_web_address(lines[0][1])


def _numbered(file: Path) -> list[tuple[int, str]]:
    """The lines of a text file that say something."""
    try:
        text = text_of(file)
    except OSError as err:
        raise PhotosError(f"{file} cannot be read: {err.strerror}; check the path, or search for "
                          "words with --from") from err  # fmt: skip
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _text(file: Path) -> list[tuple[int, Mapping[str, str]]]:
    rows: list[tuple[int, Mapping[str, str]]] = []
    for number, line in _numbered(file):
        url, *rest = line.split(maxsplit=1)
        if not is_web_address(url):
            raise PhotosError(f"{file}, line {number}: expected a web address, and its label after "
                              "a space")  # fmt: skip
        rows.append((number, {"url": url, "label": rest[0].strip() if rest else ""}))
    return rows


def _table(file: Path, label: str) -> list[tuple[int, Mapping[str, str]]]:
    required = ("url",) if label else ("url", "label")
    try:
        rows = read_table(file, required, ("label", *_OPTIONAL))
    except PhotosError as err:
        if not label and "lacks the column label" in str(err):
            raise PhotosError(f"{err}; or give --label LABEL for all (a caption is no "
                              "label)") from err  # fmt: skip
        raise
    return [(row.line, row.cells) for row in rows]
