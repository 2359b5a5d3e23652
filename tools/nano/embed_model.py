"""nano-embed: a small convolutional backbone, and the heads it is trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..render.designs import ATTRIBUTES

WIDTHS = (24, 48, 96, 160, 256)
FEATURES = 2 * WIDTHS[-2] + WIDTHS[-1]
"""Pooled values: the last two stages' means, and the maxima of the first of the two."""
DETAILS = sum(map(len, ATTRIBUTES.values()))
"""Scores of a watch's details: what kind of hands, of hour markers, of bezel it has …"""
DIM = FEATURES + DETAILS
"""Length of the embedding: pooled values, then scores of details."""


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
    )


class Block(nn.Module):
    """A strided convolution and a residual one: ``(n, inside, h, w)`` to half the size."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.down = _conv(inside, outside, 2)
        self.mix = _conv(outside, outside, 1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = torch.relu(self.down(maps))
        return torch.relu(maps + self.mix(maps))


class NanoEmbed(nn.Module):
    """Pixels ``(n, 3, side, side)``, RGB, mean and deviation 0.5, to ``(n, DIM)``."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = WIDTHS
        self.stem = _conv(3, first, 2)
        self.blocks = nn.ModuleList(
            Block(a, b) for a, b in zip(WIDTHS[:-2], rest[:-1], strict=True)
        )
        self.last = _conv(WIDTHS[-2], WIDTHS[-1], 2)
        self.norm = nn.BatchNorm1d(FEATURES)
        self.detail = nn.Linear(FEATURES, DETAILS)

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.features(pixels)
        return torch.cat([found, self.detail(found)], 1)

    def features(self, pixels: Tensor) -> Tensor:
        """``(n, FEATURES)``: pooled over the picture, each of mean 0 and deviation 1."""
        maps = torch.relu(self.stem(pixels))
        for block in self.blocks:
            maps = block(maps)
        top = torch.relu(self.last(maps))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3)), top.mean((2, 3))], 1)
        return self.norm(pooled.float())


class Pupil(nn.Module):
    """The backbone with what it learns from: the teachers' embeddings, categories, details.

    Parameters
    ----------
    teacher
        Length of the teachers' embeddings side by side.
    categories
        Number of photo categories.
    """

    def __init__(self, teacher: int, categories: int) -> None:
        super().__init__()
        self.backbone = NanoEmbed()
        self.imitate = nn.Linear(FEATURES, teacher)
        self.name = nn.Linear(FEATURES, categories)

    def photos(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The imitated embeddings of photos, and the scores of their categories."""
        found = self.backbone.features(pixels)
        return self.imitate(found), self.name(found)

    def details(self, pixels: Tensor) -> dict[str, Tensor]:
        """The scores of the details of watches, by name."""
        scores = self.backbone.detail(self.backbone.features(pixels))
        parts = scores.split([len(names) for names in ATTRIBUTES.values()], dim=1)
        return dict(zip(ATTRIBUTES, parts, strict=True))
