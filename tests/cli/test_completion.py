"""Completion in the shell: verbs, their options, and the values that an option can have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("closeup tr", {"train"}),
        ("closeup run --pre", {"--preset", "--precision"}),
        ("closeup run --preset ", {"quick", "balanced", "best"}),
        ("closeup models p", {"pull"}),
    ],
)
def test_words_are_completed_in_bash(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": f"{typed.count(' ')}"}
    done = subprocess.run(
        [sys.executable, "-m", "closeup"], capture_output=True, text=True, check=False,
        env={**os.environ, "_CLOSEUP_COMPLETE": "complete_bash", **words},
    )  # fmt: skip
    assert set(done.stdout.split()) == offered, done.stderr


def test_every_summary_fits_its_line() -> None:
    for group in ((), ("models",)):
        done = subprocess.run(
            [sys.executable, "-m", "closeup", *group, "--help"], capture_output=True, text=True,
            check=True, env={**os.environ, "COLUMNS": "80", "TERMINAL_WIDTH": "80"},
        )  # fmt: skip
        assert "..." not in done.stdout.partition("Commands:")[2]
