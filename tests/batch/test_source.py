"""What a source lists is what ``closeup predict`` would be given."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closeup.batch.files import file_system, is_url
from closeup.batch.source import Listed, list_source
from closeup.core.errors import PhotosError, UsageError
from closeup.photos.listing import list_paths
from tests import tiny


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tiny.make_photos(tmp_path / "photos", per_label=2)
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def sources(source: object) -> list[str]:
    return [one.source for one in list_source(str(source))]


def test_a_folder_and_a_pattern_are_what_predict_takes_them_for(photos: Path) -> None:
    for given in (photos, f"{photos}/*/1.png"):
        listed = list(list_source(str(given)))
        assert [one.photo for one in listed] == [str(path) for path in list_paths([given])]
        assert all(one.size > 0 and one.mtime_ns > 0 for one in listed)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_list_keeps_its_names_and_order(photos: Path, suffix: str) -> None:
    names = ["cedar/1.png", str(photos / "ash" / "0.png"), "gone.png"]
    file = photos / f"list.{suffix}"
    if suffix == "csv":
        file.write_text("\n".join(["Image", *names]))
    else:
        pq.write_table(pa.table({"file_name": names}), file)
    listed = list(list_source(str(file)))
    assert [one.photo for one in listed] == names
    assert [one.source for one in listed] == [str(photos / name) for name in names]
    assert listed[-1].size == -1


def test_a_url_lists_the_same_photos(photos: Path) -> None:
    url = photos.as_uri()
    assert is_url(url)
    assert not is_url("C:\\photos")
    here = [path.as_uri() for path in list_paths([photos])]
    assert sources(url) == here
    assert sources(f"{url}/*/1.png") == [one for one in here if one.endswith("/1.png")]
    assert sources(f"{url}/**/1.png") == [one for one in here if one.endswith("/1.png")]
    assert sources(f"{url}/ash/0.png") == [f"{url}/ash/0.png"]


def test_an_id_follows_place_size_and_time(photos: Path) -> None:
    one = Listed("a.png", "/a.png", 3, 5)
    same_place = Listed("b/../a.png", "/a.png", 3, 6)
    assert one.id == Listed("other name", "/a.png", 3, 5).id
    assert one.id != same_place.id
    assert one.id[:10] == same_place.id[:10]
    assert one.id[:10] != Listed("a.png", "/b/a.png", 3, 5).id[:10]
    file = photos / "ash" / "0.png"
    before = next(list_source(str(file))).id
    os.utime(file, ns=(1, 1))
    assert next(list_source(str(file))).id != before


def test_what_yields_no_photo_is_named(photos: Path) -> None:
    (photos / "empty").mkdir()
    no_path = photos / "bad.parquet"
    pq.write_table(pa.table({"x": [1]}), no_path)
    for given in (
        photos / "empty",
        (photos / "empty").as_uri(),
        no_path,
        f"{photos.as_uri()}/*.gif",
    ):
        with pytest.raises(PhotosError, match=r"no photo|lacks the column"):
            sources(given)
    with pytest.raises(PhotosError, match="there is no folder, list or photo"):
        sources(photos / "gone")
    pq.write_table(pa.table({"path": ["a.png", None]}), no_path)
    with pytest.raises(PhotosError, match="without a path"):
        sources(no_path)
    with pytest.raises(UsageError, match="URL that pyarrow knows"):
        file_system("nonsense://host/x")
