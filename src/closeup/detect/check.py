"""Does a detector give values that can be right, and does it find what must be there?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged
from closeup.detect.candidates import Candidates, Outputs
from closeup.detect.detector import FAMILIES, Detector, Found
from closeup.detect.golden import GOLDEN, Golden
from closeup.networks.card import Card
from closeup.networks.preprocess import InputSpec
from closeup.photos.picture import Picture

SURE = 0.25
"""Score from which the object of a golden photo counts as found."""
OVERLAP = 0.5
"""Intersection over union with its box from which it counts as found there."""

_LEAST = 0.001  # weaker boxes may be padding
_TOP = 100  # boxes of a photo that are looked at
_ENOUGH = 20  # boxes that it takes to say that all of them are alike
_SOME = 3
_FEW_PIXELS = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a detector found in a photo, best first, and what must be there.

    `must` is None where nothing in particular must be found; `match` is the box that fits it best.
    """

    name: str
    found: tuple[Found, ...]
    must: Golden | None = None

    @property
    def match(self) -> Found | None:
        """The surest box of the wanted category that overlaps the object, None without one."""
        if self.must is None:
            return None
        for one in self.found:
            is_it = one.category.casefold() == self.must.category
            if is_it and one.score >= SURE and one.box.iou(self.must.box) >= OVERLAP:
                return one
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What :func:`examine` found: `fault` is why the network can only be wrong, or ``""``.

    `unnamed` tells whether it is sure of a class that has no name.
    """

    fault: str
    unnamed: bool = False
    seen: tuple[Seen, ...] = ()

    @property
    def expected(self) -> list[Seen]:
        """The golden photos whose object the detector knows by name."""
        return [one for one in self.seen if one.must is not None]

    @property
    def agrees(self) -> bool | None:
        """Whether most objects that must be found are; None where fewer than two can be."""
        expected = self.expected
        if len(expected) < 2:
            return None
        return 2 * sum(one.match is not None for one in expected) > len(expected)

    @property
    def certainty(self) -> float:
        """Mean score of the objects that must be found, 0 for one that is not."""
        scores = [one.match.score if one.match else 0.0 for one in self.expected]
        return sum(scores) / len(scores) if scores else 0.0


def examine(detector: Detector) -> Verdict:
    """Run a detector on noise and on the golden photos.

    Boxes must lie in the picture, scores between 0 and 1, labels within the classes, all of them
    finite. Where the detector knows their names (regardless of case), the objects of the golden
    photos must be found.
    """
    side = max(detector.card.input.width, detector.card.input.height)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pictures = [Picture.of(noise), *(golden.picture() for golden in GOLDEN)]
    every, answers, seen = [], [], []
    knows = {name.casefold() for name in detector.card.classes}
    for picture in pictures:
        feed, where = detector.feed(picture)
        outputs = detector.graph.run(feed)
        if not Detector.is_sound(outputs):
            return Verdict("it gives values that are not finite numbers")
        try:
            every.append(_candidates(outputs, detector.card))
        except NetworkDamaged as err:
            return Verdict(str(err))
        answers.append((outputs, where))
    with np.errstate(all="ignore"):
        fault = _fault(every, detector.card)
    if fault:
        return Verdict(fault)
    for golden, (outputs, where) in zip(GOLDEN, answers[1:], strict=True):
        must = golden if golden.category in knows else None
        seen.append(Seen(golden.name, tuple(detector.read(outputs, where)), must))
    names = detector.card.classes
    sure = {int(c) for one in every for c in one.classes[one.scores >= SURE]}
    return Verdict("", any(not names[c] for c in sure), tuple(seen))


def look(detector: Detector, pictures: Iterable[tuple[str, Picture]]) -> list[Seen]:
    """What a detector finds in the user's own photos, given by name."""
    named = list(pictures)
    found = detector.detect(picture for _, picture in named)
    return [Seen(name, tuple(many)) for (name, _), many in zip(named, found, strict=True)]


def _candidates(outputs: Outputs, card: Card) -> Candidates:
    """The best boxes, also those that no run would keep; padding with a negative label is not."""
    with np.errstate(all="ignore"):
        boxes, scores, classes = FAMILIES[card.family].decode(outputs, card, -np.inf)
    real = classes >= 0
    return Candidates(boxes[real], scores[real], classes[real])


def _fault(every: Sequence[Candidates], card: Card) -> str:
    scores = np.concatenate([one.scores for one in every])
    classes = np.concatenate([one.classes for one in every])
    if scores.size and not -0.01 <= scores.min() <= scores.max() <= 1.01:
        return (
            f"its scores go from {scores.min():.3g} to {scores.max():.3g}, expected 0 to 1: "
            "it gives logits, or its outputs mean something else"
        )
    sure = scores >= _LEAST
    if sure.any() and (highest := int(classes[sure].max())) >= len(card.classes):
        return f"it answers with category number {highest}, but {len(card.classes)} have a name"
    best = [one.boxes[one.scores >= _LEAST][:_TOP] for one in every]
    return _box_fault(np.concatenate(best), card.input)


def _box_fault(boxes: NDArray[Any], spec: InputSpec) -> str:
    """What is wrong with most of the ``(n, 4)`` boxes in input pixels, ``""`` if nothing is."""
    if not len(boxes):
        return ""
    if not np.isfinite(boxes).all():
        return "it gives boxes without end"
    size = np.array([spec.width, spec.height], np.float64)
    extent, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    empty = (extent <= 0).any(1)
    if empty.mean() > 0.2:
        return f"{empty.mean():.0%} of its boxes have no area: their numbers mean something else"
    if len(boxes) >= _SOME and extent.max() <= _FEW_PIXELS:
        return "its boxes are at most two pixels wide: they are shares of the picture, or logits"
    away = ((centre < -0.1 * size) | (centre > 1.1 * size) | (extent > 2 * size)).any(1)
    if away.mean() > 0.2:
        return f"{away.mean():.0%} of its boxes lie outside the picture or are larger"
    shown = boxes.reshape(-1, 2, 2).clip(0, size)
    whole = (shown[:, 1] - shown[:, 0]).prod(1) >= 0.98 * size.prod()
    if len(boxes) >= _ENOUGH and whole.mean() > 0.9:
        return "nearly every box is the whole picture: its numbers mean something else"
    return ""
