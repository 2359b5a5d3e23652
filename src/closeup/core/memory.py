"""Freed memory stays with the process while much of it is used again and again."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
"""Numbers of glibc's ``mallopt``, as in its ``malloc.h``."""
_USUAL = {_TRIM_THRESHOLD: 64 << 20, _TOP_PAD: 128 << 10, _MMAP_THRESHOLD: 32 << 20,
          _MMAP_MAX: 65536}  # fmt: skip
"""Where glibc's own thresholds end up once large blocks have been freed. They move no more after
``mallopt``: left where they begin, all later work on arrays would be two to three times slower."""
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _MMAP_MAX: 0}


@contextmanager
def keep_memory() -> Iterator[None]:
    """Let glibc keep large blocks when they are freed; elsewhere do nothing.

    Otherwise it gives each picture and feature map back to the system, and having the pages cleared
    and mapped in again for the next one takes about as long as the work itself.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    for number, value in _KEEPING.items():
        mallopt(number, value)
    try:
        yield
    finally:
        for number, value in _USUAL.items():
            mallopt(number, value)
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
