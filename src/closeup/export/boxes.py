"""Detectors as graphs that give finished boxes, whatever their family.

Each family is read as :mod:`closeup.detect` reads it, by operators added to the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import EngineConfig
from closeup.detect import Detector
from closeup.detect.candidates import MOST, Outputs, grid
from closeup.detect.decoded import BOXES, COLUMNS
from closeup.detect.detector import FAMILIES, FLOOR
from closeup.detect.queries import BOXES as QUERY_BOXES
from closeup.detect.queries import NAMES
from closeup.export.graphs import Assembly
from closeup.networks import Card, Network
from closeup.networks.card import OutputSpec

if TYPE_CHECKING:
    from onnx import ModelProto

LIMIT = 100
"""Boxes of a category, at most, that are left after suppression."""


class Reading:
    """What the readers of all families share: the graph, the tensors, and an example of each."""

    def __init__(self, build: Assembly, names: Mapping[str, str], seen: Outputs) -> None:
        self.build, self.names, self.seen = build, names, seen
        self.card: Card = build.network.card

    def corners(self, boxes: str, usual: OutputSpec | None = None) -> str:
        """As :func:`closeup.detect.candidates.corners`, ``(n, 4)`` float32."""
        build, output = self.build, self.card.output or usual or OutputSpec()
        if output.boxes == "yxyx":
            boxes = build.op("Gather", boxes, np.array([1, 0, 3, 2]), axis=1)
        elif output.boxes == "cxcywh":
            half = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])
            boxes = build.op("MatMul", boxes, half)
        if output.unit == "shares":
            size = self.card.input
            boxes = build.op("Mul", boxes, np.array([size.width, size.height] * 2, np.float32))
        return boxes

    def rows(self, name: str) -> str:
        """An output ``(1, n, m)`` or ``(n, m)`` as a float32 table ``(n, m)``."""
        shape = self.seen[name].shape
        return self.build.shaped(self.build.as_floats(self.names[name]), -1, shape[-1])

    def table(self) -> tuple[str, tuple[int, int]]:
        """The one output of three axes as a table, and its shape."""
        (name,) = (name for name, values in self.seen.items() if values.ndim == 3)
        a, b = self.seen[name].shape[1:]
        return self.rows(name), (a, b)


Found = tuple[str, str, str]
"""The tensors of boxes ``(n, 4)``, labels ``(n,)`` int64 and scores ``(n,)`` float32."""


def detector(network: Network) -> ModelProto:
    """A detector's graph with preparation and reading inside.

    - input: ``image``, ``(1, height, width, 3)`` uint8 RGB
    - outputs, in no order: ``boxes`` ``(n, 4)`` float32, corners in pixels of the input; ``labels``
      ``(n,)`` int64, places in the card's classes; ``scores`` ``(n,)`` float32

    Raises NetworkError where the graph is too old to be brought up to date.
    """
    from onnx import TensorProto

    card = network.card
    reader = Detector(network, EngineConfig(engine="onnxruntime"), many=False)
    grey = np.full((card.input.height, card.input.width, 3), 114, np.uint8)
    fed, _ = reader.feed(grey)
    seen = reader.graph.run(fed)
    image, *_ = fed
    build = Assembly(network)
    given: dict[str, str | NDArray[np.generic]] = {**fed, image: build.picture("image", 1)}
    names = build.run("", **given)
    found = _READERS[card.family](Reading(build, names, seen))
    for (name, shape), source in zip(_OUTPUTS.items(), found, strict=True):
        kind = TensorProto.INT64 if name == "labels" else TensorProto.FLOAT
        build.output(name, source, kind, shape)
    return build.finished()


_OUTPUTS: Mapping[str, Sequence[int | str]] = {
    "boxes": ("found", 4), "labels": ("found",), "scores": ("found",)
}  # fmt: skip


def _best(read: Reading, boxes: str, scores: str, rows: int) -> Found:
    """The best of a table of scores ``(rows, classes)``, without the weaker of two that overlap."""
    build, classes = read.build, len(read.card.classes)
    flat = build.shaped(scores, -1)
    best, places = build.ops("TopK", flat, np.array([min(MOST, rows * classes)]), outputs=2)
    cells = build.op("Div", places, np.array(classes))
    labels = build.op("Sub", places, build.op("Mul", cells, np.array(classes)))
    boxes = build.op("Gather", boxes, cells, axis=0)
    iou = FAMILIES[read.card.family].nms_iou
    if iou is None:
        return boxes, labels, best
    wanted = build.op("Equal", build.shaped(labels, 1, -1), np.arange(classes)[:, None])
    by_class = build.op("Where", wanted, build.shaped(best, 1, -1), -1.0)
    chosen = build.op(
        "NonMaxSuppression", build.shaped(boxes, 1, -1, 4), build.shaped(by_class, 1, classes, -1),
        np.array([LIMIT]), np.array([iou]), np.array([np.nextafter(FLOOR, 0)]),
    )  # fmt: skip
    kept = build.shaped(build.columns(chosen, 2, 3), -1)
    boxes, labels, scores = (build.op("Gather", one, kept, axis=0)
                             for one in (boxes, labels, best))  # fmt: skip
    return boxes, labels, scores


def _yolox(read: Reading) -> Found:
    build, (rows, (cells, width)) = read.build, read.table()
    size = read.card.input
    (where,) = (some for some in (grid(size.width, size.height, n) for n in (3, 4))
                if len(some) == cells)  # fmt: skip
    place, stride = where[:, :2], where[:, 2:]
    centre = build.op("Mul", build.op("Add", build.columns(rows, 0, 2), place), stride)
    half = build.op("Mul", build.op("Exp", build.columns(rows, 2, 4)), stride / 2)
    boxes = build.op("Concat", build.op("Sub", centre, half), build.op("Add", centre, half), axis=1)
    return _best(read, boxes, _weighted(build, rows, width), cells)


def _weighted(build: Assembly, rows: str, width: int) -> str:
    """The scores of classes times that of there being an object."""
    return build.op("Mul", build.columns(rows, 4, 5), build.columns(rows, 5, width))


def _yolov5(read: Reading) -> Found:
    rows, (count, width) = read.table()
    boxes = read.corners(read.build.columns(rows, 0, 4), BOXES)
    return _best(read, boxes, _weighted(read.build, rows, width), count)


def _yolov8(read: Reading) -> Found:
    rows, (a, b) = read.table()
    if a == 4 + len(read.card.classes):
        rows, a, b = read.build.op("Transpose", rows, perm=[1, 0]), b, a
    boxes = read.corners(read.build.columns(rows, 0, 4), BOXES)
    return _best(read, boxes, read.build.columns(rows, 4, b), a)


def _nms(read: Reading) -> Found:
    columns = (read.card.output or OutputSpec()).columns
    box, score, label = COLUMNS[columns]
    wide = 7 if columns.startswith("batch") else 6
    (name,) = (name for name, v in read.seen.items() if v.ndim in (2, 3) and v.shape[-1] == wide)
    rows, build = read.rows(name), read.build
    one = (build.shaped(build.columns(rows, place, place + 1), -1) for place in (label, score))
    number, scores = one
    boxes = read.corners(build.columns(rows, box.start, box.stop))
    return boxes, build.op("Cast", number, to=7), scores


def _picodet(read: Reading) -> Found:
    build, size, maps = read.build, read.card.input, list(read.seen)
    levels = len(maps) // 2
    scores, logits = (
        build.op("Concat", *map(read.rows, some), axis=0) for some in (maps[:levels], maps[levels:])
    )
    where = grid(size.width, size.height, levels)
    bins = read.seen[maps[-1]].shape[-1] // 4
    weights = build.op("Softmax", build.shaped(logits, -1, bins), axis=1)
    away = build.shaped(build.op("MatMul", weights, np.arange(bins, dtype=float)[:, None]), -1, 4)
    # Left and top are subtracted from the centre, right and bottom added.
    signed = np.array([-1, -1, 1, 1]) * where[:, 2:]
    centre = np.tile((where[:, :2] + 0.5) * where[:, 2:], 2)
    boxes = build.op("Add", build.op("Mul", away, signed), centre)
    return _best(read, boxes, scores, len(where))


def _finished(read: Reading) -> Found:
    build, own = read.build, read.card.output.names if read.card.output else {}
    at = {part: own.get(part, part) for part in ("boxes", "labels", "scores", "count")}
    boxes = read.rows(at["boxes"])
    if at["scores"] in read.names:
        scores = build.shaped(build.as_floats(read.names[at["scores"]]), -1)
    else:
        scores = build.shaped(build.columns(boxes, 4, 5), -1)
        boxes = build.columns(boxes, 0, 4)
    labels = build.shaped(build.op("Cast", read.names[at["labels"]], to=7), -1)
    found = read.corners(boxes), labels, scores
    if at["count"] not in read.names or read.seen[at["count"]].size != 1:
        return found
    count = build.shaped(build.op("Cast", read.names[at["count"]], to=7), 1)
    boxes, labels, scores = (build.op("Slice", one, np.array([0]), count, np.array([0]))
                             for one in found)  # fmt: skip
    return boxes, labels, scores


def _queries(read: Reading) -> Found:
    build, classes = read.build, len(read.card.classes)
    given, boxes = next(pair for pair in NAMES if set(pair) <= set(read.names))
    logits, (count, width) = read.rows(given), read.seen[given].shape[1:]
    if width == classes + 1:
        scores = build.columns(build.op("Softmax", logits, axis=1), 0, classes)
    else:
        scores = build.op("Sigmoid", logits)
    return _best(read, read.corners(read.rows(boxes), QUERY_BOXES), scores, count)


_READERS: Mapping[str, Callable[[Reading], Found]] = {
    "yolox": _yolox,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "nms": _nms,
    "picodet": _picodet,
    "detr": _finished,
    "detr-logits": _queries,
    "rcnn": _finished,
}
