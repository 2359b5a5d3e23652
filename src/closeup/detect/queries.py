"""The DETR family as transformers exports it: class logits and a box for every query.

D-FINE, RT-DETR, DEIMv2 and RF-DETR score every class by itself with a sigmoid; the first DETR
(Carion et al. 2020, https://arxiv.org/abs/2005.12872) and YOLOS share one softmax between the
classes and "no object".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import (
    Candidates,
    Outputs,
    best_cells,
    best_first,
    corners,
    require_classes,
)
from closeup.networks.card import Card, OutputSpec

NAMES = (("logits", "pred_boxes"), ("pred_logits", "pred_boxes"), ("labels", "dets"))
"""What graphs call the two outputs: transformers, the original DETR, RF-DETR."""

BOXES = OutputSpec(boxes="cxcywh", unit="shares")


def logits_and_boxes(outputs: Outputs) -> tuple[NDArray[Any], NDArray[Any]]:
    """The logits ``(queries, n)`` and the boxes ``(queries, 4)`` of one photo.

    Further outputs are ignored. Raises NetworkDamaged where they are absent or of other shapes.
    """
    names = next((pair for pair in NAMES if set(pair) <= set(outputs)), None)
    if names is None:
        raise NetworkDamaged(
            f"the graph's outputs are {', '.join(outputs)}, expected logits and pred_boxes; "
            "it belongs to another family, or was exported in another form"
        )
    logits, boxes = (outputs[name] for name in names)
    if logits.ndim != 3 or boxes.shape != (1, logits.shape[1], 4) or not logits.shape[2]:
        raise NetworkDamaged(
            f"{names[0]} is {logits.shape} and {names[1]} {boxes.shape}, expected (1, queries, "
            "categories) and (1, queries, 4); export it with a batch of 1"
        )
    return logits[0], boxes[0]


def decode(outputs: Outputs, card: Card, floor: float) -> Candidates:
    """Read ``(1, queries, classes)`` logits and ``(1, queries, 4)`` boxes.

    A box is centre and size in shares of the input. Logits of one more column than the card has
    classes are a softmax whose last column means "no object"; others are sigmoids. Pairs of query
    and class are ranked together, as the published detectors do. Raises NetworkDamaged where the
    outputs have other shapes.
    """
    logits, boxes = logits_and_boxes(outputs)
    logits = logits.astype(np.float64)
    classes = len(card.classes)
    if logits.shape[1] == classes + 1:
        exps = np.exp(logits - logits.max(1, keepdims=True))
        scores = (exps / exps.sum(1, keepdims=True))[:, :-1]
    else:
        require_classes(logits.shape[1], classes)
        scores = 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
    picked, found = best_cells(scores, floor)
    return best_first(corners(boxes[picked], card, BOXES), scores[picked, found], found, floor)
