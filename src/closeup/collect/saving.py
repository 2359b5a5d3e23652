"""Photos that were fetched become files, and every outcome a line of the log."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from closeup.collect.address import Address, Job
from closeup.collect.content import Content, examine
from closeup.collect.outcome import NotFetched, Outcome
from closeup.collect.record import Collected, Log, Status
from closeup.collect.settle import Folders
from closeup.core.project import file_hash, place_in, write_atomically

SYNC_SECONDS = 2.0
"""How much of a run a power cut may cost."""


class Saver:
    """Checks, names and saves photos; each content once."""

    def __init__(
        self,
        folder: Path,
        rows: Sequence[Collected],
        log: Log,
        max_pixels: int,
        threads: Executor,
    ) -> None:
        self._folder, self._log, self._threads = folder, log, threads
        self._max_pixels = max_pixels
        self._folders = Folders(rows)
        self._paths = {row.sha256: row.path for row in rows if row.sha256}
        self._synced = time.monotonic()

    async def keep(self, job: Job, outcome: Outcome) -> None:
        """Save a photo unless it is known, and log what became of the job's addresses.

        The log comes first: a photo whose run was killed is then fetched again, and none lies in
        the folder that the table does not know.
        """
        loop = asyncio.get_running_loop()
        content, path, new = Content("", "", "", 0, 0), "", False
        if outcome.status is Status.SAVED:
            try:
                content = await loop.run_in_executor(
                    self._threads, examine, outcome.data, self._max_pixels
                )
                path, new = self._place(content, job.addresses[0].label)
            except NotFetched as err:
                outcome.status, outcome.reason = err.status, err.reason
        if path and not new:
            outcome.status = Status.DUPLICATE
        self._log.add([self._row(one, job, outcome, content, path) for one in job.addresses])
        if new:
            await loop.run_in_executor(
                self._threads, write_atomically, self._folder / path, outcome.data
            )
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._log.sync()
            self._synced = time.monotonic()

    def _place(self, content: Content, label: str) -> tuple[str, bool]:
        """Where a photo goes, and whether it is still to be written there.

        A file of somebody else's that has the name is left alone, and taken where it is this photo.
        """
        known = self._paths.get(content.sha256)
        if known is not None:
            return known, False
        for name in (content.sha256[:20], content.sha256):
            path = f"{self._folders.of(label)}/{name}{content.suffix}"
            file = place_in(self._folder, path)
            taken = os.path.lexists(file) or file.parent.is_file()
            if not taken or (file.is_file() and file_hash(file) == content.sha256):
                self._paths[content.sha256] = path
                return path, not taken
        raise NotFetched("a file of yours has the name of this photo or of its folder; move it "
                         "away, then --retry failed")  # fmt: skip

    def _row(
        self, address: Address, job: Job, outcome: Outcome, content: Content, path: str
    ) -> Collected:
        return Collected(
            **asdict(address),
            final_url=outcome.final_url,
            status=outcome.status,
            http_status=outcome.http_status,
            reason=outcome.reason,
            robots=outcome.robots,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=content.sha256 if path else "",
            bytes=len(outcome.data) if path else 0,
            type=content.type if path else "",
            width=content.width if path else 0,
            height=content.height if path else 0,
            path=path,
            attempts=job.before + job.attempts,
        )
