"""What a run tells beforehand, and what it makes of folders called train and test."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import closeup
from closeup.api import settings
from closeup.core.errors import PhotosError
from closeup.core.project import Project
from closeup.core.types import Example
from closeup.pipeline.planning import plan
from tests import tiny
from tests.commands import closeup as command

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three labels below train and test, and the tiny networks."""
    tiny.need_onnx()
    folder = tmp_path_factory.mktemp("plan")
    tiny.make_detector(folder / "cache")
    tiny.make_backbone(folder / "cache")
    tiny.make_photos(folder / "photos" / "train", per_label=4)
    for label in ("ash", "birch", "cedar"):
        (folder / "photos" / "test" / label).mkdir(parents=True)
        for name in ("2.png", "3.png"):
            shutil.move(folder / "photos" / "train" / label / name, folder / "photos/test" / label)
    return folder


@pytest.fixture(autouse=True)
def _cache(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))


def everything(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_a_plan_before_and_after_a_run(base: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(base / "photos", tmp_path / "photos"))
    out = tmp_path / "out"
    config = settings(out, {**tiny.TINY, "preset": "quick"}, photos)
    first = plan(config, out)
    assert not out.exists()
    assert [(step.total, step.left) for step in first.steps] == [(12, 12)] * 3
    assert set(first.seconds) == {"quick", "balanced", "best"}
    result = closeup.run(photos, out=out, preset="quick", **tiny.TINY)
    assert any(note.startswith("the split is that of your folders") for note in result.notes)
    before = everything(out)
    known = plan(config, out)
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf8")
    rows = page.partition("### `run --dry-run --json`")[2].partition("###")[0]
    keys = {key for line in rows.splitlines() if line.startswith("| `")
            for key in re.findall(r"`([a-z]+)`", line.split("|")[1])}  # fmt: skip
    assert keys == known.to_json().keys()
    assert [step.left for step in known.steps] == [0, 0, 0]
    assert known.seconds == {}
    (photos / "train" / "ash" / "0.png").rename(photos / "train" / "ash" / "new.png")
    shutil.copy(photos / "train" / "ash" / "1.png", photos / "train" / "ash" / "2.png")
    assert [step.left for step in plan(config, out).steps] == [2, 2, 2]
    assert everything(out) == before


def test_a_network_that_is_not_here_is_named_and_not_fetched(base: Path, tmp_path: Path) -> None:
    options = {**tiny.TINY, "backbone": "mobilenetv2"}
    found = plan(settings(None, options, base / "photos"), tmp_path / "out")
    assert found.missing == ("mobilenetv2",)
    assert found.seconds == {}


def test_the_command_prints_the_tree_and_stops(base: Path, tmp_path: Path) -> None:
    words = ("run", base / "photos", "--detector", "tiny-box", "--backbone", "tiny-pool", "--out",
             tmp_path / "out", "--dry-run")  # fmt: skip
    done = command(*words)
    assert done.returncode == 0
    assert "  test/  6  testing\n    ash/  2  label\n" in done.stdout
    assert "12 files, 3 labels, 6 for testing\n" in done.stdout
    assert "Nothing was written" in done.stdout
    assert not (tmp_path / "out").exists()


def test_the_split_of_the_folders_is_used_unless_ignored(base: Path, tmp_path: Path) -> None:
    for ignored in (False, True):
        out = tmp_path / str(ignored)
        closeup.run(base / "photos", out=out, ignore_split=ignored, **tiny.TINY)
        table = Project(out).read("dataset", Example)
        assert table is not None
        tested = {row.photo_id for row in table.rows if row.split == "test"}
        assert (len(tested) == 6) != ignored


def test_one_label_is_refused_before_any_network_is_looked_for(base: Path, tmp_path: Path) -> None:
    photos = base / "photos" / "train"
    (tmp_path / "one").mkdir()
    shutil.copytree(photos / "ash", tmp_path / "one" / "ash")
    with pytest.raises(PhotosError, match=r"at least 2 labels, .* has one \(ash\)"):
        closeup.run(tmp_path / "one", out=tmp_path / "out", detector="there is none")
    assert not (tmp_path / "out").exists()
    closeup.crop(tmp_path / "one", out=tmp_path / "out", detector="tiny-box")
