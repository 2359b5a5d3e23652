"""A run over very many photos: list, leave out what is done, answer on the cluster, settle."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any

import numpy as np

from closeup.batch.asks import Ask
from closeup.batch.cluster import Cluster, connected
from closeup.batch.files import Store, file_system
from closeup.batch.parts import Ids, missing_from, read_parts, settle
from closeup.batch.source import Listed, list_source
from closeup.batch.summary import Summary
from closeup.batch.worker import Job, shard_of
from closeup.core.config import EngineConfig
from closeup.core.errors import ProjectError
from closeup.core.lock import only_writer, sweep
from closeup.core.progress import Progress, Say
from closeup.core.project import key_of
from closeup.core.serialization import from_json, to_json
from closeup.core.text import visible

ABOUT = "batch.json"
FORMAT = 1
PREDICT = "predict"
WINDOW = 200_000
"""Photos whose names are held at once: they are answered before the next are listed."""
LEAST = 16
_NOTICE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told what: how far the run is, and sentences on photos that cannot be read."""

    progress: Progress
    notice: Say


def run(ask: Ask, source: str, out: str, address: str, engine: EngineConfig, told: Told) -> Summary:
    """Answer for the photos of `source` that no part in `out` holds; see :mod:`.verbs`."""
    about = {"format": FORMAT, **ask.about()}
    key = key_of("batch", 1, about)
    store = Store(out)
    photos = list_source(source)
    first = next(photos)  # a wrong source is reported before anything is started
    with _held(store):
        last = read_about(store, about)
        parts = read_parts(store)
        job = Job(str(store.local or store.folder), parts.run, ask, engine)
        start = time.perf_counter()
        with _Run(key[:32], job, address, told) as doing:
            doing.answer(chain([first], photos), parts.done())
        parts = read_parts(store, parts.held)
        settle(store, parts)
        summary = Summary(
            run=job.run, listed=doing.listed, answered=doing.answered, known=doing.known,
            left=doing.left, photos=parts.photos, counts=parts.counts(),
            before=last.counts if last else {}, failures=tuple(doing.failures),
            seconds=time.perf_counter() - start,
        )  # fmt: skip
        store.write(ABOUT, (json.dumps({**about, "last": to_json(summary)}, indent=1)).encode())
    return summary


@contextlib.contextmanager
def _held(store: Store) -> Iterator[None]:
    """Be the only run that writes there, where that can be ensured: in a folder of a disk."""
    if store.local is None:
        file_system(store.folder)
        yield
        return
    if store.local.exists() and not store.local.is_dir():
        raise ProjectError(f"{store.local} is a file; --out takes a folder")
    with only_writer(store.local):
        sweep(store.local)
        yield


def read_about(store: Store, about: dict[str, Any]) -> Summary | None:
    """The summary of the run before; refuse a folder that is not for these answers."""
    data = store.read(ABOUT)
    if data is None:
        foreign = [name for name in store.names() if not name.startswith(".")]
        if foreign:
            raise ProjectError(
                f"{store.folder} holds files but no {ABOUT}, so it is not a folder of answers; "
                "give --out a new folder"
            )
        store.write(ABOUT, json.dumps(about, indent=1).encode())
        return None
    try:
        found = json.loads(data)
        asked = found.get("ask", PREDICT), about.get("ask", PREDICT)
        known = {name: found[name] for name in about} if asked[0] == asked[1] else {}
        last = from_json(Summary, found["last"]) if "last" in found else None
    except (ValueError, LookupError, TypeError, AttributeError) as err:
        raise ProjectError(
            f"{store.folder}/{ABOUT} is damaged ({err}); delete it and the answers beside it, or "
            "give --out a new folder"
        ) from err
    if known != about:
        differs = next((name for name in about if known and known[name] != about[name]), "ask")
        what = {
            "ask": f"answers of `closeup {visible(str(asked[0]))}`",
            "format": "answers of another version of Closeup",
            "model": "answers of another model",
            "key": "what other networks or options gave",
            "always": f"answers with {'no ' if about.get('always') else ''}--always",
        }[differs]
        raise ProjectError(f"{store.folder} holds {what}; give --out a new folder")
    return last


class _Run(contextlib.ExitStack):
    """One run over the source, window by window; Ray is started when there is something to do."""

    def __init__(self, key: str, job: Job, address: str, told: Told) -> None:
        super().__init__()
        self._key, self._job, self._address, self._told = key, job, address, told
        self.listed = self.known = self.answered = self.left = self.errors = 0
        self.failures: list[str] = []
        self._spoke = time.monotonic()

    @cached_property
    def _cluster(self) -> Cluster:
        return self.enter_context(connected(self._address, self._job.engine))

    @cached_property
    def _packed(self) -> Any:
        """The files of the networks, which each node fetches once."""
        return self._cluster.put(self._job.ask.files())

    def answer(self, photos: Iterator[Listed], done: Ids) -> None:
        """Answer for all `photos` whose ids are not among `done`."""
        while window := list(islice(photos, WINDOW)):
            ids = np.array([one.id for one in window], done.dtype)
            new = missing_from(done, ids)
            first = np.zeros(len(ids), bool)
            first[np.unique(ids, return_index=True)[1]] = True  # a list may name a photo twice
            wanted = [window[place] for place in np.flatnonzero(new & first)]
            self.listed += int(first.sum())
            self.known += int(first.sum()) - len(wanted)
            if wanted:
                self._answer_window(wanted)

    def _answer_window(self, wanted: Sequence[Listed]) -> None:
        before = self.answered + self.left
        total = before + len(wanted)
        self._told.progress(self._job.ask.verb, before, total)
        size = max(LEAST, min(self._job.ask.shard, -(-len(wanted) // (8 * self._cluster.workers))))
        shards = [shard_of(wanted[n : n + size]) for n in range(0, len(wanted), size)]
        for report in self._cluster.reports(shards, ([self._packed], self._key, self._job)):
            if report.failed:
                self.left += report.photos
                if report.failed not in self.failures:
                    self.failures.append(report.failed)
            else:
                self.answered += report.photos
                self.errors += report.errors
            self._told.progress(self._job.ask.verb, self.answered + self.left, total)
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if self.errors and self.answered and now - self._spoke > _NOTICE_SECONDS:
            self._spoke = now
            self._told.notice(f"{self.errors} of {self.answered} photos so far cannot be read "
                              f"({self.errors / self.answered:.1%})")  # fmt: skip
