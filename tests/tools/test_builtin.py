"""The networks that ship with the package: small, unchanged, alike on both engines, useful."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import closeup.networks
from closeup.core.config import EngineConfig
from closeup.core.types import Box
from closeup.detect import Detector
from closeup.networks import Network, file_hash, load
from closeup.networks.engine import open_graph
from tools.render.scenes import render, render_negative

BUILTIN = Path(closeup.networks.__file__).parent / "builtin"
NAMES = sorted(card.parent.name for card in BUILTIN.glob("*/card.json"))
LARGEST = 4 * 2**20
FRESH = 8_000_000  # a series of scenes that nothing is trained on


@pytest.fixture(params=NAMES)
def network(request: pytest.FixtureRequest) -> Network:
    return load(BUILTIN / request.param)


def test_is_small_and_what_its_card_says(network: Network) -> None:
    assert network.file.stat().st_size == network.card.bytes <= LARGEST
    assert file_hash(network.file) == network.card.sha256


def test_the_card_names_licences_data_and_how_to_make_it_again(network: Network) -> None:
    card = network.card
    assert card.licence == "Apache-2.0"
    told = " ".join((*card.trained_on, card.description))
    for part in ("Caltech-101", "CC BY 4.0", "Grocery Store Dataset", "MIT", "five makers"):
        assert part in told
    assert "--seed" in card.made_with["command"]
    assert card.scores


def test_both_engines_agree_at_any_batch(network: Network) -> None:
    spec = network.card.input
    graphs = [
        open_graph(network.file, EngineConfig(engine=engine, threads=1))
        for engine in ("onnxruntime", "openvino")
    ]
    top = 255 if spec.scale == "byte" else 1
    rng = np.random.default_rng(0)
    for batch in (1, 3):
        values = rng.random((batch, 3, spec.height, spec.width), np.float32) * top
        one, other = (
            next(iter(graph.run({next(iter(graph.inputs)): values}).values())) for graph in graphs
        )
        assert one.shape[0] == batch
        scale = float(np.abs(one).max())
        np.testing.assert_allclose(other, one, atol=1e-3 * scale, rtol=1e-3)


def test_the_detector_finds_the_watches_of_fresh_scenes() -> None:
    detector = Detector(load(BUILTIN / "nano-clock"), EngineConfig(threads=1))
    scenes = [render(FRESH, index, size=480) for index in range(6)]
    found = list(detector.detect([scene.pixels for scene in scenes], floor=0.3))
    hits = [
        any(one.box.iou(Box(*scene.boxes[0])) >= 0.5 for one in each)
        for scene, each in zip(scenes, found, strict=True)
    ]
    assert sum(hits) >= 5
    empty = [render_negative(FRESH, index, size=480).pixels for index in range(6)]
    assert sum(map(len, detector.detect(empty, floor=0.5))) <= 2


@pytest.mark.skipif("nano-embed" not in NAMES, reason="no backbone is built in")
def test_the_backbone_tells_pictures_apart_and_answers_alike() -> None:
    network = load(BUILTIN / "nano-embed")
    graph = open_graph(network.file, EngineConfig(threads=1))
    spec = network.card.input
    values = np.random.default_rng(0).random((2, 3, spec.height, spec.width), np.float32)
    first, second = (
        next(iter(graph.run({next(iter(graph.inputs)): values}).values())) for _ in range(2)
    )
    assert first.shape == (2, network.card.dim)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first[0] - first[1]).max() > 1e-3
