"""Graphs of the real architectures with random weights, exported as the hub's were, and pulled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.types import Pixels
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.networks import COCO80, find
from closeup.networks.preprocess import prepare
from tests.networks import ready_graphs
from tests.networks.hub_server import hub_server

torch = pytest.importorskip("torch", reason="the architectures are built with PyTorch")
transformers = pytest.importorskip("transformers")

ENGINES = ["onnxruntime", "openvino"]


def _export(module: Any, outputs: list[str], side: int, file: Path) -> Path:
    """As `optimum` exports for the hub: pictures of any size, any number of them."""
    import warnings

    axes = {0: "batch_size", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (torch.rand(2, 3, side, side),), str(file), dynamo=False,
            input_names=["pixel_values"], output_names=outputs, opset_version=17,
            dynamic_axes={"pixel_values": axes, **{name: {0: "batch_size"} for name in outputs}},
        )  # fmt: skip
    return file


class _Named(torch.nn.Module):  # type: ignore[name-defined, misc]
    """A model of transformers that gives some of its outputs, in order."""

    def __init__(self, model: Any, outputs: list[str]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, pixel_values: Any) -> Any:
        found = self.model(pixel_values=pixel_values)
        return tuple(getattr(found, name) for name in self.outputs)


@pytest.fixture(scope="module")
def d_fine() -> Any:
    from bench.networks import D_FINE_N, random_detr
    from tests.networks.convert.test_detectors import TINY_DETR

    torch.manual_seed(0)
    sizes = D_FINE_N | TINY_DETR | {"decoder_in_channels": [32, 32], "num_queries": 300}
    return random_detr("d_fine", COCO80, sizes)


@pytest.fixture(scope="module")
def dino() -> Any:
    torch.manual_seed(0)
    config = transformers.Dinov2Config(hidden_size=384, num_hidden_layers=2, num_attention_heads=6,
                                       image_size=518, patch_size=14)  # fmt: skip
    return transformers.Dinov2Model(config).eval()


@pytest.fixture(scope="module", autouse=True)
def pulled(
    d_fine: Any, dino: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[pytest.MonkeyPatch]:
    """Both on a local hub, and in the cache after the first test."""
    from huggingface_hub import constants

    base = tmp_path_factory.mktemp("ready")
    outputs = ["logits", "pred_boxes"]
    graphs = {
        "d-fine-n": _export(_Named(d_fine, outputs), outputs, 640, base / "d.onnx"),
        "dinov2-s": _export(_Named(dino, ["last_hidden_state"]), ["last_hidden_state"], 224,
                            base / "v.onnx"),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, hub_server() as hub:
        file = ready_graphs.serve(hub, base / "published", *graphs, graphs=graphs)
        patch.setattr("closeup.networks.catalogue.CATALOGUE_FILE", file)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(base / "hub"))
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HUB_OFFLINE", "0")
        patch.setenv("CLOSEUP_CACHE", str(base / "cache"))
        yield patch


@pytest.fixture(autouse=True)
def _online(pulled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path_factory.getbasetemp() / "ready-cache"))


def photo() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (200, 300, 3), dtype=np.uint8)


@pytest.mark.parametrize("engine", ENGINES)
def test_d_fine_finds_what_pytorch_finds(d_fine: Any, engine: Any) -> None:
    """Every good box of PyTorch's, to half a pixel of the photo and 0.01 of its score."""
    network = find("d-fine-n", "detector")
    values = torch.from_numpy(prepare(photo(), network.card.input)[0][None])
    with torch.no_grad():
        answer = d_fine(pixel_values=values)
    scores, labels = answer.logits.sigmoid()[0].max(-1)
    ((*found,),) = Detector(network, EngineConfig(engine=engine)).detect([photo()])
    order = scores.argsort(descending=True)[:20]
    assert len(order) == 20
    for query in order.tolist():
        x, y, w, h = answer.pred_boxes[0, query].tolist()
        box = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, 1) * [300, 200, 300, 200]
        assert any(
            one.category == COCO80[labels[query]]
            and abs(one.score - float(scores[query])) < 0.01
            and np.abs(np.subtract(one.box, box)).max() < 0.5
            for one in found
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_dinov2_embeds_as_pytorch_does(dino: Any, engine: Any) -> None:
    network = find("dinov2-s", "backbone")
    values = torch.from_numpy(prepare(photo(), network.card.input)[0][None])
    with torch.no_grad():
        tokens = dino(pixel_values=values).last_hidden_state[0].numpy()
    expected = np.concatenate([tokens[0], tokens[1:].mean(0)])
    config = EngineConfig(engine=engine, precision="fp32")
    (found,) = Embedder(network, config).embed([photo()])
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
