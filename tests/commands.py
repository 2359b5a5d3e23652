"""The command line without a process of its own: a second of imports less for each command."""

from __future__ import annotations

import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock


def closeup(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process; an exception that it does not handle comes out.

    Returns its exit code and what it wrote, as :func:`subprocess.run` does.
    """
    from closeup.cli import main

    given = ["closeup", *map(str, words)]
    out, err = StringIO(), StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", given),
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(cwd or Path.cwd()),
    ):
        try:
            main()
        except SystemExit as done:
            code = done.code
    number = code if isinstance(code, int) else int(code is not None)
    return subprocess.CompletedProcess(given, number, out.getvalue(), err.getvalue())
