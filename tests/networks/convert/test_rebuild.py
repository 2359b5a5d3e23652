"""The module behind a graph: at what size it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from closeup.networks import Card, InputOverrides, Network
from closeup.networks.card import Origin
from closeup.networks.convert.rebuild import overrides_of, side_of
from closeup.networks.preprocess import InputSpec

pytest.importorskip("timm", reason="fine-tuning needs the torch extra")


def make(framework: str, architecture: str, width: int = 224, height: int = 224) -> Network:
    origin = {"framework": framework, "architecture": architecture, "sha256": "0" * 64}
    card = Card(
        name="net", kind="backbone", family="embedding", sha256="0" * 64, bytes=1,
        input=InputSpec(width=width, height=height, color="bgr", anchor="centre"),
        origin=Origin.model_validate(origin),
    )  # fmt: skip
    return Network(card, Path("nowhere"))


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (make("timm", "mobilenetv2_100"), 0),
        (make("timm", "mobilenetv2_100", 384, 384), 224),
        (make("torchvision", "mobilenet_v2", 320, 320), 224),
        (make("timm", "mobilenetv2_100", 160, 160), 0),
        (make("timm", "mobilenetv2_100", 320, 200), 0),
        (make("timm", "vit_small_patch14_dinov2.lvd142m"), 0),
        (make("torchvision", "vit_b_16"), 0),
    ],
)
def test_large_inputs_are_made_smaller_where_that_can_be(network: Network, side: int) -> None:
    assert side_of(network, 0) == side
    assert side_of(network, 288) == 288


def test_everything_else_of_the_input_stays() -> None:
    network = make("timm", "mobilenetv2_100")
    assert overrides_of(network, 0).apply({"anchor": "centre"}) == network.card.input
    wider = overrides_of(network, 96)
    assert isinstance(wider, InputOverrides)
    assert (wider.size, wider.color) == ((96, 96), "bgr")
