"""Which address is asked for next, and when: no host gets more requests than it should.

A worker takes an address whose host is ready for one, so a slow host keeps nobody waiting. Each
request, also for robots.txt and after a redirect, then takes its turn at its host.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar

from closeup.collect.limits import Limits
from closeup.collect.outcome import NotFetched
from closeup.core.text import rough_duration

J = TypeVar("J")
LONGEST_DELAY = 60.0
"""Most seconds between two requests that a site's ``Crawl-delay`` gets."""


def retry_after(value: str, now: float | None = None) -> float:
    """The seconds that a header ``Retry-After`` asks to wait, given as a number or a date.

    >>> retry_after("120"), retry_after("Thu, 01 Jan 1970 00:00:10 GMT", now=3.0), retry_after("?")
    (120.0, 7.0, 0.0)
    """
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        then = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, then - (time.time() if now is None else now))


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    next: float = 0.0
    delay: float = 0.0


class Pace:
    """The turns of every host."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._hosts: dict[str, _Host] = {}

    def _host(self, host: str) -> _Host:
        if host not in self._hosts:
            self._hosts[host] = _Host(asyncio.Semaphore(self.limits.per_host))
        return self._hosts[host]

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until a host may get one more request, made in the block.

        Raises NotFetched where it has asked to be left alone for longer than is waited.
        """
        mine = self._host(host)
        async with mine.slots:
            loop = asyncio.get_running_loop()
            while (wait := mine.next - loop.time()) > 0:
                if wait > self.limits.longest_wait:
                    asked = rough_duration(wait)
                    raise NotFetched(
                        f"the site asks to wait {asked}; run again then with --retry failed"
                    )
                await asyncio.sleep(wait)
            mine.next = loop.time() + max(1 / self.limits.rate, mine.delay)
            yield

    def slow_down(self, host: str, delay: float) -> None:
        """Leave at least `delay` seconds between two requests to a host, as it asks."""
        self._host(host).delay = min(delay, LONGEST_DELAY)

    def pause(self, host: str, seconds: float) -> None:
        """Ask nothing of a host for some seconds."""
        mine = self._host(host)
        mine.next = max(mine.next, asyncio.get_running_loop().time() + seconds)

    def ready(self, host: str) -> float:
        """When a host may get its next request; at once where it will be refused anyway."""
        at = self._hosts[host].next if host in self._hosts else 0.0
        left = at - asyncio.get_running_loop().time()
        return 0.0 if left > self.limits.longest_wait else at

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt (1, 2, …): doubling, and half of it at random."""
        most: float = self.limits.backoff * 2.0 ** min(attempt - 1, 8) * 4 / 3
        return most * (0.5 + random.random() / 2)


@dataclass(slots=True)
class _Line(Generic[J]):
    """What waits for one host, and how much of it is being worked on."""

    jobs: deque[J] = field(default_factory=deque)
    busy: int = 0
    listed: bool = False


class Schedule(Generic[J]):
    """Jobs by host, handed out to workers as their hosts become ready."""

    def __init__(self, pace: Pace, jobs: Iterable[tuple[str, J]]) -> None:
        self._pace = pace
        self._lines: dict[str, _Line[J]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._left = 0
        for host, job in jobs:
            self._lines.setdefault(host, _Line()).jobs.append(job)
            self._left += 1
        for host in self._lines:
            self._list(host)

    def _list(self, host: str) -> None:
        """Enter a host for its next job, if it has one and may be asked for one more."""
        line = self._lines[host]
        if line.jobs and not line.listed and line.busy < self._pace.limits.per_host:
            line.listed = True
            heapq.heappush(self._due, (self._pace.ready(host), next(self._numbers), host))
            self._changed.set()

    async def take(self) -> tuple[str, J] | None:
        """The next host and job, as soon as there is one; None when all are done."""
        loop = asyncio.get_running_loop()
        while self._left:
            wait = None
            if self._due:
                _, _, host = self._due[0]
                at = self._pace.ready(host)  # it may have asked for a pause since
                wait = at - loop.time()
                if wait <= 0 or at > self._due[0][0]:
                    heapq.heappop(self._due)
                    line = self._lines[host]
                    line.listed = False
                    if wait > 0:
                        self._list(host)
                        continue
                    line.busy += 1
                    job = line.jobs.popleft()
                    self._list(host)
                    return host, job
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue
        return None

    def done(self, host: str) -> None:
        """A job is finished."""
        self._left -= 1
        self._lines[host].busy -= 1
        self._list(host)
        if not self._left:
            self._changed.set()

    def again(self, host: str, job: J, delay: float) -> None:
        """A job is to be handed out once more, after some seconds."""
        self._lines[host].busy -= 1
        self._list(host)
        asyncio.get_running_loop().call_later(delay, self._back, host, job)

    def _back(self, host: str, job: J) -> None:
        self._lines[host].jobs.append(job)
        self._list(host)
