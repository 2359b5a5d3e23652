"""One model for many concurrent requests, run in batches.

A few threads decode photos while two others run the model, each over all photos that are decoded
by then, up to a batch. So a single photo never waits for others, and many at once are about as
fast as a folder of them. The number of accepted photos and of decoded pixels is limited.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from closeup.core.errors import CloseupError, PhotoError
from closeup.core.parallel import available_cpus
from closeup.model.answers import annotate
from closeup.model.model import CHUNK, Model
from closeup.model.prediction import Prediction
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture

MOST_NEAREST = 12
"""Training close-ups that a request may ask for, at most."""
_RATE_MEMORY = 0.8
"""Weight of the previous speed in its running average."""
_RUNS = 2
"""Batches at a time: while one waits for its last photo, the other keeps the processors busy."""
_ENOUGH = 2
"""With so many decoded photos the model runs, however many are still being decoded."""


class QueueFull(CloseupError):
    """No more photos are accepted now; try again in about `seconds`."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a service accepts.

    `queue` photos may wait for their answers; each may have `max_pixels` (width x height), and all
    that are decoded about `held_pixels` together.
    """

    queue: int = 64
    max_pixels: int = 50_000_000
    held_pixels: int = 100_000_000


@dataclass(eq=False, slots=True)
class _Job:
    name: str
    data: bytes
    nearest: int = 0
    answer: Future[Prediction] = field(default_factory=Future)
    picture: Picture | None = None

    @property
    def size(self) -> int:
        return 0 if self.picture is None else math.prod(self.picture.size)


class Service:
    """A model that answers many requests at once.

    After each run of the model, `on_batch` is called with the number of photos and the seconds.
    """

    def __init__(
        self, model: Model, limits: Limits, on_batch: Callable[[int, float], None]
    ) -> None:
        self.model = model
        self._limits = limits
        self._on_batch = on_batch
        self._readers = ThreadPoolExecutor(min(4, available_cpus()), "closeup-read")
        self._runner = ThreadPoolExecutor(_RUNS, "closeup-run")
        self._changed = threading.Condition()
        # All below is read and written under `_changed`.
        self._ready: deque[_Job] = deque()
        self._pending = self._unread = self._held = self._blocked = self._running = 0
        self._closed = False
        self._rate = 0.0

    @property
    def pending(self) -> int:
        """Photos accepted and not yet answered."""
        return self._pending

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Reserve one place in the queue while a request is read; QueueFull if there is none."""
        self._take(1)
        try:
            yield
        finally:
            self._give_back(1)

    def submit(
        self, photos: Sequence[tuple[str, bytes]], nearest: int = 0
    ) -> list[Future[Prediction]]:
        """Accept all photos, each a name and a file's content, or raise QueueFull.

        The answers come in order, each with at least `nearest` training close-ups if the model has
        any. A photo that cannot be read gives a Prediction with an error. ``result()`` raises what
        the model raised. An answer that is cancelled in time is not computed.
        """
        self._take(len(photos))
        jobs = [_Job(name, data, nearest) for name, data in photos]
        with self._changed:
            self._unread += len(jobs)
        for job in jobs:
            job.answer.add_done_callback(lambda _: self._give_back(1))
            self._readers.submit(self._read, job).add_done_callback(partial(self._read_done, job))
        return [job.answer for job in jobs]

    def draw(self, data: bytes, prediction: Prediction, kind: str) -> Future[bytes]:
        """The photo with its boxes and answers, as a JPEG or PNG file, as `kind` says."""

        def work() -> bytes:
            picture = annotate(self._decode(data).pixels(), prediction.objects)
            stream = io.BytesIO()
            picture.save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
            return stream.getvalue()

        return self._readers.submit(work)

    def close(self, seconds: float = 30) -> bool:
        """Finish what was accepted, and accept no more; False if it takes longer than `seconds`."""
        with self._changed:
            self._closed = True
            done = self._changed.wait_for(lambda: self._pending == 0, seconds)
        self._readers.shutdown(wait=done, cancel_futures=True)
        self._runner.shutdown(wait=done, cancel_futures=True)
        return done

    def _take(self, count: int) -> None:
        with self._changed:
            if self._closed:
                raise QueueFull("the service is shutting down", 5)
            if self._pending + count > self._limits.queue:
                wait = self._pending / self._rate if self._rate else 1
                raise QueueFull(
                    f"{self._pending} photos are already waiting, of {self._limits.queue} at most; "
                    "try again later",
                    min(60, max(1, math.ceil(wait))),
                )
            self._pending += count

    def _give_back(self, count: int) -> None:
        with self._changed:
            self._pending -= count
            self._changed.notify_all()

    def _decode(self, data: bytes) -> Picture:
        return read_picture(data, max_pixels=self._limits.max_pixels)

    def _read(self, job: _Job) -> None:
        try:
            picture = None if job.answer.cancelled() else self._decode(job.data)
        finally:
            with self._changed:
                self._unread -= 1
            self._run_next()  # it may have waited for this one
        if picture is None:
            return
        self._take_room(math.prod(picture.size))
        job.picture = picture

    def _take_room(self, size: int) -> None:
        """Wait until there is room for so many pixels; a single photo always has room."""
        with self._changed:
            if self._held and self._held + size > self._limits.held_pixels:
                self._blocked += 1
                self._run_next()  # running what is ready is what makes room
                self._changed.wait_for(
                    lambda: not self._held or self._held + size <= self._limits.held_pixels
                )
                self._blocked -= 1
            self._held += size

    def _read_done(self, job: _Job, read: Future[None]) -> None:
        job.data = b""
        error = None if read.cancelled() else read.exception()
        if job.picture is not None:
            with self._changed:
                self._ready.append(job)
            self._run_next()
        elif job.answer.set_running_or_notify_cancel():
            if isinstance(error, PhotoError):
                answer = Prediction(job.name, False, (), error.code, error.message)
                job.answer.set_result(answer)
            else:
                job.answer.set_exception(error or CloseupError("the service is shutting down"))

    def _run_next(self) -> None:
        """Run the model on decoded photos, unless it is busy."""
        with self._changed:
            # A single photo runs at once; the first of several that arrive together waits for more.
            enough = min(_ENOUGH, math.ceil((len(self._ready) + self._unread) / 2))
            if self._running == _RUNS or not self._ready:
                return
            if len(self._ready) < enough and not self._blocked:
                return
            taken = [self._ready.popleft() for _ in range(min(CHUNK, len(self._ready)))]
            self._running += 1
        run = self._runner.submit(self._run, taken)
        run.add_done_callback(partial(self._run_done, taken))

    def _run(self, taken: list[_Job]) -> list[tuple[_Job, Prediction]]:
        jobs = [job for job in taken if job.answer.set_running_or_notify_cancel()]
        began = time.perf_counter()
        most = max((job.nearest for job in jobs), default=0)
        pictures = [job.picture for job in jobs if job.picture is not None]
        answers = list(self.model.predict_many(pictures, nearest=most))
        seconds = max(time.perf_counter() - began, 1e-6)
        if jobs:
            self._on_batch(len(jobs), seconds)
            rate = len(jobs) / seconds
            keep = _RATE_MEMORY if self._rate else 0.0
            self._rate = keep * self._rate + (1 - keep) * rate
        return [(job, replace(answer, photo=job.name))
                for job, answer in zip(jobs, answers, strict=True)]  # fmt: skip

    def _run_done(self, taken: list[_Job], run: Future[list[tuple[_Job, Prediction]]]) -> None:
        with self._changed:
            self._running -= 1
            self._held -= sum(job.size for job in taken)
            self._changed.notify_all()
        for job in taken:
            job.picture = None
        self._run_next()
        error = run.exception()
        if error is None:
            for job, answer in run.result():
                job.answer.set_result(answer)
            return
        for job in taken:
            if job.answer.running():
                job.answer.set_exception(error)
