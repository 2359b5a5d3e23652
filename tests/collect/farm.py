"""Many web sites on one port of this machine: good photos, and every kind of trouble.

A name that ends in ``.test`` is one of them; the resolver below knows no other. What a site is
asked for is recorded with its time, so that tests see what the server saw.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache

import numpy as np
from PIL import Image

PRIVATE = "10.0.0.1"
LARGEST = 100_000
"""Most bytes of a photo that the tests allow."""


@cache
def photo(seed: int, kind: str = "JPEG") -> bytes:
    """A small photo, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(coarse).resize((32, 24)).save(sink, kind)
    return sink.getvalue()


def own(request: Request, kind: str = "JPEG") -> bytes:
    """The photo at this place, like no other."""
    return photo(zlib.crc32(f"{request.host}{request.path}".encode()), kind)


@dataclass(frozen=True)
class Request:
    """What a site was asked for, and when that began and ended."""

    host: str
    path: str
    headers: dict[str, str]
    began: float


@dataclass
class Asked:
    """What all sites were asked for."""

    requests: list[Request] = field(default_factory=list)
    busy: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    def paths(self, host: str) -> list[str]:
        return [one.path for one in self.requests if one.host == host]

    def times(self, path: str) -> int:
        return sum(one.path == path for one in self.requests)


async def resolve(host: str, port: int) -> list[str]:
    """The farm's own name service."""
    if host.startswith("private"):
        return [PRIVATE]
    if host.startswith("mixed"):
        return [PRIVATE, "127.0.0.1"]
    if not host.endswith(".test") or host.startswith("unknown"):
        raise OSError("no such host")
    return ["127.0.0.1"]


def allowed(address: str) -> bool:
    """The farm stands for the internet; everything else here is private."""
    return address == "127.0.0.1"


Writer = asyncio.StreamWriter
Trouble = Callable[["Farm", Request, Writer], Awaitable[None]]
_TROUBLES: dict[str, Trouble] = {}


def trouble(function: Trouble) -> Trouble:
    """Answer ``/NAME/…`` by the function of this name."""
    _TROUBLES[function.__name__.replace("_", "-")] = function
    return function


def head(status: str, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def answer(writer: Writer, body: bytes, status: str = "200 OK", *headers: str) -> None:
    writer.write(head(status, *headers, length=len(body)) + body)


class Farm:
    """The server, in a thread of its own."""

    def __init__(self) -> None:
        self.asked = Asked()
        self.port = 0
        self.answers: dict[str, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def url(self, path: str, host: str = "a.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._client, "127.0.0.1", 0, backlog=500)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            while data := await reader.readuntil(b"\r\n\r\n"):
                if not await self._answer(data.decode("latin-1"), reader, writer):
                    break
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, text: str, reader: asyncio.StreamReader, writer: Writer) -> bool:
        """Answer one request; whether the connection goes on."""
        first, *lines = text.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in
                   (line.partition(":") for line in lines)}  # fmt: skip
        host = headers["host"].partition(":")[0]
        request = Request(host, first.split()[1], headers, time.monotonic())
        asked = self.asked
        asked.requests.append(request)
        await asyncio.sleep(0.002)  # until it is noticed which connections have just been closed
        for name in (host, ""):
            asked.busy[name] += 1
            asked.most[name] = max(asked.most[name], asked.busy[name])
        try:
            known = self.answers.get(request.path)
            if known is not None:
                answer(writer, known)
                return True
            name = request.path.split("/")[1].partition("?")[0]
            if name == "robots.txt":
                return await self._robots(request, writer)
            if name in _TROUBLES:
                work = asyncio.ensure_future(_TROUBLES[name](self, request, writer))
                if name in _GOES_ON:
                    await work
                    return True
                # Until the client has had enough.
                gone = asyncio.ensure_future(reader.read())
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                for task in (work, gone):
                    task.cancel()
                await asyncio.gather(work, gone, return_exceptions=True)
                return False
            answer(writer, own(request), "200 OK", "Content-Type: image/jpeg")
            return True
        finally:
            for name in (host, ""):
                asked.busy[name] -= 1

    async def _robots(self, request: Request, writer: Writer) -> bool:
        host = request.host
        if host.startswith("norobots"):
            answer(writer, b"", "404 Not Found")
        elif host.startswith("sick"):
            answer(writer, b"", "503 Service Unavailable")
        elif host.startswith("closed"):
            answer(writer, b"User-agent: *\nDisallow: /\n")
        elif host.startswith("huge"):
            answer(writer, b"User-agent: *\nDisallow: /no\n" + b"# much\n" * 200_000)
        elif host.startswith("astray"):
            answer(writer, b"", "301 Moved", f"Location: {self.url('/robots.txt', 'private.test')}")
        elif host.startswith("nowhere"):
            answer(writer, b"", "301 Moved")
        elif host.startswith("moved"):
            answer(writer, b"", "301 Moved", f"Location: {self.url('/other-robots', 'a.test')}")
        else:
            answer(writer, b"User-agent: *\nDisallow: /forbidden\nAllow: /forbidden/but-not-this\n")
        return True

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()


@contextmanager
def farm() -> Iterator[Farm]:
    """A farm that runs while the block does."""
    running = Farm()
    running.start()
    try:
        yield running
    finally:
        running.stop()


_GOES_ON = {"flaky", "busy", "busy-date", "cookie", "redirect", "gzip", "chunked", "slow", "png"}
_seen: dict[int, Counter[str]] = defaultdict(Counter)


def _first_time(site: Farm, request: Request) -> bool:
    return site.asked.times(request.path) == 1


def status_only(status: str) -> Trouble:
    async def say(site: Farm, request: Request, writer: Writer) -> None:
        answer(writer, b"sorry", status)

    return say


for _code in ("204 No Content", "206 Partial Content", "403 Forbidden", "404 Not Found",
              "410 Gone", "418 Teapot", "500 Oops"):  # fmt: skip
    _TROUBLES[f"status-{_code[:3]}"] = status_only(_code)


def content_only(body: bytes, *headers: str) -> Trouble:
    async def say(site: Farm, request: Request, writer: Writer) -> None:
        answer(writer, body, "200 OK", *headers)

    return say


def _pixel_bomb() -> bytes:
    """The header of a PNG of 40,000 x 40,000 pixels."""
    data = bytearray(photo(1, "PNG"))
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


_HTML = b"<!DOCTYPE html><html><body>" + b"log in first " * 200
_TROUBLES |= {
    "html": content_only(_HTML, "Content-Type: image/jpeg"),
    "xhtml": content_only(b"<?xml version='1.0'?>\n<html>hello</html>"),
    "svg": content_only(b"<?xml version='1.0'?><!-- x --><svg xmlns='x'/>"),
    "zip": content_only(b"PK\x03\x04" + bytes(2000)),
    "pdf": content_only(b"%PDF-1.7" + bytes(2000)),
    "json": content_only(b'{"error": "no"}'),
    "text": content_only(b"plain words"),
    "empty": content_only(b""),
    "half-a-jpeg": content_only(photo(2)[:300]),
    "noise": content_only(np.random.default_rng(0).bytes(5000)),
    "ico": content_only(photo(3, "ICO")),
    "pixel-bomb": content_only(_pixel_bomb()),
    "large": content_only(photo(4) + bytes(2 * LARGEST)),
    "noai": content_only(photo(5), "X-Robots-Tag: max-snippet:1, noai"),
    "noimageai": content_only(photo(6), "X-Robots-Tag: closeup: noimageai"),
    "noindex": content_only(photo(7), "X-Robots-Tag: googlebot: nofollow", "x-robots-tag: none"),
    "tdm": content_only(photo(8), "TDM-Reservation: 1"),
    "br": content_only(b"xyz" * 99, "Content-Encoding: br"),
    "gzip-bomb": content_only(gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip"),
    "gzip-broken": content_only(b"\x1f\x8b" + bytes(99), "Content-Encoding: gzip"),
}


@trouble
async def otherbot(site: Farm, request: Request, writer: Writer) -> None:
    body = own(request)
    answer(writer, body, "200 OK", "X-Robots-Tag: otherbot: noai, noindex")


@trouble
async def gzip_(site: Farm, request: Request, writer: Writer) -> None:
    answer(writer, gzip.compress(own(request)), "200 OK", "Content-Encoding: gzip")


_TROUBLES["gzip"] = _TROUBLES.pop("gzip-")


@trouble
async def png(site: Farm, request: Request, writer: Writer) -> None:
    answer(writer, own(request, "PNG"), "200 OK", "Content-Type: text/plain")


@trouble
async def flaky(site: Farm, request: Request, writer: Writer) -> None:
    if _first_time(site, request):
        answer(writer, b"", "502 Bad Gateway")
    else:
        answer(writer, own(request))


@trouble
async def busy(site: Farm, request: Request, writer: Writer) -> None:
    if _first_time(site, request):
        answer(writer, b"", "429 Too Many Requests", "Retry-After: 1")
    else:
        answer(writer, own(request))


@trouble
async def busy_date(site: Farm, request: Request, writer: Writer) -> None:
    if _first_time(site, request):
        then = formatdate(time.time() + 2, usegmt=True)
        answer(writer, b"", "503 Service Unavailable", f"Retry-After: {then}")
    else:
        answer(writer, own(request))


@trouble
async def come_tomorrow(site: Farm, request: Request, writer: Writer) -> None:
    answer(writer, b"", "429 Too Many Requests", "Retry-After: 86400")


@trouble
async def slow(site: Farm, request: Request, writer: Writer) -> None:
    body = own(request)
    writer.write(head("200 OK", length=len(body)))
    for at in range(0, len(body), 200):
        writer.write(body[at : at + 200])
        await asyncio.sleep(0.02)


@trouble
async def silent(site: Farm, request: Request, writer: Writer) -> None:
    await asyncio.sleep(60)


@trouble
async def drip(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(head("200 OK") + photo(9))
    while True:
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.1)


@trouble
async def endless(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(head("200 OK") + photo(10))
    while True:
        writer.write(bytes(10_000))
        await writer.drain()


@trouble
async def informational(site: Farm, request: Request, writer: Writer) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@trouble
async def truncated(site: Farm, request: Request, writer: Writer) -> None:
    body = photo(11)
    writer.write(head("200 OK", length=len(body) + 500) + body)


@trouble
async def too_short(site: Farm, request: Request, writer: Writer) -> None:
    body = photo(12)
    writer.write(head("200 OK", length=len(body) - 300) + body)


@trouble
async def lying_length(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(head("200 OK", length=10**12) + photo(13))


@trouble
async def reset(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(head("200 OK", length=5000) + photo(14)[:100])
    await writer.drain()
    transport = writer.transport
    transport.abort()


@trouble
async def hang_up(site: Farm, request: Request, writer: Writer) -> None:
    writer.close()


@trouble
async def garbage(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(b"\x00\x01SSH-2.0-nothing\r\n\r\n")


@trouble
async def header_flood(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"y" * 5000 + b"\r\n")
        await writer.drain()


@trouble
async def broken_chunks(site: Farm, request: Request, writer: Writer) -> None:
    writer.write(head("200 OK", "Transfer-Encoding: chunked") + b"zz\r\nhello\r\n")


@trouble
async def chunked(site: Farm, request: Request, writer: Writer) -> None:
    body = own(request)
    writer.write(head("200 OK", "Transfer-Encoding: chunked"))
    for at in range(0, len(body), 100):
        piece = body[at : at + 100]
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    writer.write(b"0\r\n\r\n")


@trouble
async def cookie(site: Farm, request: Request, writer: Writer) -> None:
    answer(writer, own(request), "200 OK", "Set-Cookie: who=you; Path=/")


def _to(location: Callable[[Farm, Request], str]) -> Trouble:
    async def redirect(site: Farm, request: Request, writer: Writer) -> None:
        answer(writer, b"", "302 Found", f"Location: {location(site, request)}")

    return redirect


_TROUBLES |= {
    "redirect": _to(lambda site, request: f"/good{request.path}"),
    "elsewhere": _to(lambda site, request: site.url(f"/good{request.path}", "b.test")),
    "loop": _to(lambda site, request: request.path),
    "chain": _to(lambda site, request: f"{request.path}/x"),
    "to-private": _to(lambda site, request: site.url("/secret", "private.test")),
    "to-metadata": _to(lambda site, request: "http://169.254.169.254/latest/meta-data/"),
    "to-localhost": _to(lambda site, request: f"http://localhost:{site.port}/secret"),
    "to-file": _to(lambda site, request: "file:///etc/passwd"),
    "to-data": _to(lambda site, request: "data:image/png;base64,AAAA"),
    "to-script": _to(lambda site, request: "javascript:alert(1)"),
    "to-mapped": _to(lambda site, request: f"http://[::ffff:7f00:1]:{site.port}/secret"),
    "to-port": _to(lambda site, request: "http://a.test:99999/x.jpg"),
    "to-umlaut": _to(lambda site, request: f"/ü{request.path}"),
    "to-user": _to(lambda site, request: f"http://me:pw@b.test:{site.port}/x.jpg"),
    "to-forbidden": _to(lambda site, request: "/forbidden/x.jpg"),
    "to-closed": _to(lambda site, request: site.url("/x.jpg", "closed.test")),
    "to-nonsense": _to(lambda site, request: "http://[nonsense"),
}


@trouble
async def to_nowhere(site: Farm, request: Request, writer: Writer) -> None:
    answer(writer, b"", "302 Found")


@trouble
async def other_robots(site: Farm, request: Request, writer: Writer) -> None:
    answer(writer, b"User-agent: closeup\nDisallow: /private\n")
