"""The demonstration's figures and README's picture: ``python -m bench.demo [--seeds 0 1 2]``.

Prints a Markdown table: test macro-F1 on close-ups and on whole photos, with the same split,
backbone and head, for each seed (photos, split and head all change with it).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import describe


def run(seed: int, out: Path) -> dict[str, Any]:
    """What ``closeup demo --json`` says for a seed."""
    command = [sys.executable, "-m", "closeup", "demo", "--seed", str(seed), "--json", "--out", out]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def said(fresh: dict[str, Any]) -> str:
    """Whether the answer for the fresh photo is right, wrong, or withheld."""
    label = fresh["objects"][0]["label"] if fresh["objects"] else "not found"
    return {fresh["truth"]: "right", "unknown": "unknown"}.get(label, "wrong")


def row(seed: int, result: dict[str, Any]) -> str:
    """One line of the table."""
    test, gain = result["test"], result["crop_gain"]
    delta = gain["delta"]
    return (
        f"| {seed} | {result['detection_rate']:.3f} | {test['macro_f1']:.3f} "
        f"({test['macro_f1_low']:.3f} to {test['macro_f1_high']:.3f}) | {gain['a']:.3f} | "
        f"{delta['value']:+.3f} ({delta['low']:+.3f} to {delta['high']:+.3f}) | "
        f"{said(result['fresh'])} | "
        f"{result['total_seconds']:.1f} |"
    )


def main() -> None:
    """Run the demo for each seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    seeds = parser.parse_args().seeds
    print(describe(), end="\n\n")
    print("| seed | detection rate | macro-F1 on close-ups (95 %) | on whole photos | "
          "gain (95 %) | fresh photo | seconds |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            print(row(seed, run(seed, Path(folder) / "demo")), flush=True)


if __name__ == "__main__":
    main()
