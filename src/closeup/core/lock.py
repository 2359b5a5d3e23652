"""One writer at a time, and nothing left behind by those that were killed.

Locks are advisory ones of the system (``flock``): whatever ends a process, a reboot too, frees
them, so none has ever to be removed by hand. Where the system or the file system knows none
(Windows, some network shares) nothing is locked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from closeup.core.errors import ProjectError

LOCK_FILE = ".closeup-lock"
HALF_FILE = ".writing-"
HALF_FOLDERS = (".making-", ".new-")
"""What half-written files and folders are called, until they are renamed."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Let nobody else write into `folder` until the block ends; it is made if need be.

    Where nothing may be written there at all, nothing is locked: whoever tries is told so then. A
    folder that was made for the lock and stayed empty is removed again.

    Raises
    ------
    ProjectError
        Where another process, or another thread of this one, is writing there: it is named.
    """
    fresh = [path for path in (folder, *folder.parents) if not path.exists()]
    handle = _taken(folder / LOCK_FILE)
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                (folder / LOCK_FILE).unlink()
            os.close(handle)
            for path in fresh:
                with contextlib.suppress(OSError):
                    path.rmdir()


def _taken(file: Path) -> int | None:
    """The open and locked lock file; None where there are no locks to be had."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Never through a link, which may lead to a file of somebody else's.
            how = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            handle = os.open(file, how | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError as err:
            if err.errno in _NO_RIGHTS:
                return None
            raise ProjectError(
                f"cannot write {file}: {err.strerror or err}; free the space or rights it needs "
                "and run again"
            ) from err
        try:
            if not _lock(handle):
                os.close(handle)
                return None
        except BlockingIOError:
            os.close(handle)
            raise ProjectError(_held(file)) from None
        # Whoever held it before may have removed the file between opening and locking it.
        if _is(handle, file):
            _sign(handle)
            return handle
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file or folder; False where the system cannot.

    Raises
    ------
    BlockingIOError
        Where somebody else holds it.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as err:
        if err.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is(handle: int, path: Path) -> bool:
    """Whether an open file or folder is still what lies at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _sign(handle: int) -> None:
    """Say in the lock file who holds it; a full disk is no reason to stop here."""
    about = {
        "process": os.getpid(), "host": socket.gethostname(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }  # fmt: skip
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(about).encode(), 0)


def _held(file: Path) -> str:
    about: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # it may not have signed yet
        read = json.loads(file.read_text(encoding="utf8"))
        about = read if isinstance(read, dict) else {}
    who = "another process"
    if about:
        who = "process {process} on {host} ({command}), since {since}".format_map(
            {key: about.get(key, "?") for key in ("process", "host", "command", "since")}
        )
    return f"{file.parent} is being written by {who}; wait until it ends, or give another folder"


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Remove what killed processes left half-written in `folder`, and below it if `deep`.

    Only for who holds its lock: what a living process is writing looks no different.
    """
    for base, folders, files in os.walk(folder):
        for name in files:
            if name.startswith(HALF_FILE):
                with contextlib.suppress(OSError):
                    (Path(base) / name).unlink()
        for name in [name for name in folders if name.startswith(HALF_FOLDERS)]:
            folders.remove(name)
            shutil.rmtree(Path(base) / name, ignore_errors=True)
        if not deep:
            return


@contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder of one's own in `parent` to make something in, gone when the block ends.

    It is locked, so that :func:`sweep_dead` can tell it from one whose process was killed. `prefix`
    is one of :data:`HALF_FOLDERS`.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep_dead(parent)
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            if sys.platform == "win32":
                break
            # Between making and locking it, somebody may have swept it away.
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, handle)
                _lock(handle)
                if _is(handle, folder):
                    break
        yield folder


def sweep_dead(parent: Path) -> None:
    """Remove the work folders in `parent` whose processes are gone."""
    if sys.platform == "win32" or not parent.is_dir():
        return
    for prefix in HALF_FOLDERS:
        for folder in parent.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if _lock(handle):
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(handle)
