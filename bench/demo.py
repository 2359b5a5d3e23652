"""The demo's figures on other photos: ``python -m bench.demo [--seeds 0 1 2]``.

Renders 200 photos for each seed (``tools/render``) and runs ``closeup run`` on them as the demo
does on those that ship. Prints a Markdown table: test macro-F1 on close-ups and on whole photos,
with the same split, backbone and head (photos, split and head all change with the seed).
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
from closeup.cli.demo import BACKBONE, DETECTOR
from tools.render.photos import write_fresh_photo, write_photos
from tools.render.scenes import MAKERS


def closeup(*words: object) -> dict[str, Any]:
    """What a command says as JSON."""
    command = [sys.executable, "-m", "closeup", *map(str, words), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run(seed: int, out: Path) -> dict[str, Any]:
    """What ``closeup run --json`` says for a seed's photos, and the model of a fresh one."""
    maker = MAKERS[seed % len(MAKERS)]
    write_photos(out / "photos", seed=seed)
    write_fresh_photo(out / "fresh.jpg", maker=maker, seed=seed)
    start = time.perf_counter()
    result = closeup(
        "run", out / "photos", "--out", out / "watches", "--parent", "clock", "--detector",
        DETECTOR, "--backbone", BACKBONE, "--compare-photo", "--seed", seed,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    fresh = closeup("predict", out / "watches" / "model", out / "fresh.jpg")
    return result | {"fresh": fresh | {"truth": maker}, "total_seconds": seconds}


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
    """Render and run for each seed, and print the table."""
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
