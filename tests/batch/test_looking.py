"""Close-ups and embeddings of very many photos are those of a project, byte for byte."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import closeup
import closeup.batch
from closeup.batch import verbs
from closeup.batch.files import Store
from closeup.batch.looking import CLOSEUP, EMBEDDING, LOOK_COLUMNS, Look
from closeup.batch.parts import read_parts
from closeup.batch.run import read_about
from closeup.batch.source import list_source
from closeup.batch.worker import PARTS, Job, answer_shard, shard_of
from closeup.core.config import EngineConfig
from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import Project
from closeup.core.types import Crop, CropState, Photo
from closeup.crops.view import View
from closeup.learn.embed import Embedder, Embeddings
from closeup.networks import find
from closeup.pipeline.stages import embeddings_file
from tests import tiny
from tests.batch.running import ended, start_verb

ENGINE = EngineConfig(engine="onnxruntime")
OPTIONS: dict[str, Any] = {"detector": "tiny-box", "parent": "thing", "engine": "onnxruntime"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with ``cache``, ``photos`` and the project ``out``, trained on both views."""
    folder = tmp_path_factory.mktemp("looking")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        photos = tiny.make_photos(folder / "photos", dark=2)
        (photos / "ash" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        (photos / "ash" / "empty.jpg").write_bytes(b"")
        closeup.run(photos, out=folder / "out", backbone="tiny-pool", view="both", preset="quick",
                    **OPTIONS)  # fmt: skip
        yield folder


@pytest.fixture(autouse=True)
def _networks(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))


def asked(*, embeds: bool, **more: Any) -> Look:
    known = verbs.FOR_EMBED if embeds else verbs.FOR_CROP
    config = verbs._config(known, {**OPTIONS, **more})
    return verbs._look(config, lambda *_: None, embeds=embeds)


def looked(ask: Look, photos: Path, out: Path) -> list[dict[str, Any]]:
    """The rows of a part that a worker has written, read from the disk."""
    files = Path(out, "files")
    for name, data in ask.files().items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(data)
    listed = list(list_source(str(photos)))
    (row,) = shard_of(listed).to_pylist()
    job = Job(str(out), 1, ask, ENGINE)
    report = answer_shard(ask.open(files, ENGINE), job, row["photo"], row["source"], row["id"])
    assert (report.photos, report.failed) == (len(listed), "")
    table = pq.read_table(out / PARTS / report.part)
    column = EMBEDDING if ask.backbone else CLOSEUP
    assert table.column_names == [*LOOK_COLUMNS, column, "source", "id"]
    rows: list[dict[str, Any]] = table.to_pylist()
    assert sum(bool(row["error_code"]) for row in rows) == report.errors
    return rows


def project_rows(out: Path) -> list[tuple[Photo, Crop]]:
    project = Project(out)
    photos, crops = project.read("photos", Photo), project.read("crops", Crop)
    assert photos is not None
    assert crops is not None
    of = {photo.id: photo for photo in photos.rows}
    return sorted(((of[crop.photo_id], crop) for crop in crops.rows), key=lambda pair: pair[0].file)


def check_row(row: dict[str, Any], photo: Photo, crop: Crop) -> None:
    assert row["photo"] == row["source"] == str(photo.file)
    assert row["error_code"] == photo.code
    assert row["found"] == (crop.state is CropState.CROPPED)
    if crop.side:
        assert [row[name] for name in ("x1", "y1", "x2", "y2")] == [round(v, 2) for v in crop.box]
        assert (row["parent"], row["parent_score"]) == (crop.category, crop.score)


@pytest.mark.parametrize("on_miss", ["photo", "drop"])
def test_close_ups_are_those_of_a_project(base: Path, tmp_path: Path, on_miss: str) -> None:
    out = tmp_path / "project"
    closeup.crop(base / "photos", out=out, on_miss=on_miss, **OPTIONS)
    rows = looked(asked(embeds=False, on_miss=on_miss), base / "photos", tmp_path / "parts")
    expected = project_rows(out)
    assert len(rows) == len(expected) == 38
    pictures = 0
    for row, (photo, crop) in zip(rows, expected, strict=True):
        check_row(row, photo, crop)
        assert row["reason"] == ("" if photo.code else crop.reason)
        saved = (out / crop.file).read_bytes() if crop.file else None
        assert row[CLOSEUP] == saved
        pictures += saved is not None
    assert pictures == (36 if on_miss == "photo" else 30)
    assert Image.open(io.BytesIO(rows[-1][CLOSEUP])).format == "JPEG"
    counts = read_parts(Store(str(tmp_path / "parts"))).counts()
    assert counts == {"thing": 30, "not found": 6, "unreadable": 2}


@pytest.mark.parametrize("view", ["closeup", "photo", "both"])
def test_embeddings_are_those_of_a_project(base: Path, tmp_path: Path, view: str) -> None:
    rows = looked(asked(embeds=True, backbone="tiny-pool", view=view), base / "photos", tmp_path)
    embedder = Embedder(find("tiny-pool", "backbone"), ENGINE)
    known = {}
    for name in ("closeup", "photo"):
        found = Embeddings.read(base / "out" / embeddings_file(View(name), embedder))
        assert found is not None
        known[name] = found.as_mapping()
    names = ("closeup", "photo") if view == "both" else (view,)
    for row, (photo, crop) in zip(rows, project_rows(base / "out"), strict=True):
        check_row(row, photo, crop)
        if photo.code:
            assert row[EMBEDDING] is None
            continue
        vectors = [known[name][View(name).key(photo, crop)] for name in names]
        assert np.array(row[EMBEDDING], np.float32).tobytes() == np.concatenate(vectors).tobytes()


def test_wrong_use_is_said_in_one_line(base: Path, tmp_path: Path) -> None:
    photos, out = base / "photos", tmp_path / "out"
    crop: Any = closeup.batch.crop
    embed: Any = closeup.batch.embed
    with pytest.raises(UsageError, match="--parent"):
        crop(photos, out=out, detector="tiny-box")
    with pytest.raises(UsageError, match="boxes has no meaning"):
        crop(photos, out=out, **OPTIONS, boxes="boxes.csv")
    with pytest.raises(UsageError, match="quality has no meaning"):
        embed(photos, out=out, **OPTIONS, quality=80)
    with pytest.raises(UsageError, match="one --backbone of one --view"):
        embed(photos, out=out, **OPTIONS, backbone="tiny-pool", view="closeup,photo")
    with pytest.raises(UsageError, match="no category 'clock'"):
        crop(photos, out=out, detector="tiny-box", parent="clock")
    assert not out.exists()


def test_a_folder_holds_the_answers_to_one_question(base: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    about = {"format": 1, **asked(embeds=False).about()}
    assert read_about(store, about) is None
    assert read_about(store, about) is None
    for other, said in (
        (asked(embeds=False, pad=0.3).about(), "other networks or options"),
        (asked(embeds=True, backbone="tiny-pool").about(), "answers of `closeup crop`"),
        ({"model": "k", "always": False}, "answers of `closeup crop`"),
    ):
        with pytest.raises(ProjectError, match=said):
            read_about(store, {"format": 1, **other})


@pytest.mark.slow
def test_the_commands(base: Path, tmp_path: Path) -> None:
    """Two runs over Ray, the second after a part has vanished; both as one worker's part."""
    pytest.importorskip("ray", reason="needs the ray extra")
    words = ("--detector", "tiny-box", "--parent", "thing", "--out")
    for verb, ask in (
        (("crop", base / "photos", "--ray"), asked(embeds=False)),
        (
            ("embed", base / "photos", "--backbone", "tiny-pool"),
            asked(embeds=True, backbone="tiny-pool"),
        ),
    ):
        out = tmp_path / str(verb[0])
        first = ended(start_verb(*verb, *words, out))
        assert first["counts"] == {"thing": 30, "not found": 6, "unreadable": 2}
        gone = sorted((out / PARTS).iterdir())[0]
        gone.unlink()
        second = ended(start_verb(*verb, *words, out))
        assert second["answered"] == 38 - int(str(second["known"])) > 0
        rows = looked(ask, base / "photos", tmp_path / f"one-{verb[0]}")
        found = pq.read_table(out / PARTS).sort_by("photo").to_pylist()
        assert found == rows
