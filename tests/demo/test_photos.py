"""The photos that ship with the package, and their copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import closeup.demo.photos
from closeup.core.config import PhotosConfig
from closeup.core.errors import UsageError
from closeup.core.types import PhotoState
from closeup.demo.photos import BOXES, MAKERS, PER_MAKER, copy_fresh_photo, copy_photos
from closeup.photos.listing import list_photos
from tests.demo.test_command import state
from tests.detect.reading import read_boxes
from tools import demo_photos
from tools.render import scenes

DATA = Path(closeup.demo.photos.__file__).parent / "data"


def names(folder: Path) -> list[str]:
    """Every file below `folder`, relative to it."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def upright(file: Path) -> np.ndarray:
    """A photo's pixels as a viewer shows them."""
    with Image.open(file) as photo:
        return np.asarray(ImageOps.exif_transpose(photo).convert("RGB"), dtype=float)


def test_all_photos_ship_in_a_few_megabytes() -> None:
    photos = [f"{maker}/{n:04d}.webp" for maker in MAKERS for n in range(1, PER_MAKER + 1)]
    assert names(DATA / "photos") == [*photos, BOXES]
    assert names(DATA / "fresh") == [f"{maker}.jpg" for maker in MAKERS]
    assert sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file()) < 4e6
    assert "Apache-2.0" in (DATA / "README.md").read_text(encoding="utf8")


def test_they_are_what_the_renderer_makes(tmp_path: Path) -> None:
    assert MAKERS == scenes.MAKERS
    demo_photos.make(tmp_path, per_maker=1)
    for made in (file for file in tmp_path.rglob("*") if file.suffix in (".webp", ".jpg")):
        ships = DATA / made.relative_to(tmp_path)
        # Not byte by byte: libwebp's and libjpeg's next versions may encode a little differently.
        assert np.abs(upright(made) - upright(ships)).mean() < 1.0
    boxes = (DATA / "photos" / BOXES).read_text().splitlines()
    assert set((tmp_path / "photos" / BOXES).read_text().splitlines()) <= set(boxes)


def test_the_table_of_boxes_is_one_that_run_reads(tmp_path: Path) -> None:
    copy_photos(tmp_path)
    photos = list_photos(PhotosConfig(source=str(tmp_path)))
    assert {photo.state for photo in photos} == {PhotoState.READABLE}
    given = read_boxes(tmp_path / BOXES, photos)
    (note,) = given.notes  # the table does not say which way round the photos were
    assert note.startswith("EXIF turns 36 ")
    assert sorted({d.photo_id for d in given.detections}) == sorted(p.id for p in photos)


def test_the_first_photos_of_each_maker_are_copied_once(tmp_path: Path) -> None:
    copy_photos(tmp_path, per_maker=2)
    first = [f"{maker}/{n:04d}.webp" for maker in MAKERS for n in (1, 2)]
    assert names(tmp_path) == [*first, BOXES]
    before = state(tmp_path)
    copy_photos(tmp_path, per_maker=3)
    assert len(names(tmp_path)) == 3 * len(MAKERS) + 1
    copy_photos(tmp_path, per_maker=2)
    assert state(tmp_path) == before


def test_an_interrupted_copy_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Path] = []
    replace = Path.replace

    def interrupt(source: Path, target: Path) -> Path:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(target)
        return replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            copy_photos(tmp_path, per_maker=1)
    assert len(names(tmp_path)) == 3
    copy_photos(tmp_path, per_maker=1)
    for name in names(tmp_path):
        assert (tmp_path / name).read_bytes() == (DATA / "photos" / name).read_bytes()


def test_photos_that_the_user_adds_stay(tmp_path: Path) -> None:
    copy_photos(tmp_path, per_maker=1)
    mine = tmp_path / MAKERS[0] / "mine.jpg"
    mine.write_bytes(b"mine")
    copy_photos(tmp_path, per_maker=2)
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["Averlund/0001.webp", "Averlund/0040.webp", BOXES])
def test_a_changed_file_is_never_replaced(tmp_path: Path, name: str) -> None:
    copy_photos(tmp_path)
    (tmp_path / name).write_bytes(b"mine")
    before = state(tmp_path)
    with pytest.raises(UsageError, match=f"not the demo's, such as {name}"):
        copy_photos(tmp_path, per_maker=2)
    assert state(tmp_path) == before


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"such as holiday\.jpg; give a new folder"):
        copy_photos(tmp_path)
    assert names(tmp_path) == ["holiday.jpg"]


@pytest.mark.parametrize("count", [0, 41])
def test_other_numbers_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match=f"40 photos of each maker; asked for {count}"):
        copy_photos(tmp_path / "new", per_maker=count)
    assert not (tmp_path / "new").exists()


def test_a_fresh_photo_is_in_no_set(tmp_path: Path) -> None:
    def small(file: Path) -> np.ndarray:
        with Image.open(file) as photo:
            return np.asarray(ImageOps.exif_transpose(photo).convert("L").resize((16, 16)), float)

    known = np.stack([small(file) for file in (DATA / "photos").rglob("*.webp")])
    for maker in MAKERS:
        copy_fresh_photo(maker, tmp_path / "fresh.jpg")
        assert np.abs(known - small(tmp_path / "fresh.jpg")).mean(axis=(1, 2)).min() > 5
