from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from closeup.core import parallel
from closeup.core.parallel import (
    MANY,
    available_cpus,
    one_blas_thread,
    ordered_map,
)


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


@pytest.mark.parametrize(("seconds", "most"), [(0.0005, MANY), (0.02, 2 * 4), (60.0, 2 * 8)])
def test_quick_items_may_wait_in_numbers_and_slow_ones_in_few(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    """Slow items are large photos; what they take is said by a clock, which the test sets."""
    clock = threading.local()

    def thread_time() -> float:
        clock.now = getattr(clock, "now", 0.0) + seconds
        return float(clock.now)

    monkeypatch.setattr(parallel.time, "thread_time", thread_time)
    monkeypatch.setattr(parallel, "available_cpus", lambda: 8)
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(200):
            taken += 1
            yield n

    ahead = [taken - done for done, _ in enumerate(ordered_map(str, items()))]
    assert max(ahead) <= most + 1
    assert ahead[100] >= most - 1


def test_a_slow_item_among_quick_ones_holds_back_those_that_were_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first large photo after many small ones must not find sixteen more behind it."""
    times = iter(range(10**6))
    seconds = {"now": 0.0}

    def thread_time() -> float:
        return 0.0 if next(times) % 2 == 0 else seconds["now"]

    monkeypatch.setattr(parallel.time, "thread_time", thread_time)
    begun: list[int] = []
    large = threading.Event()

    def work(n: int) -> int:
        begun.append(n)
        if n == 40:
            seconds["now"] = 1.0
            large.set()
        return n

    monkeypatch.setattr(parallel, "available_cpus", lambda: 1)
    results = ordered_map(work, range(100))
    for n in range(30):
        assert next(results) == n
    assert large.wait(10)
    time.sleep(0.2)  # whatever may begin has begun by now
    assert max(begun) == 40
    assert [next(results) for _ in range(70)] == list(range(30, 100))


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
