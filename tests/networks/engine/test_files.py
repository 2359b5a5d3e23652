"""What was read of a file is remembered as long as it stays the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from closeup.networks.engine import files
from closeup.networks.engine.files import file_hash, while_unchanged


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as written long ago."""
    monkeypatch.setattr(files, "_SETTLED", -(10**12))
    file = tmp_path / "file"
    file.write_text("one")
    return file


def test_an_unchanged_file_is_read_once(old: Path) -> None:
    seen: list[str] = []

    @while_unchanged
    def read(file: Path) -> str:
        seen.append(file.read_text())
        return seen[-1]

    assert read(old) == read(old) == "one"
    assert seen == ["one"]
    old.write_text("three")
    assert read(old) == "three"
    beside = old.with_name("beside")
    beside.write_text("seven")
    before = old.stat()
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(old)  # of the same size and modification time
    assert read(old) == "seven"


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for text in ("one", "two", "six"):  # of one size, within one tick of the file system's clock
        file.write_text(text)
        assert file_hash(file) == file_hash.__wrapped__(file)  # type: ignore[attr-defined]


def test_failures_are_not_remembered(old: Path) -> None:
    failures = iter([ValueError("busy")])

    @while_unchanged
    def read(file: Path) -> str:
        for failure in failures:
            raise failure
        return file.read_text()

    with pytest.raises(ValueError, match="busy"):
        read(old)
    assert read(old) == "one"


def test_a_missing_file_is_told_by_the_reader(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_hash(tmp_path / "file")
