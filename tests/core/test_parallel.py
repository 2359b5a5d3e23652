from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from closeup.core import parallel
from closeup.core.parallel import available_cpus, one_blas_thread, ordered_map


def test_empty_gives_nothing() -> None:
    assert list(ordered_map(str, [])) == []


def test_results_keep_the_order_of_the_items() -> None:
    assert list(ordered_map(lambda n: n * n, range(100), workers=4)) == [n * n for n in range(100)]


def test_it_never_runs_far_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield n

    results = ordered_map(str, items(), workers=2, ahead=5)
    next(results)
    assert taken <= 6
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("closeup")]


def test_no_item_begins_before_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads are idle: what is begun may be a large photo, and is held in memory."""
    monkeypatch.setattr(parallel, "available_cpus", lambda: 3)
    begun: list[int] = []
    results = ordered_map(begun.append, range(200))
    for done in range(1, 101):
        next(results)
        time.sleep(0.001)  # time for a thread to begin what it must not
        assert max(begun) < done + 2 * 3
    assert len(list(results)) == 100


def test_closing_early_frees_a_thread_that_waits_for_its_turn() -> None:
    results = ordered_map(lambda n: n, range(1000), workers=2, ahead=4)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("closeup")]


def test_an_error_arrives_at_its_place() -> None:
    def fail_at_three(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    results = ordered_map(fail_at_three, range(10), workers=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def _affinity(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_no_container_leaves_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _affinity(monkeypatch, 6)
    assert available_cpus(tmp_path / "absent") == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("400000 100000", 4),
        ("1000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("nonsense", 8),
        ("100000 0", 8),
    ],
)
def test_a_container_quota_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    _affinity(monkeypatch, 8)
    (tmp_path / "cpu.max").write_text(text)
    assert available_cpus(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2)])
def test_the_older_kind_of_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    _affinity(monkeypatch, 8)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"), [("3", 3), ("16", 8), ("", 8), ("0", 8), ("4,2", 8)]
)
def test_the_usual_variable_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, expected: int
) -> None:
    _affinity(monkeypatch, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert available_cpus(tmp_path) == expected


def _blas_threads() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_linear_algebra_runs_on_one_thread_for_a_while() -> None:
    before = _blas_threads()
    with one_blas_thread():
        assert 1 in _blas_threads()
        with one_blas_thread():
            pass
    assert _blas_threads() == before


def test_other_threads_leave_the_first_ones_setting_alone() -> None:
    seen = []

    def other() -> None:
        with one_blas_thread():
            pass
        seen.append(1 in _blas_threads())

    with one_blas_thread():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_library_that_is_loaded_later_is_limited_too() -> None:
    code = (
        "import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "from closeup.core.parallel import one_blas_thread\n"
        "with one_blas_thread():\n"
        "    pass\n"
        "import scipy.linalg\n"
        "with one_blas_thread():\n"
        "    found = [i['num_threads'] for i in threadpool_info() if i['user_api'] == 'blas']\n"
        "assert set(found) == {1}, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
