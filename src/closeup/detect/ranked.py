"""Graphs that return finished boxes: nothing is left to suppress.

The DETR family (D-FINE, RT-DETR, DEIM) in its common deployment form, and torchvision's detectors
(Faster R-CNN, SSDlite) with the suppression in the graph. RT-DETR: Zhao et al. 2023,
https://arxiv.org/abs/2304.08069; Faster R-CNN: Ren et al. 2015, https://arxiv.org/abs/1506.01497.
"""

from __future__ import annotations

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import Candidates, Outputs, best_first
from closeup.networks.card import Card

SIZES_INPUT = "orig_target_sizes"
"""A DETR graph's second input, int64 ``(1, 2)``: the width and height its boxes are scaled to."""


def decode(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``labels`` ``(n,)``, ``boxes`` ``(n, 4)`` XYXY input pixels and ``scores`` ``(n,)``.

    The DETR form has a leading batch axis of 1; the order of the outputs does not matter. Raises
    NetworkDamaged where one is absent or their lengths differ.
    """
    if not {"labels", "boxes", "scores"} <= set(outputs):
        raise NetworkDamaged(
            f"the graph's outputs are {', '.join(outputs)}, expected labels, boxes and scores; "
            "it belongs to another family, or was exported in another form"
        )
    labels, scores = outputs["labels"].reshape(-1), outputs["scores"].reshape(-1)
    boxes = outputs["boxes"]
    if boxes.size != 4 * len(scores) or len(labels) != len(scores):
        raise NetworkDamaged(
            f"{len(scores)} scores came with {len(labels)} labels and boxes of shape "
            f"{boxes.shape}, expected as many of each; export the graph again"
        )
    return best_first(boxes.reshape(-1, 4), scores, labels, floor)
