"""Map a function over many items with threads: in order, and never far ahead of the consumer.

And how many processors there are, for us and for linear algebra.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

A = TypeVar("A")
B = TypeVar("B")

WORTH_A_THREAD = 0.006
"""Seconds of an item for which one more thread pays."""
MANY = 16
"""Results that may wait where each takes less than that: such items are small, too."""
_CGROUP = Path("/sys/fs/cgroup")


def ordered_map(
    function: Callable[[A], B], items: Iterable[A], *, workers: int = 0, ahead: int = 0
) -> Iterator[B]:
    """Yield ``function(item)`` for every item, in order, computed by threads.

    Worth it for work that releases the interpreter lock: reading, decoding, resizing.

    Parameters
    ----------
    workers
        Threads; 0 for as many as the work keeps busy: one for items of a few milliseconds, whose
        threads would spend their time handing the lock to each other, up to one per available
        processor, at most 8.
    ahead
        Results held at most while the consumer is busy, which bounds memory whatever the length
        of `items`; 0 for twice the workers, and for :data:`MANY` of items that are quick, so
        that the consumer need not wait whenever the thread does not get its turn. Once a slow one
        comes, which may be large, none that was handed over before is begun too early either.

    Raises
    ------
    Whatever `function` or `items` raise, at the place of the item concerned.
    """
    waiting: deque[Future[B]] = deque()
    # A pool for each thread (which starts with its first item), so that any number can be used.
    pools = [
        ThreadPoolExecutor(1, thread_name_prefix="closeup")
        for _ in range(workers or min(8, available_cpus()))
    ]
    width = _Width(len(pools), fixed=bool(workers))
    gate = _Gate(lambda: ahead or width.ahead)
    work = gate.before(function if workers else width.watching(function))
    try:
        for number, item in enumerate(items):
            waiting.append(pools[number % width.value].submit(work, number, item))
            while len(waiting) >= (ahead or width.ahead):
                yield gate.take(waiting.popleft())
        while waiting:
            yield gate.take(waiting.popleft())
    finally:
        gate.close()
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in pools:
            pool.shutdown(wait=True)


class _Gate:
    """Lets an item begin once it is less than `limit()` ahead of those that were taken."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._taken = 0
        self._closed = False
        self._changed = threading.Condition()

    def before(self, function: Callable[[A], B]) -> Callable[[int, A], B]:
        """`function` of the item of a number, not begun too early, nor after the gate is closed."""

        def work(number: int, item: A) -> B:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or number - self._taken < self._limit())
                if self._closed:
                    raise CancelledError
            return function(item)

        return work

    def take(self, future: Future[B]) -> B:
        """The result of the next item."""
        result = future.result()
        with self._changed:
            self._taken += 1
            self._changed.notify_all()
        return result

    def close(self) -> None:
        """Nothing more is wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Width:
    """How many threads to use, by the processor time that the last items took."""

    def __init__(self, most: int, *, fixed: bool) -> None:
        self._most = most
        self._fixed = fixed
        self._mean = 0.0
        self._last = 0.0
        self._seen = 0

    @property
    def value(self) -> int:
        """At least 1."""
        return self._most if self._fixed else min(self._most, 1 + int(self._mean / WORTH_A_THREAD))

    @property
    def ahead(self) -> int:
        """How many results may wait."""
        quick = not self._fixed and self._seen and max(self._mean, self._last) < WORTH_A_THREAD
        return MANY if quick else 2 * self.value

    def watching(self, function: Callable[[A], B]) -> Callable[[A], B]:
        """`function`, watched. Two threads may write at once: then one of two means is lost."""

        def watched(item: A) -> B:
            start = time.thread_time()
            result = function(item)
            taken = time.thread_time() - start
            self._last = taken
            self._seen += 1
            # The mean of all at first, then ever more of the last hundred or so.
            self._mean += (taken - self._mean) / min(self._seen, 100)
            return result

        return watched


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's linear algebra run on one thread, for small products among other threads' work.

    OpenBLAS has each of its threads wait busily for the next product, so a few small ones a second
    take the processors from everything else. The setting is the whole process's, and the first
    thread's that asks for it: while its block lasts those of others change nothing.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Made once: it looks through all libraries that are loaded."""
    import numpy as np  # noqa: F401 - whose library it is to find
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


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
