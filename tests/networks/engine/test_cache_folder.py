"""Where the cache is."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from closeup.networks.engine.files import cache_folder


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
        (Unix, "XDG_CACHE_HOME", "given/closeup"),
        (Windows, "LOCALAPPDATA", "given/closeup"),  # platformdirs asks Windows itself
        (Unix, "HOME", "given/.cache/closeup"),
        (MacOS, "HOME", "given/Library/Caches/closeup"),
    ],
)
def test_the_platforms_own_cache(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: type[platformdirs.PlatformDirs],
    variable: str,
    expected: str,
) -> None:
    for name in ("CLOSEUP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platformdirs, "PlatformDirs", platform)
    given = str(tmp_path / "given")
    for name in (variable, "USERPROFILE"):
        monkeypatch.setenv(name, given)
    monkeypatch.setattr(
        platformdirs.windows, "get_win_folder", {"CSIDL_LOCAL_APPDATA": given}.__getitem__
    )
    assert cache_folder() == tmp_path / expected
