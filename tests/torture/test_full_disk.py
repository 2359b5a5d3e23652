"""A full disk at each write, a small file system that fills, and folders that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.children import Fault, no_traceback, open_tables, state
from tests.torture.conftest import Amount, Tried, World


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_any_write_is_named_and_mended(
    clean: World, amount: Amount, tried: Tried, kind: str
) -> None:
    whole = clean.finish()
    expected = state(clean.out)
    fails = 0
    for at in range(1, whole.changes + 1, amount.stride):
        clean.fresh()
        ended = clean.nursery.run(*clean.words(), fault=Fault(kind, at))
        if ended.code == 0:
            continue  # what failed was sweeping up
        fails += 1
        no_traceback(ended, ["cannot", "run again"])
        open_tables(clean.out)
        assert clean.nursery.run(*clean.words()).code == 0, at
        assert state(clean.out) == expected, at
    assert fails
    tried(f"`run` on a disk that fails ({kind}) from the n-th write on, then repaired", fails)


def test_a_disk_that_fills_while_retraining_leaves_the_old_model(
    clean: World, amount: Amount, tried: Tried
) -> None:
    clean.finish()
    kept = clean.base / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(clean.out, kept)
    other = (*clean.words(), "--head", "prototype")
    whole = clean.nursery.run(*other)
    fails = 0
    for at in range(1, whole.changes, amount.stride):
        clean.fresh()
        shutil.copytree(kept, clean.out)
        ended = clean.nursery.run(*other, fault=Fault("ENOSPC", at))
        if ended.code == 0:
            continue
        fails += 1
        no_traceback(ended, ["run again"])
        photo = clean.photos / "ash" / "0.png"
        assert clean.nursery.run("predict", clean.out / "model", photo).code == 0, at
    assert fails
    tried("`run` with another head on a full disk: the old or the new model answers", fails)


def mount(words: list[str]) -> None:
    """Mount, or skip the test where that is not allowed."""
    there = shutil.which("mount")
    if not there or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")


@pytest.fixture
def small_disk(clean: World) -> Iterator[Path]:
    folder = clean.base / "small"
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    mount(words)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_file_system_that_fills(clean: World, small_disk: Path, tried: Tried) -> None:
    words = [word if word != clean.out else small_disk / "out" for word in clean.words()]
    ended = clean.nursery.run(*words)
    no_traceback(ended, ["No space left on device", "run again"])
    open_tables(small_disk / "out")
    size = ["mount", "-o", "remount,size=100m", str(small_disk)]
    subprocess.run(size, check=True)
    again = clean.nursery.run(*words)
    assert again.code == 0, again.err
    clean.finish()
    mine = {n: v for n, v in state(small_disk / "out").items() if n != "report.html"}
    assert mine == {n: v for n, v in state(clean.out).items() if n != "report.html"}
    tried("`run` on a real file system of 300 kB, which is then made larger", 1)


@pytest.fixture
def read_only(clean: World) -> Iterator[Path]:
    """The project, finished, on a file system that is mounted read-only."""
    folder = clean.base / "locked"
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "tmpfs", str(folder)]
    mount(words)
    given = [word if word != clean.out else folder / "out" for word in clean.words()]
    assert clean.nursery.run(*given).code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield folder / "out"
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_project(clean: World, read_only: Path, tried: Tried) -> None:
    before = state(read_only)
    assert clean.nursery.run("report", read_only).code == 0  # nothing is to be written
    photo = clean.photos / "ash" / "0.png"
    assert clean.nursery.run("predict", read_only / "model", photo).code == 0
    ended = clean.nursery.run("train", read_only, "--head", "prototype")
    no_traceback(ended, ["Read-only file system"])
    assert state(read_only) == before
    tried("a read-only project: read without a word, written with a message", 1)


def test_a_folder_without_rights(clean: World, tried: Tried) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    clean.out.mkdir()
    clean.out.chmod(0o555)
    try:
        no_traceback(clean.nursery.run(*clean.words()), ["Permission denied"])
    finally:
        clean.out.chmod(0o755)
    assert clean.nursery.run(*clean.words()).code == 0
    tried("a project folder without rights", 1)
