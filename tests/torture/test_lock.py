"""One writer at a time; a lock never needs fixing, whatever became of its holder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from closeup.core.errors import ProjectError
from closeup.core.lock import LOCK_FILE, only_writer, sweep, sweep_dead
from tests.torture.children import no_traceback, state
from tests.torture.conftest import Tried, World

HOLD = """
import sys, time
from pathlib import Path
from closeup.core.lock import only_writer, work_folder
with only_writer(Path(sys.argv[1])), work_folder(Path(sys.argv[1]), ".making-") as work:
    (work / "half").write_text("half")
    print(work, flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A living process that holds ``tmp_path/held``, and its work folder."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "held")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_the_folder_is_as_before(tmp_path: Path) -> None:
    with only_writer(tmp_path / "a" / "b"):
        about = json.loads((tmp_path / "a" / "b" / LOCK_FILE).read_text())
        assert about["process"] == os.getpid()
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir()
    with only_writer(tmp_path / "a"):
        (tmp_path / "a" / "mine").write_text("x")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_who_holds_it_is_named(tmp_path: Path, holder, tried: Tried) -> None:  # type: ignore[no-untyped-def]
    process, _ = holder
    with pytest.raises(ProjectError, match=f"process {process.pid} on .*wait until"), \
            only_writer(tmp_path / "held"):  # fmt: skip
        pass
    with only_writer(tmp_path / "other"), pytest.raises(ProjectError, match=str(os.getpid())), \
            only_writer(tmp_path / "other"):  # fmt: skip
        pass
    tried("a second writer in one project is refused, and told who the first is", 2)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, holder, tried: Tried) -> None:  # type: ignore[no-untyped-def]
    process, work = holder
    sweep_dead(tmp_path / "held")
    assert (work / "half").is_file()  # its maker lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "held" / LOCK_FILE).is_file()
    with only_writer(tmp_path / "held"):
        pass
    sweep_dead(tmp_path / "held")
    assert list((tmp_path / "held").iterdir()) == []
    tried("the lock and the work folder of a killed process", 1)


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"process": 1}', bytes(99)])
def test_a_lock_file_from_before_a_reboot_is_free(tmp_path: Path, left: bytes) -> None:
    (tmp_path / LOCK_FILE).write_bytes(left)
    with only_writer(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_only_half_written_files_are_swept(tmp_path: Path) -> None:
    for name in (".writing-1", "crops/ash/.writing-2", ".making-3/graph", ".new-4/x", ".hidden",
                 "mine.writing-5", "deep/.git/config"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    sweep(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".hidden", "mine.writing-5", "deep/.git/config"}


def test_commands_that_write_are_refused_and_those_that_read_are_not(
    clean: World, tried: Tried
) -> None:
    clean.finish()
    before = state(clean.out)
    with only_writer(clean.out):
        for words in (clean.words(), clean.words("crop"), ("train", clean.out),
                      ("report", clean.out)):  # fmt: skip
            no_traceback(clean.nursery.run(*words), [f"process {os.getpid()} on ", "wait"])
        photo = clean.photos / "ash" / "0.png"
        assert clean.nursery.run("predict", clean.out / "model", photo).code == 0
    assert state(clean.out) == before
    tried("`run`, `crop`, `train` and `report` beside another writer", 4)
