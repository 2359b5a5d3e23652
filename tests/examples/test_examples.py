"""The scripts and the notebook of ``examples/`` run, offline, and say what they should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAYS = {
    "batch": r"left out: example-photos/boxes.csv: .*\nCounter\(.*'no answer': 1",
    "closeup_or_photo": r"closeup +1\.000 .*<- chosen\n.*\ntest part: 0\.\d+ with whole photos",
    "errors_as_a_table": r"\d+ of 40 are wrong; the most confident mistakes:\n +photo",
    "first_model": r"macro-F1 on 40 test photos: 0\.9.*\n(.*\n)*new-photo.jpg: Corvelle, ",
    "own_detector": r"my-detector finds the object in 100%.*\nwith boxes from elsewhere: macro-F1 ",
}


def test_each_script_is_run_here() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAYS))
def test_script(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"], cwd=tmp_path, check=False,
        capture_output=True, text=True, env={**os.environ, "CLOSEUP_CACHE": f"{tmp_path}/cache"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's own
def test_notebook(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "first_model.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "keep it without outputs"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
                            ).execute()  # fmt: skip
    shown = [data for cell in notebook.cells for out in cell.get("outputs", ())
             for data in out.get("data", {})]  # fmt: skip
    assert shown.count("text/html") == 3
    assert "image/png" in shown
