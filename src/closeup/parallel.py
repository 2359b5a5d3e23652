"""Map a function over many items with threads: in order, and never far ahead of the consumer."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_CGROUP = Path("/sys/fs/cgroup")


def ordered_map(
    function: Callable[[A], B], items: Iterable[A], *, workers: int = 0, ahead: int = 0
) -> Iterator[B]:
    """Yield ``function(item)`` for every item, in order, computed by threads.

    Worth it for work that releases the interpreter lock: reading, decoding, resizing.

    Parameters
    ----------
    workers
        Threads; 0 for one per available processor, at most 8.
    ahead
        Results held at most while the consumer is busy, which bounds memory whatever the length
        of `items`; 0 for twice the workers.

    Raises
    ------
    Whatever `function` or `items` raise, at the place of the item concerned.
    """
    workers = workers or min(8, available_cpus())
    ahead = ahead or 2 * workers
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="closeup")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """How many processors this process may use: its affinity, container and ``OMP_NUM_THREADS``.

    A container's quota of 1.5 processors counts as 2; the answer is at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota(cgroup)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        count = min(count, int(wanted))
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
