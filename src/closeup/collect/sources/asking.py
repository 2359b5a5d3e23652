"""Asking a service for JSON: one request at a time, at its pace, and stopping when it says so."""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any

import httpx2

from closeup.collect.contact import checked_contact, user_agent
from closeup.collect.pace import retry_after
from closeup.core.errors import SourceError, SourcePaused
from closeup.core.text import visible

ATTEMPTS = 5
LONGEST_WAIT = 600.0
"""Seconds that a service may ask to wait within a run; where it asks for more, the run stops."""
MOST_BYTES = 32 * 2**20
"""Size of an answer, unpacked. Two hundred observations of iNaturalist take up to 10 MB."""
LONGEST_ANSWER = 120.0
_DAY = 86_400.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and how often it is asked.

    `per_day` is what one run takes; where a service counts over all runs, it answers 429 itself.
    `base` is the address that paths are put behind. `later` lists codes of errors (`error.code` in
    an answer with status 200, as MediaWiki sends them) that mean: ask again in a while. `token` is
    sent to the service, and to no other host.
    """

    name: str
    base: str
    per_minute: int
    per_day: int
    later: tuple[str, ...] = ()
    token: str = field(default="", repr=False)


class Asker:
    """Asks one service, never twice at the same time, and never more often than it allows.

    `clock` gives seconds since the epoch; `sleep` waits; `chance` gives numbers from 0 to 1. Used
    in a `with` block, it closes its connection at the end.
    """

    def __init__(
        self,
        service: Service,
        contact: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.service = service
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._asked: deque[float] = deque(maxlen=service.per_day)
        headers = {"User-Agent": user_agent(checked_contact(contact)), "Accept": "application/json"}
        if service.token:
            headers["Authorization"] = f"Bearer {service.token}"
        self._client = httpx2.Client(
            headers=headers,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # takes none
            timeout=httpx2.Timeout(30.0, connect=10.0),
            trust_env=False,  # no proxy, and no password of a .netrc
            follow_redirects=True,
            max_redirects=3,
        )

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, path: str, params: Mapping[str, str | int]) -> dict[str, Any]:
        """The JSON object at `base` + `path`, after as many attempts as make sense.

        Raises `SourcePaused` where the service wants to be left alone for longer than ten minutes
        or the day's requests are used up, `SourceError` where it refuses or does not answer.
        """
        trouble = _Later("")
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait_after(attempt, trouble.seconds)
            self._take_turn()
            try:
                return self._once(path, params)
            except _Later as later:
                trouble = later
        raise SourceError(f"{self.service.name}: {trouble}, {ATTEMPTS} times; try again later")

    def _take_turn(self) -> None:
        """Wait until the service allows another request."""
        now, asked = self._clock(), self._asked
        if len(asked) == self.service.per_day and asked[0] + _DAY > now:
            self._pause(asked[0] + _DAY, f"was asked {len(asked)} times, enough for a day")
        if asked:
            wait = asked[-1] + 60.0 / self.service.per_minute - now
            if wait > 0:
                self._sleep(min(wait, 60.0))
        asked.append(self._clock())

    def _wait_after(self, attempt: int, seconds: float) -> None:
        """Wait as long as the service asked for, otherwise ever longer, and not on the beat."""
        if seconds > LONGEST_WAIT:
            self._pause(self._clock() + seconds, "asks to be left alone")
        self._sleep(max(seconds, 2.0**attempt * (0.5 + self._chance())))

    def _pause(self, until: float, why: str) -> None:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(until + 59))
        message = f"{self.service.name} {why}; run the same command again after {at} to go on"
        raise SourcePaused(message, until)

    def _once(self, path: str, params: Mapping[str, str | int]) -> dict[str, Any]:
        """One request. Raises :class:`_Later` where asking again may help."""
        started = self._clock()
        body = bytearray()
        try:
            with self._client.stream("GET", self.service.base + path, params=params) as response:
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise SourceError(f"{self.service.name}: the answer is too large")
                    if self._clock() - started > LONGEST_ANSWER:
                        raise _Later("the answer takes too long")
        except (httpx2.TooManyRedirects, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as err:
            raise SourceError(f"{self.service.name}: {_line(err)}") from err
        except httpx2.RequestError as err:
            raise _Later(f"no answer ({_line(err) or type(err).__name__})") from err
        wait = retry_after(response.headers.get("Retry-After", ""), self._clock())
        if response.status_code in _AGAIN:
            raise _Later(f"the answer is {response.status_code}", wait)
        return self._understand(response.status_code, bytes(body), wait)

    def _understand(self, status: int, body: bytes, wait: float) -> dict[str, Any]:
        """The object that an answer holds."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if status != 200:
            told = document if isinstance(document, dict) else {}
            reason = next((told[k] for k in ("detail", "error", "message") if told.get(k)), "")
            raise SourceError(f"{self.service.name} refuses: {status} {_line(reason)}".rstrip())
        if not isinstance(document, dict):
            raise _Later("the answer is no JSON object", wait)
        error = document.get("error")
        if self.service.later and isinstance(error, dict):
            if error.get("code") in self.service.later:
                raise _Later(f"the answer is '{_line(error.get('code'))}'", wait)
            raise SourceError(f"{self.service.name} refuses: {_line(error.get('info'))}")
        return document


class _Later(Exception):
    """No answer now; `seconds` is how long the service asks to wait, 0 where it does not say."""

    def __init__(self, trouble: str, seconds: float = 0.0) -> None:
        super().__init__(trouble)
        self.seconds = seconds


def _line(said: object) -> str:
    """What was said, on one line, and not endless."""
    return visible(" ".join(str(said or "").split()))[:200]
