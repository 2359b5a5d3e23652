"""An exported model answers as the model does, in a program that knows nothing of Closeup."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.config import EngineConfig
from closeup.core.errors import ModelError, UsageError
from closeup.export import ModelFormat
from closeup.export.graphs import classifier
from closeup.export.model import export_model
from closeup.export.run import opened
from closeup.learn.embed import Embedder
from closeup.learn.heads.head import Dense, Head
from closeup.model.card import read_card
from closeup.model.parts import read_parts
from closeup.networks import load
from tests import test_formats, tiny
from tests.commands import closeup as command

ALONE = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
BLOCKED = {"closeup", "onnx", "pydantic", "scipy", "sklearn", "safetensors", "torch"}
OTHER = {"onnx": "openvino", "openvino": "onnxruntime"}
NEAR = 1e-4

MODELS: dict[str, dict[str, Any]] = {
    "closeup": {"view": "closeup"},
    "both": {"view": "both", "backbone": "tiny-stages@cov-zoom-flip"},
    "photo": {"view": "photo", "backbone": "tiny-pool+tiny-stages@stages-48", "head": "mlp"},
    "all": {"which": "all", "pad": 0.4, "on_miss": "drop", "backbone": "tiny-stages"},
    "no detector": {"boxes": True, "which": "largest"},
    "any": {"parent": "any", "threshold": 0.0, "min_size": 20, "head": "prototype"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of tiny networks and some photos."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        tiny.make_staged_backbone(folder / "cache")
    tiny.make_photos(folder / "photos", dark=2)
    return folder


def model_of(base: Path, name: str) -> Path:
    """The model folder of one of MODELS, trained once."""
    options = {**tiny.TINY, **MODELS[name]}
    out = base / name
    if options.pop("boxes", None):
        rows = [f"{photo},5,5,40,30,thing" for photo in (base / "photos").rglob("*.png")]
        table = base / "boxes.csv"
        table.write_text("path,x1,y1,x2,y2,category\n" + "\n".join(rows))
        options = {**options, "boxes": table, "detector": ""}
    if not (out / "model").is_dir():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLOSEUP_CACHE", str(base / "cache"))
            closeup.run(base / "photos", out=out, **{"preset": "quick", **options})
    return out / "model"


def run_alone(folder: Path, photos: list[Path], blocked: set[str]) -> list[dict[str, Any]]:
    """What ``run.py`` prints in a Python without Closeup."""
    code = ALONE.replace("{BLOCKED}", repr(blocked))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(folder / "run.py"), *map(str, photos)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of each kind that people have."""
    folder, rng = tmp_path_factory.mktemp("kinds"), np.random.default_rng(1)
    colour = Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    files = []
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        files.append(folder / f"turned{turn}.jpg")
        colour.resize((300, 200)).save(files[-1], exif=exif)
    coarse = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    kinds = {
        "pixel.png": Image.new("RGB", (1, 1), "red"),
        "strip.png": Image.fromarray(rng.integers(0, 255, (3, 700, 3), dtype=np.uint8)),
        "long.png": Image.new("RGB", (9000, 4), "white"),
        "grey.jpg": colour.convert("L"),
        "deep.png": Image.fromarray(rng.integers(0, 65535, (40, 50), dtype=np.uint16)),
        "float.tiff": Image.fromarray(rng.random((40, 50), dtype=np.float32)),
        "whole.tiff": Image.fromarray(rng.integers(0, 60_000, (40, 50), dtype=np.int32)),
        "clear.png": colour.convert("RGBA").rotate(20),
        "palette.gif": colour.convert("P"),
        "cmyk.jpg": colour.convert("CMYK"),
        "black.png": Image.new("RGB", (60, 40)),
        "large.jpg": Image.fromarray(coarse).resize((3001, 2700), Image.Resampling.BICUBIC),
    }
    for name, image in kinds.items():
        files.append(folder / name)
        image.save(files[-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    files.append(folder / "large-turned.jpg")
    kinds["large.jpg"].save(files[-1], exif=exif)
    return files


def same(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """The answers are the same but for the last digits."""
    assert [row["photo"] for row in mine] == [row["photo"] for row in theirs]
    for a, b in zip(mine, theirs, strict=True):
        assert a.keys() == b.keys()
        assert (a["found"], a["error"], len(a["objects"])) == (b["found"], None, len(b["objects"]))
        for one, other in zip(a["objects"], b["objects"], strict=True):
            assert one.keys() == other.keys()
            for key in ("parent", "label", "reason", "likely"):
                assert one[key] == other[key], (a, b)
            for key in ("box", "parent_score", "confidence"):
                assert one[key] == pytest.approx(other[key], abs=NEAR)
            assert [name for name, _ in one["top"]] == [name for name, _ in other["top"]]
            assert [p for _, p in one["top"]] == pytest.approx(
                [p for _, p in other["top"]], abs=NEAR
            )


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("name", MODELS)
def test_the_program_answers_as_the_model_does(
    base: Path, photos: list[Path], tmp_path: Path, name: str, to: ModelFormat
) -> None:
    model = model_of(base, name)
    done = export_model(model, to, tmp_path / "out")
    detector = name != "no detector"
    suffixes = (".onnx",) if to == "onnx" else (".xml", ".bin")
    graphs = {f"{stem}{suffix}" for stem in ("classifier", "detector")[: 1 + detector]
              for suffix in suffixes}  # fmt: skip
    assert set(done.files) == graphs | {"labels.json", "run.py"}
    photos = [*photos, *sorted((base / "photos").rglob("*.png"))[::5]]
    found = run_alone(tmp_path / "out", photos, BLOCKED | {OTHER[to]})
    answers = closeup.load(model).predict_many(photos)
    same(found, [answer.to_dict() for answer in answers])
    labels = {one["label"] for row in found for one in row["objects"]}
    assert len(labels) > 1


def test_objects_that_are_none_of_the_classes(base: Path, tmp_path: Path) -> None:
    photos = sorted((base / "photos").rglob("*.png"))
    model = Path(shutil.copytree(model_of(base, "closeup"), tmp_path / "model"))
    card = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**card, "none": "ash"}))
    export_model(model, "onnx", tmp_path / "out")
    found = run_alone(tmp_path / "out", photos, BLOCKED)
    same(found, [answer.to_dict() for answer in closeup.load(model).predict_many(photos)])
    reasons = {one["reason"] for row in found for one in row["objects"]}
    assert reasons > {"none of the classes"}


def test_what_onnxruntime_finds_in_the_classifier(base: Path, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    out = tmp_path / "out"
    export_model(model_of(base, "both"), "onnx", out)
    session = onnxruntime.InferenceSession(out / "classifier.onnx")
    assert {one.name: (one.type, one.shape) for one in session.get_inputs()} == {
        view: ("tensor(uint8)", ["n", 40, 40, 3]) for view in ("closeup", "photo")
    }
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == ["ash", "birch", "cedar"]
    assert json.loads(facts["closeup"]) == json.loads((out / "labels.json").read_text())
    several = np.random.default_rng(0).integers(0, 255, (5, 40, 40, 3), dtype=np.uint8)
    shares, distances = session.run(None, {"closeup": several, "photo": several[::-1].copy()})
    assert (shares.shape, distances.shape) == ((5, 3), (5,))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    alone, far = session.run(None, {"closeup": several[3:4], "photo": several[1:2]})
    np.testing.assert_allclose([alone[0], [far[0]] * 3], [shares[3], [distances[3]] * 3], atol=1e-5)
    # Both views share the backbone's weights.
    names = [tensor.name for tensor in onnx.load(out / "classifier.onnx").graph.initializer]
    assert len(names) == len(set(names))
    assert sum(name.endswith("w0") for name in names) == 1


@pytest.mark.parametrize(("batch", "opset"), [(1, 17), (0, 11)])
def test_backbones_of_one_picture_at_a_time_and_old_ones(
    base: Path, photos: list[Path], tmp_path: Path, batch: int, opset: int
) -> None:
    import onnx

    model = Path(shutil.copytree(model_of(base, "photo"), tmp_path / "model"))
    backbone = Path(shutil.copytree(base / "cache" / "networks" / "tiny-pool", tmp_path / "net"))
    graph = onnx.load(backbone / "graph.onnx")
    if batch:
        graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    graph.opset_import[0].version = opset
    data = graph.SerializeToString()
    (backbone / "graph.onnx").write_bytes(data)
    card = json.loads((backbone / "card.json").read_text())
    card |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (backbone / "card.json").write_text(json.dumps(card))
    parts = read_parts(model, read_card(model))
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((3, 96)).astype(np.float32)
    head = Head("ridge", ("a", "b", "c"), (Dense(weights, np.zeros(3, np.float32)),), {})
    assert parts.rule is not None
    basis = np.linalg.qr(rng.standard_normal((96, 8)))[0].T.astype(np.float32)
    rule = replace(parts.rule, basis=basis, references=np.ones((3, 8), np.float16))
    file = tmp_path / "classifier.onnx"
    network = load(backbone)
    made = classifier(network, head, rule, ("closeup", "photo"))
    file.write_bytes(made.SerializeToString())
    pictures = rng.integers(0, 255, (2, 1, 64, 64, 3), dtype=np.uint8)
    found = opened(file)({"closeup": pictures[0], "photo": pictures[1]})
    embedder = Embedder(network, EngineConfig(engine="onnxruntime"))
    vector = np.concatenate(list(embedder.embed(pictures[:, 0])))[None]
    np.testing.assert_allclose(found["probabilities"], head.probabilities(vector), atol=1e-5)
    np.testing.assert_allclose(found["distance"], rule.distances(vector), atol=1e-5)
    shape = made.graph.input[0].type.tensor_type.shape
    assert shape.dim[0].dim_value == batch


def test_the_formats_page_is_true(base: Path, tmp_path: Path) -> None:
    export_model(model_of(base, "both"), "onnx", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "labels.json").read_text())
    page = test_formats.sample("An exported model")
    for about in (told, page):
        about["licences"] = None  # by the networks' names
    assert test_formats.keys_of(told) == test_formats.keys_of(page)


@pytest.mark.parametrize(("to", "title"), [("coco", "`export --json`"),
                                           ("onnx", "`export --to onnx --json`")])  # fmt: skip
def test_what_export_prints_for_programs(base: Path, tmp_path: Path, to: str, title: str) -> None:
    done = command("export", model_of(base, "closeup").parent, tmp_path / "x", "--to", to, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() == test_formats.sample(title).keys()
    assert told["folder"] == str(tmp_path / "x")
    for name, size in told.get("files", {}).items():
        assert (tmp_path / "x" / name).stat().st_size == size


def test_openvino_keeps_the_labels(base: Path, tmp_path: Path) -> None:
    import openvino

    export_model(model_of(base, "closeup"), "openvino", tmp_path / "out")
    model = openvino.Core().read_model(tmp_path / "out" / "classifier.xml")
    labels = model.get_rt_info(["model_info", "labels"])
    assert json.loads(getattr(labels, "value", labels)) == ["ash", "birch", "cedar"]


def test_photos_that_cannot_be_read(base: Path, tmp_path: Path) -> None:
    export_model(model_of(base, "closeup"), "onnx", tmp_path / "out")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    photo = next((base / "photos").rglob("*.png"))
    rows = run_alone(tmp_path / "out", [broken, photo], BLOCKED)
    assert [bool(row["error"]) for row in rows] == [True, False]
    done = subprocess.run([sys.executable, str(tmp_path / "out" / "run.py"), str(broken)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")


def test_a_project_means_its_model_in_use(base: Path, tmp_path: Path) -> None:
    model = model_of(base, "closeup")
    export_model(model, "onnx", tmp_path / "a")
    done = command("export", model.parent, tmp_path / "b", "--to", "onnx")
    assert done.returncode == 0, done.stderr
    assert f"3 labels, 4 files, 0.0 MB: {tmp_path / 'b'}" in done.stdout
    assert "run.py PHOTO" in done.stderr
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_what_is_refused(base: Path, tmp_path: Path) -> None:
    model = model_of(base, "closeup")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        export_model(model, "onnx", tmp_path / "full")
    with pytest.raises(ModelError, match="not a model folder"):
        export_model(tmp_path, "onnx", tmp_path / "out")
    (tmp_path / "closeup.toml").write_text(f"[photos]\nsource = '{tmp_path / 'photos'}'\n")
    with pytest.raises(ModelError, match="has no model yet"):
        export_model(tmp_path, "onnx", tmp_path / "out")
    for more, words in [
        (("--to", "coco"), "is a model; --to coco exports the photos"),
        (("--to", "onnx", "--link"), "--link is for photos"),
        (("--to", "onnx", "--push", "me/x"), "--push uploads what --to hub writes"),
        (("--to", "hub", "--yes"), "--yes uploads to a repository"),
        (("--to", "hub", "--push", "me"), "expected OWNER/NAME"),
        (("--to", "hub", "--push", "me/a..b"), "expected OWNER/NAME"),
    ]:
        done = command("export", model, tmp_path / "out", *more)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_not_exported(base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model_of(base, "closeup"), tmp_path / "model"))
    graph = copy / "backbone" / "graph.onnx"
    graph.write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(ModelError, match="has changed"):
        export_model(copy, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()
