"""Progress reports of long work: a callback that does nothing unless the caller passes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``, from the thread that runs the stage."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing (the library's default)."""


def share(progress: Progress, number: int, count: int) -> Progress:
    """`progress` for one of `count` equal pieces of work that are reported as one."""

    def report(stage: str, done: int, total: int) -> None:
        progress(stage, number * total + done, count * total)

    return report


Say = Callable[[str], object]
"""Called with each sentence that the user should read."""


def say_nothing(sentence: str) -> None:
    """Keep a sentence to oneself (the library's default)."""


def track(items: Iterable[T], stage: str, total: int, progress: Progress = silent) -> Iterator[T]:
    """Yield `items` unchanged, and report each one once the consumer is done with it."""
    progress(stage, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        progress(stage, done, total)
