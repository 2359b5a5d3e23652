"""What the command line prints: progress and messages on stderr, results on stdout."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from closeup.core.progress import Progress
from closeup.core.text import duration, rough_duration, visible, visible_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_DOWNLOAD = "download "
_LONG = frozenset({"compare", "measure", "duplicates"})
"""Stages of few and long pieces: told as they begin, and without a rate."""
_DOING = {
    "search": "searching",
    "collect": "collecting photos",
    "photos": "reading photos",
    "look": "cropping close-ups",
    "detect": "detecting the object",
    "scout": "looking for the parent",
    "boxes": "drawing boxes",
    "crop": "cutting out close-ups",
    "embed closeup": "embedding close-ups",
    "embed photo": "embedding whole photos",
    "embed covered": "checking for shortcuts",
    "duplicates": "finding duplicates",
    "signatures": "comparing photos",
    "read": "reading close-ups",
    "finetune": "fine-tuning",
    "compare": "training heads",
    "measure": "measuring the model",
    "explain": "explaining mistakes",
    "predict": "predicting",
    "film": "seconds of film",
    "frames": "reading films",
}


def say(text: str = "") -> None:
    """A message of one line for a person, on stderr; nothing in it acts on the terminal."""
    print(visible(text), file=sys.stderr, flush=True)


def show(*lines: str) -> None:
    """Results for a person on stdout, each on one line; nothing in them acts on the terminal."""
    for line in lines:
        print(visible(line))


def print_json(value: Any) -> None:
    """A result for a program, one line on stdout."""
    print(visible_json(json.dumps(value, ensure_ascii=False)), flush=True)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines of aligned columns, the last as it is; nothing is cut or broken."""
    from rich.cells import cell_len

    cells = [[visible(cell) for cell in row] for row in rows]
    fixed = zip(*(row[:-1] for row in cells), strict=True)
    widths = [max(map(cell_len, column)) for column in fixed]
    return [
        "  ".join([*(cell + " " * (width - cell_len(cell))
                    for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in cells
    ]  # fmt: skip


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """A progress callback: bars with rate and time left on a terminal, plain lines elsewhere.

    What the library logs meanwhile, as each epoch of fine-tuning, is printed above.
    """
    if not sys.stderr.isatty():
        with _logged(say):
            yield _PlainLines()
        return
    from rich import progress as rich
    from rich.console import Console

    shown = (
        rich.TextColumn("{task.description:<24}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[count]}"),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = Console(stderr=True)

    def above(text: str) -> None:
        console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    with rich.Progress(*shown, console=console) as bars, _logged(above):
        yield _Bars(bars)


class _Said(logging.Handler):
    """Passes the message of each record on."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


@contextmanager
def _logged(tell: Callable[[str], None]) -> Iterator[None]:
    logger, handler = logging.getLogger("closeup"), _Said(tell)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _count(stage: str, done: int, total: int) -> str:
    """How much is done, "" of a single piece; downloads are counted in bytes."""
    if total == 1:
        return ""
    if stage.startswith(_DOWNLOAD):
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done} of {total}"


def _rate(stage: str, speed: float) -> str:
    if stage.startswith(_DOWNLOAD):
        return f"{speed / 1e6:.1f} MB/s"
    return "" if stage in _LONG or speed < 0.5 else f"{speed:.0f}/s"


class _Bars:
    """One bar per stage, on a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if total == 0:
            return
        if stage not in self._tasks:
            name = _DOING.get(stage, stage)
            self._tasks[stage] = self._bars.add_task(name, total=total, count="", rate="")
        task = self._tasks[stage]
        speed = self._bars.tasks[task].speed
        count, rate = _count(stage, done, total), _rate(stage, speed) if speed else ""
        self._bars.update(task, completed=done, total=total, count=count, rate=rate)


class _PlainLines:
    """A line when a stage of few long pieces begins, every ten seconds, and when a stage ends."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}
        self._spoke = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage not in self._began:
            self._began[stage] = now, done  # what resumes has some done already
            self._spoke = now
            if stage in _LONG and done < total:
                say(f"{_DOING.get(stage, stage)} {_count(stage, done, total)}".rstrip())
        began, before = self._began[stage]
        taken = now - began
        if total and done == total:
            rate = _rate(stage, (done - before) / taken) if taken > 0.05 and total > 1 else ""
            count = _count(stage, done, total) or "done"
            say(f"{_DOING.get(stage, stage)}: {count} in {duration(taken)} {rate}".rstrip())
            del self._began[stage]  # a stage may come again, for another network
        elif done > before and now - self._spoke > 10:
            left = taken / (done - before) * (total - done)
            count = _count(stage, done, total)
            say(f"{_DOING.get(stage, stage)}: {count}, about {rough_duration(left)} left")
            self._spoke = now
