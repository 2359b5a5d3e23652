"""``closeup collect``: photos of a list of addresses, each address accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from closeup.collect.address import Address, Job, unique
from closeup.collect.contact import checked_contact, user_agent
from closeup.collect.limits import Limits
from closeup.collect.lists import read_addresses
from closeup.collect.network import IsPublic, Resolve, anything, is_public
from closeup.collect.record import Collected, Log, Status, read_collected, write_collected
from closeup.collect.result import CollectResult, summary
from closeup.collect.settle import Folders, arranged, settle
from closeup.core.config import CONFIG_FILE
from closeup.core.errors import PhotosError, UsageError
from closeup.core.lock import HALF_FILE, only_writer
from closeup.core.progress import Progress, silent
from closeup.photos.origins import COLLECTED_FILE

RETRIED = (Status.FAILED, Status.REFUSED)


@dataclass(frozen=True, slots=True)
class Access:
    """How sites are asked: by whom, within which limits, and at which network addresses."""

    contact: str
    limits: Limits = field(default_factory=Limits)
    ignore_robots: bool = False
    allowed: IsPublic = is_public
    resolve: Resolve | None = None


def collect(
    addresses: Path | str | Iterable[Address],
    out: Path | str,
    *,
    contact: str,
    label: str = "",
    retry: str | Sequence[str] = (),
    ignore_robots: bool = False,
    allow_private: bool = False,
    limits: Limits | None = None,
    progress: Progress = silent,
) -> CollectResult:
    """Fetch the photos of a list into a folder with one sub-folder per label.

    What is known already is not fetched again, so a run that was stopped goes on, and a longer list
    costs what is new. ``collected.parquet`` in the folder has a row for each address.

    Parameters
    ----------
    addresses
        A list as a file (CSV, TSV, Parquet, JSON lines, text) or :class:`Address` objects.
    out
        The folder of photos, which may hold others: no file that is there is ever replaced.
    contact
        A mail or web address of yours, for the owners of the sites.
    label
        The label of the addresses for which a file gives none.
    retry
        ``"failed"``, ``"refused"`` or both: earlier outcomes to try again.
    ignore_robots
        Ask for what robots.txt and X-Robots-Tag forbid, too; the table records it.
    allow_private
        Also fetch from private addresses, such as those of your own network.

    Raises
    ------
    UsageError
        Without a `contact`, or for a value that cannot be.
    PhotosError
        Where the list cannot be used, or an address has no label.
    ProjectError
        Where the folder cannot be written to, or its ``collected.parquet`` is damaged.
    """
    words = retry.split(",") if isinstance(retry, str) else retry
    wanted = {word.strip() for word in words if word.strip()}
    if unknown := wanted - set(map(str, RETRIED)):
        raise UsageError(f"retry: expected failed or refused, got {', '.join(sorted(unknown))}")
    access = Access(
        checked_contact(contact),
        limits or Limits(),
        ignore_robots,
        anything if allow_private else is_public,
    )
    if isinstance(addresses, str | Path):
        listed = read_addresses(Path(addresses), label)
    else:
        listed = unique(addresses)
        for one in listed:
            _check_label(one)
    return gather(listed, Path(out), access, frozenset(map(Status, wanted)), progress)


def check_folder(folder: Path) -> None:
    """Raise UsageError where photos cannot go there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; --out takes a folder")
    if (folder / CONFIG_FILE).exists():
        raise UsageError(
            f"{folder} is the project folder of a run; give --out a folder for the photos"
        )


def _check_label(address: Address) -> None:
    if not address.label or not address.url:
        raise PhotosError(f"an address lacks its {'url' if address.label else 'label'}: {address}")


def gather(
    listed: Sequence[Address],
    folder: Path,
    access: Access,
    retry: frozenset[Status] = frozenset(),
    progress: Progress = silent,
) -> CollectResult:
    """Fetch what is new of the addresses, or is to be tried again; see :func:`collect`."""
    check_folder(folder)
    began = time.monotonic()
    with only_writer(folder):
        log = Log(folder)
        rows = _fold(folder, log, listed)
        jobs = _jobs(listed, rows, retry)
        before = {row.sha256 for row in rows}
        try:
            if jobs:
                _run(_fetch_all(jobs, len(listed), rows, folder, log, access, progress))
        finally:
            log.close()
            rows = _fold(folder, log, listed)
    keys = {one.key for one in listed}
    mine = [row for row in rows if row.key in keys]
    fresh = {row.sha256: row.bytes for row in rows if row.sha256 not in before}
    return summary(str(folder), mine, asked=len(jobs), bytes=sum(fresh.values()),
                   seconds=time.monotonic() - began)  # fmt: skip


def _fold(folder: Path, log: Log, listed: Sequence[Address]) -> list[Collected]:
    """Put what the log holds into the table, and remove what a killed run left half-written."""
    old, fresh = list(read_collected(folder)), log.read()
    known = [*old, *fresh]
    folders = Folders(known)
    labels = [*(row.label for row in known), *(one.label for one in listed)]
    names = set(map(folders.of, labels))
    for place in (folder, *(folder / name for name in names)):
        for half in place.glob(f"{HALF_FILE}*"):
            with contextlib.suppress(OSError):
                half.unlink()
    unsure = {row.sha256 for row in fresh} - {row.sha256 for row in old}
    rows = settle(folder, arranged(known, listed), unsure)
    if rows != old or (fresh and not (folder / COLLECTED_FILE).exists()):
        write_collected(folder, rows)
    log.remove()
    return rows


def _jobs(
    listed: Sequence[Address], rows: Sequence[Collected], retry: frozenset[Status]
) -> list[Job]:
    """What is to be fetched, in the order of the list: each address once."""
    known = {row.key: row for row in rows}
    jobs: dict[str, Job] = {}
    for one in listed:
        row = known.get(one.key)
        if row is None or row.status in retry:
            job = jobs.setdefault(one.url, Job(one.url))
            job.addresses.append(one)
            job.before = row.attempts if row else 0
    return list(jobs.values())


async def _fetch_all(
    jobs: Sequence[Job],
    total: int,
    rows: Sequence[Collected],
    folder: Path,
    log: Log,
    access: Access,
    progress: Progress,
) -> None:
    """Fetch the jobs, and log the outcome of each."""
    from closeup.collect.fetch import Fetcher, host_of
    from closeup.collect.network import Resolver, connections
    from closeup.collect.pace import Pace, Schedule
    from closeup.collect.saving import Saver

    limits = access.limits
    pace = Pace(limits)
    schedule = Schedule(pace, ((host_of(job.url), job) for job in jobs))
    resolver = Resolver(limits.jobs)
    done = total - sum(len(job.addresses) for job in jobs)
    progress("collect", done, total)

    async def work() -> None:
        nonlocal done
        while (taken := await schedule.take()) is not None:
            host, job = taken
            outcome = await fetcher.fetch(job.url)
            job.attempts += 1
            tried = job.attempts >= limits.attempts or outcome.wait > limits.longest_wait
            if outcome.again and not tried:
                schedule.again(host, job, max(outcome.wait, pace.backoff(job.attempts)))
                continue
            await saver.keep(job, outcome)
            schedule.done(host)
            done += len(job.addresses)
            progress("collect", done, total)

    async with connections(access.resolve or resolver, access.allowed, 2 * limits.jobs) as pool:
        fetcher = Fetcher(pool, pace, access.allowed, user_agent(access.contact),
                          ignore_robots=access.ignore_robots)  # fmt: skip
        with ThreadPoolExecutor(2, thread_name_prefix="closeup") as threads:
            saver = Saver(folder, rows, log, limits.max_pixels, threads)
            workers = [asyncio.create_task(work()) for _ in range(min(limits.jobs, len(jobs)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                await fetcher.close()
                resolver.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, in a thread where this one has a loop of its own, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    with contextlib.closing(loop), ThreadPoolExecutor(1) as other:
        running = other.submit(loop.run_until_complete, task)
        try:
            running.result()
        finally:
            if not running.done():  # interrupted here, not there
                loop.call_soon_threadsafe(task.cancel)
