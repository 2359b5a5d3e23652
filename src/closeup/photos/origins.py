"""What ``closeup collect`` kept of the photos that it fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from closeup.core.project import file_hash
from closeup.core.types import Rights
from closeup.photos.rights import licence_of
from closeup.photos.tables import read_columns

COLLECTED_FILE = "collected.parquet"
"""The table that lies beside collected photos, with a row for each address."""

R = TypeVar("R", bound=Any)
_COLUMNS = frozenset({"url", "path", "sha256", "bytes", "status"})
_KEPT = ("path", "sha256", "bytes", "group")
_RIGHTS = tuple(one.name for one in fields(Rights)[1:])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one photo was collected: its rights, and its group, ``""`` for none."""

    rights: Rights
    group: str


@dataclass(slots=True)
class Origins:
    """What is known of collected photos, by their files and by their content.

    `files` are the tables that say it.
    """

    files: list[Path] = field(default_factory=list)
    _of_file: dict[Path, Origin] = field(default_factory=dict)
    _of_hash: dict[str, Origin] = field(default_factory=dict)
    _sizes: set[int] = field(default_factory=set)

    @classmethod
    def beside(cls, files: Iterable[Path]) -> Origins:
        """What the tables of collected photos among `files` say.

        One that only has the name is left alone; raises PhotosError where one cannot be read.
        """
        found = cls()
        for file in files:
            if file.name == COLLECTED_FILE and file.is_file():
                found._add(file)
        return found

    def completed(self, entry: R) -> R:
        """A photo's entry with its rights and its group, where it has none of its own."""
        origin = self.of(entry.file) if self.files else None
        if origin is None:
            return entry
        group, rights = entry.group or origin.group, entry.rights or origin.rights
        return replace(entry, group=group, rights=rights)

    def of(self, photo: Path) -> Origin | None:
        """What is known of a photo, also where it was moved or renamed since."""
        found = self._of_file.get(photo)
        if found is not None or not self._of_hash:
            return found
        try:
            # Only what has the size of a collected photo can be one.
            same_size = photo.stat().st_size in self._sizes
            return self._of_hash.get(file_hash(photo)) if same_size else None
        except (OSError, ValueError):  # its row will say so
            return None

    def _add(self, file: Path) -> None:
        names, cells = read_columns(file)
        columns = dict(zip(names, cells, strict=True))
        if not columns.keys() >= _COLUMNS:
            return
        self.files.append(file)
        empty = [""] * len(cells[0])
        told = (columns.get(name, empty) for name in (*_KEPT, *_RIGHTS))
        several: dict[tuple[str, str], list[Origin]] = {}
        for path, sha256, size, group, *rights in zip(*told, strict=True):
            if path and sha256:
                origin = Origin(Rights("", *rights), group)
                several.setdefault((path, sha256), []).append(origin)
                if re.fullmatch("[0-9]{1,15}", size):
                    self._sizes.add(int(size))
        for (path, sha256), mine in several.items():
            origin = mine[0] if len(mine) == 1 else _joined(mine)
            self._of_file[file.parent / path] = self._of_hash[sha256] = origin
        self._sizes.discard(0)  # a pipe has no size, and reading it would wait forever


def _joined(several: list[Origin]) -> Origin:
    """What several addresses of one photo say of it; where their licences differ, it is unknown."""
    given = [one.rights for one in several if one.rights.licence or one.rights.licence_url]
    rights = given[0] if given else several[0].rights
    if len({licence_of(one).code for one in given}) > 1:
        written = dict.fromkeys(one.licence or one.licence_url for one in given)
        rights = replace(rights, licence=" or ".join(written), licence_url="")
    return Origin(rights, next((one.group for one in several if one.group), ""))
