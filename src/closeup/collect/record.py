"""What became of each address: the table `collected.parquet`, and the log of a run beside it.

The table is written when a run ends and when the next one starts. In between, each outcome is a
line of the log, written at once, so that a killed run loses nothing and nothing is rewritten.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from closeup.core.errors import ProjectError
from closeup.core.project import cannot_write, write_atomically
from closeup.core.serialization import from_json, to_json
from closeup.core.tables import encode_table, read_table
from closeup.photos.origins import COLLECTED_FILE

LOG_FILE = ".collecting.jsonl"
_BINARY = getattr(os, "O_BINARY", 0)


class Status(StrEnum):
    """What became of an address."""

    SAVED = "saved"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Collected:
    """One address of a list: what the list says of it, and what became of it.

    - `final_url`: the address after redirects; `http_status`: its answer, None where there was none
    - `reason`: why it is no saved photo, as one sentence
    - `robots`: what robots.txt says: ``allowed``, ``absent``, ``disallowed``, ``unreachable`` or
      ``ignored``; ``""`` where it was not asked
    - `time`: of the last attempt, UTC as ISO 8601
    - `sha256`, `bytes`, `type`, `width`, `height`: of what was fetched; width and height in pixels
      of the upright photo
    - `path`: the file, relative to the folder; a duplicate has that of the photo it repeats
    - `attempts`: how often it was asked for, in all runs
    """

    url: str
    label: str
    group: str
    licence: str
    licence_url: str
    creator: str
    landing_page: str
    title: str
    attribution: str
    source: str
    final_url: str
    status: Status
    http_status: int | None
    reason: str
    robots: str
    time: str
    sha256: str
    bytes: int
    type: str
    width: int
    height: int
    path: str
    attempts: int

    @property
    def key(self) -> tuple[str, str]:
        """What makes it a row of its own: an address under a label."""
        return self.url, self.label


def read_collected(folder: Path) -> tuple[Collected, ...]:
    """The rows of a folder's `collected.parquet`; none where there is no such file.

    Raises
    ------
    ProjectError
        Where the file is damaged, or not one that ``closeup collect`` wrote.
    """
    file = folder / COLLECTED_FILE
    if not file.exists():
        return ()
    try:
        return read_table(file, Collected).rows
    except ProjectError as err:
        # Not the advice to delete it: it holds the rights of every photo.
        detail = str(err).rpartition(";")[0] or str(err)
        raise ProjectError(
            f"{detail}; it records where the photos come from, so restore it from a copy, or give "
            "--out another folder"
        ) from err


def write_collected(folder: Path, rows: list[Collected]) -> None:
    """Replace a folder's `collected.parquet` in one step."""
    write_atomically(folder / COLLECTED_FILE, encode_table(Collected, rows, "", {}))


class Log:
    """Outcomes of a run, one JSON object a line, each written at once."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / LOG_FILE
        self._handle = -1

    def read(self) -> list[Collected]:
        """What an earlier run left; a line that a kill or power cut has torn is left out."""
        rows = []
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                rows.append(from_json(Collected, json.loads(line)))
            except (ValueError, RecursionError):
                continue
        return rows

    def add(self, rows: list[Collected]) -> None:
        """Append rows; a kill loses none of them, a power cut those since :meth:`sync`."""
        data = "".join(json.dumps(to_json(row)) + "\n" for row in rows).encode()
        with cannot_write(self.file):
            if self._handle < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY
                self._handle = os.open(self.file, flags, 0o666)
            while data:
                data = data[os.write(self._handle, data) :]

    def sync(self) -> None:
        """Make what was added survive a power cut."""
        if self._handle >= 0:
            with cannot_write(self.file):
                os.fsync(self._handle)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def remove(self) -> None:
        """Remove the log, once the table holds what it does."""
        self.close()
        with cannot_write(self.file):
            self.file.unlink(missing_ok=True)
