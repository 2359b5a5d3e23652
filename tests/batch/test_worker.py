"""A worker answers a shard as ``closeup predict`` would, and leaves whole parts or none."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from closeup.batch import files
from closeup.batch.asks import Predict
from closeup.batch.source import list_source
from closeup.batch.worker import PARTS, Job, answer_shard, read_source, shard_of, unpack
from closeup.core.config import EngineConfig
from closeup.core.errors import PhotoError, ProjectError
from closeup.model import answers
from closeup.model.model import load_model
from closeup.photos import reading
from closeup.photos.listing import list_paths
from tests import tiny

ENGINE = EngineConfig(engine="onnxruntime")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``out/model`` and ``photos``, of which some cannot be read."""
    base = tmp_path_factory.mktemp("world")
    tiny.make_project(base)
    (base / "photos" / "ash" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (base / "photos" / "ash" / "empty.jpg").write_bytes(b"")
    return base


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAUSES", (0.0, 0.0))


def test_a_part_has_the_rows_of_predict(world: Path, tmp_path: Path) -> None:
    paths = [*list_paths([world / "photos"]), tmp_path / "gone.png", tmp_path]
    model = load_model(world / "out" / "model", ENGINE)
    answers.write_parquet(list(model.predict_many(paths)), tmp_path / "one.parquet")
    expected = pq.read_table(tmp_path / "one.parquet")
    (tmp_path / "list.csv").write_text("\n".join(["path", *map(str, paths)]))
    photos = list(list_source(str(tmp_path / "list.csv")))
    (row,) = shard_of(photos).to_pylist()
    ask = Predict(world / "out" / "model", False)
    job = Job(str(tmp_path / "answers"), 1, ask, ENGINE)
    report = answer_shard(ask.open(ask.model, ENGINE), job, row["photo"], row["source"], row["id"])
    assert (report.photos, report.errors, report.failed) == (len(paths), 4, "")
    found = pq.read_table(tmp_path / "answers" / PARTS / report.part)
    assert found.select(expected.column_names).equals(expected)
    assert found.column_names == [*answers.COLUMNS, "source", "id"]
    codes = [code for code in found["error_code"].to_pylist() if code]
    assert codes[1:] == ["empty", "missing", "not_a_file"]


def test_an_object_is_read_like_a_file(world: Path) -> None:
    for path in list_paths([world / "photos"]):
        here, there = read_source(str(path)), read_source(path.as_uri())
        if isinstance(here, PhotoError):
            assert isinstance(there, PhotoError)
            assert (here.code, here.message) == (there.code, there.message)
        else:
            assert not isinstance(there, PhotoError)
            assert (here.pixels() == there.pixels()).all()
    gone = read_source((world / "gone.png").as_uri())
    assert isinstance(gone, PhotoError)
    assert gone.code == "missing"


@pytest.mark.parametrize("failures", [2, 3])
def test_a_disk_that_fails_is_given_time(
    world: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    path, left = world / "photos" / "ash" / "0.png", failures
    opened = reading.open_photo

    def failing(file: Path) -> object:
        nonlocal left
        left -= 1
        if left >= 0:
            raise PhotoError("io_error", "the disk fails")
        return opened(file)

    monkeypatch.setattr(reading, "open_photo", failing)
    found = read_source(str(path))
    assert isinstance(found, PhotoError) == (failures == 3)
    if isinstance(found, PhotoError):
        assert found.code == "io_error"


@pytest.mark.parametrize("failures", [2, 3])
def test_a_part_that_cannot_be_written_is_reported(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    ask = Predict(world / "out" / "model", False)
    (row,) = shard_of(list(list_source(str(world / "photos" / "ash")))).to_pylist()
    left, written = failures, files.write_atomically

    def failing(file: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ProjectError("cannot write: no space left")
        written(file, data)

    monkeypatch.setattr(files, "write_atomically", failing)
    job = Job(str(tmp_path), 1, ask, ENGINE)
    report = answer_shard(ask.open(ask.model, ENGINE), job, row["photo"], row["source"], row["id"])
    assert (tmp_path / PARTS / report.part).exists() == (failures == 2)
    assert report.failed == ("" if failures == 2 else "cannot write: no space left")


def test_the_model_is_unpacked_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = Predict(world / "out" / "model", False).files
    folder = unpack(files, "k" * 32)
    assert Predict(folder, False).files() == files()

    def never() -> dict[str, bytes]:
        raise AssertionError

    assert unpack(never, "k" * 32) == folder
    # another worker may have been quicker
    assert unpack(lambda: unpack(files, "j" * 32) and files(), "j" * 32).is_dir()
    assert {path.name for path in folder.parent.iterdir()} == {"k" * 32, "j" * 32}
