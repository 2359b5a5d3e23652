"""Map a function over many items with threads: in order, and never far ahead of the consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


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
    workers = workers or min(8, os.cpu_count() or 1)
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
