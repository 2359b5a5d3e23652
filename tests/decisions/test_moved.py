"""Close-ups moved by hand: reported, offered as decisions, never put back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from closeup.core.project import Project
from closeup.core.types import Crop
from closeup.decisions.moved import Moved, find_moved
from tests import tiny
from tests.commands import closeup


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("moved")
    tiny.make_project(base)
    return base


@pytest.fixture
def out(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    return Path(shutil.copytree(finished / "out", tmp_path / "out"))


def crops(out: Path) -> dict[str, Crop]:
    table = Project(out).read("crops", Crop)
    assert table is not None
    return {crop.id: crop for crop in table.rows}


def first_of_label(out: Path, label: str) -> Crop:
    return next(c for c in crops(out).values() if c.label == label and c.file)


def move(out: Path, crop: Crop, label: str) -> Path:
    to = out / "crops" / label / Path(crop.file).name
    to.parent.mkdir(exist_ok=True)
    return (out / crop.file).rename(to)


def test_no_project_and_nothing_moved(out: Path, tmp_path: Path) -> None:
    assert find_moved(tmp_path / "none", []) == Moved()
    assert find_moved(out, list(crops(out).values())) == Moved()
    done = closeup("review", out, "--from-crops")
    assert done.returncode == 0
    assert "no close-up was moved" in done.stdout
    assert closeup("review", tmp_path, "--from-crops").returncode == 1


def test_a_move_is_told_kept_and_taken_over_when_asked(out: Path) -> None:
    crop = first_of_label(out, "ash")
    there = move(out, crop, "birch")
    done = closeup("train", out)
    assert done.returncode == 0, done.stderr
    assert f"{there.name} from ash to birch" in done.stdout + done.stderr
    assert there.is_file()
    assert not (out / crop.file).exists()
    assert crops(out)[crop.id].label == "ash"
    done = closeup("review", out, "--from-crops")
    assert f"{crop.id}: ash -> birch" in done.stdout
    done = closeup("train", out)
    assert done.returncode == 0, done.stderr
    assert "moved to another" not in done.stdout + done.stderr
    assert crops(out)[crop.id].label == "birch"
    assert there.is_file()
    assert not (out / crop.file).exists()


def test_a_new_folder_is_a_new_label(out: Path) -> None:
    crop = first_of_label(out, "ash")
    move(out, crop, "yew tree")
    assert find_moved(out, list(crops(out).values())).labels == ("yew tree",)


def test_a_copy_is_told_and_decides_nothing(out: Path) -> None:
    crop = first_of_label(out, "ash")
    shutil.copy(out / crop.file, out / "crops" / "birch" / Path(crop.file).name)
    found = find_moved(out, list(crops(out).values()))
    assert (found.crops, found.copied) == ((), (Path(crop.file).name,))
    done = closeup("review", out, "--from-crops")
    assert "several labels" in done.stderr
    assert closeup("train", out).returncode == 0
    assert crops(out)[crop.id].label == "ash"


def test_a_deleted_close_up_is_made_again(out: Path) -> None:
    crop = first_of_label(out, "ash")
    (out / crop.file).unlink()
    assert find_moved(out, list(crops(out).values())) == Moved()
    assert closeup("train", out).returncode == 0
    assert (out / crop.file).is_file()
