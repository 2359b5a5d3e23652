"""The few layers that both shipped networks are made of."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """Convolution, batch norm and, with `active`, ReLU; the size is kept or divided by `stride`."""

    def __init__(
        self, inside: int, outside: int, kernel: int = 3, stride: int = 1, *,
        groups: int = 1, active: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(
            inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outside)
        self.active = active

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.norm(self.conv(maps))
        return torch.relu(maps) if self.active else maps

    def fold(self) -> None:
        """Put the batch norm into the convolution; for evaluation only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(inside, outside, 3, stride)
        self.second = ConvNorm(outside, outside, 3, active=False)
        plain = stride == 1 and inside == outside
        self.short: nn.Module = (
            nn.Identity() if plain else ConvNorm(inside, outside, 1, stride, active=False)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(maps)) + self.short(maps))


class Separable(nn.Sequential):
    """A depthwise convolution, then one across the channels."""

    def __init__(self, inside: int, outside: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            ConvNorm(inside, inside, kernel, stride, groups=inside, active=False),
            ConvNorm(inside, outside, 1),
        )


class Inverted(nn.Module):
    """Widen, filter each channel, narrow; with a shortcut where the shape stays (MobileNetV2)."""

    def __init__(self, inside: int, outside: int, stride: int = 1, widen: int = 4) -> None:
        super().__init__()
        wide = inside * widen
        self.steps = nn.Sequential(
            ConvNorm(inside, wide, 1),
            ConvNorm(wide, wide, 3, stride, groups=wide),
            ConvNorm(wide, outside, 1, active=False),
        )
        self.plain = stride == 1 and inside == outside

    def forward(self, maps: Tensor) -> Tensor:
        found = cast(Tensor, self.steps(maps))
        return maps + found if self.plain else found


def fold_all(module: nn.Module) -> None:
    """Fold every batch norm of a finished network into its convolution, in place."""
    for part in list(module.modules()):
        if isinstance(part, ConvNorm):
            part.fold()
