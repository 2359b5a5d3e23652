"""Small and long forms of these tests, and the table of what was tried and what was lost.

``CLOSEUP_TORTURE=long`` (``make torture``) kills more often and makes longer runs;
``CLOSEUP_TORTURE_LOG`` names a file to which a line of JSON is added for each test.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import tiny
from tests.collecting import BY, saved, write_collected
from tests.torture.children import Ended, Nursery

TINY = ("--detector", "tiny-box", "--backbone", "tiny-pool", "--parent", "thing",
        "--engine", "onnxruntime")  # fmt: skip
Tried = Callable[..., None]


@dataclass(frozen=True)
class Amount:
    """How much is tried: kills of each quick and slow command, every `stride`-th change of a file,
    photos of the soak."""

    kills: int
    slow: int
    stride: int
    photos: int
    long: bool


@pytest.fixture(scope="session")
def amount() -> Amount:
    long = os.environ.get("CLOSEUP_TORTURE") == "long"
    kills = int(os.environ.get("CLOSEUP_TORTURE_KILLS", "50"))
    stride = int(os.environ.get("CLOSEUP_TORTURE_STRIDE", "1"))
    photos = int(os.environ.get("CLOSEUP_TORTURE_PHOTOS", "20000"))
    return Amount(kills, kills, stride, photos, True) if long else Amount(2, 1, 47, 60, False)


@pytest.fixture
def tried() -> Tried:
    """Note what was tried and what was lost, for the table."""

    def note(what: str, times: int, lost: int = 0, remark: str = "") -> None:
        if file := os.environ.get("CLOSEUP_TORTURE_LOG"):
            row = {"what": what, "times": times, "lost": lost, "remark": remark}
            with Path(file).open("a", encoding="utf8") as stream:
                stream.write(json.dumps(row) + "\n")

    return note


@dataclass
class World:
    """A folder with tiny networks in a cache, nine photos, and a process that forks commands."""

    base: Path
    nursery: Nursery
    ended: Ended | None = None

    @property
    def photos(self) -> Path:
        """Nine photos of three labels; those of the first were collected."""
        return self.base / "photos"

    @property
    def out(self) -> Path:
        """The project."""
        return self.base / "out"

    def words(self, verb: str = "run") -> tuple[object, ...]:
        """The command for the project; ``crop`` chooses the parent by itself."""
        tiny_words = TINY if verb != "crop" else TINY[:2] + TINY[6:]
        return (verb, self.photos, "--out", self.out, *tiny_words)

    def fresh(self) -> None:
        """As if nothing had ever been run."""
        shutil.rmtree(self.out, ignore_errors=True)

    def finish(self) -> Ended:
        """The project as ``closeup run`` leaves it, and how that ended; it is run only once."""
        self.fresh()
        kept = self.base / "finished"
        if self.ended is None:
            self.ended = self.nursery.run(*self.words())
            assert self.ended.code == 0, self.ended.err
            shutil.copytree(self.out, kept)
        else:
            shutil.copytree(kept, self.out)
        return self.ended


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if not hasattr(os, "fork"):
        pytest.skip("commands are forked, which this system cannot do")
    tiny.need_onnx()
    base = tmp_path_factory.mktemp("world")
    tiny.make_detector(base / "cache")
    tiny.make_backbone(base / "cache")
    photos = tiny.make_photos(base / "photos", per_label=3)
    write_collected(photos, [saved(file, photos, **BY) for file in (photos / "ash").iterdir()])
    nursery = Nursery(base)
    yield World(base, nursery)
    nursery.close()


@pytest.fixture
def clean(world: World) -> World:
    """The world without a project."""
    world.fresh()
    return world
