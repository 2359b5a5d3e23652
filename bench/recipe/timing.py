"""What both halves of the recipe say about time and machine; only the standard library."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def after_first(seconds: Sequence[float]) -> float | None:
    """Mean of all but the first, which pays for building and warming up; None for fewer than 2."""
    return statistics.fmean(seconds[1:]) if len(seconds) > 1 else None


def scaled(seconds: Sequence[float], count: int) -> float | None:
    """What `count` (at least 1) would take: the first as measured, the others at their mean.

    None where fewer than two were measured.
    """
    each = after_first(seconds)
    return None if each is None else seconds[0] + (count - 1) * each


def rounded(seconds: float | None, digits: int = 3) -> float | None:
    """`seconds` for people to read; None stays."""
    return None if seconds is None else round(seconds, digits)


def processors() -> int:
    """Processors that this process may use by its affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine(*packages: str) -> str:
    """Processor, processors available, Python, and those of `packages` that are installed."""
    words = [_processor(), f"{processors()} processors", f"Python {platform.python_version()}"]
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            words.append(f"{name} {metadata.version(name)}")
    return ", ".join(words)


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
