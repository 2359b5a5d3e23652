"""Keeping memory changes no result and is undone."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest

from closeup import memory
from closeup.memory import keep_memory


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
    assert len(calls) == 2 * len(memory._USUAL)


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    with keep_memory():
        pass
