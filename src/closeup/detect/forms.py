"""What a detector's outputs may mean, told by their names and shapes.

Several meanings can fit one shape; :mod:`closeup.detect.add` tells them apart by the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import STRIDES, Outputs, grid
from closeup.detect.decoded import COLUMNS
from closeup.detect.queries import NAMES, logits_and_boxes
from closeup.networks.card import Family, OutputSpec
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD

_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_YOLOX = {"color": "bgr", "scale": "byte", "resize": "letterbox", "anchor": "corner"}
_ULTRALYTICS = {"resize": "letterbox", "anchor": "centre"}
_STRETCHED = {"resize": "stretch"}
_FINISHED = 1000  # boxes at most that a graph gives after its suppression

# How exporters name finished boxes, labels, scores and their number, in lower case.
_NAMED: Mapping[str, tuple[str, ...]] = {
    "boxes": ("boxes", "bboxes", "detection_boxes", "det_boxes", "dets", "location"),
    "labels": ("labels", "classes", "class_ids", "detection_classes", "det_classes"),
    "scores": ("scores", "confidences", "detection_scores", "det_scores"),
    "count": ("num_detections", "num_dets", "num"),
}


@dataclass(frozen=True, slots=True)
class Form:
    """One meaning of a graph's outputs.

    Attributes
    ----------
    family, output
        As on the card; `output` is None where as the family's usually are.
    title
        What it is, for messages.
    input
        What is usual for the input of such graphs, fields of :class:`InputSpec`.
    scored
        How many classes it scores, None where the outputs do not tell.
    first
        Number of the first class: 1 where such graphs keep 0 for the background.
    settled
        Whether nearly all such graphs want the same pixel values.
    """

    family: Family
    title: str
    input: Mapping[str, Any]
    output: OutputSpec | None = None
    scored: int | None = None
    first: Literal[0, 1] = 0
    settled: bool = True


def forms_of(outputs: Outputs, width: int, height: int, *, asks_sizes: bool) -> list[Form]:
    """The forms that names and shapes of `outputs` allow, the most likely first.

    `asks_sizes` says whether ``orig_target_sizes`` goes in: such graphs number from 0.
    """
    found: list[Form] = []
    with_names = {name for pair in NAMES for name in pair} & set(outputs)
    if len(with_names) >= 2 and (form := _queries(outputs)):
        found.append(form)
    found += _finished(outputs, asks_sizes)
    tables = [values for values in outputs.values() if values.ndim == 3 and len(values) == 1]
    if len(outputs) >= 2 and len(tables) == len(outputs):
        found += _maps(tables, width, height)
    if len(tables) == 1:
        found += _dense(tables[0].shape[1:], width, height)
    if len(outputs) == 1:
        found += _end_to_end(next(iter(outputs.values())))
    return found


def _queries(outputs: Outputs) -> Form | None:
    try:
        logits, _ = logits_and_boxes(outputs)
    except NetworkDamaged:
        return None
    scored = logits.shape[1]
    if "dets" in outputs:
        return Form("detr-logits", "RF-DETR", _STRETCHED | _IMAGENET, scored=scored)
    if scored > 1 and _has_no_object(logits):
        kind = "DETR with a softmax and a column for no object"
        return Form("detr-logits", kind, _STRETCHED | _IMAGENET, scored=scored - 1)
    return Form("detr-logits", "DETR as transformers exports it", _STRETCHED, scored=scored)


def _has_no_object(logits: NDArray[Any]) -> bool:
    """Whether the last column outdoes all others for most queries: most see nothing."""
    return bool((logits.argmax(1) == logits.shape[1] - 1).mean() > 0.5)


def _finished(outputs: Outputs, asks_sizes: bool) -> Iterator[Form]:
    """Boxes, labels and scores, by their names or else by what only they can be."""
    names = _parts(outputs)
    boxes, labels = (outputs.get(names.get(part, "")) for part in ("boxes", "labels"))
    if boxes is None or labels is None or labels.ndim > 2:
        return
    usual = all(part == name for part, name in names.items())
    given = {} if usual else names
    if boxes.shape[-1] == 5 and "scores" not in names:
        yield Form("rcnn", "boxes with scores, and labels", _STRETCHED | _IMAGENET,
                   OutputSpec(names=given), settled=False)  # fmt: skip
        return
    scores = outputs.get(names.get("scores", ""))
    if scores is None or boxes.size != 4 * scores.size or labels.size != scores.size:
        return
    family: Family = "detr" if asks_sizes else "rcnn"
    first: Literal[0, 1] = 0 if asks_sizes else 1
    tensorflow = any("detection_boxes" in name for name in outputs)
    orders: tuple[tuple[Any, Any], ...] = (("xyxy", "pixels"), ("xyxy", "shares"))
    if tensorflow:
        orders = (("yxyx", "shares"), *orders)
    for order, unit in orders:
        plain = usual and (order, unit) == ("xyxy", "pixels")
        output = None if plain else OutputSpec(names=given, boxes=order, unit=unit)
        title = "boxes, labels and scores" + (", boxes in shares" if unit == "shares" else "")
        yield Form(family, title, _STRETCHED, output, first=first, settled=asks_sizes)


def _parts(outputs: Outputs) -> dict[str, str]:
    """Part -> output, for what is called like a part; what is left by its type and shape."""
    found: dict[str, str] = {}
    for name in outputs:
        plain = name.lower().split(":")[0].rsplit("/", 1)[-1]
        for part, known in _NAMED.items():
            if part not in found and plain in known:
                found[part] = name
    tests: Mapping[str, Callable[[NDArray[Any]], bool]] = {
        "boxes": lambda v: v.ndim >= 2 and v.shape[-1] in (4, 5),
        "labels": lambda v: v.ndim in (1, 2) and v.dtype.kind in "iu" and v.size != 1,
        "scores": lambda v: v.ndim in (1, 2) and v.dtype.kind == "f",
    }
    for part, fits in tests.items():
        rest = [n for n, v in outputs.items() if n not in found.values() and fits(v)]
        if part not in found and rest:
            found[part] = rest[0]
    return found


def _maps(tables: list[NDArray[Any]], width: int, height: int) -> Iterator[Form]:
    """PicoDet: score maps, then as many distance maps, at falling resolution."""
    levels, odd = divmod(len(tables), 2)
    if odd or levels > len(STRIDES):
        return
    counts = [math.ceil(width / s) * math.ceil(height / s) for s in STRIDES[:levels]]
    rows = [values.shape[1] for values in tables]
    scores, boxes = ({values.shape[2] for values in half}
                     for half in (tables[:levels], tables[levels:]))  # fmt: skip
    if rows == counts * 2 and len(scores) == len(boxes) == 1:
        (scored,), (bins,) = scores, boxes
        if bins % 4 == 0 and bins >= 8:
            yield Form("picodet", "PicoDet", _STRETCHED | _IMAGENET, scored=scored)


def _grids(width: int, height: int) -> set[int]:
    """How many cells two to four neighbouring levels have, from stride 4, 8 or 16 on."""
    counts = [math.ceil(width / s) * math.ceil(height / s) for s in (4, *STRIDES)]
    return {sum(counts[a:b]) for a in range(3) for b in range(a + 2, min(a + 4, 5) + 1)}


def _dense(shape: tuple[int, ...], width: int, height: int) -> Iterator[Form]:
    """One row, or column, for every cell of a grid, or for each of its three anchors."""
    (rows, columns), cells = shape, _grids(width, height)
    raw = {len(grid(width, height, levels)) for levels in (3, 4)}
    if rows in raw and columns > 5:
        yield Form("yolox", "YOLOX", _YOLOX, scored=columns - 5)
    if rows in cells and columns > 5:
        yield Form("yolov5", "YOLOX with its decoding", _YOLOX, scored=columns - 5)
    if rows in {3 * n for n in cells} and columns > 5:
        yield Form("yolov5", "the YOLOv5 form", _ULTRALYTICS, scored=columns - 5)
    if columns in cells and rows > 4:
        yield Form("yolov8", "the YOLOv8 form", _ULTRALYTICS, scored=rows - 4)
    elif rows in cells and columns > 4:
        yield Form("yolov8", "the YOLOv8 form, turned", _ULTRALYTICS, scored=columns - 4)
    elif rows <= _FINISHED and columns > 6:
        shares = OutputSpec(boxes="cxcywh", unit="shares")
        yield Form("yolov8", "RT-DETR as Ultralytics exports it", _STRETCHED, shares, columns - 4)


def _end_to_end(values: NDArray[Any]) -> Iterator[Form]:
    """Six or seven columns for each finished box."""
    if values.ndim not in (2, 3) or (values.ndim == 3 and len(values) != 1):
        return
    rows = values.reshape(-1, values.shape[-1])
    for columns, (_, score, label) in COLUMNS.items():
        wide = 7 if columns.startswith("batch") else 6
        if rows.shape[1] != wide:
            continue
        numbers, scores = rows[:, label], rows[:, score]
        if (numbers != np.round(numbers)).any() or (np.abs(scores) > 1).any():
            continue
        for unit in ("pixels", "shares"):
            usual = columns == "box score class" and unit == "pixels"
            output = None if usual else OutputSpec(columns=columns, unit=unit)  # type: ignore[arg-type]
            yield Form("nms", "end-to-end YOLO", _ULTRALYTICS, output)
