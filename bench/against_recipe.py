"""Closeup against the blog post's recipe, on the same photos and processors, in turn.

``python -m bench.against_recipe PHOTOS --keras keras/bin/python`` (see :mod:`bench.recipe.classify`
for that environment). Each round runs the recipe's and Closeup's part one after the other, and the
ratios are of each round: their median, least and largest are printed as Markdown.

What would take hours is measured in part and scaled, and only so: the recipe's detector on a few
photos, its classifier for two epochs of a part of the photos (the first, which builds the graph,
counts as it is; the second stands for the others). Closeup's times are of whole processes on all
photos, from an empty folder, except with the recipe's own detector, where photos are few. All
networks have random weights and run in fp32 where bf16 is not named.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import describe
from bench.networks import add

EPOCHS = 25
CONFIGURATIONS = [
    ("d-fine-n", "mobilenetv2", "densenet121"),
    ("d-fine-n", "dinov2-s", "densenet121"),
    ("faster-rcnn", "densenet121", "densenet121"),
]
"""Closeup's detector and backbone, and the backbone of the recipe it is set against."""


@dataclass(frozen=True)
class Given:
    """What is compared on: all photos, a part for the recipe's classifier, few for its detector."""

    photos: Path
    crops: Path
    keras: Path
    work: Path
    few: int
    whole: bool


def ask(command: list[str]) -> dict[str, Any]:
    """Run a command and read the JSON that it prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sample(folder: Path, out: Path, count: int) -> Path:
    """Copy about so many pictures, evenly from every label."""
    labels = sorted(one for one in folder.iterdir() if one.is_dir())
    for label in labels:
        files = sorted(file for file in label.rglob("*") if file.is_file())
        share = max(2, round(count / len(labels)))
        (out / label.name).mkdir(parents=True)
        for file in files[:: max(1, len(files) // share)][:share]:
            shutil.copy(file, out / label.name / file.name)
    return out


def recipe_detects(given: Given) -> float:
    """The recipe's seconds for a photo."""
    out = tempfile.mkdtemp(dir=given.work)
    found = ask([sys.executable, "-m", "bench.recipe.detect", str(given.photos), "--out", out,
                 "--weights", "random", "--limit", str(given.few)])  # fmt: skip
    return float(found["per_photo"])


def recipe_trains(given: Given, backbone: str, images: int) -> float:
    """The recipe's seconds for all epochs over so many close-ups."""
    found = ask([
        str(given.keras), "-m", "bench.recipe.classify", str(given.crops), "--backbone", backbone,
        "--weights", "random", "--epochs", "2", "--scale", str(EPOCHS),
    ])  # fmt: skip
    return float(found["scaled"]["seconds"] * images / found["images"])


def closeup_runs(given: Given, photos: Path, detector: str, backbone: str) -> dict[str, float]:
    """The seconds of a whole run, by stage and in ``all``."""
    out = Path(tempfile.mkdtemp(dir=given.work)) / "project"
    start = time.perf_counter()
    found = ask([sys.executable, "-m", "closeup", "run", str(photos), "--parent", "any",
                 "--threshold", "0", "--detector", f"random-{detector}", "--backbone",
                 f"random-{backbone}", "--precision", "fp32", "--out", str(out),
                 "--json"])  # fmt: skip
    taken = {**found["seconds"], "all": time.perf_counter() - start}
    shutil.rmtree(out.parent)
    return taken


def closeup_trains(crops: Path, backbone: str, precision: str) -> float:
    """Seconds to embed the close-ups and to choose and fit a head, in a process of its own."""
    code = ("import sys; from bench.against_recipe import embed_and_fit; "
            "embed_and_fit(*sys.argv[1:])")  # fmt: skip
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(crops), f"random-{backbone}", precision],
                   check=True, stderr=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - start


def embed_and_fit(crops: str, backbone: str, precision: Any) -> None:
    """What the recipe's classifier stage does, as Closeup does it."""
    import numpy as np

    from closeup import heads
    from closeup.config import EngineConfig
    from closeup.embed import Embedder
    from closeup.folding import grouped_folds
    from closeup.images import read_picture
    from closeup.memory import keep_memory
    from closeup.parallel import ordered_map
    from closeup.preprocess import prepare
    from closeup.zoo import find

    files = sorted(file for file in Path(crops).rglob("*") if file.is_file())
    labels = [file.parent.name for file in files]
    embedder = Embedder(find(backbone, "backbone"), EngineConfig(precision=precision))
    with keep_memory():
        inputs = ordered_map(
            lambda file: prepare(read_picture(file), embedder.card.input)[0], files
        )
        vectors = np.stack(list(embedder.run(inputs)))
    folds = grouped_folds(labels, [str(file) for file in files], 5, 0)
    heads.fit("ridge", vectors, labels, folds, 0, (vectors.shape[1],))


def table(title: str, rows: dict[str, list[tuple[float, float]]]) -> None:
    """Print pairs of (recipe's, Closeup's) seconds and their ratios."""
    print(f"\n| {title} | recipe, s | Closeup, s | ratio, median (least to largest) |")
    print("| --- | --- | --- | --- |")
    for name, pairs in rows.items():
        ratios = [theirs / ours for theirs, ours in pairs]
        theirs, ours = (median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {theirs:.1f} | {ours:.1f} | {median(ratios):.1f} "
              f"({min(ratios):.1f} to {max(ratios):.1f}) |", flush=True)  # fmt: skip


def rounds(given: Given, count: int, say: Callable[[str], None]) -> None:
    """Measure in turn and print."""
    total = sum(1 for file in given.photos.rglob("*") if file.is_file())
    few = sample(given.photos, given.work / "few", 26)
    few_count = sum(1 for file in few.rglob("*") if file.is_file())
    stages: dict[str, list[tuple[float, float]]] = {}
    whole: dict[str, list[tuple[float, float]]] = {}
    for number in range(count):
        say(f"round {number + 1} of {count}")
        per_photo = recipe_detects(given) if given.whole else 0.0
        training: dict[str, float] = {}
        for backbone in ("densenet121", "mobilenetv2"):
            training[backbone] = recipe_trains(given, backbone, total)
            for precision in ("fp32", "bf16"):
                ours = closeup_trains(given.photos, backbone, precision)
                name = f"classifier, {backbone}, {precision}, {total} pictures, {EPOCHS} epochs"
                stages.setdefault(name, []).append((training[backbone], ours))
                say(f"{name}: {training[backbone]:.1f} {ours:.1f}")
        for detector, backbone, rival in CONFIGURATIONS if given.whole else ():
            slow = detector == "faster-rcnn"
            photos, n = (few, few_count) if slow else (given.photos, total)
            taken = closeup_runs(given, photos, detector, backbone)
            theirs = n * per_photo + training[rival] * n / total
            name = f"{detector} + {backbone}, {n} photos"
            whole.setdefault(name, []).append((theirs, taken["all"]))
            found = f"detector and crops, {detector}, {n} photos"
            if backbone != "mobilenetv2":
                stages.setdefault(found, []).append((n * per_photo, taken["look"]))
            say(f"{name}: {taken}")
    table("stage", stages)
    if given.whole:
        table("whole job", whole)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--keras", type=Path, required=True, help="the other environment's Python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=8, help="photos for the recipe's detector")
    parser.add_argument("--part", type=int, default=520, help="pictures for its classifier")
    parser.add_argument("--classifier-only", action="store_true", help="leave the whole job out")
    given = parser.parse_args()
    for name in {name for row in CONFIGURATIONS for name in row}:
        add(name)
    print(describe())
    with tempfile.TemporaryDirectory() as work:
        crops = sample(given.photos, Path(work) / "crops", given.part)
        given_all = Given(given.photos, crops, given.keras, Path(work), given.few,
                          not given.classifier_only)  # fmt: skip
        rounds(given_all, given.rounds, lambda line: print(line, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
