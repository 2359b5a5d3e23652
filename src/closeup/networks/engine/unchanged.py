"""Remember what was read of a file as long as it stays the same."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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


@while_unchanged
def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; OSError where it cannot be read."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
