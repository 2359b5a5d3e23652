"""A model over very many photos: list, leave out what is done, answer on the cluster, settle."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from closeup.batch.cluster import LOCAL, Cluster, connected
from closeup.batch.files import Store, file_system
from closeup.batch.parts import Ids, missing_from, read_parts, settle
from closeup.batch.source import Listed, list_source
from closeup.batch.summary import Summary
from closeup.batch.worker import Job, pack, shard_of
from closeup.core.config import EngineConfig
from closeup.core.errors import ProjectError
from closeup.core.lock import only_writer, sweep
from closeup.core.progress import Progress, silent
from closeup.core.project import key_of
from closeup.core.serialization import from_json, to_json
from closeup.model.card import CARD_FILE, check_files, read_card

ABOUT = "batch.json"
FORMAT = 1
WINDOW = 200_000
"""Photos whose names are held at once: they are answered before the next are listed."""
SHARD = 500
"""Photos of a part, at most: what one kill costs a worker."""
LEAST = 16
_NOTICE_SECONDS = 60.0


def predict(
    model: Path | str,
    source: Path | str,
    *,
    out: Path | str,
    address: str = LOCAL,
    always: bool = False,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Answer for many photos on a Ray cluster; what earlier runs have answered is left out.

    Parameters
    ----------
    model
        A model folder.
    source
        A folder, pattern or list (CSV, TSV, Parquet or JSON lines with a column ``path``), on a
        disk or as a URL that pyarrow knows (``s3://…``). On a cluster of several machines, local
        paths must lead to the same files everywhere.
    out
        A folder for the answers, a path or a URL: ``answers/*.parquet`` have the columns of
        ``closeup predict --parquet``, then `source` and `id`.
    address
        ``"local"`` for the processors of this machine, ``"auto"`` for the cluster that this machine
        belongs to, or a cluster's address.
    engine
        How networks run; its `threads` are the processors of each worker, 0 for one.
    notice
        Called now and then with a sentence on photos that cannot be read.

    Raises
    ------
    UsageError
        Where Ray is missing or a URL is of no known kind.
    PhotosError
        Where `source` yields no photo.
    ProjectError
        Where `out` is not an earlier run's folder, holds another model's answers, or cannot be
        used; a photo that cannot be read is a row of the answers.
    """
    engine, model = engine or EngineConfig(), Path(model)
    card = read_card(model)
    check_files(model, card)
    key = key_of("batch", 1, (model / CARD_FILE).read_text(encoding="utf8"))
    about = {"format": FORMAT, "model": key, "always": always}
    store = Store(str(out))
    source = str(source)
    photos = list_source(source)
    first = next(photos)  # a wrong source is reported before anything is started
    with _held(store):
        last = read_about(store, about)
        parts = read_parts(store)
        job = Job(str(store.local or store.folder), parts.run, always, engine)
        start = time.perf_counter()
        with _Run(model, key[:32], job, address, (progress, notice)) as run:
            run.answer(chain([first], photos), parts.done())
        parts = read_parts(store, parts.held)
        settle(store, parts)
        summary = Summary(
            run=job.run, listed=run.listed, answered=run.answered, known=run.known, left=run.left,
            photos=parts.photos, counts=parts.counts(), before=last.counts if last else {},
            failures=tuple(run.failures), seconds=time.perf_counter() - start,
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
        known = {name: found[name] for name in about}
        last = from_json(Summary, found["last"]) if "last" in found else None
    except (ValueError, LookupError, TypeError) as err:
        raise ProjectError(
            f"{store.folder}/{ABOUT} is damaged ({err}); delete it and the answers beside it, or "
            "give --out a new folder"
        ) from err
    if known != about:
        differs = next(name for name in about if known[name] != about[name])
        what = {"format": "another version of Closeup", "model": "another model"}.get(
            differs, f"{'no ' if about['always'] else ''}--always"
        )
        raise ProjectError(
            f"{store.folder} holds answers of {what}; give --out a new folder for each model"
        )
    return last


class _Run(contextlib.ExitStack):
    """One run over the source, window by window; Ray is started when there is something to do."""

    def __init__(
        self, model: Path, key: str, job: Job, address: str,
        told: tuple[Progress, Callable[[str], None]],
    ) -> None:  # fmt: skip
        super().__init__()
        self._model, self._key, self._job, self._address = model, key, job, address
        self._progress, self._notice = told
        self.listed = self.known = self.answered = self.left = self.errors = 0
        self.failures: list[str] = []
        self._spoke = time.monotonic()

    @cached_property
    def _cluster(self) -> Cluster:
        return self.enter_context(connected(self._address, self._job.engine))

    @cached_property
    def _packed(self) -> Any:
        """The model's files, which each node fetches once."""
        return self._cluster.put(pack(self._model))

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
        self._progress("predict", before, total)
        size = max(LEAST, min(SHARD, -(-len(wanted) // (8 * self._cluster.workers))))
        shards = [shard_of(wanted[n : n + size]) for n in range(0, len(wanted), size)]
        for report in self._cluster.reports(shards, ([self._packed], self._key, self._job)):
            if report.failed:
                self.left += report.photos
                if report.failed not in self.failures:
                    self.failures.append(report.failed)
            else:
                self.answered += report.photos
                self.errors += report.errors
            self._progress("predict", self.answered + self.left, total)
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if self.errors and self.answered and now - self._spoke > _NOTICE_SECONDS:
            self._spoke = now
            self._notice(f"{self.errors} of {self.answered} photos so far cannot be read "
                         f"({self.errors / self.answered:.1%})")  # fmt: skip
