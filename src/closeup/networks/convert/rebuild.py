"""A backbone in the cache -> the PyTorch module that its graph was exported from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.cache import Network
from closeup.networks.catalogue import catalogue
from closeup.networks.convert.onnx_export import need_torch
from closeup.networks.engine import file_hash
from closeup.networks.preprocess import InputOverrides

if TYPE_CHECKING:
    from closeup.networks.convert.backbones import Backbone


USUAL_SIDE = 224
"""Pixels enough for close-ups, which are small; each step up costs time by its square."""


def side_of(network: Network, size: int) -> int:
    """The side of the input to train with: `size`, or the usual one where that is 0.

    0 stands for the network's own size.
    """
    spec, origin = network.card.input, network.card.origin
    if size or origin is None or spec.width != spec.height or spec.width <= USUAL_SIDE:
        return size
    if origin.framework == "torchvision":
        fixed = origin.architecture.startswith(("vit_", "maxvit"))
    else:
        need_torch(f"fine-tuning {network.card.name}")
        import timm

        config = timm.get_pretrained_cfg(origin.architecture)
        fixed = "img_size" in origin.args or bool(config and config.fixed_input_size)
    return 0 if fixed else USUAL_SIDE


def overrides_of(network: Network, size: int) -> InputOverrides:
    """The network's input as overrides, so that what is made of it expects the same pixels.

    `size` is the side of the input in pixels, 0 for the network's own.
    """
    spec = network.card.input
    return InputOverrides(
        size=(size, size) if size else (spec.width, spec.height),
        **spec.model_dump(exclude={"width", "height", "anchor", "pad"}),
    )


def require_origin(network: Network) -> None:
    """Raise NetworkError where a network is only an ONNX graph, which cannot be trained."""
    if network.weights is not None:
        return
    name = network.card.name
    twin = f"{name}-pytorch"
    raise NetworkError(
        f"{name} cannot be fine-tuned: only its ONNX graph is here. "
        + (f"Its PyTorch weights are called {twin}. " if twin in catalogue() else "")
        + "Add your own from its weights with `closeup models add FILE --name NAME --timm "
        "ARCHITECTURE` (or --torchvision), or name a timm network, such as mobilenetv2"
    )


def rebuild(network: Network, size: int = 0) -> Backbone:
    """The module with its weights, in evaluation mode and without its classifier.

    `size` is as for :func:`overrides_of`.

    Raises
    ------
    NetworkError
        Where it is not known how the graph was made or its weights are not there, they are not
        those of the graph (NetworkDamaged), or PyTorch is absent (NetworkMissing).
    UsageError
        Where the framework can no longer build it.
    """
    name = network.card.name
    if "base" in network.card.made_with:
        raise NetworkError(
            f"{name} is a variant and cannot be fine-tuned; take {name.partition('@')[0]}, "
            "with the size you want"
        )
    require_origin(network)
    origin, weights = network.card.origin, network.weights
    assert origin is not None
    assert weights is not None
    need_torch(f"fine-tuning {name}")
    from closeup.networks.convert import backbones as export

    if (found := file_hash(weights)) != origin.sha256:
        raise NetworkDamaged(
            f"{weights} is not the file the network's card describes: expected SHA-256 "
            f"{origin.sha256}, found {found}; delete the folder and add the network again"
        )
    architecture = export.Architecture(origin.framework, origin.architecture, origin.args)
    backbone = export.from_checkpoint(architecture, overrides_of(network, size), weights)
    backbone.module.eval()
    return backbone
