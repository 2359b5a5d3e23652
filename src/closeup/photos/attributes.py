"""Attributes of photos: further things to tell apart, each independent of the label.

A photo's attributes are kept as one text, a JSON object with sorted names; ``""`` for none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from closeup.core.errors import PhotosError
from closeup.photos.labels import one_spelling

COLUMN = "attributes"
"""The column that holds ``strap=leather; dial=blue``."""

TAKEN = frozenset(
    {"path", "group", "split", "photo", "found", "x1", "y1", "x2", "y2", "parent", "parent_score",
     "label", "confidence", "reason", "error_code", "error_message", "source", "id", COLUMN}
)  # fmt: skip
"""What no attribute can be called: columns of Closeup's own tables have these names."""

R = TypeVar("R", bound=Any)


def to_text(values: Mapping[str, str]) -> str:
    """The attributes of a photo as they are kept; those without a value are left out.

    >>> to_text({"strap": "leather", "dial": ""})
    '{"strap": "leather"}'
    """
    known = {name: value for name, value in sorted(values.items()) if value}
    return json.dumps(known, ensure_ascii=False) if known else ""


def of_text(text: str) -> dict[str, str]:
    """The attributes that :func:`to_text` gave; none where it did not give the text."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}


def of_cell(cell: str) -> dict[str, str] | None:
    """The attributes in a cell, by name in lower case; None where it holds something else.

    >>> of_cell("Strap=leather; dial = blue")
    {'strap': 'leather', 'dial': 'blue'}
    >>> of_cell("a nice watch") is None
    True
    """
    found: dict[str, str] = {}
    for part in filter(str.strip, cell.split(";")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals) or name.lower() in found:
            return None
        found[name.lower()] = value
    return found


def check_names(names: Iterable[str], where: str) -> None:
    """Raise PhotosError where an attribute cannot be called so."""
    for name in names:
        if name in TAKEN or name.endswith("_confidence"):
            raise PhotosError(
                f"{where}: no attribute can be called {name}, as columns of Closeup's tables are; "
                "rename the column"
            )


def attributes_of(
    file: Path, cells: Sequence[Mapping[str, str]], wanted: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The attributes of each row of a table as they are kept, and notes on them.

    - `cells`: of each row, by column
    - `wanted`: their names in lower case; empty for all in the column :data:`COLUMN`

    Raises PhotosError where an attribute cannot be called so.
    """
    check_names(wanted, str(file))
    parsed = [of_cell(row.get(COLUMN, "")) for row in cells]
    odd = sum(found is None for found in parsed)
    if odd and not wanted:
        note = (f"the column {COLUMN} is not used: {odd} of its cells are not written as "
                "name=value; name=value")  # fmt: skip
        return [""] * len(cells), [note]
    found = []
    for row, mine in zip(cells, parsed, strict=True):
        every = {**(mine or {}), **{name: row[name] for name in wanted if name in row}}
        found.append({name: value for name, value in every.items() if not wanted or name in wanted})
    check_names(sorted({name for mine in found for name in mine}), f"{file}, column {COLUMN}")
    return [to_text(mine) for mine in found], []


def settled(rows: Sequence[R], wanted: Sequence[str], source: str) -> list[R]:
    """Rows with `attributes` as they are kept, of which values that look alike are one.

    Raises PhotosError where no row has a value of one that is `wanted`; `source` is for messages.
    """
    known = [of_text(row.attributes) for row in rows]
    names = {name for mine in known for name in mine}
    missing = [name for name in wanted if name.lower() not in names]
    if missing:
        raise PhotosError(
            f"{source} gives no photo a value of {', '.join(missing)}; --attributes names columns "
            "of a table of photos"
        )
    spelling = {name: one_spelling(mine.get(name, "") for mine in known) for name in names}
    return [
        replace(row, attributes=to_text({name: spelling[name].get(value, "")
                                         for name, value in mine.items()}))
        if mine else row
        for row, mine in zip(rows, known, strict=True)
    ]  # fmt: skip
