"""Python that forks, run in a process of its own: pytest's has threads that a fork would lose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HEAD = """
import os, signal
def forked(work, seconds=60):
    '''The exit code of a forked process that does `work` and asserts what it likes.'''
    pid = os.fork()
    if pid == 0:
        signal.alarm(seconds)
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def run_forking(script: str, *words: object) -> None:
    """Run `script`, which may call ``forked(work)``, and fail as it fails."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    # Python 3.12 and later warn of every fork beside threads; it is what is tested here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _HEAD + script]
    done = subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, check=False, timeout=240,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
