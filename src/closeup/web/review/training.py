"""The button that trains: ``closeup train`` in a process of its own, and what has changed since.

Decisions can be made meanwhile; they apply the next time. Who trains has the project's lock, so a
second training, by whomever, is refused with the words of the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from closeup.core.errors import CloseupError
from closeup.core.project import Project
from closeup.core.text import visible
from closeup.model.history import Training, read_history
from closeup.web.refusal import Refusal
from closeup.web.review.session import QUEUES, Filter, ReviewSession, Snapshot

OWN = "closeup: "
"""How the command begins the sentence that says why it failed; what follows belongs to it."""
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class ListChange:
    """A list of doubtful cases: how long it was, and of those open now, how many are new."""

    queue: str
    before: int
    now: int
    new: int


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A training that the button started.

    `says` is the last line of progress, or why it failed. Once it is done, `training` is the entry
    of the history, None where nothing had changed since the one before.
    """

    state: Literal["running", "done", "failed", "stopped"]
    started: datetime
    says: str = ""
    training: Training | None = None
    lists: tuple[ListChange, ...] = ()

    @property
    def seconds(self) -> int:
        """How long ago it started."""
        return int((datetime.now(UTC) - self.started).total_seconds())


class Trainer:
    """Runs ``closeup train`` for a project under review, one at a time."""

    def __init__(self, session: ReviewSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._run: TrainingRun | None = None
        self._stopped = False

    @property
    def run(self) -> TrainingRun | None:
        """The training that runs, or the last one; None before the first."""
        with self._lock:
            return self._run

    def start(self) -> None:
        """Begin to train, unless that is going on.

        Raises a ProjectError if the project is damaged, a Refusal if the system starts no process.
        """
        with self._lock:
            if self._process is not None:
                return
            before = _members(self._session.snapshot())
            last = _last(self._session)
            try:
                self._process = subprocess.Popen(
                    # -P, as for the command: no file of the present folder takes a module's place.
                    [sys.executable, "-P", "-m", "closeup", "train", "--",
                     str(self._session.folder)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    encoding="utf8", errors="replace", env={**os.environ, "PYTHONUTF8": "1"},
                )  # fmt: skip
            except OSError as err:
                raise Refusal(500, "failed", f"the training could not be started: {err}") from err
            self._run = TrainingRun("running", datetime.now(UTC), "Starting …")
            self._stopped = False
            self._thread = threading.Thread(
                target=self._follow, args=(self._process, self._run.started, before, last)
            )
            self._thread.start()

    def stop(self) -> None:
        """End the training, if there is one; the model in use stays, as after Ctrl-C."""
        with self._lock:
            process, thread = self._process, self._thread
            if process is not None:
                self._stopped = True
                process.terminate()
        if process is not None and thread is not None:
            thread.join()

    def _follow(
        self, process: subprocess.Popen[str], started: datetime,
        before: Mapping[str, frozenset[str]], last: Training | None,
    ) -> None:  # fmt: skip
        lines: deque[str] = deque(maxlen=MOST_LINES)
        assert process.stderr is not None
        with process:
            for line in process.stderr:
                if words := visible(line.strip()):
                    lines.append(words)
                    self._set(TrainingRun("running", started, words))
        run = TrainingRun("failed", started, "what has come of it cannot be read")
        try:
            run = self._ended(process.returncode, started, lines, before, last)
        except CloseupError as err:
            run = TrainingRun("failed", started, str(err))
        finally:  # whatever happened to the project's files, the next one can begin
            with self._lock:
                self._run, self._process, self._thread = run, None, None

    def _ended(
        self, code: int, started: datetime, lines: deque[str],
        before: Mapping[str, frozenset[str]], last: Training | None,
    ) -> TrainingRun:  # fmt: skip
        if code and self._stopped:  # without a code it was done before it could be stopped
            return TrainingRun("stopped", started)
        if code:
            return TrainingRun("failed", started, _why(list(lines), code))
        training, now = _last(self._session), self._session.snapshot()
        fresh = training if training and (not last or training.number > last.number) else None
        lists, items = [], now.all_items
        for queue, mine in before.items():
            still = {item.crop.id for item in items if queue in item.open_in}
            lists.append(ListChange(queue, len(mine), len(still), len(still - mine)))
        return TrainingRun("done", started, "", fresh, tuple(lists))

    def _set(self, run: TrainingRun) -> None:
        with self._lock:
            self._run = run


def _last(session: ReviewSession) -> Training | None:
    trainings = read_history(Project(session.folder)).trainings
    return trainings[-1] if trainings else None


def _members(now: Snapshot) -> dict[str, frozenset[str]]:
    """Every list of doubtful cases, decided or not, by the ids of its close-ups."""
    items, filters = now.all_items, {queue: Filter(only=queue) for queue in QUEUES}
    return {queue: frozenset(item.crop.id for item in items if wanted.admits(item))
            for queue, wanted in filters.items()}  # fmt: skip


def _why(lines: list[str], code: int) -> str:
    """Why the command failed, in its own words."""
    own = [place for place, line in enumerate(lines) if line.startswith(OWN)]
    if own:
        return " ".join(lines[own[-1] :])[len(OWN) :]
    said = f": {lines[-1]}" if lines else ""
    return f"`closeup train` ended with exit code {code}{said}"
