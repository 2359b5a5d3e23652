"""A local server that plays a model hub's part, with its faults."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

COMMIT = "c" * 40
"""The commit that every repository is at, and what ``main`` stands for."""


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    `files` maps ``REPO/resolve/REVISION/FILE`` to content. `etag` is the hash that is stated of
    every file, in place of its SHA-256 (or of git's own, for a file that `small` names); `size` the
    length stated before a download. `break_after` is how many bytes of an answer are sent before
    the line drops (and none at all from then on, where it is `mute`); `refuse` is how many
    downloads fail outright. `gated` and `private` are repositories, mapped to the status with which
    they are refused. Where `elsewhere` is set, files are sent from that address, as the public
    hub sends large ones. `made` has the repositories that were made, and whether privately;
    uploads are taken in whole commits. `asked` lists method and range of each request, `hosts` the
    host that each was meant for, and `tokens` the credentials that came with it.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = ""
    small: tuple[str, ...] = ()
    size: int | None = None
    break_after: int | None = None
    refuse: int = 0
    ranges: bool = True
    mute: bool = False
    gated: dict[str, int] = field(default_factory=dict)
    private: dict[str, int] = field(default_factory=dict)
    elsewhere: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    made: dict[str, bool] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    def publish(self, repo: str, folder: Path, revision: str = "main") -> None:
        """Hold every file of a folder as a repository of that revision."""
        for file in folder.rglob("*"):
            if file.is_file():
                name = file.relative_to(folder).as_posix()
                self.files[f"{repo}/resolve/{revision}/{name}"] = file.read_bytes()

    def stated(self, path: str, data: bytes) -> str:
        """The hash that is stated of a file."""
        if self.etag:
            return self.etag
        if path.endswith(self.small) and self.small:
            return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub.asked.append((self.command, ""))
        hub.tokens.append(self.headers.get("Authorization", ""))
        if path == "/api/repos/create":
            asked = json.loads(sent)
            repo = f"{asked['organization']}/{asked['name']}"
            if repo in hub.private:
                return self._refuse(hub.private[repo], "")
            hub.made[repo] = asked.get("private", asked.get("visibility") == "private")
            return self._json({"url": f"{hub.url}/{repo}"})
        if path == "/api/validate-yaml":  # of a model card
            return self._json({"errors": [], "warnings": []})
        repo, _, rest = path.removeprefix("/api/models/").rpartition("/main")[0].rpartition("/")
        if rest == "preupload":
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for one in json.loads(sent)["files"]]  # fmt: skip
            return self._json({"files": files})
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                name = f"{repo}/resolve/main/{line['value']['path']}"
                hub.files[name] = base64.b64decode(line["value"]["content"])
        return self._json({"commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: bool) -> None:
        hub, wanted = self.hub, self.headers.get("Range", "")
        asked = urlsplit(self.path)  # a proxy is given the whole address
        hub.asked.append((self.command, wanted))
        hub.hosts.append(asked.netloc)
        hub.tokens.append(self.headers.get("Authorization", ""))
        path = asked.path.lstrip("/")
        repo, _, rest = path.partition("/resolve/")
        if repo in hub.gated:
            return self._refuse(hub.gated[repo], "GatedRepo")
        if repo in hub.private:
            return self._refuse(hub.private[repo], "")
        data = hub.files.get(path)
        if data is None:
            return self._refuse(404, self._missing(repo, rest.partition("/")[0]))
        if body and hub.refuse:
            hub.refuse -= 1
            return self._refuse(500, "")
        if hub.elsewhere:
            return self._send_on(f"{hub.elsewhere}/{path}", path, data)
        start = int(wanted[6:].rstrip("-")) if wanted and hub.ranges else 0
        self.send_response(206 if start else 200)
        stated = len(data) if body or hub.size is None else hub.size
        self.send_header("Content-Length", str(stated - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{hub.stated(path, data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self._send(data[start:])
        return None

    def _missing(self, repo: str, revision: str) -> str:
        held = [path.partition("/resolve/") for path in self.hub.files]
        revisions = {rest.partition("/")[0] for owner, _, rest in held if owner == repo}
        if not revisions:
            return "RepoNotFound"
        return "EntryNotFound" if revision in revisions else "RevisionNotFound"

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_on(self, place: str, path: str, data: bytes) -> None:
        self.send_response(302)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.send_header("X-Linked-Etag", f'"{self.hub.stated(path, data)}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()

    def _send(self, data: bytes) -> None:
        hub = self.hub
        if hub.break_after is None:
            self.wfile.write(data)
            return
        self.wfile.write(data[: hub.break_after])
        hub.break_after = 0 if hub.mute else None
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve on a free port of the loopback interface until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
