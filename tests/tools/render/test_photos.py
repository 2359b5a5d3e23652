"""The demo's photo folder on disk."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from closeup.core.errors import UsageError
from tools.render.photos import write_fresh_photo, write_photos
from tools.render.scenes import MAKERS, render


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by relative path."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set, written in this process."""
    folder = tmp_path_factory.mktemp("demo") / "photos"
    return write_photos(folder, per_maker=4, seed=2, size=128, workers=1)


def test_a_folder_per_maker_and_a_table_of_boxes(photos: Path) -> None:
    names = sorted(f"{maker}/{n:04d}.jpg" for maker in MAKERS for n in range(1, 5))
    assert sorted(contents(photos)) == sorted([*names, "boxes.csv", "demo.json"])
    with (photos / "boxes.csv").open(encoding="utf8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "x1", "y1", "x2", "y2", "label"]
    assert sorted(row["path"] for row in rows) == names
    assert all(row["path"].startswith(row["label"]) for row in rows)


def test_turned_files_are_upright_by_their_exif_tag(photos: Path) -> None:
    tags = []
    for number, maker in enumerate(MAKERS):
        for n in range(4):
            with Image.open(photos / maker / f"{n + 1:04d}.jpg") as photo:
                tags.append(photo.getexif().get(0x0112, 1))
                upright = np.asarray(ImageOps.exif_transpose(photo), dtype=float)
            scene = render(2, n * len(MAKERS) + number, maker, 128)
            assert upright.shape == scene.pixels.shape
            assert np.abs(upright - scene.pixels).mean() < 8
    assert set(tags) - {1}


def test_processes_write_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    other = write_photos(tmp_path / "photos", per_maker=4, seed=2, size=128, workers=2)
    assert contents(other) == contents(photos)


def test_a_complete_set_is_kept(photos: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in photos.rglob("*")}
    calls = []
    write_photos(photos, per_maker=4, seed=2, size=128, progress=lambda *state: calls.append(state))
    assert {file: file.stat().st_mtime_ns for file in photos.rglob("*")} == before
    assert calls == [("photos", 20, 20)]


def test_an_interrupted_set_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_photos(folder, per_maker=1, size=64, workers=1, progress=interrupt)
    assert not (folder / "boxes.csv").exists()
    write_photos(folder, per_maker=1, size=64, workers=1)
    whole = write_photos(tmp_path / "whole", per_maker=1, size=64, workers=1)
    assert contents(folder) == contents(whole)


def test_another_seed_replaces_the_set(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_photos(folder, per_maker=2, seed=1, size=64, workers=1)
    first = contents(folder)
    write_photos(folder, per_maker=1, seed=9, size=64, workers=1)
    second = contents(folder)
    assert len(second) == len(MAKERS) + 2
    assert all(second[name] != first[name] for name in second)


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="empty or new folder"):
        write_photos(tmp_path, per_maker=1, size=64, workers=1)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="per maker"):
        write_photos(tmp_path / "new", per_maker=0)


def test_a_fresh_photo_is_in_no_set(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "watch.jpg"
    scene = write_fresh_photo(file, maker=MAKERS[1], seed=2, size=128)
    assert scene.maker == MAKERS[1]
    assert file.read_bytes() not in contents(photos).values()
    with Image.open(file) as photo:
        upright = ImageOps.exif_transpose(photo)
        assert (upright.height, upright.width) == scene.pixels.shape[:2]
