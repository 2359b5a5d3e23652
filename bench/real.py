"""Networks compared on your own labelled photos: ``python -m bench.real PHOTOS --parent clock …``.

Runs the whole job for every detector and backbone named (each in a project of its own, so that
nothing is shared), and again unchanged, and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import describe


def run(words: list[str]) -> tuple[dict[str, Any], float]:
    """What ``closeup run … --json`` says, and how long the process took, in seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "closeup", "run", *words, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout), time.perf_counter() - start


def main() -> None:
    """Run every combination and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detectors", nargs="+", required=True)
    parser.add_argument("--backbones", nargs="+", required=True)
    parser.add_argument("--heads", nargs="+", default=["logistic"])
    parser.add_argument("--preset", default="quick")
    given = parser.parse_args()
    print(describe(), end="\n\n")
    print("| detector | backbone | head | photos | found | macro-F1 (95 %) | end to end | "
          "seconds | again |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for detector in given.detectors:
        for backbone in given.backbones:
            for head in given.heads:
                with tempfile.TemporaryDirectory() as folder:
                    words = [given.photos, "--parent", given.parent, "--detector", detector,
                             "--backbone", backbone, "--head", head,
                             "--preset", given.preset,
                             "--out", str(Path(folder) / "project")]  # fmt: skip
                    result, first = run(words)
                    again, second = run(words)
                    if again["test"] != result["test"]:
                        raise SystemExit(f"running again changed the scores: {again['test']}")
                test = result["test"]
                print(
                    f"| {detector} | {backbone} | {head} | {result['photos']} | "
                    f"{result['detection_rate']:.3f} | {test['macro_f1']:.3f} "
                    f"({test['macro_f1_low']:.3f} to {test['macro_f1_high']:.3f}) | "
                    f"{test['macro_f1_end_to_end']:.3f} | {first:.0f} | {second:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
