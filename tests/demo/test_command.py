"""``closeup demo`` as a newcomer runs it."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from closeup.demo.photos import PER_MAKER

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
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
    command = [sys.executable, str(script), "demo", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def state(folder: Path) -> dict[str, int]:
    """When each file below `folder` was last written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder)
    assert done.returncode == 0, done.stderr
    return folder / "closeup-demo", done


def steady(text: str) -> str:
    """What is printed without what varies from run to run: numbers, and which stages took time."""
    words = re.sub(r"time: .*? model:", "model:", " ".join(text.split()))
    return re.sub(r"\d[\d.]*", "#", words)


def test_the_picture_of_the_terminal_shows_what_is_printed(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    svg = (IMAGES / "terminal.svg").read_text(encoding="utf8")
    drawn = " ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))
    shown = steady(html.unescape(drawn).replace("\xa0", " ").partition("$ closeup demo")[2])
    # Progress lines depend on the machine and are left out, as numbers are.
    assert shown.startswith(steady(made[1].stderr.splitlines()[0])), "run tools/pictures.py"
    assert shown.endswith(steady(made[1].stdout)), "run tools/pictures.py"


def test_the_start_page_quotes_what_is_printed(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    page = (IMAGES.parent / "index.md").read_text(encoding="utf8")
    quoted = page.partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(quoted) == 5
    for line in quoted:
        assert steady(line.removesuffix("…")) in steady(made[1].stdout)


def test_the_whole_job_is_done_and_a_second_run_changes_nothing(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, first = made
    assert {path.name for path in out.iterdir()} == {
        "photos", "watches", "fresh.jpg", "fresh-answer.jpg",
    }  # fmt: skip
    assert (out / "watches" / "report.html").stat().st_size > 100_000
    before = state(out / "photos")
    done = demo(out.parent, "--json")
    assert done.returncode == 0, done.stderr
    assert state(out / "photos") == before
    result = json.loads(done.stdout)
    assert result["photos"] == 5 * PER_MAKER
    assert result["cropped"] >= 195
    assert result["test"]["macro_f1"] > 0.9
    assert result["crop_gain"]["delta"]["value"] > 0.3
    assert result["fresh"]["truth"] == "Averlund"
    assert f"{result['test']['macro_f1']:.3f}" in first.stdout
    assert "report.html" in first.stdout
    assert "closeup scout PHOTOS" in first.stdout


def test_only_as_many_photos_as_there_are(tmp_path: Path) -> None:
    done = demo(tmp_path, "--per-maker", "41")
    assert done.returncode == 2
    assert re.search(r"--per-maker.* 40\b", done.stderr)
    assert not (tmp_path / "closeup-demo").exists()


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
    assert "contains files that are not the demo's" in done.stderr
    assert [f.read_bytes() for f in (tmp_path / "mine").iterdir()] == [b"mine"]
