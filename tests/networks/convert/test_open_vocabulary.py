"""Detectors of any words: the graph answers as transformers does, and needs PyTorch no more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkMissing, UsageError
from closeup.core.types import Pixels
from closeup.detect import Detector
from closeup.networks import find, known
from closeup.networks.convert.onnx_export import LEAST_SCORE
from closeup.networks.convert.open_vocabulary import MOST_BOXES, NMS_IOU
from closeup.networks.engine import open_graph
from closeup.networks.preprocess import prepare
from closeup.networks.words import OPEN_VOCABULARY, name_with_words
from tests.networks.convert.hub_words import words_hub
from tests.networks.convert.tiny_words import SIDE
from tests.networks.hub_server import Hub

WORDS = ("compass", "pocket watch", "wrist watch, or clock")
EXPORTED = ("omdet-turbo", "owlv2")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture
def hub(checkpoints: Path) -> Iterator[Hub]:
    with words_hub(checkpoints, *EXPORTED) as hub:
        yield hub


def photo(width: int, height: int, seed: int = 0) -> Pixels:
    """Blots of many sizes: something to see at any scale."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height))
    for side in (4, 16, 64):
        noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        picture = Image.blend(picture, noise.resize((width, height), Image.Resampling.BICUBIC), 0.5)
    return np.asarray(picture)


class Reference:
    """The checkpoint as transformers itself runs it."""

    def __init__(self, name: str, folder: Path) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        from closeup.networks.convert.open_vocabulary import _settle_backbone

        self.name = name
        self.prompts = [OPEN_VOCABULARY[name].prompt.format(word) for word in WORDS]
        settled = folder.with_name(f"{name}-settled")
        if not settled.is_dir():
            import shutil

            shutil.copytree(folder, settled)
            _settle_backbone(settled / "config.json")
        self.processor = AutoProcessor.from_pretrained(settled)
        self.model = AutoModelForZeroShotObjectDetection.from_pretrained(settled).eval()

    def pixels(self, picture: Pixels) -> np.ndarray[Any, Any]:
        made = self.processor.image_processor(Image.fromarray(picture), return_tensors="np")
        values: np.ndarray[Any, Any] = made["pixel_values"]
        return values

    def detect(self, values: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Its own post-processing, in pixels of a square input."""
        import torch
        from torchvision.ops import batched_nms

        blank = Image.new("RGB", (SIDE, SIDE))
        given = self.processor(images=blank, text=[self.prompts], return_tensors="pt")
        given["pixel_values"] = torch.from_numpy(values)
        with torch.no_grad():
            outputs = self.model(**given)
        more = {"nms_threshold": NMS_IOU} if self.name == "omdet-turbo" else {}
        found = self.processor.post_process_grounded_object_detection(
            outputs, threshold=LEAST_SCORE, target_sizes=[(SIDE, SIDE)], **more
        )[0]
        boxes, scores, labels = found["boxes"], found["scores"], found["labels"]
        if self.name == "owlv2":
            kept = batched_nms(boxes, scores, labels, NMS_IOU)
            boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        return {"boxes": boxes.numpy(), "scores": scores.numpy(), "labels": labels.numpy()}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_answers_as_transformers(
    hub: Hub, checkpoints: Path, name: str, engine: Any
) -> None:
    network = find(name, "detector", words=WORDS)
    reference = Reference(name, checkpoints / name)
    graph = open_graph(network.file, EngineConfig(engine=engine, precision="fp32"))
    labels: set[int] = set()
    for seed in range(3):
        values = reference.pixels(photo(SIDE, SIDE, seed))
        expected = reference.detect(values)
        found = graph.run({"images": values})
        inside = found["boxes"].clip(0, SIDE)
        assert len(expected["scores"]) >= 5
        assert abs(len(expected["scores"]) - len(found["scores"])) <= 1
        assert np.ptp(expected["scores"]) > 0.1
        labels |= set(expected["labels"].tolist())
        order = np.argsort(-expected["scores"])[:MOST_BOXES]
        for label, box, score in zip(
            *(expected[key][order] for key in ("labels", "boxes", "scores")), strict=True
        ):
            near = (found["labels"] == label) & (np.abs(found["scores"] - score) < 0.01)
            near &= (np.abs(inside - box.clip(0, SIDE)) < 0.5).all(1)
            assert near.any(), (label, box, score)
    assert len(labels) > 1


@pytest.mark.parametrize(("width", "height"), [(SIDE, SIDE), (500, 300), (240, 410), (60, 100)])
@pytest.mark.parametrize("name", EXPORTED)
def test_the_photo_is_shown_as_transformers_shows_it(
    hub: Hub, checkpoints: Path, name: str, width: int, height: int
) -> None:
    spec = find(name, "detector", words=WORDS).card.input
    expected = Reference(name, checkpoints / name).pixels(photo(width, height))[0]
    found, _ = prepare(photo(width, height), spec)
    assert found.shape == expected.shape
    level = 1 / 255 / min(spec.std)
    gap = np.abs(found - expected)
    assert gap.mean() < (0.01 if width == height else 3) * level
    if name == "owlv2" and width > height:  # the black below
        below = slice(round(SIDE * height / width) + 2, None)
        np.testing.assert_allclose(found[:, below], expected[:, below], atol=1e-5)


@pytest.mark.parametrize("name", EXPORTED)
def test_a_network_for_words(hub: Hub, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = find(name, "detector", words=["Pocket  watch", "compass", "pocket watch"])
    card, recipe = network.card, OPEN_VOCABULARY[name]
    assert card.name.startswith(f"{name}@compass-pocket-watch-")
    assert card.name == network.folder.name == name_with_words(name, ["compass", "pocket watch"])
    assert (card.family, card.batch, card.classes) == ("rcnn", 1, ("compass", "pocket watch"))
    assert card.licence == "Apache-2.0"
    assert recipe.revision in card.source
    assert recipe.repo in card.source
    assert card.made_with["prompt"] == recipe.prompt
    detector = Detector(network, EngineConfig(engine="onnxruntime"))
    (found,) = detector.detect([photo(300, 200)])
    assert found
    assert {one.category for one in found} <= set(card.classes)
    assert all(0 <= one.box.x1 < one.box.x2 <= 300 for one in found)
    # From now on neither the hub nor PyTorch is needed.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert find(name, "detector", words=["compass", "POCKET WATCH"]) == network
    assert find(card.name, "detector") == network


def test_other_words_are_another_network(hub: Hub) -> None:
    one, other = (find("owlv2", "detector", words=[word]) for word in ("compass", "clock"))
    assert one.card.sha256 != other.card.sha256
    assert one.folder != other.folder
    names = {name_with_words("owlv2", [word]) for word in ("час", "часы", "時計", "a" * 200)}
    assert len(names) == 4
    assert all(name.isascii() and len(name) < 70 for name in names)


def test_it_predicts_without_pytorch(hub: Hub, tmp_path: Path) -> None:
    network = find("owlv2", "detector", words=WORDS)
    Image.fromarray(photo(200, 150)).save(tmp_path / "photo.png")
    program = f"""
import sys
for name in ("torch", "transformers", "timm", "torchvision", "huggingface_hub"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
from PIL import Image
from closeup.core.config import EngineConfig
from closeup.detect import Detector
from closeup.networks import load
network = load(Path({str(network.folder)!r}))
pixels = np.asarray(Image.open({str(tmp_path / "photo.png")!r}))
(found,) = Detector(network, EngineConfig(engine="onnxruntime")).detect([pixels])
print(len(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 0


@pytest.mark.parametrize("words", [(), ("any",), ("compass", "any"), (" ",)])
def test_words_are_needed(words: tuple[str, ...]) -> None:
    with pytest.raises(
        UsageError, match=r'omdet-turbo finds what you name.*--parent "pocket watch'
    ):
        find("omdet-turbo", "detector", words=words)


def test_a_word_that_is_too_long(hub: Hub) -> None:
    with pytest.raises(UsageError, match="is too long for owlv2: it reads 40 tokens, not"):
        find("owlv2", "detector", words=["a watch with a very long chain of many links"])


def test_one_that_cannot_be_exported() -> None:
    with pytest.raises(UsageError, match=r"cannot become an ONNX.*--boxes-by grounding-dino"):
        find("grounding-dino", "detector", words=["compass"])
    assert known()["grounding-dino"] == "detector"


def test_without_pytorch_or_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path))
    with pytest.raises(NetworkMissing, match=r"config\.json of google/owlv2.* is not on disk"):
        find("owlv2", "detector", words=["compass"], offline=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NetworkMissing, match="putting words into owlv2 needs PyTorch"):
        find("owlv2", "detector", words=["compass"])


@pytest.mark.parametrize("fault", ["weights", "tokenizer"])
def test_damaged_files(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path))
    recipe = OPEN_VOCABULARY["owlv2"]
    file = "model.safetensors" if fault == "weights" else "vocab.json"
    hub.files[f"{recipe.repo}/resolve/{recipe.revision}/{file}"] = b"{"
    with pytest.raises(NetworkDamaged, match=r"expected SHA-256|the tokenizer of owlv2"):
        find("owlv2", "detector", words=["compass"])
    assert not list((tmp_path / "networks").glob("[!.]*"))
