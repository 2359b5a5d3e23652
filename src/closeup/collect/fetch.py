"""Ask for one address: its site's robots.txt, redirects one by one, an answer within limits.

Nothing is sent but the address, a User-Agent and what is accepted: no cookie, no credentials, no
referrer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpcore2
import httpx2

from closeup.collect.content import START, Unpacker, what_else
from closeup.collect.limits import Limits
from closeup.collect.network import IsPublic, check_host
from closeup.collect.outcome import NotFetched, Outcome
from closeup.collect.pace import Pace, retry_after
from closeup.collect.record import Status
from closeup.collect.robots import MOST_BYTES, Rules, forbidden_by, parse
from closeup.core.text import rough_duration

IGNORED = "ignored"
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_Headers = Sequence[tuple[bytes, bytes]]
_Origin = tuple[bytes, bytes, int | None]
_ACCEPT = "image/avif,image/webp,image/jpeg,image/png,image/*;q=0.8,*/*;q=0.1"


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer; `body` is empty where it was not wanted."""

    status: int
    headers: _Headers
    body: bytes

    def header(self, name: str) -> str:
        return _header(self.headers, name)


def _header(headers: _Headers, name: str) -> str:
    value = next((value for key, value in headers if key.lower() == name.encode()), b"")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def checked(text: str, allowed: IsPublic, base: httpx2.URL | None = None) -> httpx2.URL:
    """An address that may be asked for; raises NotFetched where it may not, or is none."""
    try:
        url = httpx2.URL(text) if base is None else base.join(text)
        host = url.host
    except (httpx2.InvalidURL, ValueError, TypeError) as err:
        raise NotFetched("this is no valid web address") from err
    if url.scheme not in ("http", "https"):
        raise NotFetched("only http and https addresses are fetched")
    names = url.raw_host.removesuffix(b".").split(b".")
    if not all(names) or not 0 <= (url.port or 0) < 2**16:
        raise NotFetched("this is no valid web address")
    if url.userinfo:
        raise NotFetched("the address holds a name or password, which is not sent", Status.REFUSED)
    check_host(host, allowed)
    return url.copy_with(fragment=None)


class Fetcher:
    """Asks for addresses through one pool of connections, each host at its pace."""

    def __init__(
        self,
        pool: httpcore2.AsyncConnectionPool,
        pace: Pace,
        allowed: IsPublic,
        agent: str,
        *,
        ignore_robots: bool = False,
    ) -> None:
        self._pool, self._pace, self._allowed = pool, pace, allowed
        self._limits: Limits = pace.limits
        self._ignore_robots = ignore_robots
        self._agent = agent
        self._robots: dict[_Origin, asyncio.Task[Rules | NotFetched]] = {}
        self._unanswered = Counter[_Origin]()

    async def fetch(self, address: str) -> Outcome:
        """The bytes of a photo, or why there are none; what is no photo at all is told early."""
        found = Outcome(address)
        try:
            await self._follow(address, found)
        except NotFetched as err:
            found.status, found.reason = err.status, err.reason
            found.again, found.wait = err.again, err.wait
        return found

    async def _follow(self, address: str, found: Outcome) -> None:
        url = checked(address, self._allowed)
        been: set[httpx2.URL] = set()
        for _ in range(self._limits.redirects + 1):
            if url in been:
                raise NotFetched("redirects that lead in a circle")
            been.add(url)
            found.final_url, found.http_status = str(url), None
            await self._ask_robots(url, found)
            reply = await self._get(url, self._wants_photo, seen=found)
            if reply.status not in _REDIRECTS:
                found.data, found.status = reply.body, Status.SAVED
                return
            url = checked(reply.header("location"), self._allowed, url)
        raise NotFetched(f"more than {self._limits.redirects} redirects")

    def _wants_photo(self, status: int, headers: _Headers) -> int:
        """How many bytes of an answer are wanted; raises NotFetched where it is no photo."""
        if status in _REDIRECTS:
            if not _header(headers, "location"):
                raise NotFetched("a redirect that leads nowhere")
            return 0
        if status != HTTPStatus.OK:
            raise NotFetched(
                _named(status), again=status in _PASSING, wait=self._wait(status, headers)
            )
        if not self._ignore_robots and (directive := forbidden_by(headers)):
            raise NotFetched(f"the site forbids this use of the photo ({directive})",
                             Status.REFUSED)  # fmt: skip
        return self._limits.max_bytes

    def _wait(self, status: int, headers: _Headers) -> float:
        """The seconds for which a host is left alone, as it asks or where it has had enough."""
        asked = retry_after(_header(headers, "retry-after")) if status in (429, 503) else 0.0
        return asked or (self._pace.backoff(2) if status == 429 else 0.0)

    async def _get(
        self,
        url: httpx2.URL,
        wanted: Callable[[int, _Headers], int],
        *,
        seen: Outcome | None = None,
        cut: bool = False,
    ) -> _Reply:
        """One request in its turn.

        What is longer than wanted is no photo, or with `cut` is read so far.
        """
        limits = self._limits
        waits = {"connect": limits.connect, "read": limits.read, "write": limits.read}
        headers = [("User-Agent", self._agent), ("Accept", _ACCEPT),
                   ("Accept-Encoding", "identity")]  # fmt: skip
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port,
                               target=url.raw_path)  # fmt: skip
        async with self._pace.turn(url.host):
            try:
                async with (
                    asyncio.timeout(limits.total),
                    self._pool.stream(
                        "GET", target, headers=headers, extensions={"timeout": waits}
                    ) as answer,
                ):
                    if seen is not None:
                        seen.http_status = answer.status
                    most = wanted(answer.status, answer.headers)
                    body = await _body(answer, most, cut) if most else b""
                    return _Reply(answer.status, answer.headers, body)
            except NotFetched as err:
                if err.wait:
                    self._pace.pause(url.host, err.wait)
                raise
            except TimeoutError as err:
                raise NotFetched(f"not complete after {rough_duration(limits.total)}") from err
            except (*_NETWORK, OSError) as err:
                raise _why(err, limits) from err

    async def _ask_robots(self, url: httpx2.URL, found: Outcome) -> None:
        """Raise NotFetched where the site's robots.txt says so, or cannot be read."""
        if self._ignore_robots:
            found.robots = IGNORED
            return
        origin = (url.raw_scheme, url.raw_host, url.port)
        if origin not in self._robots:
            self._robots[origin] = asyncio.create_task(self._read_robots(url, origin))
        rules = await asyncio.shield(self._robots[origin])
        if isinstance(rules, NotFetched):
            found.robots = "" if rules.status is Status.REFUSED else "unreachable"
            raise rules.copy()
        found.robots = "allowed" if rules.known else "absent"
        if not rules.allows(url.raw_path.decode("ascii")):
            found.robots = "disallowed"
            raise NotFetched("robots.txt forbids it", Status.REFUSED)

    async def _read_robots(self, url: httpx2.URL, origin: _Origin) -> Rules | NotFetched:
        """The rules of a site; where it does not answer, it is left alone for a while."""
        try:
            rules = await self._robots_of(url)
        except NotFetched as err:
            if err.status is Status.REFUSED:
                return err
            self._unanswered[origin] += 1
            again = err.again and self._unanswered[origin] < self._limits.attempts
            if again:
                del self._robots[origin]
                self._pace.pause(url.host, self._pace.backoff(self._unanswered[origin]))
            return NotFetched(err.reason, again=again, wait=err.wait)
        self._pace.slow_down(url.host, rules.delay)
        return rules

    async def _robots_of(self, url: httpx2.URL) -> Rules:
        where, location = url.copy_with(raw_path=b"/robots.txt"), ""
        for hop in range(6):
            try:
                if location:
                    where = checked(location, self._allowed, where)
                reply = await self._get(where, _wants_robots, cut=True)
            except NotFetched as err:
                if hop and err.status is Status.REFUSED:
                    raise NotFetched("robots.txt leads to an address that is refused") from err
                raise
            if reply.status == HTTPStatus.OK:
                return parse(reply.body.decode("utf-8", errors="replace"))
            location = reply.header("location") if reply.status in _REDIRECTS else ""
            if not location:
                break
        return Rules(known=False)

    async def close(self) -> None:
        """Give up what is still being asked."""
        for task in self._robots.values():
            task.cancel()
        await asyncio.gather(*self._robots.values(), return_exceptions=True)


_NETWORK = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    httpcore2.ConnectionNotAvailable,
)


def _named(status: int) -> str:
    try:
        return f"the server answers {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"the server answers {status}"


def _why(err: Exception, limits: Limits) -> NotFetched:
    """A failed connection as a sentence; all but protocol errors of ours may pass."""
    if isinstance(err, httpcore2.ConnectTimeout):
        return NotFetched(f"no connection within {rough_duration(limits.connect)}", again=True)
    if isinstance(err, httpcore2.TimeoutException):
        return NotFetched(f"nothing more came for {rough_duration(limits.read)}", again=True)
    if isinstance(err, httpcore2.ConnectError):
        text = str(err)
        if "certificate" in text.lower():
            return NotFetched("the site's certificate is not valid")
        return NotFetched("no connection to the server", again=True)
    if isinstance(err, httpcore2.LocalProtocolError | httpcore2.UnsupportedProtocol):
        return NotFetched("this is no valid web address")
    if isinstance(err, httpcore2.RemoteProtocolError) and "without sending complete" in str(err):
        return NotFetched("the answer ended too early", again=True)
    if isinstance(err, httpcore2.RemoteProtocolError):
        return NotFetched("the server's answer is not proper HTTP", again=True)
    return NotFetched("the connection broke", again=True)


def _wants_robots(status: int, headers: _Headers) -> int:
    """RFC 9309: what the server cannot say forbids all, what it does not have allows all."""
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
        wait = retry_after(_header(headers, "retry-after"))
        raise NotFetched(f"robots.txt cannot be read: {_named(status)}", again=True, wait=wait)
    return MOST_BYTES if status == HTTPStatus.OK else 0


async def _body(answer: httpcore2.Response, most: int, cut: bool) -> bytes:
    """The body of an answer, unpacked, of at most `most` bytes."""
    large = NotFetched(f"larger than {most / 1e6:g} MB")
    length = _header(answer.headers, "content-length")
    if not cut and length.isascii() and length.isdecimal() and int(length[:20]) > most:
        raise large
    unpack = Unpacker(_header(answer.headers, "content-encoding"), most)
    body = bytearray()
    looked = False
    async for piece in answer.aiter_stream():
        body += unpack(piece)
        if len(body) > most:
            if cut:
                return bytes(body[:most])
            raise large
        if not cut and not looked and len(body) >= START:
            looked = True
            if what := what_else(bytes(body[:START])):
                raise NotFetched(f"this is {what}, not a photo")
    return bytes(body)


def host_of(address: str) -> str:
    """The host of an address, by which requests are paced; ``""`` where it is no address."""
    try:
        return httpx2.URL(address).host
    except (httpx2.InvalidURL, ValueError, TypeError):
        return ""
