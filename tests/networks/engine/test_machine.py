"""Where the cache is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from closeup.networks.engine.machine import cache_folder


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"


def test_a_relative_cache_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOSEUP_CACHE", "here")
    assert cache_folder() == tmp_path / "here"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "given/closeup"),
        ("win32", "LOCALAPPDATA", "given/closeup"),
        ("linux", "", ".cache/closeup"),
        ("darwin", "", "Library/Caches/closeup"),
        ("win32", "", "AppData/Local/closeup"),
    ],
)
def test_the_platforms_own_cache(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    variable: str,
    expected: str,
) -> None:
    for name in ("CLOSEUP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "given"))
    assert cache_folder() == tmp_path / expected
