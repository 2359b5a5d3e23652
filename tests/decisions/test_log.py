"""The log: empty, damaged, later; nothing lost between processes, threads and kills."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from closeup.core.errors import ProjectError, UsageError
from closeup.core.types import Box
from closeup.decisions.fold import NOTHING
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import DECISIONS_FILE, Decisions, read_decisions

REJECT = Decision(Kind.REJECT, "a", "a")
ALL = [
    Decision(Kind.ACCEPT, "a", "a"),
    REJECT,
    Decision(Kind.RELABEL, "a", "a-2", label="né « \U0001f34e »"),
    Decision(Kind.NOT_FOUND, "b"),
    Decision(Kind.BOXES, "b", boxes=(Box(0.1, 1 / 3, 7.5, 9.25), Box(20, 20, 30, 30))),
    Decision(Kind.SAME, "a", other="b"),
    Decision(Kind.DIFFERENT, "a", other="c"),
]


def test_there_is_no_log_and_reading_makes_none(tmp_path: Path) -> None:
    assert read_decisions(tmp_path) is NOTHING
    assert list(tmp_path.iterdir()) == []


def test_every_kind_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as log:
        done = log.append("ann", ALL)
        assert [row.decision for row in done.rows] == ALL
        assert {row.batch for row in done.rows} == {1}
    with closing(Decisions(tmp_path)) as log:
        assert [row.decision for row in log.rows()] == ALL
        (undone,) = log.undo("bob", [7]).rows
        assert (undone.who, undone.number, undone.decision.undoes) == ("bob", 8, 7)
    assert ("a", "c") not in read_decisions(tmp_path).pairs


def test_a_log_that_was_removed_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as log:
        log.append("ann", ALL)
        for file in tmp_path.iterdir():
            file.unlink()
        assert log.rows() == []
        log.append("ann", [REJECT])
        assert [row.decision for row in log.rows()] == [REJECT]
        assert [row.decision for row in Decisions(tmp_path).rows()] == [REJECT]


def test_nor_is_one_written_that_another_has_taken_the_place_of(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as log, closing(Decisions(tmp_path / "new")) as other:
        log.append("ann", ALL)
        other.append("bob", ALL[:1])
        other.close()
        (tmp_path / "new" / DECISIONS_FILE).replace(tmp_path / DECISIONS_FILE)
        for name in ("-wal", "-shm"):
            (tmp_path / (DECISIONS_FILE + name)).unlink()
        log.append("ann", [REJECT])
        assert [row.decision for row in Decisions(tmp_path).rows()] == [ALL[0], REJECT]


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / DECISIONS_FILE).write_bytes(b"no database, whatever it is called" * 50)
    with pytest.raises(ProjectError, match=r"decisions\.sqlite.*move it aside"):
        read_decisions(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DECISIONS_FILE)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ProjectError, match="format 2"):
        read_decisions(tmp_path)


def test_nothing_is_written_where_one_of_several_is_wrong(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as log:
        for wrong in (Decision(Kind.ACCEPT, "a"), Decision(Kind.UNDO, "a", undoes=9)):
            with pytest.raises(UsageError):
                log.append("ann", [REJECT, wrong])
        with pytest.raises(UsageError, match="no decision 9"):
            log.undo("ann", [9])
        assert log.rows() == []


def test_the_database_itself_refuses_changes(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as log:
        log.append("ann", [REJECT])
    with closing(sqlite3.connect(tmp_path / DECISIONS_FILE)) as db:
        for statement in ("DELETE FROM decisions", "UPDATE decisions SET who = 'x'",
                          "INSERT INTO decisions VALUES (5, 'x', '', '', '', '', '', '', '{}')",
                          "INSERT INTO decisions VALUES (5, 5, '', '', '', '', '', '', '{')",
                          ):  # fmt: skip
            with pytest.raises(sqlite3.IntegrityError):
                db.execute(statement)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_who_has_not_seen_the_newest_does_not_overrule_it(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as ann, closing(Decisions(tmp_path)) as bob:
        ann.append("ann", [REJECT], seen={})
        done = bob.append("bob", [Decision(Kind.ACCEPT, "a", "a"),
                                  Decision(Kind.ACCEPT, "b", "b")], seen={})  # fmt: skip
        assert done.overtaken == {"a"}
        assert [row.decision.photo for row in done.rows] == ["b"]
        assert bob.append("bob", [Decision(Kind.ACCEPT, "a", "a")], seen={"a": 1}).rows
        assert ann.append("ann", [Decision(Kind.SAME, "b", other="c")], seen={"c": 0}).rows == ()
        assert [row.who for row in ann.rows()] == ["ann", "bob", "bob"]


def test_threads_share_a_log(tmp_path: Path) -> None:
    with closing(Decisions(tmp_path)) as log:
        threads = [threading.Thread(target=lambda: [log.append("t", [REJECT]) for _ in range(10)])
                   for _ in range(4)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row.number for row in log.rows()] == list(range(1, 41))


WRITER = """
import sys
from pathlib import Path
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
log = Decisions(Path(sys.argv[1]))
count = 0
while count < int(sys.argv[3]):
    (row,) = log.append(sys.argv[2], [Decision(Kind.REJECT, "a", f"a-{count}")]).rows
    print(row.number, row.decision.crop, flush=True)
    count += 1
"""


def writer(folder: Path, who: str, most: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), who, str(most)],
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    both = [writer(tmp_path, who, 40) for who in ("ann", "bob")]
    said = [process.communicate(timeout=60)[0].split("\n")[:-1] for process in both]
    rows = Decisions(tmp_path).rows()
    assert [row.number for row in rows] == list(range(1, 81))
    for who, lines in zip(("ann", "bob"), said, strict=True):
        assert lines == [f"{row.number} {row.decision.crop}" for row in rows if row.who == who]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    process = writer(tmp_path, "ann", 1_000_000)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.readlines()
    process.wait(30)
    process.stdout.close()
    with closing(Decisions(tmp_path)) as log:
        told = [line.split() for line in seen if line.endswith("\n")]
        kept = {str(row.number): row.decision.crop for row in log.rows()}
        assert len(told) >= 20
        assert all(kept[number] == crop for number, crop in told)
        assert log.append("bob", [REJECT]).rows


def test_a_log_whose_text_is_damaged_is_named(tmp_path: Path) -> None:
    log = Decisions(tmp_path)
    log.append("me", [Decision(Kind.ACCEPT, "p", crop="c")])
    log.close()
    file = tmp_path / "decisions.sqlite"
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE", b"CRE\xffTE TABLE"))
    with pytest.raises(ProjectError, match=r"cannot read .*decisions\.sqlite"):
        Decisions(tmp_path).rows()
