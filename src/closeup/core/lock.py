"""One writer at a time, and nothing left behind by processes that were killed.

The locks are the operating system's own, by `filelock`: whatever ends a process, even a power cut,
frees them, so none ever has to be removed by hand. On a file system without locks (some network
shares) nothing is locked.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.errors import ProjectError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_FILE = ".closeup-lock"
HALF_FILE = ".writing-"
HALF_FOLDERS = (".making-", ".new-")
"""Prefixes of half-written files and folders, which are renamed once they are complete."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Let nobody else write into `folder` until the block ends; it is created if need be.

    Where nothing may be written at all, nothing is locked: the attempt to write will say so. A
    folder that was created for the lock and is still empty at the end is removed again. Raises a
    ProjectError that names the process or thread that is writing there.
    """
    fresh = [path for path in (folder, *folder.parents) if not path.exists()]
    file = folder / LOCK_FILE
    lock = _taken(file)
    try:
        yield
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):  # Windows removes it as it is released
                file.unlink()  # not later, when it may be the next writer's
            lock.release()
            for path in fresh:
                with contextlib.suppress(OSError):
                    path.rmdir()


def _file_lock(file: Path, on_acquired: Callable[[int], None] | None = None) -> BaseFileLock:
    """A lock that is tried once, whose holder may be another thread of this process."""
    from filelock import FileLock

    return FileLock(
        file, blocking=False, thread_local=False, fallback_to_soft=False, on_acquired=on_acquired
    )


def _taken(file: Path) -> BaseFileLock | None:
    """The lock of `file`, held; None where there are no locks to be had."""
    from filelock import Timeout

    while True:
        lock = _file_lock(file, _sign)
        try:
            lock.acquire()  # creates the folder, too
            return lock
        except Timeout:
            # Where it is gone, its holder ended just now.
            if file.exists():
                raise ProjectError(_held(file)) from None
        except OSError as err:
            if err.errno in _NO_LOCKS | _NO_RIGHTS:
                return None
            raise ProjectError(
                f"cannot write {file}: {err.strerror or err}; free up space or fix the "
                "permissions, then run again"
            ) from err


def _sign(handle: int) -> None:
    """Write into the lock file who holds it; a full disk is no reason to stop here."""
    about = {
        "process": os.getpid(), "host": socket.gethostname(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }  # fmt: skip
    with contextlib.suppress(OSError):  # the space: Windows locks the first byte against reading
        os.ftruncate(handle, os.write(handle, f" {json.dumps(about)}".encode()))


def _held(file: Path) -> str:
    about: Any = None
    # It may not be signed yet.
    with contextlib.suppress(OSError, ValueError), file.open("rb", buffering=0) as stream:
        stream.seek(1)
        about = json.loads(stream.read())
    who = "another process is writing to it"
    if isinstance(about, dict):
        who = "process {process} on {host} ({command}) has been writing to it since {since}".format(
            **{key: about.get(key, "?") for key in ("process", "host", "command", "since")}
        )
    return f"{file.parent} is in use: {who}; wait until it has finished, or use another folder"


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Remove what killed processes left half-written in `folder`, and below it if `deep`.

    Only for the holder of its lock: files that a running process is writing look no different.
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
    """A folder to build something in, named by one of HALF_FOLDERS; removed when the block ends.

    A lock file in it lets :func:`sweep_dead` tell it from one whose process was killed.
    """
    from filelock import Timeout

    parent.mkdir(parents=True, exist_ok=True)
    sweep_dead(parent)
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                stack.enter_context(_file_lock(folder / LOCK_FILE))
                break
            except (Timeout, FileNotFoundError, FileExistsError):
                continue  # somebody swept it away before it was locked
            except OSError as err:
                if err.errno not in _NO_LOCKS:
                    raise
                break
        yield folder


def sweep_dead(parent: Path) -> None:
    """Remove the work folders in `parent` whose processes have ended."""
    for prefix in HALF_FOLDERS:
        for folder in parent.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                with _file_lock(folder / LOCK_FILE):
                    shutil.rmtree(folder, ignore_errors=True)
                folder.rmdir()  # on Windows the lock file has kept it until now
