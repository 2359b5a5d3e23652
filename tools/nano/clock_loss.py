"""What nano-clock is trained to reduce: YOLOX's losses and assignment (Ge et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .clock_model import boxes_of
from .together import total

_RADIUS = 1.5  # strides around an object's centre within which a cell may answer for it
_CANDIDATES = 10
_NEVER = 1e6


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of XYXY boxes: ``(n, a, 4)`` and ``(n, b, 4)`` give ``(n, a, b)``."""
    low = torch.maximum(boxes[:, :, None, :2], others[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (boxes, others)]
    return common / (areas[0][:, :, None] + areas[1][:, None, :] - common).clamp(min=1e-6)


@torch.no_grad()
def assign(raw: Tensor, truth: Tensor, present: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Which object each cell answers for.

    Parameters
    ----------
    raw
        ``(n, cells, 6)``, the network's output in training mode.
    truth, present
        ``(n, m, 4)`` XYXY boxes in input pixels, and ``(n, m)`` which of them exist.
    grid
        From :func:`clock_model.cells`.

    Returns
    -------
    chosen, overlap
        ``(n, cells)``: the object's number or -1, and the IoU of the cell's box with it.
    """
    centres = (grid[:, :2] + 0.5) * grid[:, 2:]
    middle = (truth[..., :2] + truth[..., 2:]) / 2
    near = (centres[None, None] - middle[:, :, None]).abs().amax(-1) < _RADIUS * grid[:, 2]
    beyond = torch.minimum(
        centres[None, None] - truth[:, :, None, :2], truth[:, :, None, 2:] - centres[None, None]
    )
    inside = beyond.amin(-1) > 0
    possible = (near | inside) & present[..., None]
    iou = pairwise_iou(truth, boxes_of(raw, grid)) * possible
    likely = (raw[..., 4].sigmoid() * raw[..., 5].sigmoid()).sqrt().clamp(1e-6, 1 - 1e-6)
    cost = -likely.log()[:, None] - 3 * (iou + 1e-6).log()
    cost = cost + 1e5 * ~(near & inside) + _NEVER * ~possible
    wanted = iou.topk(_CANDIDATES, -1).values.sum(-1).int().clamp(min=1)
    order = cost.topk(_CANDIDATES, -1, largest=False)
    taken = torch.arange(_CANDIDATES) < wanted[..., None]
    taken &= order.values < _NEVER
    matched = torch.zeros_like(possible).scatter_(-1, order.indices, taken)
    cost = torch.where(matched, cost, torch.full_like(cost, torch.inf))
    best, chosen = cost.min(1)
    chosen = torch.where(best.isinf(), -1, chosen)
    overlap = iou.gather(1, chosen.clamp(min=0)[:, None])[:, 0]
    return chosen, overlap


def loss(raw: Tensor, truth: Tensor, present: Tensor, grid: Tensor, workers: int) -> Tensor:
    """Box loss (generalised IoU) plus those of objectness and class score, per positive cell.

    Shapes as for :func:`assign`. The positive cells are counted over all `workers`.
    """
    chosen, overlap = assign(raw, truth, present, grid)
    positive = chosen >= 0
    count = total(positive.sum().float()).clamp(min=1.0) / workers
    objectness = F.binary_cross_entropy_with_logits(raw[..., 4], positive.float(), reduction="sum")
    target = truth.gather(1, chosen.clamp(min=0)[..., None].expand(-1, -1, 4))[positive]
    found = boxes_of(raw, grid)[positive]
    score = F.binary_cross_entropy_with_logits(
        raw[..., 5][positive], overlap[positive], reduction="sum"
    )
    return (5 * _box_loss(found, target).sum() + objectness + score) / count


def _box_loss(found: Tensor, truth: Tensor) -> Tensor:
    """1 - generalised IoU of ``(k, 4)`` XYXY boxes (Rezatofighi et al. 2019)."""
    low, high = torch.maximum(found[:, :2], truth[:, :2]), torch.minimum(found[:, 2:], truth[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(-1) for b in (found, truth)]
    union = (areas[0] + areas[1] - common).clamp(min=1e-6)
    around = torch.maximum(found[:, 2:], truth[:, 2:]) - torch.minimum(found[:, :2], truth[:, :2])
    hull = around.prod(-1).clamp(min=1e-6)
    return 1 - common / union + (hull - union) / hull
