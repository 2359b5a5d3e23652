"""A detector: photos in, named boxes out, streaming.

Its card says how photos become its input (:mod:`closeup.networks.preprocess`) and which family
reads its outputs (:data:`FAMILIES`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.core.parallel import ordered_map
from closeup.core.types import Box, Detection, Pixels
from closeup.detect import decoded, picodet, queries, ranked, yolox
from closeup.detect.candidates import Candidates, Outputs, nms
from closeup.networks import Card, Network
from closeup.networks.engine import Feeds, Graph, Signature, open_graph, read_signature
from closeup.networks.preprocess import InputSpec, Placement, prepare
from closeup.photos.picture import Picture

FLOOR = 0.01
"""Scores below this are not kept: far under any useful threshold, so that one can be chosen."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object: category by name, score 0 to 1, box of some area inside the upright photo."""

    category: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Seen:
    """How a photo was placed in the network's input, and the photo's size in pixels."""

    placement: Placement
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Family:
    """How the outputs of one family of detectors are read.

    `decode` is ``(outputs, card, floor) -> Candidates`` of one photo. Above an overlap of
    `nms_iou`, the weaker of two boxes of one class is dropped; None where the graph does so itself.
    """

    decode: Callable[[Outputs, Card, float], Candidates]
    nms_iou: float | None = None


FAMILIES: Mapping[str, Family] = {
    "yolox": Family(yolox.decode, yolox.NMS_IOU),
    "yolov5": Family(decoded.decode_v5, decoded.NMS_IOU),
    "yolov8": Family(decoded.decode_v8, decoded.NMS_IOU),
    "nms": Family(decoded.decode_nms),
    "picodet": Family(picodet.decode, picodet.NMS_IOU),
    "detr": Family(ranked.decode),
    "detr-logits": Family(queries.decode),
    "rcnn": Family(ranked.decode),
}


CONSTANTS = (ranked.SIZES_INPUT, "pixel_mask", "im_shape", "scale_factor")
"""Inputs beside the picture that say how large it is, all of it visible, and not resized."""


def constants(signature: Signature, spec: InputSpec) -> dict[str, NDArray[np.generic]]:
    """What a graph wants beside its picture: those of :data:`CONSTANTS` that it has.

    Boxes come in input pixels whatever the resize rule; the placement maps them back.
    """
    width, height = spec.width, spec.height
    values: dict[str, NDArray[Any]] = {
        ranked.SIZES_INPUT: np.array([[width, height]]),
        "im_shape": np.array([[height, width]]),
        "scale_factor": np.ones((1, 2)),
    }
    if mask := signature.inputs.get("pixel_mask"):
        sides = zip(mask[1:], (height, width), strict=False)
        values["pixel_mask"] = np.ones((1, *(fixed or side for fixed, side in sides)))
    return {
        name: values[name].astype(signature.dtypes[name])
        for name in signature.inputs
        if name in values
    }


class Detector:
    """A detector ready to run; its graph is opened when first needed, in each process.

    `many` says whether to optimise for many photos or for a quick first answer.

    Raises
    ------
    NetworkError
        Where the network is not a detector, or its graph does not take one photo at a time.
    """

    def __init__(self, network: Network, config: EngineConfig, *, many: bool = True) -> None:
        card = network.card
        if card.family not in FAMILIES:
            raise NetworkError(
                f"{card.name} is a {card.kind} of the family {card.family}, expected a detector "
                f"({', '.join(FAMILIES)}); see `closeup models list`"
            )
        if card.batch > 1:
            raise NetworkError(
                f"{card.name} takes {card.batch} photos at a time, expected 1; "
                "export it with a batch of 1 and add it again"
            )
        self.card, self._network, self._config, self._many = card, network, config, many
        self._family = FAMILIES[card.family]
        signature = read_signature(network.file)
        self._constant = constants(signature, card.input)
        images = [name for name in signature.inputs if name not in self._constant]
        if len(images) != 1:
            raise NetworkError(
                f"{card.name} has the inputs {', '.join(signature.inputs)}, expected an image "
                f"and possibly {', '.join(CONSTANTS)}; export it in that form"
            )
        (self._image,) = images

    def __reduce__(self) -> tuple[Callable[..., Detector], tuple[object, ...]]:
        return partial(Detector, many=self._many), (self._network, self._config)

    @cached_property
    def graph(self) -> Graph:
        """Its graph; see :meth:`feed` and :meth:`read`."""
        return open_graph(self._network.file, self._config, many=self._many)

    def detect(
        self, photos: Iterable[Pixels | Picture], floor: float = FLOOR, limit: int = 100
    ) -> Iterator[list[Found]]:
        """The objects in each photo: one list per photo, in order, best first.

        Photos are ``(height, width, 3)`` uint8 RGB, upright, of any size from 1x1, or pictures;
        they are read slightly ahead of the results. Boxes that score less than `floor` and all but
        the best `limit` are left out. Ties keep the network's own order.

        Raises
        ------
        NetworkDamaged
            Where the outputs are not what the card promises.
        """
        waiting: deque[Seen] = deque()

        def feeds() -> Iterator[Feeds]:
            # Resized in threads: one alone would keep a small network waiting.
            for feed, seen in ordered_map(self.feed, photos):
                waiting.append(seen)
                yield feed

        for outputs in self.graph.stream(feeds()):
            yield self.read(outputs, waiting.popleft(), floor, limit)

    def feed(self, photo: Pixels | Picture) -> tuple[Feeds, Seen]:
        """The graph's input for a photo, and what :meth:`read` needs to know about it."""
        picture = photo if isinstance(photo, Picture) else Picture.of(photo)
        values, placement = prepare(picture, self.card.input)
        batch = values[None] if self.card.input.layout.startswith("n") else values
        return {self._image: batch, **self._constant}, Seen(placement, *picture.size)

    def read(
        self, outputs: Outputs, seen: Seen, floor: float = FLOOR, limit: int = 100
    ) -> list[Found]:
        """The objects in one photo, from the graph's outputs; see :meth:`detect`."""
        with np.errstate(all="ignore"):  # what is not a number is left out below
            candidates = self._family.decode(outputs, self.card, floor)
            boxes, scores = seen.placement.to_photo(candidates.boxes), candidates.scores
            width, height = seen.width, seen.height
            visible = boxes.clip(0, [width, height, width, height])
        useful = (visible[:, 2:] > visible[:, :2]).all(1) & np.isfinite(boxes).all(1)
        useful &= np.isfinite(scores)
        useful[useful] &= self._named(candidates.classes[useful])
        boxes, visible = boxes[useful], visible[useful]
        scores, classes = scores[useful], candidates.classes[useful]
        if self._family.nms_iou is None:
            kept = np.arange(min(limit, len(boxes)))
        else:
            kept = nms(boxes, classes, self._family.nms_iou, limit)
        return [
            Found(self.card.classes[classes[i]], float(scores[i]), Box(*visible[i].tolist()))
            for i in kept
        ]

    @staticmethod
    def is_sound(outputs: Outputs) -> bool:
        """Whether all values are finite numbers; :meth:`read` leaves out the boxes that are not."""
        with np.errstate(all="ignore"):  # one pass without a mask: what is not finite stays so
            return all(np.isfinite(values.sum(dtype=np.float64)) for values in outputs.values())

    def _named(self, classes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which class numbers have a name; the others are unused, background or padding."""
        names = self.card.classes
        if classes.size and classes.max() >= len(names):
            raise NetworkDamaged(
                f"{self.card.name} found category number {classes.max()}, but its card lists "
                f"{len(names)}; add the network again with its own class list"
            )
        # The last place answers for every negative number: some graphs pad with -1.
        named: NDArray[np.bool_] = np.array([*map(bool, names), False])[classes.clip(-1)]
        return named


def as_rows(photo_id: str, found: Sequence[Found]) -> list[Detection]:
    """What a detector found in one photo, as ranked rows."""
    return [
        Detection(photo_id, rank, one.category, one.score, one.box)
        for rank, one in enumerate(found)
    ]
