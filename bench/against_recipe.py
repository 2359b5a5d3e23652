"""Closeup against the blog post's recipe, on the same photos and processors, in turn.

``python -m bench.against_recipe PHOTOS --keras keras/bin/python`` (see :mod:`bench.recipe.classify`
for that environment). Each round runs the recipe's and Closeup's part one after the other, and the
ratios are of each round: their median, least and largest are printed as Markdown.

What would take hours is measured in part and scaled, and only so: the recipe's detector on a few
photos; its classifier for two epochs of all close-ups, of which the first counts as it is, for it
builds the graph, and the second stands for the 24 others. (Epochs of a part of the close-ups would
not scale: checkpoints take the same time for few as for many.) Both sides' times are of whole
processes, Python's start and imports included; Closeup's are of all photos, from an empty folder,
except with the recipe's own detector, where photos are fewer, and an epoch counts by its share.
Closeup's detector stage embeds and looks for near duplicates too, for it is one pass. All networks
have random weights and run in fp32 where bf16 is not named.
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

from bench.machine import describe, usual_environment
from bench.networks import add

EPOCHS = 25
CONFIGURATIONS = [
    ("d-fine-n", "mobilenetv2", "fp32"),
    ("d-fine-n", "dinov2-s", "fp32"),
    ("faster-rcnn", "densenet121", "fp32"),
    ("faster-rcnn", "densenet121", "bf16"),
]
"""Closeup's detector, backbone and precision."""
RIVAL = "densenet121"
"""The backbone of the recipe that the whole jobs are set against."""


@dataclass(frozen=True)
class Given:
    """What is compared on: all photos, some where detectors are slow, few for the recipe's own."""

    photos: Path
    some: Path
    keras: Path
    work: Path
    few: int
    whole: bool


def ask(command: list[str]) -> tuple[dict[str, Any], float]:
    """Run a command and read the JSON that it prints; and the seconds of the whole process."""
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          env=usual_environment())  # fmt: skip
    taken = time.perf_counter() - start
    found: dict[str, Any] = json.loads(done.stdout)
    return found, taken


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


@dataclass(frozen=True)
class Linear:
    """Seconds of the recipe: what it takes for no photo, and for each."""

    start: float
    each: float

    def seconds(self, count: int) -> float:
        """For so many photos."""
        return self.start + self.each * count


def recipe_detects(given: Given) -> Linear:
    """The recipe's detector and close-ups."""
    out = tempfile.mkdtemp(dir=given.work)
    found, taken = ask([sys.executable, "-m", "bench.recipe.detect", str(given.photos), "--out",
                        out, "--weights", "random", "--limit", str(given.few)])  # fmt: skip
    each = float(found["per_photo"])
    return Linear(taken - each * found["photos"], each)


def recipe_trains(given: Given, backbone: str) -> Linear:
    """The recipe's classifier: all epochs."""
    found, taken = ask([
        str(given.keras), "-m", "bench.recipe.classify", str(given.photos), "--backbone", backbone,
        "--weights", "random", "--epochs", "2", "--scale", str(EPOCHS),
    ])  # fmt: skip
    epoch = float(found["per_epoch"])
    return Linear(taken - 2 * epoch, EPOCHS * epoch / found["images"])


def closeup_runs(given: Given, photos: Path, networks: tuple[str, str, str]) -> dict[str, float]:
    """The seconds of a whole run, by stage and in ``all``."""
    detector, backbone, precision = networks
    out = Path(tempfile.mkdtemp(dir=given.work)) / "project"
    found, taken = ask([
        sys.executable, "-m", "closeup", "run", str(photos), "--parent", "any", "--threshold", "0",
        "--detector", f"random-{detector}", "--backbone", f"random-{backbone}",
        "--precision", precision, "--out", str(out), "--json",
    ])  # fmt: skip
    shutil.rmtree(out.parent)
    started = taken - sum(found["seconds"].values())
    return {**found["seconds"], "start": started, "all": taken}


def closeup_trains(crops: Path, backbone: str, precision: str) -> float:
    """Seconds to embed the close-ups and to choose and fit a head, in a process of its own."""
    code = ("import sys; from bench.against_recipe import embed_and_fit; "
            "embed_and_fit(*sys.argv[1:])")  # fmt: skip
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(crops), f"random-{backbone}", precision],
                   check=True, stderr=subprocess.DEVNULL, env=usual_environment())  # fmt: skip
    return time.perf_counter() - start


def embed_and_fit(crops: str, backbone: str, precision: Any) -> None:
    """What the recipe's classifier stage does, as Closeup does it."""
    import numpy as np

    from closeup.core.config import EngineConfig
    from closeup.core.parallel import ordered_map
    from closeup.dataset.folds import grouped_folds
    from closeup.learn import heads
    from closeup.learn.embed import Embedder
    from closeup.networks import find
    from closeup.networks.preprocess import prepare
    from closeup.photos.reading import read_picture

    files = sorted(file for file in Path(crops).rglob("*") if file.is_file())
    labels = [file.parent.name for file in files]
    embedder = Embedder(find(backbone, "backbone"), EngineConfig(precision=precision))
    inputs = ordered_map(lambda file: prepare(read_picture(file), embedder.card.input)[0], files)
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
    total, some = (sum(1 for file in folder.rglob("*") if file.is_file())
                   for folder in (given.photos, given.some))  # fmt: skip
    stages: dict[str, list[tuple[float, float]]] = {}
    whole: dict[str, list[tuple[float, float]]] = {}
    for number in range(count):
        say(f"round {number + 1} of {count}")
        training: dict[str, Linear] = {}
        for backbone in ("densenet121", "mobilenetv2"):
            training[backbone] = recipe_trains(given, backbone)
            theirs = training[backbone].seconds(total)
            for precision in ("fp32", "bf16"):
                ours = closeup_trains(given.photos, backbone, precision)
                name = f"classifier, {backbone}, {precision}, {total} pictures, {EPOCHS} epochs"
                stages.setdefault(name, []).append((theirs, ours))
                say(f"{name}: {theirs:.1f} {ours:.1f}")
        for networks in CONFIGURATIONS if given.whole else ():
            detector, backbone, precision = networks
            slow = detector == "faster-rcnn"
            photos, n = (given.some, some) if slow else (given.photos, total)
            # The recipe's part is short, so that the machine's speed may be another: before, after.
            before = recipe_detects(given).seconds(n)
            taken = closeup_runs(given, photos, networks)
            detecting = (before + recipe_detects(given).seconds(n)) / 2
            theirs = detecting + training[RIVAL].seconds(n)
            name = f"{detector} + {backbone}, {precision}, {n} photos"
            whole.setdefault(name, []).append((theirs, taken["all"]))
            found = f"detector and crops, {detector}, {precision}, {n} photos"
            if backbone != "mobilenetv2":
                stages.setdefault(found, []).append((detecting, taken["start"] + taken["look"]))
            say(f"{name}: {theirs:.1f} {taken}")
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
    parser.add_argument("--some", type=int, default=208, help="photos for Closeup's with it")
    parser.add_argument("--classifier-only", action="store_true", help="leave the whole job out")
    given = parser.parse_args()
    for name in {name for row in CONFIGURATIONS for name in row[:2]}:
        add(name)
    print(describe())
    with tempfile.TemporaryDirectory() as work:
        some = sample(given.photos, Path(work) / "some", given.some)
        given_all = Given(given.photos, some, given.keras, Path(work), given.few,
                          not given.classifier_only)  # fmt: skip
        rounds(given_all, given.rounds, lambda line: print(line, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
