"""`closeup suggest` killed at its changes of files, and run again; labels stay."""

from __future__ import annotations

import shutil
from contextlib import closing

from closeup.core.project import Project
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.pipeline.suggested import read_suggested
from tests import tiny
from tests.torture.children import KILLED, Fault, open_tables, state
from tests.torture.conftest import Amount, Tried, World


def test_a_kill_at_any_change_of_a_file_loses_no_suggestion_and_no_label(
    clean: World, amount: Amount, tried: Tried
) -> None:
    clean.finish()
    pool = clean.base / "pool"
    if not pool.exists():
        tiny.make_photos(pool, per_label=5)
    words = ("suggest", clean.out, pool, "--count", 3)
    assert clean.nursery.run(*words).code == 0
    first = read_suggested(Project(clean.out))[0]
    with closing(Decisions(clean.out)) as log:
        log.append("tester", [Decision(Kind.RELABEL, first.photo_id, first.photo_id, label="ash")])
    # The second time other photos are named, and the pool has grown.
    kept = clean.base / "asked"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(clean.out, kept)
    shutil.copy(pool / "ash" / "0.png", pool / "again.png")
    whole = clean.nursery.run(*words)
    assert whole.code == 0, whole.err
    expected = state(clean.out)
    named = read_suggested(Project(clean.out))
    assert first in named
    assert len(named) > 1
    kills = 0
    for at in range(1, whole.changes + 1, 1 if amount.long else 4):
        clean.fresh()
        shutil.copytree(kept, clean.out)
        if clean.nursery.run(*words, fault=Fault(at=at)).code != KILLED:
            continue
        kills += 1
        open_tables(clean.out)
        assert first in read_suggested(Project(clean.out)), at
        again = clean.nursery.run(*words)
        assert again.code == 0, (at, again.err)
        assert state(clean.out) == expected, at
    (pool / "again.png").unlink()
    assert kills
    assert clean.nursery.run("train", clean.out).code == 0
    tried("`suggest` killed at every change of a file, then run again", kills)
