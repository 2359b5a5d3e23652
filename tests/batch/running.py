"""``closeup predict --ray`` as a process, with all the processes that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.commands import closeup

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ("--engine", "onnxruntime")
MARK = "CLOSEUP_TEST"


def start(world: Path, source: object, out: object, **more: str) -> subprocess.Popen[str]:
    """``closeup predict --ray --json`` in a process group of its own."""
    model = world / "out" / "model"
    return start_verb("predict", model, source, "--ray", "--out", out, **more)


def start_verb(*words: object, **more: str) -> subprocess.Popen[str]:
    """A command in a process group of its own, with Ray on this machine's processors."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}", "RAY_ADDRESS": "local", **more}
    return subprocess.Popen(
        [sys.executable, "-m", "closeup", *map(str, words), "--json", *ENGINE], text=True,
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    summary: dict[str, object] = json.loads(out)
    return summary


def one_process(world: Path, source: object, file: Path) -> pa.Table:
    done = closeup("predict", world / "out" / "model", source, "--parquet", file, *ENGINE)
    assert done.returncode == 0, done.stderr
    return pq.read_table(file).sort_by("photo")


def answers(out: Path, like: pa.Table) -> pa.Table:
    return pq.read_table(out / "answers").select(like.column_names).sort_by("photo")


def descendants(marker: str) -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={marker}\0".encode() in (folder / "environ").read_bytes():
                yield int(folder.name), (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue


def kill(pids: list[int]) -> int:
    done = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            done += 1
        except ProcessLookupError:
            continue
    return done


def kill_left(marker: str) -> None:
    """Kill what is left of a command and of Ray, which may hold the command's pipes open."""
    end = time.monotonic() + 60
    while left := [pid for pid, _ in descendants(marker)]:
        kill(left)
        time.sleep(0.1)
        assert time.monotonic() < end


def wait_for(out: Path, parts: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < end:
        if len(list((out / "answers").glob("*.parquet"))) >= parts:
            return
        time.sleep(0.05)
