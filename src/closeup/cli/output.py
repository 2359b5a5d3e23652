"""What the command line prints: progress and messages on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from closeup.core.progress import Progress
from closeup.core.text import visible, visible_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_DOWNLOAD = "download "
_DOING = {
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
    "signatures": "finding duplicates",
    "read": "reading close-ups",
    "finetune": "fine-tuning",
    "compare": "cross-validating",
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


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """A progress callback: bars with rate and time left on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield _PlainLines()
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description:<24}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[count]}"),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


def _count(stage: str, done: int, total: int) -> str:
    """How much is done; downloads are counted in bytes."""
    if stage.startswith(_DOWNLOAD):
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done} of {total}"


def _rate(stage: str, speed: float) -> str:
    return f"{speed / 1e6:.1f} MB/s" if stage.startswith(_DOWNLOAD) else f"{speed:.0f}/s"


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
    """A line when a stage begins, every ten seconds, and when it ends."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}
        self._spoke = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage not in self._began:
            self._began[stage] = now, done  # what resumes has some done already
            self._spoke = now
        began, before = self._began[stage]
        taken = now - began
        if total and done == total:
            rate = _rate(stage, (done - before) / taken) if taken > 0.05 else ""
            count = _count(stage, done, total)
            say(f"{_DOING.get(stage, stage)}: {count} in {taken:.1f} s {rate}".rstrip())
            del self._began[stage]  # a stage may come again, for another network
        elif done > before and now - self._spoke > 10:
            left = taken / (done - before) * (total - done)
            about = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
            count = _count(stage, done, total)
            say(f"{_DOING.get(stage, stage)}: {count}, about {about} left")
            self._spoke = now
