"""``closeup demo`` as a newcomer runs it, with fewer photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "transformers", "onnx"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import socket
def refuse(*_):
    raise OSError("no network in this test")
socket.socket.connect = refuse
from closeup.cli import main
if __name__ == "__main__":
    main()
"""


def demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the demo without PyTorch and without network."""
    script = folder / "run.py"
    script.write_text(BLOCK)
    command = [sys.executable, str(script), "demo", "--per-maker", "10", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_whole_job_is_done(made: tuple[Path, dict[str, object]]) -> None:
    folder, result = made
    assert result["photos"] == 50
    assert result["cropped"] >= 45  # type: ignore[operator]
    assert result["test"]["macro_f1"] > 0.5  # type: ignore[index]
    assert result["crop_gain"]["delta"]["value"] > 0  # type: ignore[index]
    names = {path.name for path in (folder / "closeup-demo").iterdir()}
    assert names == {"photos", "watches", "fresh.jpg", "fresh-answer.jpg"}
    assert (folder / "closeup-demo" / "watches" / "report.html").stat().st_size > 100_000


def test_a_second_run_says_the_same_and_changes_nothing(
    made: tuple[Path, dict[str, object]],
) -> None:
    folder, first = made
    kept = {p: p.stat().st_mtime_ns for p in (folder / "closeup-demo" / "photos").rglob("*")
            if p.is_file()}  # fmt: skip
    done = demo(folder)
    assert done.returncode == 0, done.stderr
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert f"{first['test']['macro_f1']:.3f}" in done.stdout  # type: ignore[index]
    assert "report.html" in done.stdout
    assert "closeup scout PHOTOS" in done.stdout


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "closeup-demo" / "photos").mkdir(parents=True)
    mine = tmp_path / "closeup-demo" / "photos" / "mine.jpg"
    mine.write_bytes(b"x")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert mine.read_bytes() == b"x"


def test_a_folder_of_the_users_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fresh.jpg").write_bytes(b"mine")
    done = demo(tmp_path, "--out", "mine")
    assert done.returncode == 2
    assert "holds files that are not the demo's" in done.stderr
    assert [f.read_bytes() for f in (tmp_path / "mine").iterdir()] == [b"mine"]
