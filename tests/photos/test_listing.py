from __future__ import annotations

import inspect
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closeup.core.config import PhotosConfig
from closeup.core.errors import PhotosError
from closeup.core.types import Photo, PhotoState
from closeup.photos import listing as photos_module
from closeup.photos.listing import list_paths, list_photos
from closeup.photos.tables import read_table
from closeup.photos.walk import walk
from tests.conftest import save_photo


def listed(source: Path, **options: object) -> list[Photo]:
    return list_photos(PhotosConfig(source=str(source), **options))


def refused(source: Path, match: str, **options: object) -> None:
    with pytest.raises(PhotosError, match=match):
        listed(source, **options)


# Folders


def test_folders_may_lie_deeper_than_calls(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    save_photo(deep / "1.jpg")
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        found = walk(tmp_path)
    finally:
        sys.setrecursionlimit(usual)
    assert found.photos == [deep / "1.jpg"]
    assert len(found.folders) == 301


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no folder or file")


def test_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, "no files at all.*one sub-folder per label")


def test_folder_of_other_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.pdf", "README"):
        (tmp_path / name).touch()
    refused(tmp_path, r"1 x \.pdf, 2 x \.txt, 1 x no suffix")


def test_a_file_is_no_source(tmp_path: Path) -> None:
    refused(save_photo(tmp_path / "a.jpg"), "neither a folder nor a table")


def test_a_link_to_itself_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", "no folder or file")


def test_a_path_that_is_not_text_is_named(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"photos\xff")
    try:
        save_photo(folder / "a" / "1.jpg")
    except OSError:
        pytest.skip("this file system takes valid names only")
    refused(folder, r"photos\\xff is not valid UTF-8; rename it")


def test_photos_without_sub_folders(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.jpg")
    refused(tmp_path, "1 photos but no label; use a folder with one sub-folder per label")


def test_a_project_folder_is_no_source(tmp_path: Path) -> None:
    save_photo(tmp_path / "crops" / "rolex" / "a.jpg")
    (tmp_path / "closeup.toml").touch()
    refused(tmp_path, "project folder")
    assert len(listed(tmp_path / "crops")) == 1


def test_single_photo(tmp_path: Path) -> None:
    file = save_photo(tmp_path / "rolex" / "a b.jpg", (20, 10))
    (photo,) = listed(tmp_path)
    assert photo.file == file
    assert (photo.path, photo.label, photo.split, photo.group) == ("rolex/a b.jpg", "rolex", "", "")
    assert (photo.state, photo.code, photo.reason) == (PhotoState.READABLE, "", "")
    assert (photo.width, photo.height, photo.bytes) == (20, 10, file.stat().st_size)
    assert photo.mtime_ns == file.stat().st_mtime_ns
    assert len(photo.sha256) == 64


def test_labels_are_the_first_folder_and_depth_is_free(tmp_path: Path) -> None:
    save_photo(tmp_path / "rolex" / "2020" / "summer" / "a.jpg")
    save_photo(tmp_path / "omega" / "a.jpg")
    save_photo(tmp_path / "loose.jpg")
    assert [(p.path, p.label) for p in listed(tmp_path)] == [
        ("loose.jpg", ""),
        ("omega/a.jpg", "omega"),
        ("rolex/2020/summer/a.jpg", "rolex"),
    ]


def test_same_names_do_not_collide(tmp_path: Path) -> None:
    for number, folder in enumerate(("rolex", "omega", "rolex/1", "rolex/2")):
        save_photo(tmp_path / folder / "1.jpg", seed=number)
    rows = listed(tmp_path)
    assert len({p.id for p in rows}) == 4
    assert all(p.id.startswith("1-") for p in rows)


def test_bad_files_become_rows(tmp_path: Path) -> None:
    good = save_photo(tmp_path / "a" / "good.jpg").read_bytes()
    folder = tmp_path / "a"
    (folder / "cut.jpg").write_bytes(good[:-200])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("hello")
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (folder / "dir.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    save_photo(folder / "big.png", (200, 200))
    rows = listed(tmp_path, max_pixels=20_000)
    assert {p.path.removeprefix("a/"): p.code for p in rows} == {
        "big.png": "too_large",
        "cut.jpg": "truncated",
        "empty.png": "empty",
        "gone.jpg": "missing",
        "good.jpg": "",
        "pipe.jpg": "not_a_file",
        "text.jpg": "not_an_image",
    }
    for photo in rows:
        readable = photo.state is PhotoState.READABLE
        assert readable == (photo.code == "") == (photo.reason == "") == bool(photo.sha256)
        assert readable == (photo.width > 0)


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    save_photo(tmp_path / "a" / "1.JPG")
    save_photo(tmp_path / "a" / "._1.jpg")
    save_photo(tmp_path / ".cache" / "1.jpg")
    save_photo(tmp_path / "out" / "crops" / "a" / "1.jpg")
    (tmp_path / "out" / "closeup.toml").touch()
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / "a" / name).touch()
    assert [p.path for p in listed(tmp_path)] == ["a/1.JPG"]


def test_links(tmp_path: Path) -> None:
    file = save_photo(tmp_path / "elsewhere" / "x.jpg")
    root = tmp_path / "photos"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file.jpg").symlink_to(file)
    (root / "a" / "up").symlink_to(root)
    (root / "b").symlink_to(file.parent)
    assert [p.path for p in listed(root)] == ["a/file.jpg", "b/x.jpg"]


def test_odd_names(tmp_path: Path) -> None:
    names = ["line\nbreak.jpg", "🍎 apple.jpg", "ünï.jpg", "100%.jpg", "…" * 60 + ".jpg", "a.b.jpg"]
    for number, name in enumerate(names):
        save_photo(tmp_path / "l'été" / name, seed=number)
    rows = listed(tmp_path)
    assert Counter(p.path for p in rows) == Counter(f"l'été/{name}" for name in names)
    for photo in rows:
        assert photo.state is PhotoState.READABLE
        assert photo.id.isascii()
        assert len(photo.id) <= 49
        assert not set(photo.id) & set("/\\\n%. '")


def test_name_that_is_not_text(tmp_path: Path) -> None:
    save_photo(tmp_path / "a" / "1.jpg")
    try:
        (tmp_path / "a" / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes valid names only")
    row = next(p for p in listed(tmp_path) if p.code)
    assert (row.code, row.path) == ("bad_name", "a/\\xff.jpg")


def test_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a/10.jpg", "a-b/1.jpg", "a/9.jpg"):
        save_photo(tmp_path / name)
    assert [p.path for p in listed(tmp_path)] == ["a-b/1.jpg", "a/10.jpg", "a/9.jpg", "b/2.jpg"]


def test_ids_are_stable_and_survive_a_clash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        save_photo(tmp_path / folder / "1.jpg")
    first = [p.id for p in listed(tmp_path)]
    save_photo(tmp_path / "c" / "2.jpg")
    assert [p.id for p in listed(tmp_path)][:2] == first
    short = photos_module._id_of
    monkeypatch.setattr(
        photos_module, "_id_of", lambda p, size: "same" if size == 4 else short(p, size)
    )
    assert len({p.id for p in listed(tmp_path)}) == 3


# Reading again


def test_unchanged_photos_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        save_photo(tmp_path / "x" / f"{name}.jpg", seed=ord(name))
    (tmp_path / "x" / "bad.jpg").touch()
    before = listed(tmp_path)
    save_photo(tmp_path / "x" / "c.jpg", (30, 30))
    read = []
    original = photos_module.read_and_hash
    monkeypatch.setattr(
        photos_module,
        "read_and_hash",
        lambda path, *given: read.append(path.name) or original(path, *given),
    )
    config = PhotosConfig(source=str(tmp_path))
    after = list_photos(config, previous=before)
    assert sorted(read) == ["bad.jpg", "c.jpg"]
    assert after[:2] == before[:2]
    assert after[3].width == 30
    relabelled = [replace(p, label="y") for p in before]
    read.clear()
    assert list_photos(config, previous=relabelled) == after
    assert len(read) == 4


def test_a_lower_limit_holds_for_known_photos_too(tmp_path: Path) -> None:
    save_photo(tmp_path / "x" / "a.jpg", (20, 20))
    before = listed(tmp_path)
    (row,) = list_photos(PhotosConfig(source=str(tmp_path), max_pixels=399), previous=before)
    assert row.code == "too_large"


def test_progress(tmp_path: Path) -> None:
    save_photo(tmp_path / "x" / "a.jpg")
    seen: list[tuple[str, int, int]] = []
    list_photos(PhotosConfig(source=str(tmp_path)), progress=lambda *step: seen.append(step))
    assert seen == [("photos", 0, 1), ("photos", 1, 1)]


# The user's own test photos


def test_test_folder(tmp_path: Path) -> None:
    save_photo(tmp_path / "train" / "a" / "1.jpg")
    save_photo(tmp_path / "test" / "a" / "1.jpg")
    rows = listed(tmp_path / "train", test=str(tmp_path / "test"))
    assert [(p.split, p.path, Path(p.root).name) for p in rows] == [
        ("", "a/1.jpg", "train"),
        ("test", "a/1.jpg", "test"),
    ]
    assert rows[0].id != rows[1].id


def test_test_folder_inside_the_photos_is_not_listed_twice(tmp_path: Path) -> None:
    save_photo(tmp_path / "a" / "1.jpg")
    save_photo(tmp_path / "test" / "a" / "2.jpg")
    rows = listed(tmp_path, test=str(tmp_path / "test"))
    assert [(p.split, p.path) for p in rows] == [("", "a/1.jpg"), ("test", "a/2.jpg")]


def test_test_folder_must_be_another(tmp_path: Path) -> None:
    save_photo(tmp_path / "a" / "1.jpg")
    refused(tmp_path, "test photos are the training photos", test=f"{tmp_path}/a/..")


# Tables


def write(file: Path, text: str, encoding: str = "utf8") -> Path:
    file.write_bytes(text.encode(encoding))
    return file


def test_table_with_a_header_only(tmp_path: Path) -> None:
    refused(write(tmp_path / "t.csv", "path,label\n"), "no rows")
    refused(write(tmp_path / "t.csv", ""), "lacks the column path, label .it has: none")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table(tmp_path: Path, separator: str) -> None:
    save_photo(tmp_path / "sub" / "a.jpg")
    absolute = save_photo(tmp_path / "elsewhere.png")
    text = (
        "Path , LABEL,extra,group\r\nsub/a.jpg,rolex,1,g1\r\n\r\n"
        f"{absolute},omega,,\r\nnone.jpg,omega,,\r\n"
    )
    file = write(tmp_path / "t.csv", text.replace(",", separator), "utf-8-sig")
    rows = {Path(p.path).name: p for p in listed(file)}
    assert (rows["a.jpg"].label, rows["a.jpg"].group) == ("rolex", "g1")
    assert rows["a.jpg"].state is rows["elsewhere.png"].state is PhotoState.READABLE
    assert rows["elsewhere.png"].path == str(absolute)
    assert rows["none.jpg"].code == "missing"


def test_table_quotes(tmp_path: Path) -> None:
    save_photo(tmp_path / "a, b.jpg")
    (row,) = listed(write(tmp_path / "t.csv", 'path,label\n"a, b.jpg",x\n'))
    assert row.state is PhotoState.READABLE


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("what,label\na.jpg,x\n", r"lacks the column path \(it has: what, label\).*file_name"),
        ("path,label\na.jpg,x\nb.jpg\n", "line 3: 1 cells where the header has 2"),
        ("path,label\na, b.jpg,x\n", "line 2: 3 cells"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("path,label\na.jpg,x\n./a.jpg,y\n", "lines 2 and 3 give a.jpg different labels"),
        ("path,label\na.jpg,\n", "no label"),
        ('path,label\n"a.jpg,x\n', "line 2: unexpected end of data"),
    ],
)
def test_malformed_table(tmp_path: Path, text: str, match: str) -> None:
    save_photo(tmp_path / "a.jpg")
    refused(write(tmp_path / "t.csv", text), match)


def test_table_in_another_encoding(tmp_path: Path) -> None:
    refused(write(tmp_path / "t.csv", "path,label\né.jpg,x\n", "latin1"), "not UTF-8")


def test_repeated_row_counts_once(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.jpg")
    assert len(listed(write(tmp_path / "t.csv", "path,label\na.jpg,x\na.jpg,x\n"))) == 1


def test_parquet(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.jpg")
    table = pa.table({"path": ["a.jpg", "b.jpg"], "label": [7, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert [(p.path, p.label) for p in listed(tmp_path / "t.parquet")] == [
        ("a.jpg", "7"),
        ("b.jpg", ""),
    ]
    refused(write(tmp_path / "bad.parquet", "no"), "not a readable Parquet file")


def test_read_table_counts_lines(tmp_path: Path) -> None:
    rows = read_table(write(tmp_path / "t.csv", "a\n\n1\n2\n"), ("a",))
    assert [(row.line, row.cells) for row in rows] == [(3, {"a": "1"}), (4, {"a": "2"})]
    with pytest.raises(PhotosError, match="cannot be read"):
        read_table(tmp_path / "none.csv", ("a",))


# Paths to predict on


def test_list_paths(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="no photos were given"):
        list_paths([])
    with pytest.raises(PhotosError, match="no photo in"):
        list_paths([tmp_path])
    with pytest.raises(PhotosError, match="no photo in"):
        list_paths([tmp_path / "*.jpg"])
    a = save_photo(tmp_path / "a.jpg")
    b = save_photo(tmp_path / "sub" / "b.png")
    odd = save_photo(tmp_path / "c[1].jpg")
    (tmp_path / "notes.txt").touch()
    none, text = tmp_path / "none.jpg", tmp_path / "notes.txt"
    assert list_paths([tmp_path]) == [a, odd, b]
    assert list_paths([b, str(tmp_path), a]) == [b, a, odd]
    assert list_paths([tmp_path / "*"]) == [a, odd, b]
    assert list_paths([tmp_path / "**" / "*.png"]) == [b]
    assert list_paths([odd]) == [odd]
    assert list_paths([none, text]) == [none, text]
