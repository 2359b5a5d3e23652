"""Backbones from checkpoints and from the hub: the graph gives what PyTorch gives."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkMissing, UsageError
from closeup.networks import InputOverrides, Network, file_hash, find, load
from closeup.networks.add import add_backbone
from closeup.networks.catalogue import CATALOGUE_FILE, catalogue
from closeup.networks.convert.backbones import Architecture, _any_name, build
from closeup.networks.convert.weights import load_weights
from closeup.networks.engine import open_graph
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from tests.networks.hub_server import COMMIT, hub_server

torch = pytest.importorskip("torch", reason="converting networks needs the torch extra")
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
safetensors = pytest.importorskip("safetensors.torch")

TINY = "test_efficientnet"  # timm's own network for tests


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _randomise(module: Any) -> Any:
    """Give a network weights and statistics that no two layers share."""
    torch.manual_seed(0)
    for value in module.state_dict().values():
        if value.dtype.is_floating_point:
            noise = torch.rand_like(value) * 0.1
            value.copy_(value * (1 + noise) + noise * (value.std() if value.numel() > 1 else 1))
    return module.eval()


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of :data:`TINY`, its classifier included."""
    module = _randomise(timm.create_model(TINY, pretrained=False))
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    safetensors.save_file(module.state_dict(), file)
    return file


ARGS = {"drop_path_rate": 0.1, "output_stride": 32}


@pytest.fixture(scope="module")
def tiny(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """:data:`TINY` in a cache of its own, with everything given that can be."""
    overrides = InputOverrides.model_validate(
        {"size": 96, "mean": 0.5, "std": 0.25, "color": "bgr", "interpolation": "bilinear"}
    )
    about = {"licence": "MIT", "scores": {"top1": 0.5}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(tmp_path_factory.mktemp("cache")))
        return add_backbone(
            tiny_file, name="tiny", timm=TINY, args=ARGS, overrides=overrides, about=about
        )


def agree(network: Network, module: Callable[[Any], Any]) -> None:
    """Both engines give what PyTorch gives, to 1e-3 relative, and batched equals single."""
    spec = network.card.input
    pixels = np.random.default_rng(1).standard_normal((4, 3, spec.height, spec.width), np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(pixels)).numpy()
    assert expected.shape == (4, network.card.dim)
    tolerance = 1e-3 * np.abs(expected).max()
    for engine in ("openvino", "onnxruntime"):
        graph = open_graph(network.file, EngineConfig(engine=engine))
        assert dict(graph.inputs) == {"image": (None, 3, spec.height, spec.width)}
        assert graph.outputs == ("embedding",)
        batched = graph.run({"image": pixels})["embedding"]
        np.testing.assert_allclose(batched, expected, atol=tolerance, rtol=0)
        singles = graph.stream({"image": one[None]} for one in pixels)
        single = np.concatenate([result["embedding"] for result in singles])
        np.testing.assert_allclose(single, expected, atol=tolerance, rtol=0)


def test_a_checkpoint_becomes_a_backbone(
    tiny: Network, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tiny.card
    assert (card.kind, card.family, card.batch, card.licence) == ("backbone", "embedding", 0, "MIT")
    assert card.scores == {"top1": 0.5}
    monkeypatch.setenv("CLOSEUP_CACHE", str(tiny.folder.parents[1]))
    assert tiny.folder.parts[-2:] == ("networks", "tiny")
    assert find("tiny", "backbone") == load(tiny.folder) == tiny
    module = timm.create_model(TINY, pretrained=False, num_classes=0)
    module.load_state_dict(safetensors.load_file(tiny_file), strict=False)
    agree(tiny, module.eval())
    # The exporter would note where on this machine each line of the network's code lies.
    assert b"site-packages" not in tiny.file.read_bytes()


def test_a_backbone_remembers_how_it_was_made(tiny: Network, tiny_file: Path) -> None:
    origin = tiny.card.origin
    assert origin is not None
    assert (origin.framework, origin.architecture, origin.args) == ("timm", TINY, ARGS)
    assert tiny.weights is not None
    assert file_hash(tiny.weights) == origin.sha256
    given, kept = safetensors.load_file(tiny_file), safetensors.load_file(tiny.weights)
    assert kept
    assert all(torch.equal(given[key], value) for key, value in kept.items())
    assert {key.split(".")[0] for key in given.keys() - kept.keys()} == {"classifier"}


def test_overrides(tiny: Network) -> None:
    assert tiny.card.input == InputSpec(
        width=96, height=96, mean=(0.5,) * 3, std=(0.25,) * 3, color="bgr", anchor="centre",
        interpolation="bilinear",
    )  # fmt: skip


def _under(prefix: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {prefix + key: value for key, value in weights.items()}


def _other(weights: dict[str, Any]) -> dict[str, Any]:
    return {key: value + 1 for key, value in weights.items()}


EXTRA = {"loss.weight": torch.ones(2)}
WRAPPINGS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "parallel": (lambda w: {"epoch": 3, "state_dict": _under("module.", w)}, "under `module.`"),
    "compiled": (lambda w: _under("_orig_mod.", w), ""),
    "compiled inside": (
        lambda w: {k.replace("blocks.0.", "blocks.0._orig_mod."): v for k, v in w.items()},
        "",
    ),
    "a part of another": (
        lambda w: {"model": {**_under("backbone.", w), **EXTRA}},
        "under `backbone.`; 1 others are ignored (loss.weight)",
    ),
    "Lightning": (
        lambda w: {"state_dict": {**_under("model.", w), **EXTRA}, "hyper_parameters": {"lr": 1}},
        "under `model.`; 1 others are ignored (loss.weight)",
    ),
    "averaged": (lambda w: {"state_dict": _other(w), "state_dict_ema": w}, ""),
    "decay": (lambda w: {"ema": 0.999, "state_dict": w}, ""),
    "averaged beside": (
        lambda w: {"state_dict": {**_under("model.", _other(w)), **_under("ema.module.", w)}},
        "under `ema.module.`",
    ),
    "timm's training": (
        lambda w: {"state_dict": w, "args": argparse.Namespace(lr=0.1), "version": 2},
        "",
    ),
}


@pytest.mark.parametrize("form", WRAPPINGS)
def test_the_form_of_a_checkpoint_is_found_out(tiny_file: Path, tmp_path: Path, form: str) -> None:
    weights = safetensors.load_file(tiny_file)
    wrap, note = WRAPPINGS[form]
    torch.save(wrap(weights), tmp_path / "tiny.pth")
    module = timm.create_model(TINY, pretrained=False, num_classes=0)
    notes = load_weights(module, tmp_path / "tiny.pth", ("classifier",))
    assert all(torch.equal(weights[key], value) for key, value in module.state_dict().items())
    assert note in " ".join(notes)
    assert bool(note) == bool(notes)


class _Payload:
    """Writes a file when it is unpickled without care."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": _Payload(tmp_path / "harm")}, tmp_path / "bad.pth")
    with pytest.raises(NetworkDamaged, match="not a checkpoint of plain weights"):
        add_backbone(tmp_path / "bad.pth", name="bad", timm=TINY)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("data", [b"", b"nonsense" * 20, b"\x80\x04."])
def test_files_that_hold_no_weights(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(NetworkDamaged, match=name):
        add_backbone(tmp_path / name, name="bad", timm=TINY)


def test_a_checkpoint_without_a_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "bad.pth")
    with pytest.raises(NetworkDamaged, match="holds no state dict"):
        add_backbone(tmp_path / "bad.pth", name="bad", timm=TINY)
    with pytest.raises(UsageError, match="does not exist; check the path"):
        add_backbone(tmp_path / "absent.pth", name="bad", timm=TINY)


def test_weights_of_another_architecture(tiny_file: Path, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(NetworkDamaged, match=r"\d+ of \d+ weights are missing \(.*not belong"):
        add_backbone(tiny_file, name="bad", timm="test_vit")
    weights = safetensors.load_file(tiny_file)
    first = next(key for key in weights if key.endswith("conv_stem.weight"))
    safetensors.save_file({**weights, first: weights[first][:2]}, tmp_path / "shape.safetensors")
    with pytest.raises(NetworkDamaged, match=rf"{first}.*name its own architecture"):
        add_backbone(tmp_path / "shape.safetensors", name="bad", timm=TINY)
    del weights[first]
    safetensors.save_file(weights, tmp_path / "lost.safetensors")
    with pytest.raises(NetworkDamaged, match=rf"1 of \d+ weights are missing \({first}\)"):
        add_backbone(tmp_path / "lost.safetensors", name="bad", timm=TINY)
    assert not (cache / "networks" / "bad").exists()


def test_wrong_calls(tiny_file: Path) -> None:
    for both in ({}, {"timm": TINY, "torchvision": "resnet18"}):
        with pytest.raises(UsageError, match="--timm or --torchvision"):
            add_backbone(tiny_file, name="a", **both)
    with pytest.raises(UsageError, match="omit --pool"):
        add_backbone(tiny_file, name="a", timm=TINY, pool="mean")
    with pytest.raises(UsageError, match="expected one of class, mean, both"):
        add_backbone(tiny_file, name="a", pool="max")
    with pytest.raises(UsageError, match="no architecture 'mobilnet'"):
        add_backbone(tiny_file, name="a", timm="mobilnet")
    with pytest.raises(UsageError, match="no classification network"):
        add_backbone(tiny_file, name="a", torchvision="fasterrcnn_resnet50_fpn")
    with pytest.raises(UsageError, match="cannot build"):
        add_backbone(tiny_file, name="a", timm=TINY, args={"no_such_argument": 1})
    with pytest.raises(UsageError, match="cannot name a network"):
        add_backbone(tiny_file, name="../a", timm=TINY)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "alexnet", "shufflenet_v2_x0_5"])
def test_torchvision_families_give_one_row_per_picture(name: str) -> None:
    backbone = build(Architecture("torchvision", name), InputOverrides())
    with torch.no_grad():
        features = backbone.module.eval()(torch.rand(2, 3, 64, 64))
    assert features.shape[0] == 2
    assert features.ndim == 2
    assert features.shape[1] in {512, 256, 1024}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


SLOW = pytest.mark.slow
HALVES = ((0.5,) * 3, (0.5,) * 3)
IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize(
    ("name", "side", "colours", "trained_on"),
    [
        (f"{TINY}.r160_in1k", 160, IMAGENET, "ImageNet-1k"),
        ("tiny-vit", 80, HALVES, "ImageNet-1k"),
        pytest.param("mobilenetv2", 224, IMAGENET, "ImageNet-1k", marks=SLOW),
        pytest.param("densenet121", 224, IMAGENET, "ImageNet-1k", marks=SLOW),
        pytest.param("dinov2-s-pytorch", 224, IMAGENET, "LVD-142M", marks=SLOW),
    ],
)
def test_hub_networks_agree_with_timms_own_loading(
    hub: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    side: int,
    colours: Any,
    trained_on: str,
) -> None:
    # As DINOv2 has: an alias, and position embeddings that are resized to smaller pictures.
    alias = (
        '[[network]]\nname = "tiny-vit"\nkind = "backbone"\nabout = "Tiny"\nvia = "timm"\n'
        'family = "embedding"\nrepo = "timm/test_vit.r160_in1k"\nlicence = "apache-2.0"\n'
        'architecture = "test_vit.r160_in1k"\nargs = { img_size = 80 }\n'
        'trained_on = ["ImageNet-1k"]\n'
    )
    own = tmp_path / "catalogue.toml"
    own.write_text(f"{CATALOGUE_FILE.read_text(encoding='utf8')}\n{alias}", encoding="utf8")
    monkeypatch.setattr("closeup.networks.catalogue.CATALOGUE_FILE", own)
    entry = catalogue().get(name)
    architecture, args = (entry.architecture, entry.args) if entry else (name, {})
    repo = entry.repo if entry else f"timm/{name}"
    module = _randomise(timm.create_model(architecture, pretrained=False))
    file = tmp_path / "model.safetensors"
    safetensors.save_file(module.state_dict(), file)
    hub.files[f"{repo}/resolve/main/model.safetensors"] = file.read_bytes()
    network = find(name, "backbone")
    card = network.card
    assert (card.name, card.licence.lower()) == (name, "apache-2.0")
    assert (card.input.width, card.input.height) == (side, side)
    assert (card.input.mean, card.input.std) == colours
    assert card.trained_on == (trained_on,)
    assert card.made_with["revision"] == COMMIT
    assert card.made_with["sha256"] == file_hash(file)
    reference = timm.create_model(
        architecture,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file)},
        num_classes=0,
        **args,
    )
    agree(network, reference.eval())
    asked = len(hub.asked)
    assert find(name, "backbone") == network
    assert len(hub.asked) == asked


def test_any_timm_name_can_be_had_and_broken_weights_cannot(hub: Any, tiny_file: Path) -> None:
    name = f"{TINY}.r160_in1k"
    place = f"timm/{name}/resolve/main/model.safetensors"
    with pytest.raises(NetworkMissing, match="does not exist"):
        find(name, "backbone")
    hub.files[place] = tiny_file.read_bytes()[:-100]
    with pytest.raises(NetworkDamaged, match="safetensors"):
        find(name, "backbone")


def test_weights_lie_where_timm_says(hub: Any, tiny_file: Path, tmp_path: Path) -> None:
    """In a repository of another name, as a checkpoint alone, or outside the hub."""
    found = _any_name("vit_base_patch16_clip_quickgelu_224.openai")
    assert found[1][0].repo == "timm/vit_base_patch16_clip_224.openai"
    (file,) = _any_name("gcvit_tiny.in1k")[1]
    assert file.url.endswith("gcvit_tiny_224_nvidia-ac783954.pth")
    assert (file.sha256, file.place.parent.name) == ("ac783954", "timm")
    name = f"{TINY}.r160_in1k"
    torch.save(safetensors.load_file(tiny_file), tmp_path / "w.bin")
    hub.files[f"timm/{name}/resolve/main/pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    network = find(name, "backbone")
    assert network.card.made_with["file"] == "pytorch_model.bin"


def test_every_timm_name_with_weights_has_a_place_for_them() -> None:
    for name in timm.list_models(pretrained=True):
        config = timm.get_pretrained_cfg(name)
        files = _any_name(name)[1] if config.hf_hub_id else []
        assert all(file.repo == config.hf_hub_id for file in files)


def test_a_torchvision_name_is_converted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, (file,) = _any_name("shufflenet_v2_x0_5")
    assert architecture == Architecture("torchvision", "shufflenet_v2_x0_5")
    assert file.url.startswith("https://download.pytorch.org/models/")
    assert file.name.startswith("shufflenetv2_x0.5-")
    with pytest.raises(NetworkMissing, match="switched off"):
        find("shufflenet_v2_x0_5", "backbone", offline=True)


@SLOW
def test_real_mobilenet_of_timm(shared: Path) -> None:
    file = shared / "weights" / "mobilenetv2_100.tfslim_in1k.safetensors"
    network = add_backbone(
        file,
        name="mobilenetv2_tfslim",
        timm="mobilenetv2_100",
        args={"pad_type": "same"},
        overrides=InputOverrides.model_validate({"mean": 0.5, "std": 0.5}),
    )
    assert network.card.input.mean == network.card.input.std == (0.5, 0.5, 0.5)
    module = timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same")
    module.load_state_dict(safetensors.load_file(file), strict=False)
    agree(network, module.eval())


@SLOW
def test_real_mobilenet_of_torchvision(shared: Path) -> None:
    file = shared / "weights" / "mobilenet_v2.torchvision_in1k.features.safetensors"
    network = add_backbone(file, name="mobilenetv2_tv", torchvision="mobilenet_v2")
    assert network.card.input == InputSpec(
        width=224, height=224, anchor="centre", mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    module = torchvision.models.mobilenet_v2(weights=None)
    module.load_state_dict(safetensors.load_file(file), strict=False)
    agree(network, lambda pixels: module.eval().features(pixels).mean((2, 3)))


def test_real_squeezenet_of_torchvision(shared: Path) -> None:
    file = shared / "weights" / "squeezenet1_1.torchvision_in1k.safetensors"
    small = InputOverrides(size=(96, 96))
    network = add_backbone(file, name="squeezenet", torchvision="squeezenet1_1", overrides=small)
    module = torchvision.models.squeezenet1_1(weights=None)
    module.load_state_dict(safetensors.load_file(file))
    agree(network, lambda pixels: module.eval().features(pixels).mean((2, 3)))
