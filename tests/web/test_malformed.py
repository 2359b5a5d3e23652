"""Two hundred malformed requests of twenty-one kinds: each is refused, and the service lives on."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from closeup.model.model import Model
from closeup.web.serve.app import make_serve_app
from closeup.web.serve.uploads import UploadLimits
from tests.web.conftest import CONFIG, running

Draw = random.Random
Make = Callable[[Draw, str, bytes], bytes]
FORM = "multipart/form-data; boundary=B"


def request(host: str, body: bytes, *lines: str, first: str = "POST /predict HTTP/1.1") -> bytes:
    """A request as it goes over the wire, its length given unless `lines` say otherwise."""
    said = [first, f"Host: {host}", "Connection: close", *lines]
    if not any(line.lower().startswith(("content-length", "transfer")) for line in lines):
        said.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*said, "", ""]).encode("latin-1") + body


def part(head: str, body: bytes, end: bytes = b"--B--\r\n") -> bytes:
    return b"--B\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n" + end


FILE = 'Content-Disposition: form-data; name="photo"; filename="a.png"'
PNG = "Content-Type: image/png"
KINDS: dict[str, Make] = {
    "no body": lambda d, h, p: request(h, b"", PNG),
    "noise": lambda d, h, p: request(h, d.randbytes(d.randrange(1, 500)), PNG),
    "noise behind a PNG header": lambda d, h, p: request(h, p[:16] + d.randbytes(99), PNG),
    "cut": lambda d, h, p: request(h, p[: d.randrange(9, len(p) * 2 // 3)], PNG),
    "text": lambda d, h, p: request(h, b"photo", "Content-Type: text/plain"),
    "JSON": lambda d, h, p: request(h, b'{"photo": 1}', "Content-Type: application/json"),
    "type of noise": lambda d, h, p: request(h, p, f"Content-Type: {d.randbytes(9).hex()}"),
    "form without boundary": lambda d, h, p: request(h, p, "Content-Type: multipart/form-data"),
    "form of noise": lambda d, h, p: request(h, d.randbytes(200), f"Content-Type: {FORM}"),
    "form in an odd encoding": lambda d, h, p: request(
        h, part(FILE.replace("a.png", r"\ud800.png"), p), f"Content-Type: {FORM}; charset="
        + d.choice(["undefined", "unicode_escape", "utf-16", "idna", "none", "\xff"])
    ),
    "empty form": lambda d, h, p: request(h, b"--B--\r\n", f"Content-Type: {FORM}"),
    "form without a file": lambda d, h, p: request(
        h, part('Content-Disposition: form-data; name="photo"', b"x"), f"Content-Type: {FORM}"
    ),
    "part without a name": lambda d, h, p: request(h, part(PNG, p), f"Content-Type: {FORM}"),
    "file of noise": lambda d, h, p: request(
        h, part(FILE, d.randbytes(50)), f"Content-Type: {FORM}"
    ),
    "many files": lambda d, h, p: request(
        h, part(FILE, b"x", b"") * d.randrange(33, 60) + b"--B--\r\n", f"Content-Type: {FORM}"
    ),
    "too long by its header": lambda d, h, p: request(h, b"", PNG, f"Content-Length: {10**9}"),
    "no length": lambda d, h, p: request(h, b"", PNG, f"Content-Length: {d.randbytes(3).hex()}x"),
    "bad chunks": lambda d, h, p: request(h, b"zz\r\nabc\r\n", "Transfer-Encoding: chunked"),
    "wrong parameter": lambda d, h, p: request(
        h, p, PNG, first=f"POST /predict?draw={d.randbytes(3).hex()}z HTTP/1.1"
    ),
    "wrong method": lambda d, h, p: request(
        h, p, first=f"{d.choice(['PUT', 'DELETE', 'PATCH', 'BREW'])} /predict HTTP/1.1"
    ),
    "no request": lambda d, h, p: d.randbytes(40).replace(b"\n", b"") + b"\r\n\r\n",
}  # fmt: skip


def send(url: str, data: bytes) -> bytes:
    """The status line that comes back."""
    place = urlsplit(url)
    assert place.hostname
    assert place.port
    with socket.create_connection((place.hostname, place.port), 20) as raw:
        raw.sendall(data)
        answer = b""
        while b"\r\n" not in answer and (more := raw.recv(4096)):
            answer += more
    return answer.partition(b"\r\n")[0]


def test_malformed_requests_are_refused_and_survived(model: Model, photo: Path) -> None:
    draw = random.Random(0)
    whole = photo.read_bytes()
    assert len(KINDS) == 21
    config = replace(CONFIG, uploads=UploadLimits(seconds=5))
    with running(make_serve_app(model, config)) as (url, _):
        host = urlsplit(url).netloc
        for name, make in KINDS.items():
            for _ in range(10):
                status = send(url, make(draw, host, whole))
                assert status.startswith(b"HTTP/1.1 4"), (name, status)
        said = httpx2.post(f"{url}/predict", content=whole, headers={"content-type": "image/png"})
        assert said.status_code == 200
