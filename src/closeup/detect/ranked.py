"""Graphs that return finished boxes, labels and scores: nothing is left to suppress.

The DETR family (D-FINE, RT-DETR, DEIM) in its common deployment form, torchvision's detectors
(Faster R-CNN, SSDlite), and SSD with the suppression in the graph as the ONNX zoo, TensorFlow and
MMDeploy write it. RT-DETR: Zhao et al. 2023, https://arxiv.org/abs/2304.08069; Faster R-CNN: Ren
et al. 2015, https://arxiv.org/abs/1506.01497.
"""

from __future__ import annotations

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import Candidates, Outputs, best_first, corners
from closeup.networks.card import Card

PARTS = ("boxes", "labels", "scores", "count")
"""What a graph of finished boxes gives; ``count`` is how many of them are more than padding."""

SIZES_INPUT = "orig_target_sizes"
"""A DETR graph's second input, int64 ``(1, 2)``: the width and height its boxes are scaled to."""


def decode(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``labels`` ``(n,)``, ``boxes`` ``(n, 4)`` XYXY input pixels and ``scores`` ``(n,)``.

    The card may give them other names, another order of the corners or another unit. They may have
    a leading batch axis of 1, and their order does not matter. Boxes of five columns hold the score
    in the last. Where there is a ``count``, rows after it are padding. Raises NetworkDamaged where
    one is absent or their lengths differ.
    """
    names = card.output.names if card.output else {}
    parts = {part: outputs[name] for part in PARTS if (name := names.get(part, part)) in outputs}
    if "boxes" in parts and "scores" not in parts and parts["boxes"].shape[-1:] == (5,):
        parts["boxes"], parts["scores"] = parts["boxes"][..., :4], parts["boxes"][..., 4]
    if not {"labels", "boxes", "scores"} <= set(parts):
        raise NetworkDamaged(
            f"the graph's outputs are {', '.join(outputs)}, expected labels, boxes and scores; "
            "it belongs to another family, or was exported in another form"
        )
    labels, scores, boxes = (parts[name] for name in ("labels", "scores", "boxes"))
    labels, scores = labels.reshape(-1), scores.reshape(-1)
    if boxes.size != 4 * len(scores) or len(labels) != len(scores):
        raise NetworkDamaged(
            f"{len(scores)} scores came with {len(labels)} labels and boxes of shape "
            f"{boxes.shape}, expected as many of each; export the graph again"
        )
    count = parts.get("count")
    n = len(scores) if count is None or count.size != 1 else max(0, int(count.reshape(-1)[0]))
    return best_first(corners(boxes.reshape(-1, 4)[:n], card), scores[:n], labels[:n], floor)
