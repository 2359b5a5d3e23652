"""Photos that vanish or change, settings that change, clocks that jump."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from closeup.core.project import Project
from closeup.core.types import PhotoState
from closeup.dataset.kept import Place, read_split
from tests.torture.children import Fault, no_traceback, open_tables, state
from tests.torture.conftest import Amount, Tried, World

YEAR = 365 * 86400


@pytest.fixture
def own(clean: World) -> Iterator[World]:
    """The world, with photos that may be changed."""
    kept = clean.base / "kept-photos"
    shutil.copytree(clean.photos, kept, dirs_exist_ok=True)
    yield clean
    shutil.rmtree(clean.photos)
    shutil.move(kept, clean.photos)


def redraw(file: Path, seed: int = 9) -> None:
    """Another picture of another size, at the same place."""
    pixels = np.random.default_rng(seed).integers(60, 200, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def test_photos_that_go_and_change_between_stages(own: World, tried: Tried) -> None:
    assert own.nursery.run(*own.words("crop")).code == 0
    (own.photos / "ash" / "0.png").unlink()
    redraw(own.photos / "birch" / "1.png")
    ended = own.nursery.run("run", "--out", own.out, "--backbone", "tiny-pool")
    assert ended.code == 0, ended.err
    changed = state(own.out)
    own.fresh()
    assert own.nursery.run(*own.words()).code == 0
    fresh = state(own.out)
    # The report repeats the command's notes and times, and `crop` has chosen the parent by itself;
    # all else is that of a run from nothing.
    own_to_it = {"report.html", "scouted.json"}
    assert {n: v for n, v in changed.items() if n not in own_to_it} == {
        n: v for n, v in fresh.items() if n not in own_to_it
    }
    tried("photos removed and changed between `crop` and `run`", 2)


AFTER_LISTING = """
import pathlib, shutil
import numpy as np
from PIL import Image
from closeup.pipeline import verbs
real, victim = verbs.dataset_stage, pathlib.Path({victim!r})
def strike(*rest):
    {harm}
    return real(*rest)
verbs.dataset_stage = strike
verbs.views_of = lambda view: ()  # so that close-ups are embedded later
"""
HARMS = {
    "gone": "victim.unlink()",
    "other": "shutil.copy(victim.parent.parent / 'cedar' / '2.png', victim)",
    "alike": "Image.fromarray(255 - np.asarray(Image.open(victim))).save(victim)",
    "cut": "victim.write_bytes(victim.read_bytes()[:200])",
}
DURING_THE_PASS = """
import pathlib
from closeup.pipeline import one_pass
real, victim = one_pass.Steps.__init__, pathlib.Path({victim!r})
def look(*rest):
    victim.unlink(missing_ok=True)
    return one_pass.look(*rest)
one_pass.Steps.__init__ = lambda *args, **named: real(*args, look=look, **named)
"""


@pytest.mark.parametrize("harm", HARMS)
def test_a_photo_that_changes_after_it_was_listed(own: World, tried: Tried, harm: str) -> None:
    """The stage after the pass meets a file that is not the one that was listed."""
    victim = str(own.photos / "birch" / "1.png")
    before = AFTER_LISTING.format(victim=victim, harm=HARMS[harm])
    ended = own.nursery.run(*own.words(), fault=Fault(before=before))
    no_traceback(ended, ["1.png", "has changed since", "run the command again"])
    assert len(open_tables(own.out)["photos"].rows) == 9
    again = own.nursery.run(*own.words())
    assert again.code == 0, again.err
    states = [row.state for row in open_tables(own.out)["photos"].rows]
    assert (len(states), states.count(PhotoState.UNREADABLE)) == {
        "gone": (8, 0), "other": (9, 0), "alike": (9, 0), "cut": (9, 1)}[harm]  # fmt: skip
    tried("a photo that vanishes, changes or breaks after it was listed", 1)


def test_a_photo_that_goes_during_the_pass_becomes_a_row(own: World, tried: Tried) -> None:
    before = DURING_THE_PASS.format(victim=str(own.photos / "cedar" / "2.png"))
    ended = own.nursery.run(*own.words(), fault=Fault(before=before))
    assert ended.code == 0, ended.err
    rows = open_tables(own.out)["photos"].rows
    assert [row.code for row in rows if row.state is PhotoState.UNREADABLE] == ["missing"]
    assert len(rows) == 9
    tried("a photo that vanishes during the pass", 1)


def split_of(out: Path) -> tuple[str, tuple[Place, ...]]:
    """Its key and its rows."""
    table = read_split(Project(out))
    assert table is not None
    return table.key, tuple(table.rows)


def test_changed_settings_and_back_give_what_they_gave(
    own: World, tried: Tried, amount: Amount
) -> None:
    own.finish()
    first, split = state(own.out), split_of(own.out)
    changes = (("--pad", "0.3"), ("--head", "prototype"), ("--seed", "3"), ("--which", "all"),
               ("--no-near-duplicates",), ("--threshold", "0.9"), ("--view", "both"))  # fmt: skip
    changes = changes if amount.long else changes[::3]
    for change in changes:
        ended = own.nursery.run(*own.words(), *change)
        assert ended.code == 0, (change, ended.err)
        back = own.nursery.run(
            *own.words(), "--pad", "0.1", "--head", "", "--seed", "0", "--which", "best",
            "--near-duplicates", "--threshold", "0.05", "--view", "",
        )  # fmt: skip
        assert back.code == 0, (change, back.err)
        now = state(own.out)
        # The history, which the report shows, tells of both, and the split's notes of a new draw.
        without = ("embeddings/", "history/", "report.html", "split.parquet")
        assert {name: now[name] for name in first if not name.startswith(without)} == {
            name: said for name, said in first.items() if not name.startswith(without)
        }, change
        assert split_of(own.out) == split, change
    tried("a setting changed and changed back", len(changes))


@pytest.mark.parametrize("shift", [-YEAR, YEAR])
def test_a_clock_that_jumps_changes_nothing(own: World, tried: Tried, shift: float) -> None:
    own.finish()
    first = state(own.out)
    assert own.nursery.run(*own.words(), fault=Fault(shift_clock=shift)).code == 0
    assert state(own.out) == first
    own.fresh()
    for number, file in enumerate(sorted(own.photos.rglob("*.png"))):
        stamp = file.stat().st_mtime + (shift if number % 2 else -shift)
        os.utime(file, (stamp, stamp))
    assert own.nursery.run(*own.words(), fault=Fault(shift_clock=shift)).code == 0
    second = state(own.out)
    # The times of the photos stand in their table; nothing else minds them.
    assert {n for n in first if first[n] != second[n]} <= {"photos.parquet", "report.html"}
    tried("the clock, and the photos' times, a year off", 1)
