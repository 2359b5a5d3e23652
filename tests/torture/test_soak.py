"""Many photos, one in a hundred broken: all accounted for, memory bounded, progress honest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.crowd import make
from tests.torture.conftest import Amount, Tried

DECODED = 800 * 600 * 3
"""Bytes of one photo in memory; far more than may be kept of each."""

RUN = """
import json, resource, sys
import closeup
told, lies = {}, []
def progress(stage, done, total):
    before, whole = told.get(stage, (0, total))
    if not 0 <= done <= total or (done < before and done) or (stage == "look" and whole != total):
        lies.append((stage, before, done, total))
    told[stage] = (done, total)
if __name__ == "__main__":
    result = closeup.run(sys.argv[1], out=sys.argv[2], parent="clock", detector="nano-clock",
                         backbone="nano-embed", threshold=0.05, progress=progress)
    counts = result.counts
    print(json.dumps({
        "photos": counts.photos, "unreadable": counts.unreadable,
        "sum": counts.cropped + counts.not_found + counts.unreadable, "lies": lies[:5],
        "look": told["look"],
        "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }))
"""


def break_some(folder: Path) -> int:
    """Cut off, empty or scribble over one photo in a hundred; returns how many."""
    broken = sorted(folder.rglob("*.jpg"))[5::100]
    for number, file in enumerate(broken):
        data = file.read_bytes()
        file.write_bytes([data[: len(data) // 3], b"", b"no picture at all", data[:20]][number % 4])
    return len(broken)


def soak(base: Path, count: int) -> dict[str, object]:
    """Run over so many photos in a process of its own."""
    photos = make(base / f"photos-{count}", count, one_large_in=0)
    broken = break_some(photos)
    words = [sys.executable, "-c", RUN, str(photos), str(base / f"out-{count}")]
    environment = {**os.environ, "CLOSEUP_CACHE": str(base / "cache"), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["photos"], found["sum"], found["unreadable"]) == (count, count, broken)
    assert found["lies"] == []
    assert found["look"] == [count, count]
    return dict(found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured by getrusage")
def test_many_photos(tmp_path: Path, amount: Amount, tried: Tried) -> None:
    few, many = amount.photos // 4, amount.photos
    first, second = soak(tmp_path, few), soak(tmp_path, many)
    rise = (int(str(second["kilobytes"])) - int(str(first["kilobytes"]))) * 1024 / (many - few)
    assert rise < DECODED / 4
    tried(
        f"`run` over {many} photos, one in a hundred broken: all in the tables", many,
        remark=f"{rise / 1000:.0f} kB more memory for each further photo",
    )  # fmt: skip
