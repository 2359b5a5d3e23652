"""Fine-tuning against a frozen backbone: ``python -m bench.finetune PHOTOS --parent clock …``.

The photos are looked through and cut once. Then, for every backbone and split seed, a fifth is held
out, whole groups on one side; a ridge head on the frozen backbone and the fine-tuned backbone are
trained on the same rest and answer once for the same test part, each alone and both together (the
mean of their log-probabilities). Kept is the one with the higher macro-F1 on the close-ups that
were held out while fine-tuning. Prints a Markdown table. With ``--out`` the results are kept and a
run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
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
    """What one split gave: macro-F1 on the test part, and on the close-ups held out in training.

    `low` and `high` bound the gain on the test part; `both` is the two together.
    """

    backbone: str
    seed: int
    frozen: float
    tuned: float
    low: float
    high: float
    both: float
    held_frozen: float
    held_tuned: float
    norms: str
    frozen_minutes: float
    tuned_minutes: float

    @property
    def kept(self) -> str:
        """Which of the two a user is given."""
        return "tuned" if self.held_tuned > self.held_frozen else "frozen"

    @property
    def row(self) -> str:
        """One line of the table."""
        return (
            f"| {self.backbone} | {self.seed} | {self.frozen:.3f} | {self.tuned:.3f} | "
            f"{self.tuned - self.frozen:+.3f} ({self.low:+.3f} to {self.high:+.3f}) | "
            f"{self.both:.3f} | {self.held_frozen:.3f} | {self.held_tuned:.3f} | {self.kept} | "
            f"{self.norms} | {self.frozen_minutes:.1f} | {self.tuned_minutes:.1f} |"
        )


HEADER = (
    "| backbone | seed | frozen | fine-tuned | difference (95 %) | both | held out: frozen | "
    "fine-tuned | kept | norms | frozen, min | fine-tuned, min |\n" + "| --- " * 12 + "|"
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
    plain = heads.fit("ridge", vectors, labels, numbers, seed)
    frozen_minutes = (time.perf_counter() - start) / 60
    start = time.perf_counter()
    closeups = closeups_of(collection.photos, [collection.crops[row.crop_id] for row in train])
    found = finetune(network, TrainingPart(closeups, labels, numbers), config, work,
                     progress=_report(f"{network.card.name}, seed {seed}"))  # fmt: skip
    tuned_minutes = (time.perf_counter() - start) / 60
    names, groups = found.head.labels, [row.group for row in test]
    frozen = plain.head.probabilities(collection.embed(network, test))
    tuned = found.head.probabilities(collection.embed(found.network, test))
    difference = paired_difference(
        truth, _answers(frozen, names), _answers(tuned, names), groups, seed=seed
    )
    together = np.log(np.maximum(frozen, 1e-12)) + np.log(np.maximum(tuned, 1e-12))
    if plain.out_of_fold is None:
        raise SystemExit("there are too few photos to hold any out")
    held = paired_difference(
        [labels[row] for row in found.held], _answers(plain.out_of_fold[found.held], names),
        _answers(found.probabilities, names), [train[row].group for row in found.held],
    )  # fmt: skip
    both = paired_difference(truth, truth, _answers(together, names), groups).b
    return Outcome(
        network.card.name, seed, difference.a, difference.b, difference.delta.low,
        difference.delta.high, both, held.a, held.b, found.log["norms"], frozen_minutes,
        tuned_minutes,
    )  # fmt: skip


def _answers(scores: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    return [names[place] for place in scores.argmax(axis=1)]


def _report(name: str) -> Progress:
    """Each tenth of the training on stderr."""
    last = [-1]

    def report(stage: str, done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if stage == "finetune" and tenth != last[0]:
            last[0] = tenth
            print(f"{name}: {tenth * 10} %", file=sys.stderr, flush=True)

    return report


def run(given: argparse.Namespace, out: Path) -> None:
    """Print the table, line by line as the results come."""
    pairs = dict(pair.partition("=")[::2] for pair in given.set)
    print(describe(), end="\n\n")
    print(HEADER)
    collection = collect(given.photos, given.parent, given.detector, out / "project")
    outcomes = []
    for name, seed in product(given.backbone, given.seeds):
        network = find(name, "backbone")
        config = FinetuneConfig.model_validate({"seed": seed, **pairs})
        key = key_of("bench", 2, sorted(collection.photos), list(collection.crops.values()),
                     network.card.sha256, config.model_dump())  # fmt: skip
        file = out / f"{name}-{seed}-{key[:12]}.json"
        if file.exists():
            outcome = Outcome(**json.loads(file.read_text(encoding="utf8")))
        else:
            outcome = one_split(collection, network, config, seed, out / file.stem)
            file.write_text(json.dumps(asdict(outcome)), encoding="utf8")
        outcomes.append(outcome)
        print(outcome.row, flush=True)
    print()
    for name in given.backbone:
        mine = [outcome for outcome in outcomes if outcome.backbone == name]
        frozen, tuned, both = (
            np.array([getattr(o, word) for o in mine]) for word in ("frozen", "tuned", "both")
        )
        gain = tuned - frozen
        print(
            f"{name}: mean macro-F1 {frozen.mean():.3f} frozen, {tuned.mean():.3f} fine-tuned, "
            f"{both.mean():.3f} both; difference {gain.mean():+.3f}, least {gain.min():+.3f}"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--backbone", required=True, nargs="+")
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
