from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from closeup.parallel import ordered_map


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


def test_an_error_arrives_at_its_place() -> None:
    def fail_at_three(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    results = ordered_map(fail_at_three, range(10), workers=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
