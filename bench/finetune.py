"""Fine-tuning against a frozen backbone: ``python -m bench.finetune PHOTOS --parent clock …``.

The photos are looked through and cut once. Then, for every split seed, a fifth is held out, whole
groups on one side; a logistic head on the frozen backbone and the fine-tuned backbone are trained
on the same rest and answer once for the same test part. Prints a Markdown table. With ``--out`` the
results are kept and a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from closeup.core.config import EngineConfig, SplitConfig
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress
from closeup.core.project import Project, key_of
from closeup.core.types import Crop, Example, Floats, Photo
from closeup.dataset.duplicates import near_duplicates, signatures
from closeup.dataset.groups import group_photos
from closeup.dataset.split import folds, make_dataset
from closeup.evaluate.scores import paired_difference
from closeup.learn import heads
from closeup.learn.embed import Embedder
from closeup.learn.finetune import FinetuneConfig, TrainingPart, closeups_of, finetune
from closeup.learn.heads import Head
from closeup.networks import Network, find


@dataclass(frozen=True)
class Collection:
    """The photos and close-ups that every split draws from."""

    photos: dict[str, Photo]
    crops: dict[str, Crop]
    pairs: list[tuple[str, str]]

    def split(self, seed: int) -> tuple[list[Example], NDArray[np.int64], list[Example]]:
        """The training examples with their folds, and the test examples."""
        config = SplitConfig(seed=seed)
        photos = list(self.photos.values())
        groups = group_photos(photos, pairs=self.pairs).group_of
        rows = make_dataset(photos, list(self.crops.values()), config, groups).rows
        train, test = ([r for r in rows if r.split == side and self.crops[r.crop_id].side]
                       for side in ("train", "test"))  # fmt: skip
        return train, folds(train), test

    def embed(self, network: Network, rows: list[Example]) -> Floats:
        """What `network` gives for the rows' close-ups."""
        closeups = closeups_of(self.photos, [self.crops[row.crop_id] for row in rows])
        embedder = Embedder(network, EngineConfig())
        return np.stack(list(embedder.embed(ordered_map(lambda closeup: closeup(), closeups))))


@dataclass(frozen=True)
class Outcome:
    """What one split gave."""

    seed: int
    frozen: float
    tuned: float
    low: float
    high: float
    epochs: int
    frozen_minutes: float
    tuned_minutes: float

    @property
    def row(self) -> str:
        """One line of the table."""
        return (
            f"| {self.seed} | {self.frozen:.3f} | {self.tuned:.3f} | "
            f"{self.tuned - self.frozen:+.3f} ({self.low:+.3f} to {self.high:+.3f}) | "
            f"{self.epochs} | {self.frozen_minutes:.1f} | {self.tuned_minutes:.1f} |"
        )


def collect(photos: str, parent: str, detector: str, out: Path) -> Collection:
    """Find and cut the objects; what is in `out` already is used."""
    command = [sys.executable, "-m", "closeup", "crop", photos, "--parent", parent,
               "--detector", detector, "--out", str(out)]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    project = Project(out)
    listed, cut = project.read("photos", Photo), project.read("crops", Crop)
    if listed is None or cut is None:
        raise SystemExit(f"{out} has no table of photos or close-ups; delete it and run again")
    readable = [photo for photo in listed.rows if photo.width]
    copies = near_duplicates(readable, signatures(readable))
    pairs = [(pair.a, pair.b) for pair in copies]
    return Collection({p.id: p for p in listed.rows}, {c.id: c for c in cut.rows}, pairs)


def one_split(
    collection: Collection, network: Network, config: FinetuneConfig, seed: int, work: Path
) -> Outcome:
    """Train both on the training part of one split, and let both answer once for its test part."""
    train, numbers, test = collection.split(seed)
    labels, truth = [row.label for row in train], [row.label for row in test]
    start = time.perf_counter()
    vectors = collection.embed(network, train)
    plain = heads.fit("logistic", vectors, labels, numbers, seed).head
    frozen_minutes = (time.perf_counter() - start) / 60
    start = time.perf_counter()
    closeups = closeups_of(collection.photos, [collection.crops[row.crop_id] for row in train])
    found = finetune(network, TrainingPart(closeups, labels, numbers), config, work,
                     progress=_report(seed))  # fmt: skip
    tuned_minutes = (time.perf_counter() - start) / 60
    difference = paired_difference(
        truth,
        _answers(plain, collection.embed(network, test)),
        _answers(found.head, collection.embed(found.network, test)),
        [row.group for row in test],
        seed=seed,
    )
    return Outcome(
        seed, difference.a, difference.b, difference.delta.low, difference.delta.high,
        len(found.log["table"]), frozen_minutes, tuned_minutes,
    )  # fmt: skip


def _answers(head: Head, vectors: Floats) -> list[str]:
    return [head.labels[place] for place in head.probabilities(vectors).argmax(axis=1)]


def _report(seed: int) -> Progress:
    """Each tenth of the training on stderr."""
    last = [-1]

    def report(stage: str, done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if stage == "finetune" and tenth != last[0]:
            last[0] = tenth
            print(f"seed {seed}: {tenth * 10} %", file=sys.stderr, flush=True)

    return report


def run(given: argparse.Namespace, out: Path) -> None:
    """Print the table, line by line as the results come."""
    pairs = dict(pair.partition("=")[::2] for pair in given.set)
    network = find(given.backbone, "backbone")
    print(describe(), end="\n\n")
    print("| seed | frozen | fine-tuned | difference (95 %) | epochs | frozen, min | "
          "fine-tuned, min |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    collection = collect(given.photos, given.parent, given.detector, out / "project")
    outcomes = []
    for seed in given.seeds:
        config = FinetuneConfig.model_validate({"seed": seed, **pairs})
        key = key_of("bench", 1, sorted(collection.photos), list(collection.crops.values()),
                     network.card.sha256, config.model_dump())  # fmt: skip
        file = out / f"{given.backbone}-{seed}-{key[:12]}.json"
        if file.exists():
            outcome = Outcome(**json.loads(file.read_text(encoding="utf8")))
        else:
            work = out / file.stem
            outcome = one_split(collection, network, config, seed, work)
            file.write_text(json.dumps(asdict(outcome)), encoding="utf8")
        outcomes.append(outcome)
        print(outcome.row, flush=True)
    frozen = np.array([outcome.frozen for outcome in outcomes])
    gain = np.array([outcome.tuned for outcome in outcomes]) - frozen
    print(f"\nmean macro-F1 {frozen.mean():.3f} frozen, {(frozen + gain).mean():.3f} fine-tuned; "
          f"difference {gain.mean():+.3f}, least {gain.min():+.3f}")  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE",
                        help="settings of the fine-tuning that differ")  # fmt: skip
    parser.add_argument("--out", type=Path, help="where results are kept; else nowhere")
    given = parser.parse_args()
    if given.out is not None:
        run(given, given.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(given, Path(folder))


if __name__ == "__main__":
    main()
