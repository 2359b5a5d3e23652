"""Trainings, replacements, restores and pruning, killed and hindered at each change of a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import closeup
from closeup.core.project import Project, file_hash
from closeup.core.types import Result
from closeup.model.history import History
from tests.torture.children import KILLED, Ended, Fault, no_traceback, state
from tests.torture.conftest import Amount, Tried, World

KEEP = ("--keep", "0")


@pytest.fixture
def several(clean: World) -> Callable[[], None]:
    """Puts a project there that has three trainings, of which one model may soon be pruned."""
    clean.finish()
    for words in (("--head", "prototype"), ("--head", "mlp")):
        ended = clean.nursery.run("train", clean.out, *words)
        assert ended.code == 0, ended.err
    kept = clean.base / "several"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(clean.out, kept)

    def put() -> None:
        clean.fresh()
        shutil.copytree(kept, clean.out)

    return put


def whole(out: Path, finished: bool) -> History:
    """Check that entries are whole and that the model in use is one with its own scores.

    Where a process was killed a moment ago, the model folder may still lack its card.
    """
    found = closeup.history(out)
    assert not found.damaged
    assert [row.number for row in found.trainings] == [*range(1, len(found.trainings) + 1)]
    for file in (out / "history" / "files").glob("[0-9a-f]*"):
        assert file_hash(file) == file.name
    card = out / "model" / "model.json"
    if not card.exists():
        assert not finished
        return found
    key = json.loads(card.read_text())["key"]
    assert key in {row.key for row in found.trainings}
    results = Project(out).read("results", Result)
    assert results is not None
    assert json.loads((out / "scores.json").read_text())["key"] == results.key == key
    if finished:
        assert found.used is not None
        assert found.used.key == key
        assert found.in_use in found.restorable
    return found


WORDS = {
    "train": ("--augment", "1", *KEEP),
    "restore": ("--restore", "1"),
    "keep": KEEP,
}


@pytest.mark.parametrize("what", WORDS)
@pytest.mark.parametrize("kind", ["kill", "ENOSPC"])
def test_a_training_a_restore_and_pruning_can_be_struck_anywhere(
    clean: World, several: Callable[[], None], amount: Amount, tried: Tried, what: str, kind: str
) -> None:
    def command() -> Ended:
        return clean.nursery.run("train", clean.out, *WORDS[what])

    several()
    ended = command()
    assert ended.code == 0, ended.err
    expected = state(clean.out)
    struck = 0
    for at in range(1, ended.changes + 1, max(1, amount.stride // 6)):
        several()
        found = clean.nursery.run("train", clean.out, *WORDS[what], fault=Fault(kind, at))
        if kind == "kill" and found.code != KILLED:
            continue
        if kind != "kill" and found.code == 0:
            continue  # what failed was sweeping up
        struck += 1
        whole(clean.out, finished=False)
        if kind != "kill":
            no_traceback(found, ["run again"])
            answer = clean.nursery.run("predict", clean.out / "model",
                                       clean.photos / "ash" / "0.png")  # fmt: skip
            assert answer.code == 0, (at, answer.err)
        again = command()
        assert again.code == 0, (at, again.err)
        whole(clean.out, finished=True)
        now = state(clean.out)
        if what == "restore":  # it may have been done, and then be done again on another day
            expected.pop("history/1/training.json", None)
            now.pop("history/1/training.json")
        assert now == expected, at
    assert struck
    tried(f"`train {' '.join(WORDS[what])}` struck ({kind}) at every change of a file, then run "
          "again", struck)  # fmt: skip


def test_what_is_struck_while_it_is_replaced_is_finished_by_any_command(
    clean: World, several: Callable[[], None], amount: Amount
) -> None:
    several()
    changes = clean.nursery.run("train", clean.out, "--restore", "1").changes
    for at in range(1, changes + 1, max(1, amount.stride // 6)):
        several()
        clean.nursery.run("train", clean.out, "--restore", "1", fault=Fault(at=at))
        ended = clean.nursery.run("crop", "--out", clean.out)
        assert ended.code == 0, ended.err
        whole(clean.out, finished=True)
