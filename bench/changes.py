"""What changes to a project do to its split: ``python -m bench.changes PHOTOS --parent clock …``.

Trains on all photos but six, then makes one change at a time, each to a copy of that project, and
trains again. Prints a Markdown table: the test photos before, how many of them still exist, how
many are in the test part of both, what it would be had the split been drawn anew, which photos
moved, how many training photos changed their fold, and the difference in macro-F1 on the test
photos of both, paired.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

import closeup
from bench.machine import describe
from closeup.core.config import PhotosConfig
from closeup.core.project import Project
from closeup.core.types import Box, Crop, Example, Photo, Result
from closeup.dataset.split import make_dataset
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.evaluate.scores import paired_difference
from closeup.photos.listing import collect

SPARE = 6  # photos kept back, to be added as new ones


@dataclass(frozen=True)
class State:
    """A project after a run; photos by the hash of their content."""

    photos: dict[str, Photo]
    crops: dict[str, Crop]
    examples: dict[str, Example]
    answers: dict[str, Result]
    drawn_anew: set[str]

    @classmethod
    def of(cls, out: Path) -> State:
        """What the tables hold."""
        project = Project(out)
        photos, crops, examples, results = (
            table.rows
            for name, row in (("photos", Photo), ("crops", Crop), ("dataset", Example),
                              ("results", Result))
            if (table := project.read(name, row))
        )  # fmt: skip
        sha = {photo.id: photo.sha256 for photo in photos}
        groups = {row.photo_id: row.group for row in examples}
        anew = make_dataset(photos, crops, project.config().split, groups).rows
        return cls(
            {photo.sha256: photo for photo in photos},
            {sha[crop.photo_id]: crop for crop in crops},
            {sha[row.photo_id]: row for row in examples},
            {sha[row.photo_id]: row for row in results},
            {sha[row.photo_id] for row in anew if row.split == "test"},
        )

    def side(self, name: str) -> dict[str, Example]:
        """Those of one part of the split."""
        return {sha: row for sha, row in self.examples.items() if row.split == name}


@dataclass
class World:
    """A folder of photos and its project, to be changed.

    `spare` photos are not in it yet; each with the folder that it comes from.
    """

    work: Path
    before: State
    spare: list[tuple[Path, str]]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The photos."""
        return self.work / "photos"

    def one(self, side: str) -> Photo:
        """A photo of a part that shares its group with none and has several of its label."""
        rows = self.before.side(side)
        sizes = Counter(row.group for row in self.before.examples.values())
        labels = Counter(row.label for row in rows.values())
        good = [sha for sha, row in sorted(rows.items())
                if sizes[row.group] == 1 and row.found and labels[row.label] > 1]  # fmt: skip
        return self.before.photos[good[len(good) // 2]]

    def decide(self, kind: Kind, photo: Photo, **facts: Any) -> None:
        """As a person would in review."""
        crop = self.before.crops[photo.sha256].id
        about = {"crop": crop} if kind in (Kind.REJECT, Kind.RELABEL) else {}
        with closing(Decisions(self.work / "out")) as log:
            log.append("bench", [Decision(kind, photo.id, **about, **facts)])

    def file(self, photo: Photo) -> Path:
        """Where it lies."""
        return self.source / photo.path

    def id_of(self, file: Path) -> str:
        """The id that a photo of the source will have."""
        entries = collect(PhotosConfig(source=str(self.source))).entries
        name = file.relative_to(self.source).as_posix()
        return next(entry.id for entry in entries if entry.path == name)


# The changes


def reject(world: World, side: str) -> None:
    """A person rejects a close-up."""
    world.decide(Kind.REJECT, world.one(side))


def relabel(world: World, side: str) -> None:
    """A person gives a close-up the next label."""
    photo = world.one(side)
    labels = sorted({p.label for p in world.before.photos.values()})
    other = labels[(labels.index(photo.label) + 1) % len(labels)]
    world.decide(Kind.RELABEL, photo, label=other)


def correct_box(world: World) -> None:
    """A person draws another box."""
    photo = world.one("train")
    box = Box(photo.width * 0.2, photo.height * 0.2, photo.width * 0.8, photo.height * 0.8)
    world.decide(Kind.BOXES, photo, boxes=(box,))


def add_photo(world: World) -> None:
    """A new photo of a label that exists."""
    file, folder = world.spare[0]
    shutil.copy2(file, world.source / folder)


def add_label(world: World) -> None:
    """Five new photos of a new label."""
    folder = world.source / "a new label"
    folder.mkdir()
    for file, _ in world.spare[1:]:
        shutil.copy2(file, folder)


def remove(world: World) -> None:
    """A training and a test photo go."""
    for side in ("train", "test"):
        world.file(world.one(side)).unlink()


def rename(world: World) -> None:
    """A test photo gets another name, and a training photo another folder of the same label."""
    file = world.file(world.one("test"))
    file.rename(file.with_name(f"renamed-{file.name}"))
    file = world.file(world.one("train"))
    (file.parent / "moved").mkdir()
    file.rename(file.parent / "moved" / file.name)


def add_duplicate(world: World) -> None:
    """A training photo once more, encoded again."""
    _encoded_again(world.file(world.one("train")))


def add_joining(world: World) -> None:
    """A test photo once more, which a person says shows the same as it and as a training photo."""
    name = world.id_of(_encoded_again(world.file(world.one("test"))))
    for side in ("train", "test"):
        world.decide(Kind.SAME, world.one(side), other=name)


def _encoded_again(file: Path) -> Path:
    new = file.with_name(f"again-{file.stem}.jpg")
    with Image.open(file) as picture:
        picture.convert("RGB").save(new, quality=70)
    return new


CHANGES: Mapping[str, Callable[[World], None]] = {
    "reject a training close-up": lambda world: reject(world, "train"),
    "reject a test close-up": lambda world: reject(world, "test"),
    "relabel a training close-up": lambda world: relabel(world, "train"),
    "relabel a test close-up": lambda world: relabel(world, "test"),
    "correct a box": correct_box,
    "add a photo": add_photo,
    "add five photos of a new label": add_label,
    "remove a training and a test photo": remove,
    "rename one photo, move another": rename,
    "add a near duplicate of a training photo": add_duplicate,
    "add a near duplicate that joins a test and a training photo": add_joining,
    "near duplicates off": lambda world: world.options.update(near_duplicates=False),
    "another threshold and padding": lambda world: world.options.update(threshold=0.3, pad=0.25),
}


def row(name: str, before: State, after: State) -> str:
    """One line of the table."""
    old, new = before.side("test"), after.side("test")
    there = {sha for sha in old if sha in after.examples and after.examples[sha].split}
    common = there & new.keys()
    moved = sorted(after.photos[sha].path for sha in there - common)
    folds = {sha: e.fold for sha, e in before.side("train").items()}
    changed = sum(folds.get(sha, e.fold) != e.fold for sha, e in after.side("train").items())
    shared = sorted(common & before.answers.keys() & after.answers.keys())
    difference = paired_difference(
        [after.answers[sha].truth for sha in shared],
        [before.answers[sha].answer for sha in shared],
        [after.answers[sha].answer for sha in shared],
        [after.examples[sha].group for sha in shared],
    ).delta
    cells = (
        name, len(old), len(there), len(common), len(there & after.drawn_anew),
        f"{len(moved)}" + (f" ({', '.join(moved)})" if len(moved) < 3 and moved else ""), changed,
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def linked(source: Path, target: Path) -> None:
    """A copy of a folder of our own that is never written into, as links where that is possible."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=link)


def main() -> None:
    """Make the project and the changes, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder with one sub-folder per label")
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", default="nano-clock")
    parser.add_argument("--backbone", default="nano-embed")
    parser.add_argument("--work", type=Path, help="an empty folder to work in; else a new one")
    given = parser.parse_args()
    print(f"{describe()}, load {os.getloadavg()[0]:.1f} before", end="\n\n")
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        work = Path(folder)
        shutil.copytree(given.photos, work / "first")
        entries = collect(PhotosConfig(source=str(work / "first"))).entries
        (work / "spare").mkdir()
        spare = []
        for number, entry in enumerate(entries[:: len(entries) // SPARE][:SPARE]):
            file = work / "first" / entry.path
            new = work / "spare" / f"new-{number}{file.suffix}"
            spare.append((file.rename(new), str(Path(entry.path).parent)))
        linked(work / "first", work / "photos")
        networks = {name: getattr(given, name) for name in ("parent", "detector", "backbone")}
        closeup.run(work / "photos", out=work / "out", **networks)
        shutil.copytree(work / "out", work / "finished")
        before = State.of(work / "out")
        print("| change | test photos before | still there | in common | if drawn anew | moved to "
              "training | folds changed | paired difference in macro-F1 (95 %) |\n"
              f"|{' --- |' * 8}")  # fmt: skip
        for name, change in CHANGES.items():
            linked(work / "first", work / "photos")
            shutil.rmtree(work / "out")
            shutil.copytree(work / "finished", work / "out")
            world = World(work, before, spare)
            change(world)
            closeup.run(out=work / "out", **world.options)
            print(row(name, before, State.of(work / "out")), flush=True)


if __name__ == "__main__":
    main()
