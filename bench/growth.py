"""Time and memory against the number of photos: ``python -m bench.growth``.

Photos are made by :mod:`bench.crowd`, one in fifty of 12 megapixels. ``closeup run`` is timed as a
whole process; memory is the largest resident size that the system has seen of it. Prints a Markdown
table. With ``--folder`` the photos are kept for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import make
from bench.machine import describe

COUNTS = [500, 2000, 8000, 20000]


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    seconds: float
    megabytes: float
    stages: dict[str, float]


def measure(words: list[str]) -> Cost:
    """Run ``closeup WORDS --json`` in a process of its own."""
    command = [sys.executable, "-m", "closeup", *words, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"closeup {' '.join(words)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_maxrss / 1024, json.loads(said)["seconds"])


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--detector", default="nano-clock")
    parser.add_argument("--backbone", default="nano-embed")
    parser.add_argument("--folder", type=Path, help="where photos are kept; else nowhere")
    given = parser.parse_args()
    print(describe(), end="\n\n")
    print("| photos | crop, s | crop, ms a photo | crop, MB | run, s | run, ms a photo | run, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    networks = ["--parent", "clock", "--detector", given.detector]
    with tempfile.TemporaryDirectory() as scratch:
        base = given.folder or Path(scratch)
        for count in given.photos:
            photos = make(base / f"photos-{count}", count)
            with tempfile.TemporaryDirectory() as work:
                crop = measure(["crop", str(photos), *networks, "--out", f"{work}/crop"])
                run = measure(["run", str(photos), *networks, "--backbone", given.backbone,
                               "--out", f"{work}/run"])  # fmt: skip
            cells = [f"{cost.seconds:.0f} | {cost.seconds / count * 1000:.1f} | "
                     f"{cost.megabytes:.0f}" for cost in (crop, run)]  # fmt: skip
            print(f"| {count} | {' | '.join(cells)} |", flush=True)
            print(count, run.stages, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
