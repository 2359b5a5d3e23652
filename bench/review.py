"""How quickly ``closeup review`` answers: ``python -m bench.review [--photos 5000]``.

Cuts close-ups from photos that :mod:`bench.crowd` makes, runs the command on a free port, and asks
for pages of the grid, a chosen close-up, pictures, and decisions, one request after another over
one connection, as a browser does. Prints a Markdown table of milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bench.crowd import make
from bench.machine import describe
from closeup.core.project import Project
from closeup.core.types import Crop


@contextmanager
def reviewed(project: Path) -> Iterator[int]:
    """``closeup review`` on a free port, ended as Ctrl-C ends it."""
    command = [sys.executable, "-m", "closeup", "review", str(project), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r":(\d+) ", process.stderr.readline())
        if found is None:
            raise SystemExit("the command did not start")
        try:
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def requests(ids: list[str], rounds: int) -> dict[str, Callable[[int], tuple[str, str, bytes]]]:
    """What is asked for, by what it is called; each gives method, address and body of a request."""
    step = max(1, len(ids) // rounds)

    def some(number: int) -> str:
        return ids[number * step % len(ids)]

    def decide(number: int) -> bytes:
        decision = {"kind": "accept", "crops": [some(number)]}
        return json.dumps({"decision": decision}).encode()

    sorts = ["photo", "label", "suspicion", "mistake", "score", "small"]
    return {
        "first page": lambda n: ("GET", "/", b""),
        "a page further down, any order": lambda n: (
            "GET", f"/tiles?sort={sorts[n % len(sorts)]}&after={quote(some(n))}", b""
        ),
        "a page found by file name": lambda n: ("GET", f"/?words={n % 10}5.jpg", b""),
        "near duplicates": lambda n: ("GET", "/duplicates", b""),
        "a chosen close-up": lambda n: ("GET", f"/detail/{quote(some(n))}", b""),
        "a small picture, first time": lambda n: ("GET", f"/closeup/{quote(some(n))}", b""),
        "a decision, on the disk": lambda n: ("POST", "/decisions", decide(n)),
        "first page after decisions": lambda n: ("GET", "/", b""),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=60, help="requests of each kind")
    parser.add_argument("--folder", type=Path, help="where photos are kept; else nowhere")
    args = parser.parse_args()
    print(f"{describe()}, load {os.getloadavg()[0]:.1f} before", end="\n\n")
    with tempfile.TemporaryDirectory() as scratch:
        photos = make((args.folder or Path(scratch)) / f"photos-{args.photos}", args.photos, 0)
        out = Path(scratch) / "out"
        command = [sys.executable, "-m", "closeup", "crop", str(photos), "--parent", "clock",
                   "--detector", "nano-clock", "--out", str(out)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        table = Project(out).read("crops", Crop)
        assert table is not None
        ids = [crop.id for crop in table.rows if crop.side]
        print(f"{len(ids)} close-ups\n\n| request | median, ms | 99 %, ms |\n| --- | --- | --- |")
        with reviewed(out) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for name, ask in requests(ids, args.rounds).items():
                taken = [_seconds(connection, *ask(number)) for number in range(args.rounds)]
                cuts = statistics.quantiles(taken, n=100)
                print(f"| {name} | {cuts[49] * 1e3:.0f} | {cuts[98] * 1e3:.0f} |", flush=True)


def _seconds(
    connection: http.client.HTTPConnection, method: str, address: str, body: bytes
) -> float:
    began = time.perf_counter()
    headers = {"content-type": "application/json"} if body else {}
    connection.request(method, address, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{method} {address} was answered by {answer.status}: {text[:200]!r}")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
