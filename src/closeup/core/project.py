"""The project folder: the only module that writes into one.

A file is written under another name and renamed, so a reader sees the old one or the new one, never
half of one. The key of a stage is the hash of its inputs: while it is the same, so is the table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from closeup.core.config import CONFIG_FILE, RunConfig, resolve, to_toml
from closeup.core.errors import ProjectError, UsageError
from closeup.core.lock import HALF_FILE, LOCK_FILE, only_writer, sweep
from closeup.core.tables import Table, encode_table, read_table
from closeup.core.types import values_of

__all__ = ["Project", "Table", "file_hash", "key_of", "write_atomically", "write_together"]

SCORES_FILE = "scores.json"
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends

R = TypeVar("R")


def key_of(stage: str, version: int, *parts: object) -> str:
    """The hash of a stage's inputs: its name, its version, and any parts that JSON can hold.

    Dataclass rows, tuples, enums and paths count by value; the order of a mapping's keys does not
    matter.

    >>> key_of("crop", 1, {"a": 1, "b": 2}) == key_of("crop", 1, {"b": 2, "a": 1})
    True
    """
    text = json.dumps([stage, version, *parts], sort_keys=True, default=_plain, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return values_of(value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be part of a stage key")


def file_hash(file: Path | IO[bytes]) -> str:
    """SHA-256 of a file's bytes, or of the rest of an open one's, as 64 hex digits."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return file_hash(stream)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def write_atomically(
    file: Path, data: bytes | Iterable[bytes | memoryview] | Path, *, durable: bool = True
) -> None:
    """Replace `file` by `data`, whole or in parts, in one step, safe against a kill at any moment.

    A path stands for a file that is only ever replaced as a whole: it is linked where the file
    system can do that, otherwise copied.

    If `durable`, it returns when the bytes are on the disk, to survive a power cut.

    Raises
    ------
    ProjectError
        Where the folder cannot be written to (full, read-only); the message names the file.
    """
    with cannot_write(file), _written_beside(file, data, durable) as temporary:
        temporary.replace(file)


def write_together(files: Mapping[Path, bytes | Path], card: Path, about: bytes) -> None:
    """Replace `files` and the `card` that names them, all of them or none.

    Contents that are a path are linked or copied, as by :func:`write_atomically`.

    Everything is first written under other names, so a full disk leaves the old files as they were.
    Then all are renamed. A process that is killed at that moment leaves no card, never one that
    names files other than those next to it. Raises what :func:`write_atomically` does.
    """
    with contextlib.ExitStack() as stack:
        ready = []
        for file, data in (*files.items(), (card, about)):
            stack.enter_context(cannot_write(file))
            ready.append((stack.enter_context(_written_beside(file, data, True)), file))
        card.unlink(missing_ok=True)
        for temporary, file in ready:
            with cannot_write(file):
                temporary.replace(file)


@contextlib.contextmanager
def _written_beside(
    file: Path, data: bytes | Iterable[bytes | memoryview] | Path, durable: bool
) -> Iterator[Path]:
    """`data` in a file next to `file`, to be renamed in the block; otherwise removed after it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, Path):
        link = file.parent / f"{HALF_FILE}{secrets.token_hex(8)}"
        try:
            os.link(data, link)
        except OSError:  # another disk, or one without links
            data = data.read_bytes()
        else:
            try:
                yield link
            finally:
                with contextlib.suppress(OSError):
                    link.unlink(missing_ok=True)
            return
    temporary = file.parent / f"{HALF_FILE}{secrets.token_hex(8)}"
    # Unlike tempfile's, with the rights that the user's umask gives to new files.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(file.stat().st_mode))
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def cannot_write(file: Path) -> Iterator[None]:
    """Raise ProjectError, naming `file`, where the block raises OSError."""
    try:
        yield
    except OSError as err:
        raise ProjectError(
            f"cannot write {file}: {err.strerror or err}; free up space or fix the permissions, "
            "then run again"
        ) from err


def place_in(folder: Path, name: str) -> Path:
    """As :meth:`Project.place`, given only the project's folder."""
    file = folder / name
    if "\0" in name or not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder)):
        raise ProjectError(
            f"{file} leads outside the project; remove the link or the table that names it"
        )
    return file


class Project:
    """A project folder, created by the first write if there is none yet.

    Raises
    ------
    ProjectError
        Where `folder` is a file, or a folder that holds something but is not a project: the user's
        files are never mixed with ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise ProjectError(f"{folder} is a file; --out takes a folder")
        # What a process that was killed has left is ours, too.
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        foreign = {name for name in names - {LOCK_FILE} if not name.startswith(HALF_FILE)}
        if foreign and not self.config_file.exists():
            around = folder.resolve().parent
            what = "name the folder that `closeup run --out` made, or for --out a new one"
            if (around / CONFIG_FILE).exists():  # the model in a project, say
                what = f"did you mean {around}?"
            raise ProjectError(
                f"{folder} holds files but no {CONFIG_FILE}, so it is not a Closeup project; {what}"
            )

    def place(self, name: str) -> Path:
        """The path of the file `name` of the project, whether it exists or not.

        Raises
        ------
        ProjectError
            Where that is outside the folder: by the name itself, or through a link. A project may
            come from a stranger, so nothing outside it is ever written, removed or trusted.
        """
        return place_in(self.folder, name)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the :func:`only_writer` until the block ends; leftovers of killed ones are removed."""
        with only_writer(self.folder):
            sweep(self.folder)
            yield

    @property
    def config_file(self) -> Path:
        """The path of the resolved configuration."""
        return self.place(CONFIG_FILE)

    def write_config(self, config: RunConfig) -> None:
        """Write ``closeup.toml`` unless it is the same already."""
        text = to_toml(config).encode()
        if not self.config_file.exists() or self.config_file.read_bytes() != text:
            write_atomically(self.config_file, text)

    def config(self) -> RunConfig:
        """The configuration of the last run.

        Raises
        ------
        ProjectError
            Where there is none (the folder is not a project) or it cannot be used.
        """
        if not self.config_file.exists():
            raise ProjectError(
                f"{self.folder} is not a Closeup project (no {CONFIG_FILE}); "
                "create one with `closeup run PHOTOS --out FOLDER`"
            )
        try:
            return resolve({}, self.config_file)
        except UsageError as err:
            raise ProjectError(f"{self.config_file}: {err}") from err

    def read(self, name: str, row: type[R]) -> Table[R] | None:
        """The table `name` as :func:`read_table` gives it, or None where there is none."""
        file = self.place(f"{name}.parquet")
        return read_table(file, row) if file.exists() else None

    def write(
        self, name: str, row: type[R], rows: Sequence[R], key: str, meta: Mapping[str, Any] = {}
    ) -> Table[R]:
        """Write `rows` as the table `name`, replacing the old one in one step."""
        self.write_bytes(f"{name}.parquet", encode_table(row, rows, key, meta))
        return Table(tuple(rows), key, dict(meta))

    def stage(
        self,
        name: str,
        row: type[R],
        key: str,
        compute: Callable[[Table[R] | None], Iterable[R]],
        fits: Callable[[Sequence[R]], bool] = lambda _: True,
    ) -> Table[R]:
        """The table of a stage: read if its key is `key`, otherwise computed and written.

        `compute` gets the old table (or None) and may reuse its rows. `fits` checks them where they
        refer to other tables: even a table with the right key may come from a stranger. One that
        does not fit is computed again.
        """
        old = self.read(name, row)
        if old is not None and old.key == key and fits(old.rows):
            return old
        return self.write(name, row, list(compute(old)), key)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The JSON object in the file `name`, or None where there is none or it is damaged."""
        try:
            value = json.loads(self.place(name).read_text(encoding="utf8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object in one step."""
        self.write_bytes(name, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def write_bytes(
        self, name: str, data: bytes | Iterable[bytes | memoryview], *, durable: bool = True
    ) -> Path:
        """:func:`write_atomically` to the :meth:`place` of a name; returns its path."""
        file = self.place(name)
        write_atomically(file, data, durable=durable)
        return file

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that an earlier run wrote below the project, if they still exist.

        Folders left empty are removed too: in an ImageFolder each stands for a label.
        """
        for name in names:
            file = self.place(name)
            file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or already gone
                for folder in file.relative_to(self.folder).parents[:-1]:
                    (self.folder / folder).rmdir()

    def remove_folder(self, name: str) -> None:
        """Remove one of our folders below the project with everything in it, if it exists."""
        shutil.rmtree(self.place(name), ignore_errors=True)
