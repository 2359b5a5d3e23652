"""Keeping memory changes no result and is undone."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest

from closeup.core import memory
from closeup.core.memory import keep_memory


def test_work_goes_on_inside_and_after() -> None:
    for _ in range(2):
        with keep_memory():
            assert np.ones(1 << 22).sum() == 1 << 22
        assert np.ones(1 << 22).sum() == 1 << 22


def test_errors_pass_and_the_settings_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Library:
        @staticmethod
        def mallopt(number: int, value: int) -> int:
            calls.append((number, value))
            return 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    with pytest.raises(KeyError), keep_memory():
        raise KeyError
    assert dict(calls) == memory._USUAL
    assert calls[: len(memory._KEEPING)] == list(memory._KEEPING.items())


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is on Linux only")
def test_afterwards_blocks_of_some_megabytes_are_not_mapped_anew_each_time() -> None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("this C library does not tell what it maps")

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost")]  # fmt: skip

    library.mallinfo2.restype = Info
    with keep_memory():
        pass
    before = library.mallinfo2().hblks
    block = np.empty(4 << 20, np.uint8)
    assert library.mallinfo2().hblks == before
    assert len(block)


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    with keep_memory():
        pass
