"""How soon one answer comes: ``python -m bench.latency MODEL PHOTO``.

Whole processes, cold but for what an earlier run has left: the compiled networks in the cache, and
Python's compiled modules, also where the environment tells Python to keep none.
Prints the median and the spread over several runs as Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

from bench.machine import describe, usual_environment


def taken(words: list[str]) -> float:
    """Seconds of ``closeup WORDS`` as a process."""
    command = [sys.executable, "-m", "closeup", *words]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=usual_environment())
    return time.perf_counter() - start


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("photo")
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    commands = {
        "closeup --help": ["--help"],
        "closeup predict, one photo": ["predict", given.model, given.photo],
    }
    for words in commands.values():
        taken(words)
    times = {name: sorted(taken(words) for _ in range(given.runs))
             for name, words in commands.items()}  # fmt: skip
    print(describe(), end="\n\n")
    print("| command | median, s | least to largest, s |\n| --- | --- | --- |")
    for name, runs in times.items():
        print(f"| {name} | {median(runs):.2f} | {runs[0]:.2f} to {runs[-1]:.2f} |")


if __name__ == "__main__":
    main()
