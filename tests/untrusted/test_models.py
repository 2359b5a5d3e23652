"""A stranger's model folder: it reads nothing outside, runs no code, and its lies are named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import closeup
from closeup.core.errors import ModelError, NetworkDamaged, NetworkError
from closeup.networks.engine import open_graph, read_signature
from tests import tiny
from tests.networks.engine.graphs import affine


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of tiny networks, whose cache is gone."""
    return tiny.make_project(tmp_path_factory.mktemp("untrusted"))


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def edit(model: Path, **changes: Any) -> None:
    """Change the card; hashes are not touched."""
    file = model / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def put(model: Path, name: str, data: bytes) -> None:
    """Replace a file of the model and give the card its hash, as a forger would."""
    (model / name).write_bytes(data)
    files = json.loads((model / "model.json").read_text())["files"]
    edit(model, files={**files, name: hashlib.sha256(data).hexdigest()})


def put_card(model: Path, name: str, changes: dict[str, Any]) -> None:
    card = json.loads((model / name / "card.json").read_text())
    put(model, f"{name}/card.json", json.dumps({**card, **changes}).encode())


def refused(model: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        closeup.load(model)
    assert len(str(caught.value)) < 2000


def test_the_copy_itself_is_fine(model: Path) -> None:
    assert closeup.load(model).labels == ("ash", "birch", "cedar")


def test_an_empty_card(model: Path) -> None:
    (model / "model.json").write_text("{}")
    refused(model, r"model\.json is damaged")


@pytest.mark.parametrize("found", [-1, 0])
def test_a_format_too_old_says_how_to_go_on(model: Path, found: int) -> None:
    edit(model, format=found)
    refused(model, f"format {found}, this version reads 1 to 2; train the model again")


def test_a_format_too_new_says_how_to_go_on(model: Path) -> None:
    edit(model, format=3)
    refused(model, "format 3, this version reads 2; upgrade")


@pytest.mark.parametrize("name", ["head.safetensors", "backbone/graph.onnx", "detector/card.json"])
def test_a_file_without_a_hash_is_not_read(model: Path, name: str) -> None:
    files = json.loads((model / "model.json").read_text())["files"]
    edit(model, files={k: v for k, v in files.items() if k != name})
    refused(model, f"no hash for {name}")


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "backbone/../../x", "\0"])
def test_names_that_lead_outside(model: Path, name: str) -> None:
    files = json.loads((model / "model.json").read_text())["files"]
    edit(model, files={**files, name: "0" * 64})
    refused(model, "outside the folder")


@pytest.mark.parametrize(
    "name", ["model.json", "head.safetensors", "backbone/graph.onnx", "backbone", "detector"]
)
def test_links_that_lead_outside(model: Path, tmp_path: Path, name: str) -> None:
    (model / name).rename(tmp_path / "elsewhere")
    (model / name).symlink_to(tmp_path / "elsewhere")
    refused(model, "outside the folder")


def test_a_link_to_the_whole_folder_is_fine(model: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(model)
    assert closeup.load(tmp_path / "latest").labels


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"graph": "other.onnx"}, "is missing|expected a backbone"),
        ({"graph": "../detector/graph.onnx"}, "plain file name"),
        ({"kind": "detector"}, "expected a backbone"),
        ({"format": 99}, "format 99"),
        ({"format": 0}, "format 0"),
        ({"input": {"width": 10**9, "height": 10**9}}, "width"),
        ({"dim": 7}, "."),
    ],
)
def test_a_forged_card_of_a_network(model: Path, changes: dict[str, Any], match: str) -> None:
    put_card(model, "backbone", changes)
    with pytest.raises((ModelError, NetworkError), match=match):
        closeup.load(model).predict(np.zeros((20, 20, 3), np.uint8))


@pytest.mark.parametrize("labels", [["a"] * 1_000_000, [f"l{n}" for n in range(1_000_000)]])
def test_a_million_labels(model: Path, labels: list[str]) -> None:
    edit(model, labels=labels)
    refused(model, "labels")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "\ud800", "nul"])
def test_json_that_is_none(model: Path, text: str) -> None:
    data = text.encode("utf8", "surrogatepass")
    (model / "model.json").write_bytes(data)
    refused(model, r"model\.json is damaged")
    for kind in ("backbone", "detector"):
        put_model = Path(shutil.copytree(model, model.parent / kind))
        shutil.copy(model.parent / "model" / "model.json", put_model / "model.json")
        (put_model / kind / "card.json").write_bytes(data)
        with pytest.raises((ModelError, NetworkDamaged)):
            closeup.load(put_model)


def test_a_card_of_a_gigabyte_is_not_read(model: Path) -> None:
    with (model / "model.json").open("r+b") as stream:
        stream.truncate(2**30)
    refused(model, "larger than 64,000,000 bytes")


def lying_length(data: bytes) -> bytes:
    return (2**62).to_bytes(8, "little") + data[8:]


def lying_shape(data: bytes) -> bytes:
    header = b'{"layer0.weights":{"dtype":"F32","shape":[1099511627776,9],"data_offsets":[0,16]}}'
    return len(header).to_bytes(8, "little") + header + b"\0" * 16


def deep_header(_: bytes) -> bytes:
    header = b"[" * 100_000
    return len(header).to_bytes(8, "little") + header


def of_code(_: bytes) -> bytes:
    return b"cposix\nsystem\n(S'id'\ntR."  # a pickle that starts a program


@pytest.mark.parametrize("lie", [lying_length, lying_shape, deep_header, of_code, bytes.lower])
@pytest.mark.parametrize("name", ["head.safetensors", "unknown.safetensors"])
def test_lying_arrays(model: Path, name: str, lie: Callable[[bytes], bytes]) -> None:
    put(model, name, lie((model / name).read_bytes()))
    refused(model, "cannot be loaded")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_arrays_that_are_not_finite(model: Path, value: float) -> None:
    arrays = load_file(model / "head.safetensors")
    arrays["layer0.bias"] = np.full_like(arrays["layer0.bias"], value)
    put(model, "head.safetensors", save(arrays))
    refused(model, "not finite")


@pytest.mark.parametrize(
    "changes",
    [
        {"likely": {"alpha": 0.1}},
        {"likely": {"alpha": "x", "threshold": [], "n": {}}},
        {"unknown": {"min_confidence": 0}},
        {"head": "pickle"},
        {"labels": []},
        {"view": "both; rm"},
        {"crop": {"pad": 1e308}},
        {"detect": {"threshold": -1}},
    ],
)
def test_settings_that_are_none(model: Path, changes: dict[str, Any]) -> None:
    edit(model, **changes)
    refused(model, ".")


# Graphs


def onnx_file(folder: Path, change: Callable[[Any], None]) -> Path:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(affine(folder / "a.onnx"))
    change(model)
    file = folder / "b.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def test_a_tensor_larger_than_its_bytes(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.initializer[0].dims[:] = [2**40]

    with pytest.raises(NetworkDamaged, match=r"1,099,511,627,776 numbers is stored in"):
        read_signature(onnx_file(tmp_path, change))


@pytest.mark.parametrize("axis", [-1, 2**62, 2**63 - 1])
def test_a_tensor_of_an_impossible_shape(tmp_path: Path, axis: int) -> None:
    def change(model: Any) -> None:
        model.graph.initializer[0].dims[:] = [axis, 4]

    with pytest.raises(NetworkDamaged, match=r"impossible shape|numbers is stored"):
        read_signature(onnx_file(tmp_path, change))


def test_a_field_number_that_other_readers_cut_short(tmp_path: Path) -> None:
    """Protocol buffers in C++ keep 32 bits of a key: external data must not hide in the others."""
    data = affine(tmp_path / "a.onnx").read_bytes()
    key = (7 << 3 | 2) | 1 << 34  # `graph`, to whom drops what is above 32 bits
    varint = bytes((key >> 7 * n & 0x7F) | (0x80 if n < 4 else 0) for n in range(5))
    file = tmp_path / "b.onnx"
    file.write_bytes(data + varint + b"\0")
    with pytest.raises(NetworkDamaged, match="impossible number"):
        read_signature(file)


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "weights.bin"])
def test_external_data_in_every_place_of_a_graph(tmp_path: Path, location: str) -> None:
    onnx = pytest.importorskip("onnx")
    outside = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=1)
    outside.external_data.add(key="location", value=location)
    sparse = onnx.SparseTensorProto(values=outside, dims=[1])
    inner = onnx.GraphProto(name="g", initializer=[outside])

    def places(model: Any) -> list[Callable[[], Any]]:
        node, graph = model.graph.node[0].attribute, model.graph
        return [
            lambda: graph.initializer.append(outside),
            lambda: graph.sparse_initializer.append(sparse),
            lambda: node.append(onnx.helper.make_attribute("a", outside)),
            lambda: node.append(onnx.helper.make_attribute("a", inner)),
            lambda: node.append(onnx.helper.make_attribute("a", [inner])),
            lambda: node.append(onnx.helper.make_attribute("a", [outside])),
            lambda: model.functions.add(name="f", domain="d").node.add().attribute.append(
                onnx.helper.make_attribute("a", outside)
            ),
            lambda: model.training_info.add().algorithm.initializer.append(outside),
        ]  # fmt: skip

    for number in range(8):
        with pytest.raises(NetworkDamaged, match="keeps weights in other files"):
            read_signature(onnx_file(tmp_path, lambda m, n=number: places(m)[n]()))


def test_an_operator_of_the_strangers_own_does_not_run(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node[0].domain = "com.stranger"
        model.opset_import.add(domain="com.stranger", version=1)

    with pytest.raises(NetworkError, match=r"b\.onnx"):
        open_graph(onnx_file(tmp_path, change))
