"""What this machine gives: processors to use and a folder to keep things in."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

CACHE_VARIABLE = "CLOSEUP_CACHE"
_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """How many processors this process may use: its affinity, and its container's quota.

    A quota of 1.5 processors counts as 2; the answer is at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota(cgroup)
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _cgroup_quota(cgroup: Path) -> float | None:
    """Processors the container may use at once (cgroup version 2, then 1); None if unlimited."""
    quota = _words(cgroup / "cpu.max")
    if not quota:
        quota = _words(cgroup / "cpu" / "cpu.cfs_quota_us")
        quota += _words(cgroup / "cpu" / "cpu.cfs_period_us")
    if len(quota) != 2 or not all(word.isdigit() for word in quota) or int(quota[1]) == 0:
        return None  # "max" and -1 mean no limit
    return int(quota[0]) / int(quota[1])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # not Linux, or no such limit
        return []


def cache_folder() -> Path:
    """Where networks and compiled graphs are kept: ``CLOSEUP_CACHE``, else the user's cache.

    The folder may not exist yet.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "closeup"
