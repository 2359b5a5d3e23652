"""Short names of the backbones that are worth knowing, and where their weights lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class TimmName:
    """A timm architecture with its weights' tag, and arguments for ``timm.create_model``."""

    architecture: str
    args: Mapping[str, int] = field(default_factory=dict)

    @property
    def repo(self) -> str:
        """The hub repository that holds :data:`WEIGHTS_FILE`."""
        return f"timm/{self.architecture}"


ALIASES: Mapping[str, TimmName] = MappingProxyType(
    {
        "mobilenetv2": TimmName("mobilenetv2_100.ra_in1k"),
        "densenet121": TimmName("densenet121.ra_in1k"),
        "resnet50": TimmName("resnet50.a1_in1k"),
        "efficientnet-b0": TimmName("efficientnet_b0.ra_in1k"),
        "convnext-tiny": TimmName("convnext_tiny.in12k_ft_in1k"),
        "dinov2-s": TimmName("vit_small_patch14_dinov2.lvd142m", {"img_size": 224}),
    }
)
