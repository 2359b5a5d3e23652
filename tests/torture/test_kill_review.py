"""``closeup review`` killed while people decide: what was acknowledged is there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx2
import numpy as np
import pytest

from closeup.core.project import Project
from closeup.core.types import Crop
from closeup.decisions.log import DECISIONS_FILE, Decisions
from tests.torture.conftest import Amount, Tried, World

LONGEST = 0.5
"""Seconds of deciding before the kill, at most."""


def decide_until_killed(url: str, crops: list[Crop], acknowledged: list[int]) -> None:
    """Post one decision after another until the server is gone."""
    everything = {crop.photo_id: 10**9 for crop in crops}  # whoever asks has seen it all
    kinds = ["accept", "reject"]
    try:
        with httpx2.Client(base_url=url, timeout=30) as client:
            for number in range(100_000):
                kind = kinds[number // len(crops) % 2]
                decision = {"kind": kind, "crops": [crops[number % len(crops)].id]}
                answer = client.post("/decisions", json={"decision": decision, "seen": everything})
                acknowledged.extend(answer.json()["numbers"])
    except (httpx2.TransportError, ValueError):
        return  # killed, perhaps in the middle of an answer


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_was_acknowledged_is_there(clean: World, amount: Amount, tried: Tried) -> None:
    clean.finish()
    table = Project(clean.out).read("crops", Crop)
    assert table is not None
    crops = list(table.rows)
    rng = np.random.default_rng(3)
    acknowledged: list[int] = []
    for _ in range(amount.slow):
        before = len(acknowledged)
        command = [sys.executable, "-m", "closeup", "review", str(clean.out), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            url = process.stderr.readline().split(" at ")[1].split()[0]
            people = [threading.Thread(target=decide_until_killed, args=(url, crops, acknowledged))
                      for _ in range(2)]  # fmt: skip
            for person in people:
                person.start()
            while len(acknowledged) == before:
                threading.Event().wait(0.005)
                assert any(person.is_alive() for person in people)
            threading.Event().wait(rng.uniform(0, LONGEST))
            os.kill(process.pid, signal.SIGKILL)
            for person in people:
                person.join(60)
        _check(clean.out, acknowledged)
    tried("`review` killed while two people decide: every acknowledged decision is there",
          amount.slow, remark=f"{len(acknowledged)} decisions")  # fmt: skip


def _check(out: Path, acknowledged: list[int]) -> None:
    with closing(Decisions(out)) as log:
        written = [row.number for row in log.rows()]
    assert set(acknowledged) <= set(written)
    assert written == list(range(1, len(written) + 1))
    with closing(sqlite3.connect(out / DECISIONS_FILE)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
