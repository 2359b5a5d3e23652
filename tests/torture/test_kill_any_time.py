"""Kills at moments spread evenly over a command's life, also while it goes on after one."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.learn.finetune.parts import make_network
from tests.networks.hub_server import Hub, hub_server
from tests.torture.children import KILLED, Fault, Nursery, open_tables, stamps, state
from tests.torture.conftest import Amount, Tried, World

State = Callable[[], dict[str, str]]


@dataclass(frozen=True)
class Job:
    """A command, what removes all it made, and what it leaves."""

    nursery: Nursery
    words: tuple[object, ...]
    clear: Callable[[], None]
    left: State
    env: dict[str, str]


def kill_often(job: Job, kills: int, check: Callable[[], None] = lambda: None) -> int:
    """Kill at random moments, every second time while going on; returns how many kills there were.

    A moment is drawn from each of as many equal parts of an uninterrupted run's time.
    """
    job.clear()
    whole = job.nursery.run(*job.words, env=job.env, fault=Fault(part_seconds=10))
    assert whole.code == 0, whole.err
    expected, done = job.left(), 0
    rng = np.random.default_rng(1)
    for number in range(kills):
        if number % 2 == 0:
            job.clear()
        moment = whole.seconds * (number + rng.random()) / kills
        parts = float(rng.choice([0.0, 10.0]))
        fault = Fault(kill_after=max(0.005, moment), part_seconds=parts)
        done += job.nursery.run(*job.words, env=job.env, fault=fault).code == KILLED
        check()
        if number % 2 or number == kills - 1:
            again = job.nursery.run(*job.words, env=job.env)
            assert again.code == 0, again.err
            assert job.left() == expected, moment
    return done


@pytest.mark.parametrize("verb", ["run", "crop"])
def test_a_project(clean: World, amount: Amount, tried: Tried, verb: str) -> None:
    job = Job(clean.nursery, clean.words(verb), clean.fresh, lambda: state(clean.out), {})
    kills = kill_often(job, amount.kills, lambda: _still_opens(clean.out))
    tried(f"`{verb}` killed at a random moment, then run again", kills)


def _still_opens(out: Path) -> None:
    if out.exists():
        open_tables(out)


def test_what_was_done_is_not_done_again(clean: World, tried: Tried) -> None:
    clean.finish()
    before = stamps(clean.out, "**/*")
    ended = clean.nursery.run(*clean.words())
    files = {name for name in before if (clean.out / name).is_file()}
    after = stamps(clean.out, "**/*")
    assert ended.changes <= 2  # the lock file comes and goes
    assert {name: before[name] for name in files} == {name: after[name] for name in files}
    tried("a finished `run` again: no file is written", 1)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with PyTorch, and the weights of a tiny backbone in the cache."""
    if not hasattr(os, "fork"):
        pytest.skip("commands are forked, which this system cannot do")
    pytest.importorskip("torch", reason="fine-tuning and pulling need the torch extra")
    tiny.need_onnx()
    base = tmp_path_factory.mktemp("heavy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(base / "cache"))
        tiny.make_detector(base / "cache")
        make_network(base)
    tiny.make_photos(base / "photos", per_label=6)
    nursery = Nursery(base, heavy=True)
    yield World(base, nursery)
    nursery.close()


@pytest.mark.slow
def test_fine_tuning(heavy: World, amount: Amount, tried: Tried) -> None:
    words = ("--detector", "tiny-box", "--parent", "thing", "--engine", "onnxruntime",
             "--backbone", "tiny", "--finetune", "--epochs", "3", "--threads", "1")  # fmt: skip
    cropped = heavy.base / "cropped"
    assert heavy.nursery.run("crop", heavy.photos, "--out", cropped, *words[:6]).code == 0

    def clear() -> None:
        heavy.fresh()
        shutil.copytree(cropped, heavy.out)

    words = ("train", heavy.out, "--engine", "onnxruntime", *words[6:])

    def left() -> dict[str, str]:
        return state(heavy.out)

    kills = kill_often(Job(heavy.nursery, words, clear, left, {}), amount.slow)
    tried("`train --finetune` killed at a random moment, then run again", kills)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server() as hub:
        yield hub


@pytest.mark.slow
def test_pulling_a_network(heavy: World, hub: Hub, amount: Amount, tried: Tried) -> None:
    name = "test_efficientnet.r160_in1k"
    weights = (heavy.base / "tiny.safetensors").read_bytes()
    hub.files[f"timm/{name}/resolve/main/model.safetensors"] = weights
    folder = heavy.base / "cache" / "networks" / name

    def clear() -> None:
        for place in (folder, heavy.base / "cache" / "downloads", heavy.base / "hub"):
            shutil.rmtree(place, ignore_errors=True)

    def left() -> dict[str, str]:
        cache = heavy.base / "cache"
        found = {f"networks/{k}": v for k, v in state(cache / "networks").items()}
        return found | {f"downloads/{k}": v for k, v in state(cache / "downloads").items()}

    job = Job(heavy.nursery, ("models", "pull", name), clear, left, {"HF_ENDPOINT": hub.url})
    kills = kill_often(job, amount.slow)
    tried("`models pull` killed at a random moment, then run again", kills)


@pytest.mark.slow
def test_the_demo(clean: World, amount: Amount, tried: Tried) -> None:
    out = clean.base / "demo"
    words = ("demo", "--out", out, "--per-maker", 6 if amount.long else 3)

    def left() -> dict[str, str]:
        """Without the photos' table and the report, which hold the times of files made anew."""
        timed = ("watches/photos.parquet", "watches/report.html")
        return {name: "" if name in timed else said for name, said in state(out).items()}

    job = Job(clean.nursery, words, lambda: shutil.rmtree(out, ignore_errors=True), left, {})
    kills = kill_often(job, amount.slow)
    _no_worker_left(clean.base / "cache")
    tried("`demo` killed at a random moment, then run again", kills)


def _no_worker_left(cache: Path) -> None:
    """No process that wrote the photos outlives the one that started it by more than a moment."""
    left: list[Path] = []
    for _ in range(100):
        left = [folder for folder in Path("/proc").glob("[0-9]*") if _is_worker(folder, cache)]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)


def _is_worker(process: Path, cache: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes()
        mine = f"CLOSEUP_CACHE={cache}\0".encode() in (process / "environ").read_bytes()
    except OSError:
        return False
    return mine and b"multiprocessing.spawn" in words
