"""A small benchmark in a minute or two (``make bench``): the demo once, with its stage times."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.demo import run
from bench.machine import describe


def main() -> None:
    """Run the demo and print its times and scores."""
    with tempfile.TemporaryDirectory() as folder:
        result = run(0, Path(folder) / "demo")
    print(describe(), end="\n\n")
    print("| stage | seconds | photos/s |\n| --- | --- | --- |")
    for stage, seconds in result["seconds"].items():
        rate = f"{result['photos'] / seconds:.0f}" if seconds > 0.05 else ""
        print(f"| {stage} | {seconds:.2f} | {rate} |")
    print(f"| whole demo, photos made included | {result['total_seconds']:.1f} | |")
    print(f"\nmacro-F1 {result['test']['macro_f1']:.3f} on {result['test']['n']} test close-ups")


if __name__ == "__main__":
    main()
