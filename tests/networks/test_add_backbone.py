"""Backbones from ONNX files and folders: what is taken of a graph, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkMissing, UsageError
from closeup.networks import InputOverrides, Network, find
from closeup.networks.add import add_backbone
from closeup.networks.engine import open_graph
from closeup.networks.layouts import preprocessor_spec
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD
from closeup.networks.variants import has_feature_maps
from tests import tiny
from tests.networks.hub_server import Hub, hub_server
from tests.networks.test_tokens import DIM, vit

SIDE, CHANNELS, CLASSES = 16, (4, 6), 1000
Node = tuple[Any, ...]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"c0": (4, 3, 1, 1), "c1": (6, 4, 1, 1), "fc": (CLASSES, 6), "fcT": (6, CLASSES),
             "bias": (CLASSES,), "c2": (CLASSES, 6, 1, 1)}  # fmt: skip
    return {name: rng.standard_normal(size).astype("f") for name, size in sizes.items()}


MAP: list[Node] = [
    ("Conv", ["x", "c0"], "m0", {"strides": [2, 2]}),
    ("Relu", ["m0"], "r0", {}),
    ("Conv", ["r0", "c1"], "m1", {"strides": [2, 2]}),
    ("Relu", ["m1"], "map", {}),
]
FLAT: list[Node] = [
    *MAP,
    ("GlobalAveragePool", ["map"], "mean", {}),
    ("Flatten", ["mean"], "flat", {"axis": 1}),
]


def graph(
    file: Path,
    nodes: Sequence[Node],
    output: str,
    *,
    shape: Sequence[int | str] = (1, 3, SIDE, SIDE),
    opset: int = 17,
    kind: int = 1,
    weights_as_inputs: bool = False,
) -> Path:
    """A graph from ``x`` to `output`, of `nodes` and the weights that they name."""
    from onnx import helper, numpy_helper, save

    made = [helper.make_node(op, ins, [out], **settings) for op, ins, out, settings in nodes]
    named = {name for node in made for name in node.input}
    dtype = helper.tensor_dtype_to_np_dtype(10 if kind == 10 else 1)
    constants = [numpy_helper.from_array(w.astype(dtype), n) for n, w in weights().items()
                 if n in named]  # fmt: skip
    value = helper.make_tensor_value_info
    inputs = [value("x", kind, shape)]
    if weights_as_inputs:
        inputs += [value(t.name, t.data_type, list(t.dims)) for t in constants]
    outputs = [value(output, 10 if kind == 10 else 1, None)]
    built = helper.make_graph(made, "tiny", inputs, outputs, constants)
    old = {"ir_version": 3 if weights_as_inputs else 8}
    save(helper.make_model(built, opset_imports=[helper.make_opsetid("", opset)], **old), file)
    return file


def add(file: Path, name: str = "net", **given: Any) -> tuple[Network, str]:
    said: list[str] = []
    network = add_backbone(file, name=name, say=said.append, replace=True, **given)
    return network, "; ".join(said)


def embedded(network: Network, pictures: np.ndarray) -> np.ndarray:
    """What both engines give, one picture at a time."""
    found = []
    for engine in ("onnxruntime", "openvino"):
        opened = open_graph(network.file, EngineConfig.model_validate({"engine": engine}))
        (name,) = opened.inputs
        found.append(np.concatenate([opened.run({name: p[None]})["embedding"] for p in pictures]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2, atol=1e-2)
    return found[0]


def by_hand(pictures: np.ndarray) -> np.ndarray:
    """The means of the feature map ``map``: ``(n, 6)``."""
    values = pictures
    for name in ("c0", "c1"):
        kernel = weights()[name][:, :, 0, 0]
        values = np.maximum(np.einsum("oc,nchw->nohw", kernel, values[:, :, ::2, ::2]), 0)
    return values.mean((2, 3))


def pictures(top: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(1).random((2, 3, SIDE, SIDE)) * top).round(3).astype("f")


SOFTMAX: Node = ("Softmax", ["y"], "prob", {"axis": 1})
GEMM: Node = ("Gemm", ["flat", "fc", "bias"], "y", {"transB": 1})
ENDINGS: dict[str, tuple[list[Node], str, str]] = {
    "an embedding": (FLAT, "flat", ""),
    "a feature map": (MAP, "map", "averaged"),
    "a pooled map": (FLAT[:-1], "mean", ""),
    "Gemm": ([*FLAT, GEMM], "y", f"classifier of {CLASSES} classes: the 6 numbers before"),
    "Gemm and softmax": ([*FLAT, GEMM, SOFTMAX], "prob", "classifier"),
    "dropout before": (
        [*FLAT, ("Dropout", ["flat"], "kept", {}), ("Gemm", ["kept", "fcT"], "y", {})],
        *("y", "classifier"),
    ),
    "MatMul": ([*FLAT, ("MatMul", ["flat", "fcT"], "y", {})], "y", "classifier"),
    "MatMul and Add": (
        [*FLAT, ("MatMul", ["flat", "fcT"], "z", {}), ("Add", ["bias", "z"], "y", {}), SOFTMAX],
        *("prob", "classifier"),
    ),
    "a convolution of the means": (
        [*FLAT[:-1], ("Conv", ["mean", "c2"], "y", {})],
        *("y", "classifier"),
    ),
    "a convolution, averaged": (
        [
            *MAP,
            ("Conv", ["map", "c2"], "maps", {}),
            ("Relu", ["maps"], "positive", {}),
            ("GlobalAveragePool", ["positive"], "scores", {}),
            ("Flatten", ["scores"], "y", {"axis": 1}),
        ],
        *("y", "classifier"),
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_taken_of_a_graph(tmp_path: Path, ending: str) -> None:
    nodes, output, note = ENDINGS[ending]
    network, said = add(graph(tmp_path / "net.onnx", nodes, output))
    card = network.card
    assert (card.kind, card.family, card.dim, card.batch) == ("backbone", "embedding", 6, 0)
    assert note in said
    assert "ImageNet's mean and standard deviation: assumed" in said
    assert (card.input.width, card.input.mean, card.input.std) == (
        *(SIDE, IMAGENET_MEAN),
        IMAGENET_STD,
    )
    np.testing.assert_allclose(embedded(network, pictures()), by_hand(pictures()), atol=1e-4)
    assert b"bias" not in network.file.read_bytes()  # what is left out needs no room
    assert find("net", "backbone") == network


@pytest.mark.parametrize("name", ["embedding", "image_embeds", "features"])
def test_an_output_that_is_called_an_embedding_is_one(tmp_path: Path, name: str) -> None:
    nodes = [*FLAT, ("MatMul", ["flat", "fcT"], name, {})]
    network, said = add(graph(tmp_path / "net.onnx", nodes, name))
    assert network.card.dim == CLASSES
    assert "classifier" not in said


def test_old_files_list_their_weights_as_inputs(tmp_path: Path) -> None:
    """As the ONNX model zoo's do."""
    file = graph(tmp_path / "net.onnx", [*FLAT, GEMM], "y", opset=9, weights_as_inputs=True)
    network, _ = add(file)
    np.testing.assert_allclose(embedded(network, pictures()), by_hand(pictures()), atol=1e-4)
    flipped = find("net@cov-flip", "backbone")
    assert embedded(flipped, pictures()).shape == (2, flipped.card.dim)


def test_bytes_with_channels_last(tmp_path: Path) -> None:
    first: list[Node] = [
        ("Transpose", ["given"], "turned", {"perm": [0, 3, 1, 2]}),
        ("Cast", ["turned"], "x", {"to": 1}),
    ]
    nodes = [*first, *FLAT]
    file = graph(tmp_path / "net.onnx", nodes, "flat", shape=(1, SIDE, SIDE, 3), kind=2)
    _rename_input(file, "given")
    network, said = add(file)
    assert said == ""
    assert (network.card.input.scale, network.card.input.std) == ("byte", (1.0,) * 3)
    values = pictures(255).round()
    np.testing.assert_allclose(embedded(network, values), by_hand(values), rtol=1e-4)
    with pytest.raises(UsageError, match="takes whole numbers 0-255: omit --mean"):
        add(file, overrides=InputOverrides.model_validate({"mean": 0.5}))


def _rename_input(file: Path, name: str) -> None:
    import onnx

    model = onnx.load(file)
    model.graph.input[0].name = name
    onnx.save(model, file)


def test_half_precision(tmp_path: Path) -> None:
    network, _ = add(graph(tmp_path / "net.onnx", [*FLAT, GEMM], "y", kind=10))
    found = embedded(network, pictures())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(pictures()), rtol=1e-2, atol=1e-2)


def test_a_free_size_is_the_usual_one_or_given(tmp_path: Path) -> None:
    file = graph(tmp_path / "net.onnx", FLAT, "flat", shape=("n", 3, "h", "w"))
    assert add(file)[0].card.input.width == 224
    assert add(file, overrides=InputOverrides(size=(32, 48)))[0].card.input.height == 48
    fixed = graph(tmp_path / "fixed.onnx", FLAT, "flat")
    with pytest.raises(UsageError, match="takes 16x16 pixels only; omit --size"):
        add(fixed, overrides=InputOverrides(size=(32, 32)))


def test_a_graph_of_one_picture_at_a_time(tmp_path: Path) -> None:
    import onnx

    nodes = [*FLAT[:-1], ("Reshape", ["mean", "one"], "flat", {})]
    file = graph(tmp_path / "net.onnx", nodes, "flat")
    model = onnx.load(file)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 6]), "one"))
    onnx.save(model, file)
    network, _ = add(file)
    assert network.card.batch == 1
    np.testing.assert_allclose(embedded(network, pictures()), by_hand(pictures()), atol=1e-4)
    assert has_feature_maps(network)
    assert find("net@cov", "backbone").card.blocks == (4, 6, 4, 6, 10, 21)
    with pytest.raises(UsageError, match="another size"):
        find("net@flip", "backbone")


def test_tokens_of_a_transformer(tmp_path: Path) -> None:
    file = vit(tmp_path / "vit.onnx", 5)
    network, said = add(file, "vit")
    assert network.card.blocks == (DIM, DIM)
    assert "a class token, 4 registers and 16 patches: the class token and the mean" in said
    values = np.random.default_rng(1).random((1, 3, 32, 32)).astype("f")
    mean, _ = add(file, "mean", pool="mean")
    found = embedded(network, values)
    np.testing.assert_allclose(found[:, DIM:], embedded(mean, values), atol=1e-5)
    with pytest.raises(UsageError, match="same embedding"):  # of this graph, a constant
        add(file, "class", pool="class")
    assert not has_feature_maps(network)
    add(graph(tmp_path / "net.onnx", FLAT, "flat"))
    assert find("net+mean", "backbone").card.blocks == (6, DIM)
    joined = find("net@cov+vit", "backbone")
    assert joined.card.blocks == (4, 6, 4, 6, 10, 21, DIM, DIM)


def test_a_convolutional_backbone_has_feature_maps(tmp_path: Path) -> None:
    network, _ = add(graph(tmp_path / "net.onnx", [*FLAT, GEMM], "y"))
    assert has_feature_maps(network)
    assert find("net@cov", "backbone").card.blocks == (4, 6, 4, 6, 10, 21)


REFUSALS: dict[str, tuple[list[Node], str, dict[str, Any], str]] = {
    "four channels": (FLAT, "flat", {"shape": (1, 4, SIDE, SIDE)}, "cannot be opened|4 channels"),
    "boxes": (
        [*MAP, ("Reshape", ["map", "rows"], "boxes", {})],
        *("boxes", {}, r"a backbone gives \(1, numbers\)"),
    ),
    "no difference": (
        [*FLAT, ("Sub", ["flat", "flat"], "none", {})],
        *("none", {}, "the same embedding for two different pictures"),
    ),
    "no numbers": (
        [*FLAT, ("Sub", ["flat", "flat"], "z", {}), ("Div", ["z", "z"], "nan", {})],
        *("nan", {}, "NaN or infinite"),
    ),
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_what_is_no_backbone_is_refused(tmp_path: Path, cache: Path, fault: str) -> None:
    import onnx

    nodes, output, settings, message = REFUSALS[fault]
    file = graph(tmp_path / "net.onnx", nodes, output, **settings)
    model = onnx.load(file)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 6, 16]), "rows"))
    onnx.save(model, file)
    with pytest.raises((UsageError, NetworkDamaged), match=message):
        add(file)
    assert not (cache / "networks" / "net").exists()


def test_wrong_calls(tmp_path: Path) -> None:
    file = graph(tmp_path / "net.onnx", FLAT, "flat")
    add_backbone(file, name="net")
    with pytest.raises(UsageError, match="a network called net already"):
        add_backbone(file, name="net")
    with pytest.raises(UsageError, match="is whole: omit --timm"):
        add_backbone(file, name="b", timm="resnet18")
    with pytest.raises(UsageError, match=r"gives no tokens to pool but flat \(1, 6\): omit --pool"):
        add_backbone(file, name="b", pool="mean")
    (tmp_path / "x.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match="needs its architecture: give --timm or --torchvision"):
        add_backbone(tmp_path / "x.safetensors", name="b")
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:-9])
    with pytest.raises(NetworkDamaged, match=r"cut\.onnx"):
        add_backbone(tmp_path / "cut.onnx", name="b")


def preprocessor(**changes: Any) -> bytes:
    given = {"size": {"shortest_edge": 20}, "crop_size": {"height": SIDE, "width": SIDE},
             "do_center_crop": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
             "resample": 3}  # fmt: skip
    return json.dumps({**given, **changes}).encode()


def test_a_folder_as_transformers_lays_it_out(tmp_path: Path) -> None:
    (tmp_path / "net" / "onnx").mkdir(parents=True)
    file = graph(tmp_path / "net/onnx/model.onnx", FLAT, "flat", shape=("n", 3, "h", "w"))
    (tmp_path / "net" / "preprocessor_config.json").write_bytes(preprocessor())
    for source in (tmp_path / "net", file):
        network, said = add(source)
        spec = network.card.input
        assert (spec.width, spec.mean, spec.std) == (SIDE, (0.5,) * 3, (0.25,) * 3)
        assert spec.interpolation == "bicubic"
        assert said == "input as preprocessor_config.json says: 16x16"
    graph(tmp_path / "net/onnx/model_q4.onnx", FLAT, "flat")
    assert add(tmp_path / "net")[0] == find("net", "backbone")
    file.unlink()
    assert add(tmp_path / "net")[0].card.input.width == SIDE
    graph(tmp_path / "net/other.onnx", FLAT, "flat")
    with pytest.raises(UsageError, match=r"several ONNX files \(.*\): name the one to add"):
        add(tmp_path / "net")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no backbone: expected one of onnx/model\.onnx"):
        add(tmp_path / "empty")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": 32, "crop_size": None}, {"width": 32, "height": 32}),
        ({"do_center_crop": False, "size": {"height": 8, "width": 9}}, {"width": 9, "height": 8}),
        ({"do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({"do_rescale": False}, {"scale": "byte", "mean": (0.5,) * 3}),
        ({"rescale_factor": 1 / 127.5}, {"scale": "byte", "mean": (63.75,) * 3}),
        ({"resample": 2}, {"interpolation": "bilinear"}),
        ({"image_mean": None, "do_normalize": False}, {"mean": (0.0,) * 3}),
    ],
)
def test_what_a_preprocessor_states(
    tmp_path: Path, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    file = tmp_path / "preprocessor_config.json"
    file.write_bytes(preprocessor(**changes))
    found = preprocessor_spec(file)
    assert {key: pytest.approx(found[key]) if key == "mean" else found[key] for key in expected} \
        == expected  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [b"[]", b"{", b"[" * 100_000, preprocessor(image_std=[0, 1, 1]),
     preprocessor(size="a", crop_size=0),
     preprocessor(image_mean=["a"] * 3), preprocessor(rescale_factor=0),
     preprocessor(crop_size={"height": 10**9})],
)  # fmt: skip
def test_a_damaged_preprocessor(tmp_path: Path, data: bytes) -> None:
    graph(tmp_path / "model.onnx", FLAT, "flat", shape=("n", 3, "h", "w"))
    (tmp_path / "preprocessor_config.json").write_bytes(data)
    with pytest.raises(NetworkDamaged, match=r"preprocessor_config\.json"):
        add(tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_hub_repository(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = graph(tmp_path / "model.onnx", [*FLAT, GEMM], "y", shape=("n", 3, "h", "w"))
    commit = "a" * 40
    files = {"onnx/model.onnx": file.read_bytes(), "preprocessor_config.json": preprocessor()}
    about = {
        "id": "owner/net", "sha": commit, "cardData": {"license": "apache-2.0"},
        "siblings": [{"rfilename": name} for name in files],
    }  # fmt: skip
    hub.files["api/models/owner/net/revision/main"] = json.dumps(about).encode()
    for name, data in files.items():
        hub.files[f"owner/net/resolve/{commit}/{name}"] = data
    said: list[str] = []
    card = add_backbone("hf:owner/net", name="net", say=said.append).card
    assert (card.dim, card.input.width, card.licence) == (6, SIDE, "apache-2.0")
    assert card.source == f"https://huggingface.co/owner/net/tree/{commit}"
    assert said[0] == "input as preprocessor_config.json says: 16x16"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert add_backbone(f"hf:owner/net@{commit}", name="again").card.sha256 == card.sha256
    with pytest.raises(NetworkMissing, match="not on disk and downloads are switched off"):
        add_backbone("hf:owner/other", name="other")


def test_what_the_hub_does_not_have(hub: Hub) -> None:
    with pytest.raises(NetworkMissing, match=r"cannot be listed: .*owner/net does not exist"):
        add_backbone("hf:owner/net", name="net")
    about = {"id": "owner/net", "sha": "a" * 40, "siblings": [{"rfilename": "README.md"}]}
    hub.files["api/models/owner/net/revision/v1"] = json.dumps(about).encode()
    with pytest.raises(UsageError, match="owner/net holds no backbone"):
        add_backbone("hf:owner/net@v1", name="net")
    with pytest.raises(UsageError, match="expected hf:OWNER/NAME"):
        add_backbone("hf:net", name="net")
