"""Whose the photos are: columns of a table, and what lies beside collected photos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closeup.core.config import PhotosConfig
from closeup.core.errors import PhotosError
from closeup.core.types import Rights
from closeup.photos.listing import Collection, Entry, collect
from closeup.photos.rights import licence_of, of_cells
from tests.collecting import BY, failed, saved, write_collected
from tests.conftest import save_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos of two labels, not collected yet."""
    for seed, name in enumerate(("ash/1.png", "ash/2.png", "elm/3.png")):
        save_photo(tmp_path / "photos" / name, seed=seed)
    return tmp_path / "photos"


def listed(source: Path, **options: Any) -> Collection:
    return collect(PhotosConfig(source=str(source), **options))


def entries(source: Path, **options: Any) -> dict[str, Entry]:
    return {entry.path: entry for entry in listed(source, **options).entries}


def rights_of(entry: Entry) -> Rights:
    assert entry.rights is not None
    return entry.rights


def collected(photos: Path, *names: str, **given: str) -> list[dict[str, object]]:
    return [saved(photos / name, photos, **{**BY, **given}) for name in names]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ({"licence": "CC0", "creator": "Ada"}, {"licence": "CC0", "creator": "Ada"}),
        ({"license": "by", "license_url": "u", "author": "Ada"},
         {"licence": "by", "licence_url": "u", "creator": "Ada"}),
        ({"license url": "u", "photographer": "Ada"}, {"licence_url": "u", "creator": "Ada"}),
        # The first that says something, where two are there.
        ({"licence": "", "license": "by", "author": "A", "photographer": "B"},
         {"licence": "by", "creator": "A"}),
        ({"attribution": "by Ada", "title": "T", "source": "S"},
         {"attribution": "by Ada", "title": "T", "source": "S"}),
        ({"landing-page": "https://a.example"}, {"landing_page": "https://a.example"}),
    ],
)  # fmt: skip
def test_the_columns_of_a_table(cells: dict[str, str], wanted: dict[str, str]) -> None:
    found = of_cells(cells)
    assert found is not None
    assert {name: value for name in Rights.__slots__ if (value := getattr(found, name))} == wanted


@pytest.mark.parametrize("cells", [{}, {"path": "1.jpg"}, {"title": "T", "source": "phone"},
                                   {"licence": ""}])  # fmt: skip
def test_a_table_that_tells_nothing_of_rights(cells: dict[str, str]) -> None:
    assert of_cells(cells) is None


def test_collected_photos_bring_their_rights_and_groups(photos: Path) -> None:
    rows = collected(photos, "ash/1.png", group="g") + collected(photos, "elm/3.png")
    write_collected(photos, [*rows, failed("https://gone.example/1")])
    found = listed(photos)
    one, own, three = found.entries
    assert rights_of(one) == Rights("", **BY, attribution="", url="https://photos.example/1.png")
    assert [entry.group for entry in found.entries] == ["g", "", ""]
    assert own.rights is None
    assert rights_of(three).url == "https://photos.example/3.png"
    assert not [note for note in found.notes if "parquet" in note]  # it is not an unused file


def test_a_moved_and_a_renamed_photo_are_known_by_their_content(photos: Path) -> None:
    write_collected(photos, collected(photos, "ash/1.png", "ash/2.png", group="g"))
    (photos / "ash" / "1.png").rename(photos / "elm" / "other.png")
    (photos / "ash" / "2.png").rename(photos / "ash" / "new name.png")
    found = entries(photos)
    assert {path: entry.group for path, entry in found.items()} == {
        "elm/other.png": "g", "ash/new name.png": "g", "elm/3.png": ""
    }  # fmt: skip
    assert rights_of(found["elm/other.png"]).url == "https://photos.example/1.png"


def test_a_photo_that_was_edited_where_it_lies_is_still_somebodys(photos: Path) -> None:
    write_collected(photos, collected(photos, "ash/1.png"))
    save_photo(photos / "ash" / "1.png", seed=9)
    assert rights_of(entries(photos)["ash/1.png"]).creator == "Ada"


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("CC BY 4.0", "CC BY-SA 4.0", "CC BY 4.0 or CC BY-SA 4.0"),
        ("CC BY 4.0", "all rights reserved", "CC BY 4.0 or all rights reserved"),
        ("CC BY 4.0", "cc-by-2.0", "CC BY 4.0"),
        ("", "CC BY 4.0", "CC BY 4.0"),
    ],
)
def test_a_photo_from_two_addresses(photos: Path, first: str, second: str, name: str) -> None:
    rows = [saved(photos / "ash/1.png", photos, licence=first, creator="A"),
            saved(photos / "ash/1.png", photos, licence=second, creator="B", status="duplicate",
                  group="g")]  # fmt: skip
    write_collected(photos, rows)
    found = entries(photos)["ash/1.png"]
    assert licence_of(rights_of(found)).name == name
    assert licence_of(rights_of(found)).known == (" or " not in name)
    assert rights_of(found).creator == ("A" if first else "B")
    assert found.group == "g"


def test_a_file_that_only_has_the_name_is_a_side_file(photos: Path) -> None:
    pq.write_table(pa.table({"path": ["ash/1.png"], "licence": ["CC0"]}),
                   photos / "collected.parquet")  # fmt: skip
    found = listed(photos)
    assert [entry.rights for entry in found.entries] == [None] * 3
    assert any("1 x .parquet" in note for note in found.notes)


def test_a_damaged_table_is_named(photos: Path) -> None:
    file = write_collected(photos, collected(photos, "ash/1.png"))
    good = file.read_bytes()
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    for damaged in (good[:-20], good[:footer] + bytes(9) + good[footer + 9 :]):
        file.write_bytes(damaged)
        with pytest.raises(PhotosError, match=r"collected\.parquet is not a readable Parquet"):
            listed(photos)


def test_the_photos_of_a_test_folder_bring_theirs(photos: Path, tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    save_photo(tests / "ash" / "9.png", seed=20)
    write_collected(tests, collected(tests, "ash/9.png"))
    assert rights_of(entries(photos, test=str(tests))["ash/9.png"]).creator == "Ada"


def test_a_table_of_ones_own(photos: Path) -> None:
    table = photos / "mine.csv"
    table.write_text("path,label,License,Photographer\nash/1.png,ash,CC BY 4.0,Ada\n"
                     "ash/2.png,ash,,\nelm/3.png,elm,,\n")  # fmt: skip
    found = entries(table)
    assert rights_of(found["ash/1.png"]).creator == "Ada"
    assert found["ash/2.png"].rights is None


def test_a_table_beside_collected_photos(photos: Path) -> None:
    write_collected(photos, collected(photos, "ash/1.png", "elm/3.png", group="g"))
    table = photos / "mine.csv"
    table.write_text("path,label,group,creator\nash/1.png,ash,,Bea\nelm/3.png,elm,own,\n")
    found = entries(table)
    assert rights_of(found["ash/1.png"]).creator == "Bea"
    assert rights_of(found["elm/3.png"]).creator == "Ada"
    assert [entry.group for entry in found.values()] == ["g", "own"]


def test_a_photo_listed_twice_with_different_rights_is_one(photos: Path) -> None:
    table = photos / "mine.csv"
    table.write_text("path,label,source,creator\nash/1.png,ash,a,Ada\nash/1.png,ash,b,Bea\n"
                     "elm/3.png,elm,,\n")  # fmt: skip
    assert rights_of(entries(table)["ash/1.png"]).creator == "Ada"


def test_text_that_no_table_can_hold_is_replaced(photos: Path) -> None:
    table = photos / "mine.jsonl"
    table.write_text('{"path": "ash/1.png", "label": "ash", "creator": "A\\ud800da"}\n'
                     '{"path": "elm/3.png", "label": "elm"}\n')  # fmt: skip
    assert rights_of(entries(table)["ash/1.png"]).creator == "A?da"


def test_photos_without_licences_pay_for_none(photos: Path) -> None:
    table = photos / "mine.csv"
    table.write_text("path,label\nash/1.png,ash\nelm/3.png,elm\n")
    script = (
        "import sys\n"
        "from closeup.core.config import PhotosConfig\n"
        "from closeup.photos.listing import collect\n"
        f"for source in {(str(photos), str(table))}:\n"
        "    assert collect(PhotosConfig(source=source)).entries\n"
        "assert 'closeup.photos.licences' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
