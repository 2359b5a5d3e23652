"""Detectors from PyTorch: the graph answers as the module, wherever its weights come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.networks import D_FINE_N, random_detr
from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkError, NetworkMissing, UsageError
from closeup.core.types import Pixels
from closeup.detect import Detector
from closeup.networks import COCO91, Card, Network, file_hash
from closeup.networks.card import GRAPH_FILE
from closeup.networks.convert import torchvision_detectors, transformers_detectors
from closeup.networks.convert.detectors import export_detector, is_detector, recipe_of, recipes
from closeup.networks.convert.onnx_export import Converted, write_graph
from closeup.networks.download import download, download_url
from closeup.networks.engine import open_graph
from closeup.networks.preprocess import InputSpec
from tests.networks.hub_server import Hub, hub_server

SIDE = 128
SPEC = InputSpec(width=SIDE, height=SIDE, resize="stretch")
CLASSES = ("cat", "dog", "clock")

TINY_DETR: dict[str, Any] = {
    "num_queries": 30,
    "decoder_layers": 2,
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}
TINY_RT_DETR = TINY_DETR | {
    "backbone_config": {
        "model_type": "rt_detr_resnet",
        "embedding_size": 16,
        "hidden_sizes": [16, 32, 32, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage2", "stage3", "stage4"],
    },
    "encoder_in_channels": [32, 32, 32],
    "decoder_in_channels": [32, 32, 32],
}
TINY_D_FINE = D_FINE_N | TINY_DETR | {"decoder_in_channels": [32, 32]}


TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "d-fine": ("d_fine", TINY_D_FINE),
    "rt-detr-v2": ("rt_detr_v2", TINY_RT_DETR),
}


def need(*modules: str) -> None:
    for module in ("torch", *modules):
        pytest.importorskip(module, reason=f"the networks are built with {module}")


@dataclass(frozen=True)
class Exported:
    """A detector as a module and as a graph; `card` where it was exported by its name."""

    converted: Converted
    file: Path
    card: Card | None = None


def tiny_detr(model_type: str, sizes: dict[str, Any]) -> Any:
    need("transformers")
    import torch

    torch.manual_seed(0)
    return random_detr(model_type, CLASSES, sizes)


def tiny_torchvision(builder: str) -> Any:
    need("torchvision")
    import torch

    torch.manual_seed(0)
    model = torchvision_detectors.build(builder)
    with torch.no_grad():  # else nothing of the picture reaches the heads
        for name, weight in model.named_parameters():
            if weight.ndim == 4 and "fpn" not in name and "rpn" not in name:
                torch.nn.init.kaiming_normal_(weight)
            elif "cls_score" in name or "bbox_pred" in name:
                weight.mul_(0.2)
    return model


def write_tiny(name: str, folder: Path) -> Exported:
    """Export a family's module; RT-DETR and SSDlite by their names, with weights from a file."""
    if name == "rt-detr":
        model = save_tiny_checkpoint(folder)
        converted = transformers_detectors.converted(model, SPEC)
        (folder / "out").mkdir()
        card = export_detector(name, folder / "out", weights=folder / "model.safetensors")
        return Exported(converted, folder / "out" / card.graph, card)
    if name == "ssdlite":
        model = tiny_torchvision(recipe_of(name).architecture)
        import torch

        torch.save(model.state_dict(), folder / "weights.pth")
        with small_inputs():
            card = export_detector(name, folder, weights=folder / "weights.pth")
        return Exported(torchvision_detectors.converted(model, SIDE), folder / card.graph, card)
    if name == "faster-rcnn":
        model = tiny_torchvision("fasterrcnn_mobilenet_v3_large_320_fpn")
        converted = torchvision_detectors.converted(model, SIDE)
    else:
        converted = transformers_detectors.converted(tiny_detr(*TRANSFORMERS[name]), SPEC)
    write_graph(name, converted, folder / GRAPH_FILE)
    return Exported(converted, folder / GRAPH_FILE)


@contextmanager
def small_inputs() -> Iterator[None]:
    """Let torchvision's detectors take small pictures, which are quicker to export and to run."""
    spec = InputSpec(width=SIDE, height=SIDE)
    small = {name: one.model_copy(update={"input": spec}) for name, one in recipes().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("closeup.networks.convert.detectors.recipes", lambda: small)
        yield


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Each family's module and graph, made once."""
    return cache(lambda name: write_tiny(name, tmp_path_factory.mktemp(name)))


@pytest.fixture(params=["d-fine", "rt-detr", "rt-detr-v2", "faster-rcnn", "ssdlite"])
def exported(request: pytest.FixtureRequest, export: Callable[[str], Exported]) -> Exported:
    return export(request.param)


def photos() -> list[Pixels]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(3)]


def ask_torch(converted: Converted, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    import torch

    inputs = [torch.from_numpy(values), torch.tensor([[SIDE, SIDE]])][: len(converted.inputs)]
    with torch.no_grad():
        outputs = converted.module(*inputs)
    named = zip(converted.outputs, outputs, strict=True)
    return {
        name: value.numpy().reshape(-1, *value.shape[-1:] * (name == "boxes"))
        for name, value in named
    }


def detector_of(converted: Converted, file: Path, engine: Any = "onnxruntime") -> Detector:
    card = Card(
        name="tiny", kind="detector", family=converted.family, graph=file.name,
        sha256=file_hash(file), bytes=file.stat().st_size, input=converted.spec, batch=1,
        classes=converted.classes,
    )  # fmt: skip
    return Detector(Network(card, file.parent), EngineConfig(engine=engine))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_graph_answers_as_the_module(exported: Exported, engine: Any) -> None:
    """Every good box of the module's is among the graph's: the same category, to half a pixel."""
    from closeup.networks.preprocess import prepare

    converted = exported.converted
    graph = open_graph(exported.file, EngineConfig(engine=engine))
    for pixels in photos():
        values = prepare(pixels, converted.spec)[0][None]
        expected = ask_torch(converted, values)
        feeds: dict[str, Any] = dict(
            zip(converted.inputs, (values, np.array([[SIDE, SIDE]])), strict=False)
        )
        found = {
            name: value.reshape(expected[name].shape) for name, value in graph.run(feeds).items()
        }
        assert len(expected["scores"]) >= 20
        assert np.ptp(expected["boxes"], axis=0).min() > 1  # not all the same
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)
        # Equal scores may change places, so boxes are looked up rather than compared in order.
        for label, box, score in zip(
            *(expected[k][:20] for k in ("labels", "boxes", "scores")), strict=True
        ):
            near = (found["labels"] == label) & (np.abs(found["scores"] - score) < 1e-3)
            near &= (np.abs(found["boxes"] - box) < 0.5).all(1)
            assert near.any(), (label, box, score)


def test_streamed_equals_single(exported: Exported) -> None:
    detector = detector_of(exported.converted, exported.file)
    many = photos() * 2
    streamed = list(detector.detect(many))
    assert streamed == [next(detector.detect([one])) for one in many]
    assert streamed[:3] == streamed[3:]
    assert all(streamed)
    known = set(filter(None, detector.card.classes))
    assert {one.category for found in streamed for one in found} <= known


def test_a_graph_that_finds_nothing(tmp_path: Path, export: Callable[[str], Exported]) -> None:
    """Suppression must not trip over no boxes at all, whatever it saw when it was traced."""
    onnx = pytest.importorskip("onnx")
    ssdlite = export("ssdlite")
    model, changed = onnx.load(ssdlite.file), 0
    for weight in model.graph.initializer:
        if "classification_head" in weight.name and len(weight.dims) == 1:
            values = onnx.numpy_helper.to_array(weight).copy()
            if values.size % 91 == 0:
                values.reshape(-1, 91)[:, 0] = 30  # all background
                weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
                changed += 1
    assert changed
    file = tmp_path / "nothing.onnx"
    onnx.save(model, str(file))
    for engine in ("onnxruntime", "openvino"):
        found = list(detector_of(ssdlite.converted, file, engine).detect(photos()))
        assert found == [[]] * 3


def test_faster_rcnn_is_built_as_its_weights_want_it() -> None:
    need("torchvision")
    from torch import nn

    def norms(builder: str) -> set[float]:
        layers = torchvision_detectors.build(builder).modules()
        return {layer.eps for layer in layers if isinstance(layer, nn.BatchNorm2d)}

    assert norms("fasterrcnn_resnet50_fpn") == {0.0}
    assert 0.0 not in norms("fasterrcnn_resnet50_fpn_v2")


def test_named_torchvision_detector_from_a_local_file(
    tmp_path: Path, export: Callable[[str], Exported]
) -> None:
    ssdlite = export("ssdlite")
    import torch

    card = ssdlite.card
    assert card is not None
    assert (card.family, card.batch, card.classes, card.licence) == (
        *("rcnn", 1),
        *(COCO91, "BSD-3-Clause"),
    )
    assert recipe_of("ssdlite").input == InputSpec(width=320, height=320)
    assert (card.input.width, card.input.resize, card.input.mean) == (SIDE, "stretch", (0.5,) * 3)
    assert file_hash(ssdlite.file) == card.sha256
    assert str(Path(torch.__file__).parent).encode() not in ssdlite.file.read_bytes()
    weights = ssdlite.file.with_name("weights.pth")
    with pytest.raises(
        NetworkDamaged, match=r"weights\.pth does not hold the weights of FasterRCNN"
    ):
        export_detector("faster-rcnn", tmp_path, weights=weights)


def save_tiny_checkpoint(folder: Path) -> Any:
    model = tiny_detr("rt_detr", TINY_RT_DETR)
    model.save_pretrained(folder)
    wants = {
        **{"size": {"height": SIDE, "width": SIDE}, "resample": 2, "do_normalize": False},
        **{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(wants))
    return model


def test_named_transformers_detector_from_a_local_file(export: Callable[[str], Exported]) -> None:
    exported = export("rt-detr")
    card = exported.card
    assert card is not None
    assert (card.family, card.classes, card.licence) == ("detr", CLASSES, "Apache-2.0")
    assert card.input == SPEC
    assert card.made_with.keys() == {"closeup", "torch", "transformers", "opset"}
    values = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    expected = ask_torch(exported.converted, values)
    sizes = np.array([[SIDE, SIDE]])
    found = open_graph(exported.file).run({"images": values, "orig_target_sizes": sizes})
    np.testing.assert_allclose(found["scores"][0], expected["scores"], atol=1e-3)


def test_a_local_file_without_its_company(tmp_path: Path) -> None:
    need("transformers")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x")
    with pytest.raises(
        NetworkMissing, match=r"config.json is not there: put the config.json of ust"
    ):
        export_detector("d-fine-n-pytorch", tmp_path, weights=weights)


FAULTS = {
    "not json": ("{", "config.json is not JSON"),
    "a list": ("[]", "holds no JSON object"),
    "another kind": ('{"model_type": "yolos"}', "'yolos' network, which Closeup cannot convert"),
    "wrong type": ({"d_model": "many"}, "no configuration of a rt_detr network: .*d_model"),
    "wrong value": ({"num_queries": -3}, "rt-detr cannot be run: .*fetch both again"),
    "wrong list": ({"decoder_in_channels": []}, "do not make a rt_detr detector"),
    "no backbone": ({"backbone_config": 7}, "rt_detr"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_configurations_are_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    save_tiny_checkpoint(tmp_path)
    config, (change, message) = tmp_path / "config.json", FAULTS[fault]
    if isinstance(change, dict):
        change = json.dumps({**json.loads(config.read_text()), **change})
    config.write_text(change)
    with pytest.raises(NetworkError, match=message) as caught:
        export_detector("rt-detr", tmp_path, weights=tmp_path / "model.safetensors")
    assert "\n" not in str(caught.value)
    assert "config" in str(caught.value)


def test_a_transformers_too_old_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_checkpoint(tmp_path)
    monkeypatch.setattr(transformers_detectors, "KINDS", ("of-tomorrow",))
    (tmp_path / "config.json").write_text('{"model_type": "of-tomorrow"}')
    with pytest.raises(NetworkError, match="does not know 'of-tomorrow' networks: pip install -"):
        export_detector("rt-detr", tmp_path, weights=tmp_path / "model.safetensors")


@pytest.mark.parametrize("fault", ["no weights", "too few weights"])
def test_damaged_checkpoints(tmp_path: Path, fault: str) -> None:
    save_tiny_checkpoint(tmp_path)
    weights = tmp_path / "model.safetensors"
    if fault == "no weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        from safetensors.torch import load_file, save_file

        save_file(dict(list(load_file(weights).items())[:-3]), weights, {"format": "pt"})
    message = {
        "no weights": "model.safetensors cannot be read",
        "too few weights": "model.safetensors lacks 3 weights",
    }[fault]
    with pytest.raises(NetworkError, match=message):
        export_detector("rt-detr", tmp_path, weights=weights)


@pytest.mark.parametrize(
    ("wants", "message"),
    [
        ("[]", "holds no JSON object"),
        ("{", "is not JSON"),
        ('{"size": {"shortest_edge": 800}}', "KeyError.*width"),
        ('{"size": {"width": 64, "height": 64}, "resample": 0}', "KeyError"),
    ],
)
def test_preprocessors_of_another_kind(tmp_path: Path, wants: str, message: str) -> None:
    (tmp_path / "p.json").write_text(wants)
    with pytest.raises(NetworkDamaged, match=message):
        transformers_detectors.input_spec(tmp_path / "p.json")


def test_a_preprocessor_that_normalises(tmp_path: Path) -> None:
    wants = {"size": {"width": 64, "height": 32}, "resample": 3, "do_normalize": True,
             "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 2]}  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(wants))
    spec = transformers_detectors.input_spec(tmp_path / "p.json")
    assert (spec.width, spec.height, spec.interpolation) == (64, 32, "bicubic")
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (1, 1, 2))


@pytest.mark.parametrize("name", recipes())
def test_without_a_line_the_missing_file_is_named(tmp_path: Path, name: str) -> None:
    recipe = recipe_of(name)
    need(recipe.via)
    with pytest.raises(NetworkMissing, match="downloads are switched off") as caught:
        export_detector(name, tmp_path, offline=True)
    said = "\n".join((str(caught.value), *getattr(caught.value, "__notes__", ())))
    assert (recipe.repo or recipe.architecture.removesuffix("_fpn")) in said
    assert str(tmp_path) not in said  # where it would be made is nothing to put files into


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    need("torchvision")
    with pytest.raises(UsageError, match="no detector is called 'yolo'; there are d-fine-n-py"):
        export_detector("yolo", tmp_path)


def test_any_faster_rcnn_or_ssd_of_torchvision_has_a_recipe() -> None:
    need("torchvision")
    assert is_detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    assert is_detector("ssd300_vgg16")
    assert not is_detector("retinanet_resnet50_fpn")
    assert not is_detector("mobilenet_v2")
    spec = recipe_of("ssd300_vgg16").input
    assert spec is not None
    assert spec.width == 300


def test_deimv2_says_that_it_is_unverified() -> None:
    assert "not verified on real weights" in recipe_of("deimv2-n").about


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    # huggingface_hub reads its own settings when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_checkpoints_come_from_the_hub(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, converted: Converted, file: Path) -> None:
        file.write_text("the graph of other tests")

    monkeypatch.setattr("closeup.networks.convert.detectors.write_graph", write)
    source = tmp_path / "source"
    source.mkdir()
    save_tiny_checkpoint(source)
    repo = recipe_of("rt-detr").repo
    for name in transformers_detectors.FILES:
        hub.files[f"{repo}/resolve/main/{name}"] = (source / name).read_bytes()
    steps: list[tuple[str, int, int]] = []
    card = export_detector("rt-detr", tmp_path, lambda *step: steps.append(step))
    assert card.classes == CLASSES
    assert ("download model.safetensors", 0) in {step[:2] for step in steps}
    for name in transformers_detectors.FILES:  # where the next conversion finds them without a line
        assert file_hash(download(repo, name, offline=True)) == file_hash(source / name)


def test_plain_addresses_check_the_start_of_the_hash(tmp_path: Path, hub: Hub) -> None:
    hub.files["models/net.pth"] = b"weights"
    url, place = f"{hub.url}/models/net.pth", tmp_path / "cache" / "downloads" / "plain" / "net.pth"
    start = hashlib.sha256(b"weights").hexdigest()[:8]
    with pytest.raises(NetworkMissing, match="switched off; go online, or put the file at"):
        download_url(url, "plain", sha256=start, offline=True)
    with pytest.raises(NetworkMissing, match="does not exist"):
        download_url(f"{url}.gone", "plain", sha256=start)
    with pytest.raises(NetworkDamaged, match="expected SHA-256 0123abcd"):
        download_url(url, "plain", sha256="0123abcd")
    assert not place.exists()
    assert download_url(url, "plain", sha256=start) == place
    assert place.read_bytes() == b"weights"
    asked = len(hub.asked)
    assert download_url(url, "plain", sha256=start) == place
    assert len(hub.asked) == asked
