"""Run the long form of ``tests/torture`` and print what was tried: ``python tools/torture.py``.

Prints a Markdown table and the machine. ``CLOSEUP_TORTURE_KILLS`` (50), ``CLOSEUP_TORTURE_PHOTOS``
(20,000) and ``CLOSEUP_TORTURE_STRIDE`` (1: every change of a file) say how much. Ends with the exit
code of the tests: the table counts a loss only where a test says so by failing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import describe  # noqa: E402


def table(lines: list[str]) -> str:
    """One row for each thing that was tried, its numbers added up."""
    times: dict[str, int] = {}
    lost: dict[str, int] = {}
    remarks: dict[str, str] = {}
    for line in lines:
        row = json.loads(line)
        what = row["what"]
        times[what] = times.get(what, 0) + row["times"]
        lost[what] = lost.get(what, 0) + row["lost"]
        remarks[what] = row["remark"] or remarks.get(what, "")
    rows = [
        f"| {what}{f' ({remarks[what]})' if remarks[what] else ''} | {count} | {lost[what]} |"
        for what, count in sorted(times.items())
    ]
    return "\n".join(["| what was done | times | lost |", "| --- | --- | --- |", *rows])


def main() -> None:
    """Run, print."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "tried.jsonl"
        log.touch()
        environment = {**os.environ, "CLOSEUP_TORTURE": "long", "CLOSEUP_TORTURE_LOG": str(log)}
        words = ["-m", "pytest", "tests/torture", "-n", "2", "-o", "faulthandler_timeout=0"]
        words += sys.argv[1:]
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, check=False, stdout=sys.stderr
        )
        print(describe(), end="\n\n")
        print(table(log.read_text(encoding="utf8").splitlines()))
        print(f"\n{(time.monotonic() - start) / 60:.0f} minutes.")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
