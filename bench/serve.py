"""How quickly ``closeup serve`` answers: ``python -m bench.serve [--model DIR --photos DIR]``.

Runs the command on a free port and lets 8 clients, in a process of their own, post one photo after
another; and, on the same photos and for as long, the library's own batch prediction
(``Model.predict_many``) in a process without a service. The two take turns of some seconds, so
that whatever else the machine does strikes both. Without arguments the model and the photos are
those of ``closeup demo``. Prints a Markdown table; the last column is what of the library's rate
the service reaches.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.machine import describe
from closeup.photos.kinds import photo_suffixes

MOST_PHOTOS = 400
TURN = 5.0
"""Seconds that the service and the library each get in turn."""
WARM = 3.0

_LOADED: dict[tuple[Path, Path], Any] = {}


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw: answers a second, seconds of each answer, and what failed."""

    rate: float
    seconds: tuple[float, ...]
    errors: tuple[str, ...]


def read_all(folder: Path) -> list[bytes]:
    """The photos in a folder, evenly chosen where there are many."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in photo_suffixes())
    step = max(1, len(files) // MOST_PHOTOS)
    return [file.read_bytes() for file in files[::step][:MOST_PHOTOS]]


def library(model: Path, photos: Path, seconds: float) -> float:
    """Photos a second by ``predict_many``, in whole batches over and over."""
    import closeup

    if (model, photos) not in _LOADED:
        _LOADED[model, photos] = closeup.load(model), read_all(photos)
    loaded, data = _LOADED[model, photos]
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in loaded.predict_many(data):
            done += 1
            if time.perf_counter() - began >= seconds:
                break
    return done / (time.perf_counter() - began)


def post_all(port: int, photos: Path, clients: int, seconds: float) -> Load:
    """Let `clients` threads post photos one by one for so many `seconds`."""
    data = read_all(photos)
    taken: list[float] = []
    errors: list[str] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        place = number * len(data) // clients
        while (began := time.perf_counter()) < end:
            try:
                headers = {"content-type": "image/jpeg"}
                connection.request("POST", "/predict", data[place % len(data)], headers)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    errors.append(f"{answer.status} {body[:80]!r}")
            except (OSError, http.client.HTTPException) as err:
                errors.append(repr(err))
                connection.close()
            taken.append(time.perf_counter() - began)
            place += 1
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=client, args=(k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = (len(taken) - len(errors)) / (time.perf_counter() - began)
    return Load(rate, tuple(taken), tuple(errors))


@contextmanager
def served(model: Path) -> Iterator[int]:
    """``closeup serve`` on a free port, ended as Ctrl-C ends it."""
    command = [sys.executable, "-m", "closeup", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = ""
        while "answers at" not in line:
            line = process.stderr.readline()
            if not line:
                raise SystemExit("the service did not start")
        found = re.search(r":(\d+) ", line)
        assert found is not None
        try:
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def one_round(model: Path, photos: Path, clients: int, seconds: float) -> tuple[Load, float]:
    """The service under load for so many `seconds`, in turns with the library."""
    loads, rates = [], []
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn) as asking,
        ProcessPoolExecutor(1, spawn) as own,
        served(model) as port,
    ):
        asking.submit(post_all, port, photos, clients, WARM).result()
        own.submit(library, model, photos, WARM).result()
        for _ in range(max(1, round(seconds / TURN))):
            loads.append(asking.submit(post_all, port, photos, clients, TURN).result())
            rates.append(own.submit(library, model, photos, TURN).result())
    together = Load(
        statistics.mean(load.rate for load in loads),
        tuple(taken for load in loads for taken in load.seconds),
        tuple(error for load in loads for error in load.errors),
    )
    return together, statistics.mean(rates)


def row(name: str, load: Load, rate: float) -> str:
    """One line of the table."""
    cuts = statistics.quantiles(load.seconds, n=100)
    return (
        f"| {name} | {len(load.seconds)} | {len(load.errors)} | {load.rate:.0f} | {rate:.0f} | "
        f"{cuts[49] * 1e3:.0f} | {cuts[98] * 1e3:.0f} | {load.rate / rate:.0%} |"
    )


def main() -> None:
    """Measure and print the table; exit 1 where any request failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--photos", type=Path, help="a folder of photos to ask about")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60, help="under load, in each round")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    if (args.model is None) != (args.photos is None):
        parser.error("give --model and --photos, or neither")
    print(f"{describe()}, load {os.getloadavg()[0]:.1f} before", end="\n\n", flush=True)
    print("| round | requests | errors | service, photos/s | library, photos/s | p50 ms | p99 ms | "
          "share |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        model, photos = args.model, args.photos
        if model is None:
            command = [sys.executable, "-m", "closeup", "demo", "--out", folder]
            subprocess.run(command, check=True, capture_output=True)
            model, photos = Path(folder) / "watches" / "model", Path(folder) / "photos"
        for number in range(1, args.rounds + 1):
            load, rate = one_round(model, photos, args.clients, args.seconds)
            print(row(str(number), load, rate), flush=True)
            failed.extend(load.errors)
    if failed:
        sys.exit(f"{len(failed)} requests failed, the first: {failed[0]}")


if __name__ == "__main__":
    main()
