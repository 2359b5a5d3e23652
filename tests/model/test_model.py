"""Train = predict, from the bytes on disk; damaged and hostile folders are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.errors import ModelError
from closeup.core.project import Project
from closeup.core.types import Photo, Result
from closeup.model.model import CHUNK
from closeup.photos.picture import SMALL
from closeup.photos.reading import read_photo
from tests import tiny


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on tiny networks, whose cache is gone afterwards."""
    base = tmp_path_factory.mktemp("model")
    tiny.make_project(base)
    return base


@pytest.fixture
def model(project: Path) -> closeup.Model:
    return closeup.load(project / "out" / "model")


def test_it_says_what_it_is(model: closeup.Model) -> None:
    assert repr(model).startswith("<closeup model ")
    assert f": {len(model.labels)} labels, " in repr(model)
    assert repr(model).endswith(f", {model.parts.backbone.card.name}, {model.card.view}>")


def test_no_photos_no_answers(model: closeup.Model) -> None:
    assert list(model.predict_many([])) == []


def test_the_model_answers_as_training_measured(project: Path, model: closeup.Model) -> None:
    results = Project(project / "out").read("results", Result)
    assert results is not None
    assert len(results.rows) >= 6
    paths = {p.id: p.file for p in _photos(project)}
    for row in results.rows:
        answer = model.predict(paths[row.photo_id], always=True)
        assert (answer.label, answer.found) == (row.answer, row.found)
        assert answer.objects[0].confidence == pytest.approx(row.confidence, abs=1e-6)


def _photos(project: Path) -> list[Photo]:
    table = Project(project / "out").read("photos", Photo)
    assert table is not None
    return list(table.rows)


def test_path_bytes_image_and_array_give_one_answer(project: Path, model: closeup.Model) -> None:
    file = project / "photos" / "ash" / "1.png"
    with Image.open(file) as picture:
        sources = [file, str(file), file.read_bytes(), picture, np.asarray(picture)]
        answers = [model.predict(source).objects for source in sources]
    assert all(answer == answers[0] for answer in answers)


def test_large_turned_photos_are_answered_as_training_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose smaller copies stand in for them; from a file, its bytes or its pixels."""
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    folder = tiny.make_photos(tmp_path / "photos", per_label=6)
    exif = Image.Exif()
    exif[0x0112] = 8
    for file in folder.rglob("*.png"):
        with Image.open(file) as small:
            large = small.resize((2 * SMALL + 121, 2 * SMALL + 2))
        large.save(file.with_suffix(".jpg"), exif=exif)
        file.unlink()
    closeup.run(folder, out=tmp_path / "out", parent="thing", detector="tiny-box",
                backbone="tiny-pool", view="both")  # fmt: skip
    model = closeup.load(tmp_path / "out" / "model")
    table = Project(tmp_path / "out").read("results", Result)
    assert table is not None
    assert table.rows
    path_of = {photo.id: photo.file for photo in _photos(tmp_path)}
    for row in table.rows:
        path = path_of[row.photo_id]
        answer = model.predict(path, always=True).objects
        assert answer[0].label == row.answer
        assert answer[0].confidence == pytest.approx(row.confidence, abs=1e-6)
        for source in (path.read_bytes(), read_photo(path)):
            assert model.predict(source, always=True).objects == answer


def test_many_answers_equal_single_ones_in_order(project: Path, model: closeup.Model) -> None:
    files = sorted((project / "photos").rglob("*.png"))
    assert len(files) > 2 * CHUNK
    many = list(model.predict_many(files))
    assert many == [model.predict(file) for file in files]


def test_a_miss_is_answered_by_the_whole_photo_and_says_so(
    project: Path, model: closeup.Model
) -> None:
    answer = model.predict(project / "photos" / "ash" / "10.png")
    assert not answer.found
    assert answer.objects[0].box == (0, 0, 60, 50)


def test_broken_photos_are_rows_among_the_others(
    project: Path, model: closeup.Model, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    good = project / "photos" / "ash" / "1.png"
    answers = list(model.predict_many([tmp_path / "bad.jpg", good, tmp_path / "absent.png", b""]))
    assert [bool(a.error_code) for a in answers] == [True, False, True, True]
    assert answers[1] == model.predict(good)
    assert answers[2].error_code == "missing"


def test_probabilities_sum_to_one_and_top_k_bounds_them(
    project: Path, model: closeup.Model
) -> None:
    file = project / "photos" / "cedar" / "1.png"
    top = model.predict(file).objects[0].top
    assert sorted(label for label, _ in top) == ["ash", "birch", "cedar"]
    assert sum(p for _, p in top) == pytest.approx(1)
    assert model.predict(file, top_k=1).objects[0].top == top[:1]


def test_a_moved_model_works_alone(project: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(project / "out" / "model", tmp_path / "elsewhere")
    file = project / "photos" / "birch" / "2.png"
    code = (
        "import sys, closeup\n"
        "sys.modules['torch'] = None\n"
        f"print(closeup.load({str(moved)!r}).predict({str(file)!r}).label)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == closeup.load(project / "out" / "model").predict(file).label


@pytest.mark.parametrize(
    "name", ["head.safetensors", "backbone/graph.onnx", "detector/graph.onnx", "detector/card.json"]
)
def test_a_changed_or_missing_file_is_named(project: Path, tmp_path: Path, name: str) -> None:
    moved = shutil.copytree(project / "out" / "model", tmp_path / "m")
    data = bytearray((moved / name).read_bytes())
    data[len(data) // 2] ^= 1
    (moved / name).write_bytes(data)
    with pytest.raises(ModelError, match=Path(name).name):
        closeup.load(moved)
    (moved / name).unlink()
    with pytest.raises(ModelError, match="missing"):
        closeup.load(moved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"labels": 3}, "damaged"),
        ({"surprise": 1}, "damaged"),
        ({"files": {"../../secret": "0" * 64}}, "outside the folder"),
        ({"labels": ["a", "b"]}, "labels|classes"),
    ],
)
def test_a_strange_card_is_refused(
    project: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    moved = shutil.copytree(project / "out" / "model", tmp_path / "m")
    card = json.loads((moved / "model.json").read_text())
    (moved / "model.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(ModelError, match=message):
        closeup.load(moved)


def test_no_model_folder_says_where_it_is(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"did you mean .*model"):
        closeup.load(project / "out")
    with pytest.raises(ModelError, match="not a model folder"):
        closeup.load(tmp_path)


def test_unlike_photos_are_unknown_and_always_gives_the_guess(
    project: Path, model: closeup.Model
) -> None:
    assert model.card.unknown is not None
    rng = np.random.default_rng(0)
    strange = rng.integers(0, 256, (60, 60, 3), np.uint8)
    strange[::2] = 255 - strange[::2] // 8
    (answer,) = model.predict(strange).objects
    assert answer.label == "unknown"
    assert answer.reason in ("not confident", "unlike anything trained on")
    (guess,) = model.predict(strange, always=True).objects
    assert (guess.label, guess.reason) == (answer.top[0][0], "")


def test_a_model_without_its_rule_is_refused(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(project / "out" / "model", folder)
    (folder / "unknown.safetensors").unlink()
    with pytest.raises(ModelError, match=r"unknown\.safetensors is missing"):
        closeup.load(folder)
