"""nano-clock: a small anchor-free detector with YOLOX's outputs (Ge et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import ConvNorm, Residual, Separable

SIDE = 256
"""Side of the square input in pixels."""
STRIDES = (8, 16, 32)


class Head(nn.Module):
    """Scores and boxes of one level: ``(n, width, h, w)`` to ``(n, 6, h, w)``, raw."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.what = nn.Sequential(Separable(width, width), Separable(width, width))
        self.where = nn.Sequential(Separable(width, width), Separable(width, width))
        self.score = nn.Conv2d(width, 1, 1)
        self.box = nn.Conv2d(width, 5, 1)
        # Few cells hold an object: begin with a score of 1 %.
        nn.init.constant_(self.score.bias, 0.0)
        nn.init.zeros_(self.box.bias)
        with torch.no_grad():
            self.box.bias[4] = -math.log(99)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.box(self.where(maps)), self.score(self.what(maps))], 1)


class NanoClock(nn.Module):
    """Pixels ``(n, 3, side, side)``, BGR, 0 to 255, to ``(n, cells, 6)``.

    A row is the centre (in cells, from the cell's corner), the logarithm of width and height (in
    strides), objectness and class score, the two of them as logits in training and between 0 and
    1 in evaluation mode. Cells run row by row, stride 8 first, then 16, then 32.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 48, 80, 112), neck: int = 48) -> None:
        super().__init__()
        b, c, d, e = widths
        self.stem = ConvNorm(3, b, 7, 4)
        self.fine = nn.Sequential(Residual(b, c, 2), Residual(c, c))
        self.middle = nn.Sequential(Residual(c, d, 2), Residual(d, d))
        self.coarse = nn.Sequential(Residual(d, e, 2), Separable(e, e, 5))
        self.lateral = nn.ModuleList(ConvNorm(width, neck, 1) for width in (c, d, e))
        self.down = nn.ModuleList(Separable(2 * neck, neck) for _ in range(2))
        self.up = nn.ModuleList(Separable(2 * neck, neck) for _ in range(2))
        self.shrink = nn.ModuleList(Separable(neck, neck, 3, 2) for _ in range(2))
        self.heads = nn.ModuleList(Head(neck) for _ in STRIDES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem((images - 114.0) * (1 / 64.0))
        fine = self.fine(maps)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        levels = [side(m) for side, m in zip(self.lateral, (fine, middle, coarse), strict=True)]
        levels[1] = self.down[0](torch.cat([levels[1], _double(levels[2])], 1))
        levels[0] = self.down[1](torch.cat([levels[0], _double(levels[1])], 1))
        levels[1] = self.up[0](torch.cat([levels[1], self.shrink[0](levels[0])], 1))
        levels[2] = self.up[1](torch.cat([levels[2], self.shrink[1](levels[1])], 1))
        raw = torch.cat(
            [head(m).flatten(2) for head, m in zip(self.heads, levels, strict=True)], 2
        ).transpose(1, 2)
        if self.training:
            return raw
        return torch.cat([raw[..., :4], raw[..., 4:].sigmoid()], -1)


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")


def cells(side: int = SIDE) -> Tensor:
    """Column, row and stride of every cell, ``(cells, 3)``, in the order of the outputs."""
    levels = []
    for stride in STRIDES:
        count = side // stride
        rows, columns = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
        levels.append(
            torch.stack([columns, rows, torch.full_like(rows, stride)], -1).reshape(-1, 3)
        )
    return torch.cat(levels).float()


def boxes_of(raw: Tensor, grid: Tensor) -> Tensor:
    """XYXY boxes in input pixels ``(n, cells, 4)`` from the network's output."""
    stride = grid[:, 2:]
    centre = (raw[..., :2] + grid[:, :2]) * stride
    half = raw[..., 2:4].clamp(max=8.0).exp() * stride / 2
    return torch.cat([centre - half, centre + half], -1)
