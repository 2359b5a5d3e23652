"""``closeup predict --ray``: workers and drivers killed, and a disk that goes away for a while."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.batch.running import (
    MARK,
    answers,
    descendants,
    ended,
    kill,
    one_process,
    start,
    wait_for,
)
from tests.torture.conftest import Amount, Tried

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds workers by /proc"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``out/model``."""
    pytest.importorskip("ray", reason="needs the ray extra")
    folder = tmp_path_factory.mktemp("batch")
    tiny.make_project(folder)
    return folder


def _gone(place: Path, seconds: float) -> None:
    """A folder that is not there for some seconds: in its place is a file."""
    away = place.with_name(f"{place.name}.away")
    place.rename(away)
    place.touch()
    time.sleep(seconds)
    place.unlink()
    away.rename(place)


def test_kills_and_a_disk_that_goes_away(
    base: Path, tmp_path: Path, amount: Amount, tried: Tried
) -> None:
    rounds, rng = (20, np.random.default_rng(3)) if amount.long else (1, np.random.default_rng(1))
    photos = tiny.make_photos(tmp_path / "photos", per_label=300)
    expected = one_process(base, photos, tmp_path / "one.parquet")
    first = sorted(photos.rglob("*.png"))[: len(expected) // 2]
    lists = {"half": first, "all": sorted(photos.rglob("*.png"))}
    for name, files in lists.items():  # the list is longer on the second day
        lines = ["path", *(str(file) for file in files)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    out, workers, drivers = tmp_path / "out", 0, 0
    for number in range(rounds):
        if number % 4 == 0:
            shutil.rmtree(out, ignore_errors=True)
        marker = f"{os.getpid()}-{number}"
        listed = tmp_path / ("half.csv" if number % 4 == 0 else "all.csv")
        process = start(base, listed, out, **{MARK: marker})
        before = len(list((out / "answers").glob("*.parquet")))
        wait_for(out, before + 1, process)
        time.sleep(rng.random())
        if process.poll() is None and number % 2 == 0:
            _gone(out / "answers", 2.0)
            _gone(photos / "ash", 0.2)
        workers += kill(_workers(marker)[: 1 + int(rng.integers(2))])
        wait_for(out, before + 3, process)
        time.sleep(3 * rng.random())
        drivers += process.poll() is None
        process.kill()
        process.communicate()
        _all_ended(marker)
        if number % 4 == 3 or number == rounds - 1:
            ended(start(base, tmp_path / "all.csv", out))
            assert answers(out, expected).equals(expected)
    tried("`predict --ray`: a worker killed, then the driver", workers + drivers)


def _all_ended(marker: str) -> None:
    """The workers end with the command that started them; what else is left of Ray is ended."""
    end = time.monotonic() + 60
    while _workers(marker) and time.monotonic() < end:
        time.sleep(0.2)
    assert not _workers(marker)
    kill([pid for pid, _ in descendants(marker)])


def _workers(marker: str) -> list[int]:
    return [pid for pid, words in descendants(marker) if words.startswith("ray::MapWorker")]
