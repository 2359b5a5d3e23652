"""Damaged files found by what code they reach: minutes of work, so only when asked for.

``CLOSEUP_TORTURE=long`` asks for it; atheris comes with the extra ``fuzz``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.readers import readers

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 60

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("CLOSEUP_TORTURE") != "long",
        reason="takes half an hour: set CLOSEUP_TORTURE=long",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris is not installed: pip install -e '.[fuzz]'",
    ),
]


@pytest.mark.parametrize("name", [reader.name for reader in readers()])
def test_no_reader_breaks(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.fuzz", name, "--seconds", str(SECONDS)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True,
                          errors="replace", timeout=10 * SECONDS, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
