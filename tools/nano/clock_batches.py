"""Draw training batches for nano-clock and change them at random, whole batches at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .clock_pictures import MOST, Pictures

SHARES = {"scenes": 0.36, "watches": 0.18, "pasted": 0.18, "negatives": 0.12, "empty_scenes": 0.16}
"""How often each kind of picture is drawn."""
_MOSAIC = 0.2  # share of pictures made of four at half size
_LEAST_SIDE, _LEAST_SEEN = 7.0, 0.4  # pixels, share of area: smaller remains are no objects
GREY = 114.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What the network sees.

    Attributes
    ----------
    images
        ``(n, 3, side, side)`` float32 BGR 0 to 255.
    truth, present
        ``(n, 2 * MOST, 4)`` XYXY boxes in those pixels, and ``(n, 2 * MOST)`` which of them exist.
    """

    images: Tensor
    truth: Tensor
    present: Tensor


class Sampler:
    """Endless batches; equal seeds give equal batches.

    Parameters
    ----------
    kinds
        From :func:`clock_pictures.load_pictures`.
    rng, generator
        What to draw, and how to change it.
    """

    def __init__(
        self, kinds: Mapping[str, Pictures], rng: np.random.Generator, generator: torch.Generator
    ) -> None:
        self._names = [name for name in SHARES if len(kinds[name])]
        weights = np.array([SHARES[name] for name in self._names])
        self._weights = weights / weights.sum()
        self._kinds, self._rng, self._generator = kinds, rng, generator

    def draw(self, count: int, side: int) -> Batch:
        """A batch of `count` pictures of `side` pixels."""
        pixels, boxes = [], []
        for kind in self._rng.choice(len(self._names), count, p=self._weights):
            pictures = self._kinds[self._names[int(kind)]]
            place = int(self._rng.integers(len(pictures)))
            pixels.append(pictures.pixels[place])
            boxes.append(pictures.boxes[place])
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
        images, truth = move(images, torch.from_numpy(np.stack(boxes)), side, self._generator)
        images, truth = mosaic(images, truth, self._generator)
        images = recolour(images, self._generator).flip(1)
        size = truth[..., 2:] - truth[..., :2]
        present = size.amin(-1) >= _LEAST_SIDE  # false for NaN
        truth = torch.where(present[..., None], truth, torch.zeros_like(truth))
        return Batch(images.contiguous(memory_format=torch.channels_last), truth, present)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _mostly(generator: torch.Generator, share: float, count: int) -> Tensor:
    """``(count,)`` ones with probability `share`, else zeros."""
    return (torch.rand(count, generator=generator) < share).float()


def move(
    images: Tensor, boxes: Tensor, side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turn, mirror, scale and shift each picture.

    Parameters
    ----------
    images, boxes
        ``(n, 3, s, s)`` and ``(n, m, 4)`` XYXY, NaN where absent. Heads are taken for ellipses,
        which is exact for quarter turns.
    side
        Of the result, in pixels.

    Returns
    -------
    images, boxes
        ``(n, 3, side, side)`` and ``(n, m, 4)`` clipped; NaN also where too little is left.
    """
    count, before = len(images), images.shape[-1]
    draw = generator
    quarter = torch.randint(0, 4, (count,), generator=draw) * _mostly(draw, 0.5, count)
    lean = torch.randn(count, generator=draw) * math.radians(9) * _mostly(draw, 0.5, count)
    angle = quarter * (math.pi / 2) + lean
    scale = side / before * torch.exp(_uniform(draw, math.log(0.65), math.log(1.4), count))
    stretch = torch.exp(torch.randn(count, generator=draw) * 0.06)
    mirror = 1 - 2 * _mostly(draw, 0.5, count)
    cos, sin = angle.cos(), angle.sin()
    sx, sy = scale * stretch * mirror, scale / stretch
    forth = torch.stack([cos * sx, -sin * sy, sin * sx, cos * sy], -1).view(-1, 2, 2)
    shift = _uniform(draw, -0.18, 0.18, count, 2) * side
    back = torch.linalg.inv(forth)
    offset = -(back @ shift[..., None])[..., 0] * (2 / before)
    theta = torch.cat([back * (side / before), offset[..., None]], -1)
    grid = F.affine_grid(theta, [count, 3, side, side], align_corners=False)
    moved = F.grid_sample(images - GREY, grid, align_corners=False) + GREY
    return moved, _moved_boxes(boxes, forth, shift, before, side)


def _moved_boxes(boxes: Tensor, forth: Tensor, shift: Tensor, before: int, side: int) -> Tensor:
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 - before / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    middle = torch.einsum("nij,nmj->nmi", forth, centre) + side / 2 + shift[:, None]
    reach = torch.einsum("nij,nmj->nmi", forth.square(), half.square()).sqrt()
    whole = torch.cat([middle - reach, middle + reach], -1)
    seen = whole.clamp(0, side)
    share = (seen[..., 2:] - seen[..., :2]).prod(-1) / (4 * reach.prod(-1))
    return torch.where((share >= _LEAST_SEEN)[..., None], seen, torch.nan)


def mosaic(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace some pictures by four at half size; boxes become ``(n, 2 * MOST, 4)``."""
    count, side = len(images), images.shape[-1]
    few = boxes[:, : MOST // 2]
    chosen = torch.randint(0, count, (count, 4), generator=generator)
    replaced = torch.rand(count, generator=generator) < _MOSAIC
    result = images.clone()
    rows = torch.full((count, 2 * MOST, 4), torch.nan)
    rows[:, :MOST] = boxes
    small = F.avg_pool2d(images, 2)
    half = side // 2
    corners = torch.tensor([[0, 0], [half, 0], [0, half], [half, half]]).repeat(1, 2)
    for place in replaced.nonzero()[:, 0].tolist():
        four = chosen[place]
        top, low = (torch.cat([small[a], small[b]], 2) for a, b in four.view(2, 2).tolist())
        result[place] = torch.cat([top, low], 1)
        rows[place] = (few[four] / 2 + corners[:, None]).reshape(-1, 4)
    return result, rows


def recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and tint; blur some; add noise. RGB 0 to 255."""
    count, draw = len(images), generator
    colour = _uniform(draw, 0.3, 1.6, count, 1) * (1 - _mostly(draw, 0.08, count)[:, None])
    contrast = _uniform(draw, 0.65, 1.35, count, 1)
    tint = 1 + torch.randn(count, 3, generator=draw) * 0.07
    tint = tint * _uniform(draw, 0.6, 1.35, count, 1)
    grey = images.mean(1, keepdim=True)
    middle = grey.mean((1, 2, 3))[:, None]
    # All four at once, so that the pictures are gone through as seldom as possible.
    own, shared = tint * contrast * colour, tint * contrast * (1 - colour)
    level = tint * (1 - contrast) * middle
    images = images * _wide(own) + grey * _wide(shared) + _wide(level)
    soft = _mostly(draw, 0.3, count).bool()
    images[soft] = F.avg_pool2d(images[soft], 3, 1, 1, count_include_pad=False)
    noisy = _mostly(draw, 0.25, count).bool()
    noise = torch.randn(images[noisy].shape, generator=draw)
    images[noisy] += noise * _uniform(draw, 0.0, 8.0, len(noise), 1, 1, 1)
    return images.clamp_(0, 255)


def _wide(values: Tensor) -> Tensor:
    return values[:, :, None, None]
