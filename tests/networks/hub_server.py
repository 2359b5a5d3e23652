"""A local server that plays a model hub's part, with its faults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    `files` maps ``REPO/resolve/REVISION/FILE`` to content; `break_after` is how many bytes of an
    answer are sent before the line drops (and none at all from then on, where it is `mute`);
    `refuse` is how many downloads fail outright.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = ""
    break_after: int | None = None
    refuse: int = 0
    ranges: bool = True
    mute: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve on a free port of the loopback interface until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            wanted = self.headers.get("Range", "")
            hub.asked.append((self.command, wanted))
            data = hub.files.get(self.path.lstrip("/"))
            if data is None or (body and hub.refuse):
                hub.refuse -= body and bool(hub.refuse)
                self.send_response(404 if data is None else 500)
                self.send_header("X-Error-Code", "EntryNotFound" if data is None else "")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(wanted[6:].rstrip("-")) if wanted and hub.ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", f'"{hub.etag or hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.end_headers()
            if body:
                self._send(data[start:])

        def _send(self, data: bytes) -> None:
            if hub.break_after is None:
                self.wfile.write(data)
                return
            self.wfile.write(data[: hub.break_after])
            hub.break_after = 0 if hub.mute else None
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
