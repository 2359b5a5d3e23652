"""`closeup collect` killed at its changes of files, and run again; a full disk loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from closeup.collect.record import Collected, read_collected
from tests.collect.farm import farm, photo
from tests.torture.children import KILLED, Fault, no_traceback
from tests.torture.conftest import Amount, Tried, World


def _list(base: Path, port: int) -> Path:
    """Photos, two that are one under two labels, and one that is not there."""
    names = [*(f"photo/{n}" for n in range(4)), "same/1", "same/2", "status-404/1"]
    lines = [f"http://127.0.0.1:{port}/{name}.jpg {'xy'[n % 2]}" for n, name in enumerate(names)]
    file = base / "list.txt"
    file.write_text("\n".join(lines))
    return file


def _end(folder: Path) -> tuple[list[Collected], dict[str, bytes]]:
    """The rows, but for times and attempts, and every other file."""
    rows = [replace(row, time="", attempts=0) for row in read_collected(folder)]
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".parquet"]
    return rows, {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_a_kill_at_any_change_of_a_file_loses_no_photo(
    clean: World, amount: Amount, tried: Tried
) -> None:
    with farm() as site:
        site.answers.update(dict.fromkeys(("/same/1.jpg", "/same/2.jpg"), photo(1)))
        words = ("collect", _list(clean.base, site.port), "--out", clean.out, "--allow-private",
                 "--contact", "me@example.org", "--rate", 1000, "--jobs", 2)  # fmt: skip
        whole = clean.nursery.run(*words)
        assert whole.code == 0, whole.err
        expected = _end(clean.out)
        assert len(expected[1]) == 5
        kills = 0
        for at in range(1, whole.changes + 1, 1 if amount.long else 7):
            clean.fresh()
            if clean.nursery.run(*words, fault=Fault(at=at)).code != KILLED:
                continue
            kills += 1
            read_collected(clean.out)
            asked = len(site.asked.requests)
            again = clean.nursery.run(*words)
            assert again.code == 0, (at, again.err)
            assert _end(clean.out) == expected, at
            assert len(site.asked.requests) - asked <= 8
        assert kills
        tried("`collect` killed at every change of a file, then run again", kills)


def test_a_full_disk_is_told_and_loses_no_photo(clean: World, amount: Amount, tried: Tried) -> None:
    with farm() as site:
        site.answers.update(dict.fromkeys(("/same/1.jpg", "/same/2.jpg"), photo(1)))
        words = ("collect", _list(clean.base, site.port), "--out", clean.out, "--allow-private",
                 "--contact", "me@example.org", "--rate", 1000, "--jobs", 2)  # fmt: skip
        whole = clean.nursery.run(*words)
        expected = _end(clean.out)
        full = 0
        for at in range(2, whole.changes + 1, 1 if amount.long else 9):
            clean.fresh()
            ended = clean.nursery.run(*words, fault=Fault("ENOSPC", at))
            if ended.code == 0:
                continue
            full += 1
            no_traceback(ended)
            again = clean.nursery.run(*words)
            assert again.code == 0, (at, again.err)
            assert _end(clean.out) == expected, at
        assert full
        tried("`collect` on a full disk, then run again", full)
