"""``closeup predict --ray``: workers and drivers killed, a disk that fails, a node that is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests import tiny
from tests.batch.running import (
    MARK,
    ROOT,
    answers,
    descendants,
    ended,
    kill,
    kill_left,
    one_process,
    start,
    wait_for,
)
from tests.torture.conftest import Amount, Tried

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds workers by /proc"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``out/model``, 900 ``photos``, and two lists of them, a half and all."""
    pytest.importorskip("ray", reason="needs the ray extra")
    folder = tmp_path_factory.mktemp("batch")
    tiny.make_project(folder)
    photos = tiny.make_photos(folder / "many", per_label=300)
    files = sorted(photos.rglob("*.png"))
    for name, listed in (("half", files[::2]), ("all", files)):
        (folder / f"{name}.csv").write_text("\n".join(["path", *map(str, listed)]))
    return folder


@pytest.fixture(scope="module")
def expected(base: Path) -> pa.Table:
    """What an undisturbed process answers, sorted."""
    return one_process(base, base / "many", base / "one.parquet")


class Torture:
    """Runs over one folder of answers, each disturbed in another way and then killed."""

    def __init__(self, base: Path, place: Path, seed: int) -> None:
        self.base, self.out, self.switch = base, place / "out", place / "disk-fails"
        self.rng = np.random.default_rng(seed)
        self.workers = self.drivers = self.failures = 0
        self.folders = (self.out / "answers", base / "many" / "ash")

    def run(self, number: int, listed: Path) -> bool:
        """One run, whose driver is killed at the latest a moment after its third new part.

        Returns whether it was, and did not end before.
        """
        marker = f"{os.getpid()}-{number}"
        disk = ":".join(map(str, (self.switch, *self.folders)))
        path = f"{HERE / 'failing'}:{ROOT / 'src'}"
        more = {MARK: marker, "CLOSEUP_TEST_DISK": disk, "PYTHONPATH": path}
        process = start(self.base, listed, self.out, **more)
        before = self.parts()
        if number % 4 == 3:  # at any moment, also before there is a worker
            time.sleep(self.rng.uniform(0, 30))
        else:
            wait_for(self.out, before + 1, process)
            time.sleep(self.rng.random())
            if process.poll() is None and number % 4 < 2:
                self.fail(number)
            self.workers += kill(_workers(marker)[: 1 + int(self.rng.integers(2))])
            wait_for(self.out, before + 3, process)
            time.sleep(3 * self.rng.random())
        killed = process.poll() is None
        self.drivers += killed
        process.kill()
        process.wait()
        _all_ended(marker)
        process.communicate(timeout=60)
        return killed

    def fail(self, number: int) -> None:
        """For some seconds the disk refuses, or the folders are gone."""
        self.failures += 1
        if number % 4 == 0:
            self.switch.touch()
            time.sleep(self.rng.choice([2.0, 5.0, 13.0]))  # the last is longer than is waited
            self.switch.unlink()
            return
        for place, seconds in zip(self.folders, (2.0, 0.2), strict=True):
            away = place.with_name(f"{place.name}.away")
            place.rename(away)
            place.touch()  # so that nobody makes the folder again
            time.sleep(seconds)
            place.unlink()
            away.rename(place)

    def parts(self) -> int:
        """How many are there."""
        return len(list((self.out / "answers").glob("*.parquet")))


def test_kills_and_a_failing_disk(
    base: Path, expected: pa.Table, tmp_path: Path, amount: Amount, tried: Tried
) -> None:
    wanted = 20 if amount.long else 1
    torture, number, fresh = Torture(base, tmp_path, 3), 0, True
    while torture.workers < wanted or torture.drivers < wanted:
        # The list is longer on the second day.
        goes_on = torture.run(number, base / ("half.csv" if fresh else "all.csv"))
        number += 1
        assert number < 5 * wanted
        enough = min(torture.workers, torture.drivers) >= wanted
        fresh = enough or number % 8 == 0 or not (goes_on or fresh)
        if fresh:
            ended(start(base, base / "all.csv", torture.out))
            assert answers(torture.out, expected).equals(expected)
            shutil.rmtree(torture.out)
    tried("`predict --ray`: a worker killed", torture.workers)
    tried("`predict --ray`: the driver killed", torture.drivers)
    tried("`predict --ray`: a disk that fails for seconds", torture.failures)


def test_a_full_object_store_and_a_lost_node(
    base: Path, expected: pa.Table, tmp_path: Path, tried: Tried
) -> None:
    marker = f"{os.getpid()}-nodes"
    nodes = subprocess.Popen(
        [sys.executable, HERE / "nodes.py"], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), MARK: marker,
             "RAY_worker_niceness": "0"},
    )  # fmt: skip
    assert nodes.stdin is not None
    assert nodes.stdout is not None

    def told(word: str) -> None:
        print(word, file=nodes.stdin, flush=True)
        assert nodes.stdout is not None
        assert "done\n" in nodes.stdout  # Ray may print lines of its own before

    try:
        address = nodes.stdout.readline().strip()
        told("fill")
        process = start(base, base / "all.csv", tmp_path / "out", RAY_ADDRESS=address)
        wait_for(tmp_path / "out", 1, process)
        while len(_workers(marker)) < 2 and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None
        told("lose")
        summary = ended(process)
        assert (summary["answered"], summary["left"]) == (len(expected), 0)
        assert answers(tmp_path / "out", expected).equals(expected)
    finally:
        nodes.stdin.close()
        nodes.stdout.close()
        nodes.kill()
        nodes.wait()
        _all_ended(marker)
    tried("`predict --ray`: the object store full, and a node lost", 1)


def _all_ended(marker: str) -> None:
    """The workers end with the command that started them; what else is left of Ray is ended."""
    end = time.monotonic() + 60
    while _workers(marker) and time.monotonic() < end:
        time.sleep(0.2)
    assert not _workers(marker)
    kill_left(marker)


def _workers(marker: str) -> list[int]:
    return [pid for pid, words in descendants(marker) if words.startswith("ray::MapWorker")]
