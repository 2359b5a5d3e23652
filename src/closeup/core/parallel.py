"""Map a function over many items with threads, in order and never far ahead of the consumer.

Also: how many processors there are, for us and for linear algebra.
"""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

A = TypeVar("A")
B = TypeVar("B")


def ordered_map(
    function: Callable[[A], B], items: Iterable[A], *, workers: int = 0, ahead: int = 0
) -> Iterator[B]:
    """Yield ``function(item)`` for every item, in order, computed by threads.

    Worth it for work that releases the interpreter lock: reading, decoding, resizing. Unlike
    ``Executor.map`` it takes an item only when it is about to be needed (as that does with
    `buffersize`, from Python 3.14 on).

    What `function` or `items` raise is raised at the place of the item concerned.

    Parameters
    ----------
    workers
        Threads; 0 for one per available processor, at most 8.
    ahead
        Items taken at most before the consumer has had their results, which bounds memory whatever
        the length of `items`; 0 for twice the workers.
    """
    workers = workers or min(8, available_cpus())
    ahead = ahead or 2 * workers
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="closeup") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run linear algebra on one thread, for small products or where other threads work as well.

    OpenBLAS lets each of its threads wait busily for the next product, so a few small ones a second
    take the processors from everything else. And sums then come out the same on any number of
    processors. The limit holds for the whole process and the libraries loaded by now. The first
    thread to ask sets and lifts it: while its block lasts, those of other threads change nothing.
    """
    with _blas(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@lru_cache(1)
def _blas(modules: int) -> ThreadpoolController:
    """Searches all loaded libraries, so only again when more `modules` are imported."""
    import numpy as np  # noqa: F401 - whose library it is to find
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processors this process may use: its affinity, container and ``OMP_NUM_THREADS``.

    A container's quota of 1.5 processors counts as 2; the answer is at least 1.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
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
