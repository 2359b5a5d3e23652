"""Rights of photos: whose they are and on which terms they may be used, as tables say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from closeup.core.project import Project
from closeup.core.types import Rights

if TYPE_CHECKING:
    from closeup.photos.licences import Licence

TABLE = "rights"
NOTHING = Rights("", "", "", "", "", "", "", "", "")
"""What is known of a photo of which nothing is."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "licence": ("license", "licence_name", "license_name", "license_code", "rights"),
    "licence_url": ("license_url", "licence_uri", "license_uri", "licence_link", "license_link"),
    "creator": (
        *("author", "artist", "photographer", "creator_name", "rights_holder", "rightsholder"),
        *("copyright_holder",),
    ),
    "landing_page": (
        *("landing_url", "landing_page_url", "foreign_landing_url", "page_url", "source_url"),
        *("references",),
    ),
    "title": (),
    "attribution": ("credit", "credit_line"),
    "source": (),
}
"""What a column may be called instead, in lower case with ``_`` for spaces and hyphens."""


def of_cells(cells: Mapping[str, str]) -> Rights | None:
    """The rights in a row's cells, by lower-case name; None where it names none.

    A title or source alone says nothing of them.

    >>> of_cells({"path": "1.jpg", "license": "CC BY 4.0", "photographer": "Ada"}).creator
    'Ada'
    """
    columns = _columns(tuple(cells))
    if not columns:
        return None
    found = {name: next(filter(None, map(cells.__getitem__, mine)), "")
             for name, mine in columns.items()}  # fmt: skip
    # Half a pair of a character, which JSON can hold, could not be written to a table.
    plain = {name: text if text.isascii() else text.encode(errors="replace").decode()
             for name, text in found.items()}  # fmt: skip
    rights = replace(NOTHING, **plain)
    return rights if rights.told or rights.creator or rights.attribution else None


@lru_cache(maxsize=100)
def _columns(names: tuple[str, ...]) -> dict[str, list[str]]:
    """The columns that hold some of the rights, in the order in which they are asked."""
    plain = [re.sub(r"[\s\-]+", "_", name) for name in names]
    found = {
        name: [names[plain.index(one)] for one in (name, *others) if one in plain]
        for name, others in ALIASES.items()
    }
    return {name: columns for name, columns in found.items() if columns}


def licence_of(rights: Rights) -> Licence:
    """The licence that was given."""
    return _licence(rights.licence, rights.licence_url)


@lru_cache(maxsize=1000)
def _licence(text: str, url: str) -> Licence:
    from closeup.photos.licences import read_licence  # its patterns take a while to compile

    return read_licence(text, url)


def read_rights(project: Project) -> dict[str, Rights]:
    """The rights that a project knows of, by photo id; raises ProjectError for a damaged table."""
    table = project.read(TABLE, Rights)
    return {row.photo_id: row for row in table.rows} if table else {}
