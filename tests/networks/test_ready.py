"""Ready ONNX graphs from the hub: what arrives, what is compared, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkError, NetworkMissing, UsageError
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.networks import COCO80, find, known, load, networks_folder
from closeup.networks.catalogue import catalogue
from closeup.networks.engine import read_signature
from closeup.networks.lookup import plan_pull, remove
from closeup.networks.words import OPEN_VOCABULARY
from tests import tiny
from tests.networks import ready_graphs
from tests.networks.hub_server import COMMIT, Hub, hub_server

NAMES = tuple(name for name, entry in catalogue().items() if not entry.needs_torch)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with stand-ins for a few ready networks, and a catalogue that fits them."""
    from huggingface_hub import constants

    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with hub_server() as server:
        file = ready_graphs.serve(server, tmp_path / "published", *NAMES)
        monkeypatch.setattr("closeup.networks.catalogue.CATALOGUE_FILE", file)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def _file(hub: Hub, name: str, file: str) -> str:
    entry = catalogue()[name]
    return f"{entry.repo}/resolve/{entry.revision or 'main'}/{file}"


def _change(hub: Hub, name: str, file: str, **change: Any) -> None:
    place = _file(hub, name, file)
    hub.files[place] = json.dumps({**json.loads(hub.files[place]), **change}).encode()


def test_a_detector_arrives_with_all_that_is_known_of_it(hub: Hub) -> None:
    steps: list[tuple[str, int, int]] = []
    network = find("d-fine-n", "detector", progress=lambda *step: steps.append(step))
    card, entry = network.card, catalogue()["d-fine-n"]
    assert (card.kind, card.family, card.licence) == ("detector", "detr-logits", "Apache-2.0")
    assert card.classes == COCO80
    assert card.input == entry.spec
    assert (card.batch, card.trained_on) == (1, ("COCO 2017",))
    assert card.source == f"https://huggingface.co/{entry.repo}/tree/{entry.revision}"
    assert card.made_with["revision"] == entry.revision
    assert card.made_with["sha256"] == entry.sha256
    assert {step[0] for step in steps} == {"download d-fine-n"}
    assert read_signature(network.file).inputs == {"pixel_values": (1, 3, 640, 640)}
    asked = len(hub.asked)
    assert find("d-fine-n", "detector") == network
    assert len(hub.asked) == asked


def test_it_finds_what_is_there(hub: Hub) -> None:
    detector = Detector(find("d-fine-n", "detector"), EngineConfig(engine="onnxruntime"))
    white = np.full((120, 160, 3), 255, np.uint8)
    ((best, *_),) = detector.detect([white])
    assert best.category == "clock"
    assert best.score > 0.9
    np.testing.assert_allclose(best.box, (20, 15, 140, 105), atol=0.5)


def test_a_backbone_gives_class_token_and_mean_of_patches(hub: Hub, tmp_path: Path) -> None:
    from closeup.networks.engine import open_graph
    from closeup.networks.preprocess import prepare

    network = find("dinov2-s", "backbone")
    card = network.card
    assert (card.dim, card.blocks, card.family) == (768, (384, 384), "embedding")
    assert (card.input.width, card.input.interpolation) == (224, "bicubic")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    (found,) = Embedder(network, EngineConfig(engine="onnxruntime")).embed([pixels])
    published = tmp_path / "published" / "dinov2-s" / "onnx" / "model.onnx"
    graph = open_graph(published, EngineConfig(engine="onnxruntime"))
    values = prepare(pixels, card.input)[0][None]
    (tokens,) = graph.run({"pixel_values": values})["last_hidden_state"]
    np.testing.assert_allclose(found[:384], tokens[0], atol=1e-5)
    np.testing.assert_allclose(found[384:], tokens[1:].mean(0), atol=1e-5)


def test_of_a_classifier_the_last_layer_is_left_out(hub: Hub, tmp_path: Path) -> None:
    network = find("mobilenetv2-onnx", "backbone")
    assert (network.card.dim, network.card.blocks, network.card.input.anchor) == (
        1280,
        (),
        "centre",
    )
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    (found,) = Embedder(network, EngineConfig(engine="onnxruntime")).embed([pixels])
    assert found.shape == (1280,)
    assert found.min() >= 0  # what stands before it has just been through a ReLU


@pytest.mark.parametrize("name", NAMES)
def test_every_ready_network_of_the_catalogue_can_be_pulled(hub: Hub, name: str) -> None:
    (network,) = plan_pull([name]).carry_out()
    assert network.card.name == name
    assert load(network.folder) == network


def test_unused_numbers_have_no_name_and_terms_are_told(hub: Hub) -> None:
    card = find("d-fine-s-365", "detector").card
    assert len(card.classes) == 366
    assert card.classes[:2] == ("", "Thing 1")
    assert "Objects365 itself is for research" in card.description


def test_what_is_not_pinned_is_resolved_and_kept(hub: Hub) -> None:
    card = find("d-fine-n-alt", "detector").card
    assert card.made_with["revision"] == COMMIT
    assert card.source.endswith(f"/tree/{COMMIT}")


def test_no_pytorch_is_needed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    assert find("d-fine-n", "detector").card.name == "d-fine-n"


def test_another_graph_than_the_catalogues_is_refused(hub: Hub) -> None:
    place = _file(hub, "d-fine-n", "onnx/model.onnx")
    data = hub.files[place]
    hub.files[place] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(NetworkDamaged, match="SHA-256"):
        find("d-fine-n", "detector")
    hub.files[place] = data + b"x"
    with pytest.raises(NetworkDamaged, match="it is another file"):
        find("d-fine-n", "detector")
    assert not (networks_folder() / "d-fine-n").exists()
    hub.files[place] = data
    assert find("d-fine-n", "detector")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_normalize": True}, "image_mean .*expected"),
        ({"size": {"height": 800, "width": 800}}, "size .*800"),
        ({"resample": 3}, "resample 3, expected bilinear"),
        ({"rescale_factor": 1.0}, "rescale_factor 1.0"),
        ({"do_rescale": False}, "rescale_factor"),
        ({"do_pad": True}, "do_pad"),
    ],
)
def test_a_preprocessor_that_contradicts_the_catalogue(
    hub: Hub, change: dict[str, Any], message: str
) -> None:
    _change(hub, "d-fine-n", "preprocessor_config.json", **change)
    with pytest.raises(NetworkError, match=message):
        find("d-fine-n", "detector")


@pytest.mark.parametrize("change", [{"image_mean": [0.5] * 3}, {"do_normalize": False}])
def test_a_backbones_preprocessor_is_compared_too(hub: Hub, change: dict[str, Any]) -> None:
    _change(hub, "dinov2-s", "preprocessor_config.json", **change)
    with pytest.raises(NetworkError, match="image_mean"):
        find("dinov2-s", "backbone")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0": "person"}, "names 1 categories, the catalogue expects 80"),
        ({str(n): "x" for n in range(81)}, "names 81 categories"),
        (None, "names 0 categories"),
        ({"zero": "person"}, "names no categories"),
        (7, "names no categories"),
    ],
)
def test_other_categories_than_the_catalogue_expects(hub: Hub, labels: Any, message: str) -> None:
    _change(hub, "d-fine-n", "config.json", id2label=labels)
    with pytest.raises(NetworkError, match=message):
        find("d-fine-n", "detector")


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_settings_that_are_no_json_object(hub: Hub, data: bytes) -> None:
    hub.files[_file(hub, "d-fine-n", "config.json")] = data
    with pytest.raises(NetworkDamaged, match=r"config\.json"):
        find("d-fine-n", "detector")


def _republish(hub: Hub, name: str, graph: Path) -> None:
    """Put another graph where an unpinned network lies, whose hash is the hub's own."""
    hub.files[_file(hub, name, "onnx/model.onnx")] = graph.read_bytes()


def test_a_graph_of_other_outputs_is_refused(hub: Hub, tmp_path: Path) -> None:
    ready_graphs.write_detector(tmp_path / "other.onnx", classes=91, best=3)
    _republish(hub, "d-fine-n-alt", tmp_path / "other.onnx")
    with pytest.raises(NetworkDamaged, match=r"expected logits \(1, boxes, 80\)"):
        find("d-fine-n-alt", "detector")
    ready_graphs.write_backbone(tmp_path / "other.onnx")
    _republish(hub, "d-fine-n-alt", tmp_path / "other.onnx")
    with pytest.raises(NetworkDamaged, match="expected logits"):
        find("d-fine-n-alt", "detector")
    (tmp_path / "other.onnx").write_bytes(b"<html>")
    _republish(hub, "d-fine-n-alt", tmp_path / "other.onnx")
    with pytest.raises(NetworkDamaged, match="ONNX"):
        find("d-fine-n-alt", "detector")


def test_a_mirror_of_another_size_is_refused(hub: Hub, tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(tmp_path / "published" / "d-fine-n-alt" / "onnx" / "model.onnx")
    graph.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 320
    onnx.save(graph, tmp_path / "fixed.onnx")
    _republish(hub, "d-fine-n-alt", tmp_path / "fixed.onnx")
    with pytest.raises(NetworkDamaged, match="another size than 640x640"):
        find("d-fine-n-alt", "detector")


def test_several_are_looked_for_at_once_and_the_size_is_known(hub: Hub) -> None:
    plan = plan_pull(["d-fine-n", "dinov2-s", "d-fine-n"])
    assert list(plan.wanted) == ["d-fine-n", "dinov2-s"]
    assert not [way for way, _ in hub.asked if way == "GET"]
    entries = [catalogue()[name] for name in plan.wanted]
    held = [
        data for path, data in hub.files.items()
        if any(path.startswith(f"{entry.repo}/") for entry in entries)
    ]  # fmt: skip
    assert plan.bytes == sum(map(len, held))
    networks = plan.carry_out()
    assert [network.card.name for network in networks] == ["d-fine-n", "dinov2-s"]
    again = plan_pull(["d-fine-n", "dinov2-s"])
    assert (again.here, again.wanted, again.bytes) == (tuple(networks), {}, 0)


def test_offline_all_files_are_named_with_their_places(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NetworkMissing, match="6 files are not on disk and downloads") as caught:
        plan_pull(["d-fine-n", "dinov2-s"], offline=True)
    assert hub.asked == []
    for note in caught.value.__notes__:  # as the message says
        title, _, place = note.strip().partition(": ")
        file, _, repo = title.partition(" of ")
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        data = next(
            d for p, d in hub.files.items() if p.startswith(repo) and p.endswith(f"/{file}")
        )
        Path(place).write_bytes(data)
    networks = plan_pull(["d-fine-n", "dinov2-s"], offline=True).carry_out(offline=True)
    assert len(networks) == 2
    assert hub.asked == []


def test_offline_a_run_names_them_too(hub: Hub) -> None:
    with pytest.raises(NetworkMissing, match="3 files are not on disk") as caught:
        find("d-fine-n", "detector", offline=True)
    assert caught.value.__notes__[-1].startswith("installed detectors: ")


def test_a_network_is_removed_but_not_the_packages_own(hub: Hub) -> None:
    network = find("d-fine-n", "detector")
    assert remove("d-fine-n") == network.folder
    assert not network.folder.exists()
    assert [*networks_folder().iterdir()] == []
    assert [*(networks_folder().parent / "downloads").rglob("model.onnx")] == []
    with pytest.raises(UsageError, match="no network called d-fine-n is in the cache; it has none"):
        remove("d-fine-n")
    with pytest.raises(UsageError, match="comes with the package and stays"):
        remove("nano-clock")
    for name in ("../networks", ".", "a/../b", ""):
        with pytest.raises(UsageError):
            remove(name)


def test_a_damaged_network_can_be_removed(hub: Hub) -> None:
    folder = find("d-fine-n", "detector").folder
    (folder / "card.json").write_text("{")
    with pytest.raises(NetworkDamaged):
        load(folder)
    remove("d-fine-n")
    assert not folder.exists()


def test_the_names_are_those_of_the_catalogue(hub: Hub) -> None:
    names = {name: entry.kind for name, entry in catalogue().items()}
    assert known() == names | dict.fromkeys(OPEN_VOCABULARY, "detector")
