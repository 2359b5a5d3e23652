"""One decision, as a person makes it and as the log stores it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from closeup.core.errors import UsageError
from closeup.core.types import Box

LONGEST_LABEL = 200
MOST_BOXES = 100
SAME_OBJECT = 0.6
"""IoU above which two boxes in one photo count as the same object, as in :func:`crops.choose`."""


class Kind(StrEnum):
    """What can be decided."""

    ACCEPT = "accept"
    REJECT = "reject"
    RELABEL = "relabel"
    NOT_FOUND = "not_found"
    BOXES = "boxes"
    SAME = "same"
    DIFFERENT = "different"
    UNDO = "undo"

    @property
    def past(self) -> str:
        """What was done, in words."""
        return _PAST[self]


_PAST = {
    Kind.ACCEPT: "accepted", Kind.REJECT: "rejected", Kind.RELABEL: "relabelled",
    Kind.NOT_FOUND: "without an object", Kind.BOXES: "boxes drawn or chosen",
    Kind.SAME: "kept together", Kind.DIFFERENT: "not the same", Kind.UNDO: "undone",
}  # fmt: skip

ABOUT_CROP = frozenset({Kind.ACCEPT, Kind.REJECT, Kind.RELABEL})
ABOUT_PAIR = frozenset({Kind.SAME, Kind.DIFFERENT})


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    `photo` and `other` are photo ids, `other` the second of a pair; `crop` is the id of a close-up
    that is accepted, rejected or relabelled, with its new `label`; `boxes` are the person's own, in
    pixels of the upright photo, in order; `undoes` is the number of the row that is undone.
    """

    kind: Kind
    photo: str
    crop: str = ""
    other: str = ""
    label: str = ""
    boxes: tuple[Box, ...] = ()
    undoes: int = 0

    @property
    def pair(self) -> tuple[str, str]:
        """The two photos, the smaller id first."""
        return (self.photo, self.other) if self.photo < self.other else (self.other, self.photo)


@dataclass(frozen=True, slots=True)
class Row:
    """A decision in the log; rows of one `batch` were made together and are undone together."""

    number: int
    batch: int
    time: str
    who: str
    decision: Decision


def checked(decision: Decision) -> Decision:
    """The decision in its normal form.

    Raises
    ------
    UsageError
        Where something is missing or superfluous, or a label or box is not usable.
    """
    kind = decision.kind
    if not decision.photo or bool(decision.crop) != (kind in ABOUT_CROP):
        raise UsageError(f"{kind}: needs a photo, and a close-up only if it is about one")
    if kind in ABOUT_PAIR:
        one, other = decision.pair
        if not one or one == other:
            raise UsageError(f"{kind}: needs two different photos")
        decision = replace(decision, photo=one, other=other)
    elif decision.other:
        raise UsageError(f"{kind} is about one photo, not about two")
    if bool(decision.label) != (kind is Kind.RELABEL):
        raise UsageError(f"{kind}: a label is needed for relabelling, and for nothing else")
    if bool(decision.boxes) != (kind is Kind.BOXES):
        raise UsageError(f"{kind}: boxes are needed to mark objects, and for nothing else")
    if (decision.undoes > 0) != (kind is Kind.UNDO):
        raise UsageError(f"{kind}: only undoing refers to another decision")
    return replace(decision, label=_label(decision.label), boxes=_boxes(decision.boxes))


def _label(label: str) -> str:
    if not label:
        return label
    plain = " ".join(label.split())
    if not plain or len(plain) > LONGEST_LABEL or not plain.isprintable():
        raise UsageError(
            f"a label has 1 to {LONGEST_LABEL} printable characters, not {label[:40]!r}"
        )
    return plain


def _boxes(boxes: Sequence[Box]) -> tuple[Box, ...]:
    if len(boxes) > MOST_BOXES:
        raise UsageError(f"a photo may have {MOST_BOXES} boxes, not {len(boxes)}")
    found = tuple(Box(*map(float, box)) for box in boxes)
    for place, box in enumerate(found):
        if not all(map(math.isfinite, box)) or box.width < 1 or box.height < 1:
            raise UsageError(
                "a box needs four finite numbers, and at least a pixel in each direction"
            )
        if any(box.iou(other) > SAME_OBJECT for other in found[:place]):
            raise UsageError("two of the boxes are around the same object; keep one of them")
    return found
