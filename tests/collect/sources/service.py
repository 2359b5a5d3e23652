"""A local server that plays a service's answers, and a clock that only sleeping moves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ANSWERS = Path(__file__).parent / "answers"


@dataclass
class Clock:
    """Seconds since the epoch; whoever sleeps moves them, so a day passes in no time."""

    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@dataclass(frozen=True)
class Request:
    """What the server was asked, and when."""

    at: float
    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What the server answers: JSON, or bytes as they are."""

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Play = Callable[[Request, int], Answer]
"""The answer to a request, given how many came before it."""


@dataclass
class Server:
    """A service that is played: its address and what it was asked."""

    base: str
    clock: Clock
    asked: list[Request] = field(default_factory=list)
    most_at_once: int = 0

    def most_within(self, seconds: float) -> int:
        """The most requests within any span of so many seconds."""
        times = [request.at for request in self.asked]
        return max(
            sum(1 for at in times if start <= at < start + seconds - 1e-6) for start in times
        )


@contextmanager
def playing(play: Play, clock: Clock | None = None) -> Iterator[Server]:
    """Serve on loopback for the duration of the block."""
    clock = clock or Clock()
    lock, open_now = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16  # an answer in one piece

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            params = dict(parse_qsl(parts.query, keep_blank_values=True))
            request = Request(clock(), parts.path, params, dict(self.headers.items()))
            with lock:
                open_now[0] += 1
                server.most_at_once = max(server.most_at_once, open_now[0])
                before = len(server.asked)
                server.asked.append(request)
            answer = play(request, before)
            self.send_response(answer.status)
            for name, value in ({"Content-Type": "application/json"} | answer.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)
            with lock:
                open_now[0] -= 1

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server = Server(f"http://127.0.0.1:{httpd.server_port}", clock)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def recorded(name: str) -> Play:
    """Play the exchanges of a file: the first whose path and parameters are those asked for."""
    exchanges: list[dict[str, Any]] = json.loads((ANSWERS / f"{name}.json").read_text("utf8"))

    def play(request: Request, _: int) -> Answer:
        for exchange in exchanges:
            wanted = exchange["params"].items()
            if request.path == exchange["path"] and wanted <= request.params.items():
                return Answer(exchange["answer"])
        return Answer({"detail": f"not recorded: {request.path} {request.params}"}, 404)

    return play
