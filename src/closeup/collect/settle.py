"""Which photo is kept for which address: decided by the order of the list alone.

Photos arrive in any order, and a run may be killed at any moment. So what a run has saved is only
sorted out afterwards: of several addresses with the same photo, the first in the list has it, in
the folder of its label, and the others are duplicates. The end is the same whichever came first.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields, replace
from operator import attrgetter
from pathlib import Path, PurePosixPath

from closeup.collect.address import Address
from closeup.collect.record import Collected, Status
from closeup.core.project import cannot_write, file_hash, place_in
from closeup.core.text import folder_name, visible
from closeup.photos.kinds import is_system_folder
from closeup.photos.labels import plain


class Folders:
    """The folder of each label: labels that look alike share that of the first."""

    def __init__(self, rows: Iterable[Collected] = ()) -> None:
        self._of: dict[str, str] = {}
        self._names: dict[str, str] = {}
        pairs = {(row.label, row.path.partition("/")[0]): None for row in rows
                 if row.status is Status.SAVED}  # fmt: skip
        for label, name in pairs:
            if plain(name) == plain(safe_name(label)):
                self._names.setdefault(plain(label), name)

    def of(self, label: str) -> str:
        """The name of a label's folder, safe on every file system."""
        if label not in self._of:
            self._of[label] = self._names.setdefault(plain(label), safe_name(label))
        return self._of[label]


_OURS = (".parquet", ".toml", ".jsonl")
"""How files end that lie beside the labels' folders, or make a folder a project."""


def safe_name(label: str) -> str:
    """A label as a folder's name that nothing takes for something else.

    >>> safe_name("omega"), safe_name("../x"), safe_name("__pycache__")
    ('omega', '%2E.%2Fx', '%5F_pycache__')
    """
    name = folder_name(unicodedata.normalize("NFC", label))
    taken = is_system_folder(name) or name.lower().endswith(_OURS)
    return f"%{ord(name[0]):02X}{name[1:]}" if taken else name


_stated = attrgetter(*(field.name for field in fields(Address)))


def arranged(known: Iterable[Collected], addresses: Sequence[Address]) -> list[Collected]:
    """What is known, in the order of the list, with the rights and groups that it now states.

    Rows of other lists stay before or after them, so that two lists that are run in turn do not
    take a photo from each other. Where the list gives an address another label than before, the old
    row is left out, as the list says what the address shows.
    """
    by_key = {row.key: row for row in known}
    by_url: dict[str, Collected] = {}
    for row in by_key.values():
        if not by_url.get(row.url) or not by_url[row.url].sha256:
            by_url[row.url] = row
    listed = {address.url for address in addresses}
    old = list(by_key.values())
    start = next((place for place, row in enumerate(old) if row.url in listed), len(old))
    rows = old[:start]
    for address in addresses:
        found = by_key.get(address.key) or by_url.get(address.url)
        if found:
            same = _stated(found) == _stated(address)
            rows.append(found if same else replace(found, **asdict(address)))
    return rows + [row for row in old[start:] if row.url not in listed]


def settle(folder: Path, rows: Sequence[Collected], unsure: Collection[str]) -> list[Collected]:
    """The rows with their final status and path; photos are moved to the label of the first.

    `unsure` are the hashes of photos that may not be on the disk, because their run was killed:
    where they are not, their rows are left out, to be fetched again. Any other photo that is gone
    was deleted by somebody, and stays so.
    """
    folders = Folders(rows)
    alike: dict[str, list[Collected]] = {}
    for row in rows:
        if row.sha256:
            alike.setdefault(row.sha256, []).append(row)
    places = {sha: _place(folder, mine, folders) for sha, mine in alike.items()}
    settled = []
    for row in rows:
        if not row.sha256:
            settled.append(row)
        elif places[row.sha256] or row.sha256 not in unsure:
            first = alike[row.sha256][0]
            path = places[row.sha256] or first.path
            settled.append(_told(replace(row, path=path), first))
    return settled


def _told(row: Collected, first: Collected) -> Collected:
    """A row whose photo is that of `first`, with what this makes of it."""
    if row.key == first.key:
        return replace(row, status=Status.SAVED, reason="")
    reason = f"the same photo as {visible(first.url)}"
    if plain(row.label) != plain(first.label):
        reason += f", which is labelled {visible(first.label)!r} and comes first in the list"
    return replace(row, status=Status.DUPLICATE, reason=reason)


def _place(folder: Path, mine: Sequence[Collected], folders: Folders) -> str:
    """Where a photo lies, after it was moved to its label's folder; ``""`` where it is gone."""
    first = mine[0]
    wanted = f"{folders.of(first.label)}/{PurePosixPath(first.path).name}"
    for path in dict.fromkeys([wanted, *(row.path for row in mine)]):
        file = place_in(folder, path)
        # Of a name that is too long, Path.is_file() raises OSError.
        if not os.path.isfile(file) or file.stat().st_size != first.bytes:  # noqa: PTH113
            continue
        if path == wanted:
            return wanted
        target = place_in(folder, wanted)
        theirs = target.exists() or target.parent.is_file() or file_hash(file) != first.sha256
        if theirs:  # left alone
            return path
        with cannot_write(target):
            target.parent.mkdir(exist_ok=True)
            file.rename(target)
        with contextlib.suppress(OSError):  # not empty
            file.parent.rmdir()
        return wanted
    return ""
