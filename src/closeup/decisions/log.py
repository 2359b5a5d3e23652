"""The log itself: a database to which rows are only ever added."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import place_in
from closeup.core.serialization import from_json
from closeup.decisions.fold import NOTHING, Current, current
from closeup.decisions.kinds import Decision, Kind, Row, checked

DECISIONS_FILE = "decisions.sqlite"
FORMAT = 1
_PATIENCE = 30.0  # seconds to wait for another process's transaction

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS decisions (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  batch INTEGER NOT NULL,
  time TEXT NOT NULL,
  who TEXT NOT NULL,
  kind TEXT NOT NULL,
  photo TEXT NOT NULL,
  crop TEXT NOT NULL,
  other TEXT NOT NULL,
  value TEXT NOT NULL CHECK (json_valid(value))
) STRICT""",
    "CREATE INDEX IF NOT EXISTS by_photo ON decisions (photo)",
    "CREATE INDEX IF NOT EXISTS by_other ON decisions (other) WHERE other <> ''",
    """CREATE TRIGGER IF NOT EXISTS kept BEFORE DELETE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions are never deleted'); END""",
    """CREATE TRIGGER IF NOT EXISTS unchanged BEFORE UPDATE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions are never changed'); END""",
    f"PRAGMA user_version = {FORMAT}",
)
"""One by one: ``executescript`` would end the transaction first."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The rows written, and the photos whose decisions were not: somebody else was quicker."""

    rows: tuple[Row, ...]
    overtaken: frozenset[str]


class Decisions:
    """The log of one project, created by the first write; safe to use from any number of threads.

    Raises
    ------
    ProjectError
        From every method: where the file is not a log of ours, is of a later format, or cannot be
        read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / DECISIONS_FILE
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._rows: list[Row] = []

    def rows(self) -> list[Row]:
        """Every row so far, including other processes', in order; none if there is no log yet."""
        with self._lock, self._told("read"):
            if not self.file.exists():
                self._shut()
                return []
            return list(self._read(self._open()))

    def append(
        self, who: str, decisions: Iterable[Decision], seen: Mapping[str, int] | None = None
    ) -> Appended:
        """Write decisions as one batch; when this returns they are on the disk.

        `seen` has for each photo the number of the last row about it that `who` knew of: decisions
        about a photo that has a newer row are not written. None: the latest decision counts.

        Raises
        ------
        UsageError
            Where one of them is invalid, or undoes a row that does not exist; none is written.
        """
        todo = [checked(decision) for decision in decisions]
        with self._lock, self._told("write"):
            db = self._open()
            with _transaction(db):
                overtaken = _overtaken(db, todo, seen or {}) if seen is not None else set()
                first = _last_number(db) + 1
                time = datetime.now(UTC).isoformat(timespec="milliseconds")
                for decision in todo:
                    if not overtaken & {decision.photo, decision.other}:
                        _insert(db, first, time, who, decision)
            new = [row for row in self._read(db) if row.batch == first]
        return Appended(tuple(new), frozenset(overtaken))

    def undo(self, who: str, numbers: Iterable[int]) -> Appended:
        """Undo the rows with these numbers; UsageError where there is no such row."""
        photos = {row.number: row.decision.photo for row in self.rows()}
        undoings = []
        for number in numbers:
            if number not in photos:
                raise UsageError(f"there is no decision {number} to undo")
            undoings.append(Decision(Kind.UNDO, photos[number], undoes=number))
        return self.append(who, undoings)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, db: sqlite3.Connection) -> list[Row]:
        """All rows; only those that are new are read."""
        last = self._rows[-1].number if self._rows else 0
        found = db.execute(
            "SELECT number, batch, time, who, kind, photo, crop, other, value FROM decisions "
            "WHERE number > ? ORDER BY number", (last,),
        )  # fmt: skip
        self._rows.extend(_row(values, self.file) for values in found)
        return self._rows

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self.file) != self._opened:
            self._shut()  # removed or replaced: writes to the old file would be lost
        if self._connection is None:
            place_in(self.file.parent, DECISIONS_FILE)  # a link could make us write elsewhere
            self.file.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(
                self.file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(db, self.file)
            except (sqlite3.Error, ProjectError):
                db.close()
                raise
            self._connection, self._opened = db, _identity(self.file)
            self._rows = []
        return self._connection

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as err:  # the last: of damaged text
            raise ProjectError(
                f"cannot {what} {self.file}: {err}; free up space or fix the permissions, or if "
                "it is damaged move it aside"
            ) from err


def read_decisions(folder: Path) -> Current:
    """The active decisions of a project, :data:`NOTHING` if there is no log."""
    with closing(Decisions(folder)) as log:
        rows = log.rows()
    return current(rows) if rows else NOTHING


def _identity(file: Path) -> tuple[int, int] | None:
    """What distinguishes a file from another one that takes its name."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _prepare(db: sqlite3.Connection, file: Path) -> None:
    db.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found > FORMAT:
        raise ProjectError(f"{file} has format {found}, this version reads {FORMAT}; upgrade")
    db.execute("PRAGMA journal_mode = WAL")
    # With WAL, anything less may lose the last commits in a power cut.
    db.execute("PRAGMA synchronous = FULL")
    if found < FORMAT:
        with _transaction(db):
            for statement in _SCHEMA:
                db.execute(statement)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    with db:  # commits, or rolls back
        # IMMEDIATE: what is read inside still holds when it is written.
        db.execute("BEGIN IMMEDIATE")
        yield


def _last_number(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(number), 0) FROM decisions").fetchone()[0])


def _overtaken(
    db: sqlite3.Connection, decisions: Sequence[Decision], seen: Mapping[str, int]
) -> set[str]:
    photos = {name for d in decisions for name in (d.photo, d.other) if name}
    newest = "SELECT coalesce(max(number), 0) FROM decisions WHERE photo = ?1 OR other = ?1"
    return {
        name for name in photos
        if int(db.execute(newest, (name,)).fetchone()[0]) > seen.get(name, 0)
    }  # fmt: skip


_VALUE = ("label", "boxes", "undoes")
"""Fields of a decision that are stored as JSON, each where it is not empty."""


def _insert(db: sqlite3.Connection, batch: int, time: str, who: str, decision: Decision) -> None:
    if decision.kind is Kind.UNDO and decision.undoes > _last_number(db):
        raise UsageError(f"there is no decision {decision.undoes} to undo")
    value = {name: part for name in _VALUE if (part := getattr(decision, name))}
    db.execute(
        "INSERT INTO decisions (batch, time, who, kind, photo, crop, other, value) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (batch, time, who, str(decision.kind), decision.photo, decision.crop, decision.other,
         json.dumps(value)),
    )  # fmt: skip


def _row(values: tuple[object, ...], file: Path) -> Row:
    number, batch, time, who, kind, photo, crop, other, text = values
    try:
        value = json.loads(str(text))
        about = {"kind": kind, "photo": photo, "crop": crop, "other": other}
        decision = from_json(Decision, {**value, **about})
        return Row(int(str(number)), int(str(batch)), str(time), str(who), checked(decision))
    except (UsageError, ValueError, TypeError, ArithmeticError, RecursionError) as err:
        raise ProjectError(
            f"{file} holds a row that is not a decision (row {number}: {err}); move it aside"
        ) from err
