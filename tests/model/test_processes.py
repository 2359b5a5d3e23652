"""A loaded model in other processes: forked, spawned, pickled."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

import closeup
from closeup.core.config import EngineConfig
from closeup.core.errors import ModelError
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.model.model import load_model
from closeup.networks import load
from closeup.photos.reading import read_photo
from tests import tiny
from tests.forking import run_forking


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("processes")
    tiny.make_project(base)
    return base


def unpickled(data: bytes) -> Any:
    """What another process gets."""
    return pickle.loads(data)  # noqa: S301 (our own)


@pytest.fixture
def photos(base: Path) -> list[Path]:
    return sorted((base / "photos").rglob("*.png"))[:4]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_model_answers_after_a_fork(base: Path, engine: str) -> None:
    run_forking(
        """
import multiprocessing, sys
from pathlib import Path
import closeup
from closeup.core.config import EngineConfig
base = Path(sys.argv[1])
photos = sorted((base / "photos").rglob("*.png"))[:4]
model = closeup.load(base / "out" / "model", engine=EngineConfig(engine=sys.argv[2]))
answers = list(model.predict_many(photos))

def child():
    assert list(model.predict_many(photos)) == answers

halfway = model.predict_many(photos * 10)
next(halfway)
for _ in range(2):
    assert forked(child) == 0
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(model.predict, photos) == answers
assert list(model.predict_many(photos)) == answers
""",
        base,
        engine,
    )


def test_a_spawned_process_is_given_the_model(base: Path, photos: list[Path]) -> None:
    model = closeup.load(base / "out" / "model", engine=EngineConfig(engine="onnxruntime"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(model.predict, photos) == list(model.predict_many(photos))


def test_a_pickled_model_is_its_folder(
    base: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(base / "out" / "model", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    model = load_model("model", EngineConfig(engine="onnxruntime"), many=False)
    data = pickle.dumps(model)
    assert len(data) < 20_000
    monkeypatch.chdir(base)
    again = unpickled(data)
    assert again.predict(photos[0]) == model.predict(photos[0])
    assert again.__reduce__() == model.__reduce__()  # engine and all

    card = folder / "model.json"
    text = card.read_text().replace(model.card.key, "0" * len(model.card.key))
    card.write_text(text)
    with pytest.raises(ModelError, match="another model than the one pickled"):
        unpickled(data)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match=r"model is gone.*put the folder back, or load"):
        unpickled(data)


def test_detector_and_embedder_can_be_pickled(base: Path, photos: list[Path]) -> None:
    config = EngineConfig(engine="onnxruntime", threads=1)
    pixels = read_photo(photos[0])
    detector = Detector(load(base / "out" / "model" / "detector"), config, many=False)
    found = list(detector.detect([pixels]))  # opens its graph, which is not pickled
    assert list(unpickled(pickle.dumps(detector)).detect([pixels])) == found
    embedder = Embedder(load(base / "out" / "model" / "backbone"), config)
    (vector,) = embedder.embed([pixels])
    (again,) = unpickled(pickle.dumps(embedder)).embed([pixels])
    assert (vector == again).all()
