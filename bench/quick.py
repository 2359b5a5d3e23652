"""A small benchmark in a minute or two (``make bench``), offline, with the networks that ship.

The demo's job on photos rendered for it, with its stage times; the whole demo on the photos that
ship; the pass over photos against the networks' own speed; how soon one answer comes. The full
tables and their commands: docs/performance.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.demo import closeup, run
from bench.machine import describe


def main() -> None:
    """Print the times and scores of the demo's job, then the other two."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        result = run(0, demo)
        print(describe(), end="\n\n")
        print("| stage | seconds | photos/s |\n| --- | --- | --- |")
        for stage, seconds in result["seconds"].items():
            rate = f"{result['photos'] / seconds:.0f}" if seconds > 0.05 else ""
            print(f"| {stage} | {seconds:.2f} | {rate} |")
        print(f"| all of it, as a command | {result['total_seconds']:.1f} | |")
        whole = closeup("demo", "--out", Path(folder) / "shipped")
        print(f"| `closeup demo`, on the photos that ship | {whole['total_seconds']:.1f} | |")
        test = result["test"]
        print(f"\nmacro-F1 {test['macro_f1']:.3f} on {test['n']} test close-ups\n", flush=True)
        others = {
            "floor": [demo / "photos", "--detector", "nano-clock", "--backbone", "nano-embed"],
            "latency": [demo / "watches" / "model", demo / "fresh.jpg"],
        }
        for name, words in others.items():
            command = [sys.executable, "-m", f"bench.{name}", *map(str, words)]
            subprocess.run(command, check=True)
            print()


if __name__ == "__main__":
    main()
