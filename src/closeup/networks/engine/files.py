"""Where this machine keeps caches, and what is remembered of files while they stay the same."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from closeup.core.project import file_hash as hash_file

CACHE_VARIABLE = "CLOSEUP_CACHE"


def cache_folder() -> Path:
    """Where networks and compiled graphs are kept: ``CLOSEUP_CACHE``, else the user's cache."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    from platformdirs import PlatformDirs

    return PlatformDirs("closeup", appauthor=False, opinion=False).user_cache_path


T = TypeVar("T")

_MOST = 64
_SETTLED = 2_000_000_000
"""Nanoseconds: a file that changed since then may change once more without its times showing it."""


def while_unchanged(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """`read`, called again only where the file's size, times or place on the disk differ.

    Errors are not remembered, nor what it returns for a file that has just been written.
    """

    @functools.lru_cache(_MOST)
    def remembered(file: Path, *_: int) -> T:
        return read(file)

    @functools.wraps(read)
    def reading(file: Path) -> T:
        try:
            status = file.stat()
        except OSError:
            return read(file)  # which says what is wrong
        times = status.st_mtime_ns, status.st_ctime_ns
        if time.time_ns() - max(times) < _SETTLED:
            return read(file)
        return remembered(file, status.st_size, *times, status.st_ino, status.st_dev)

    return reading


file_hash = while_unchanged(hash_file)
