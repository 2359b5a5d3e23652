"""The names of networks: which are here, and which can be downloaded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from closeup.core.errors import UsageError
from closeup.networks.cache import installed

Kind = Literal["detector", "backbone"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}")


@dataclass(frozen=True, slots=True)
class TimmName:
    """A timm architecture with its weights' tag, and arguments for ``timm.create_model``."""

    architecture: str
    args: Mapping[str, int] = field(default_factory=dict)

    @property
    def repo(self) -> str:
        """The hub repository of its weights."""
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
"""Short names of the backbones that are worth knowing, and where their weights lie."""


def known() -> dict[str, Kind]:
    """The short names of the networks that can be downloaded and converted, with their kinds."""
    from closeup.networks.convert.detectors import DETECTORS

    kinds: dict[str, Kind] = dict.fromkeys(DETECTORS, "detector")
    return kinds | dict.fromkeys(ALIASES, "backbone")


def available(kind: Kind) -> str:
    """The networks of a kind that are here now, for the end of a message."""
    return f"installed {kind}s: {', '.join(_names_here(kind)) or 'none'}"


def _names_here(kind: Kind) -> list[str]:
    return [network.card.name for network in installed() if network.card.kind == kind]


def check_name(name: str) -> None:
    """Raise UsageError where `name` cannot name a network (it becomes a folder's name)."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a network: use letters, digits, dot, dash, underscore or @, "
            "beginning with a letter or digit"
        )


def unknown(name: str, kind: Kind) -> str:
    """The message for a name that no network of this kind has."""
    obtainable = [other for other, its in known().items() if its == kind]
    near = difflib.get_close_matches(name, [*obtainable, *_names_here(kind)], 1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    more = ", or any timm architecture" if kind == "backbone" else ""
    return (
        f"no {kind} is called {name!r}{guess}; you can download {', '.join(obtainable)}{more}, "
        "or add a file of your own with `closeup models add`"
    )
