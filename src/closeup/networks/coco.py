"""The category names of COCO and Objects365, in the numberings that networks use.

Networks number COCO's 80 categories 0 to 79, or by the data set's own ids 1 to 90, of which ten
are unused; torchvision puts ``__background__`` at 0 as well. Objects365's 365 categories are
numbered from 0, or by its own ids from 1, with 0 unused (D-FINE).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

COCO91: tuple[str, ...] = (
    *("", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "", "backpack"),
    *("umbrella", "", "", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    *("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut"),
    *("cake", "chair", "couch", "potted plant", "bed", "", "dining table", "", "", "toilet", ""),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster"),
    *("sink", "refrigerator", "", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
"""91 names by COCO's own ids 0 to 90; ``""`` marks a number that is not used."""

COCO80: tuple[str, ...] = tuple(name for name in COCO91 if name)
"""The 80 names, numbered without gaps."""

LISTS = ("coco80", "coco91", "objects365", "objects366")
"""The names of the class lists that :func:`class_list` knows."""


@cache
def class_list(name: str) -> tuple[str, ...]:
    """One of :data:`LISTS`; ``""`` marks a number that is not used.

    ``objects365`` begins with ``Person``, ``objects366`` with an unused number before it. The names
    are spelt as networks have them (``Dinning Table``, ``Monitor/TV``).
    """
    if name.startswith("coco"):
        return COCO80 if name == "coco80" else COCO91
    names = (Path(__file__).parent / "objects365.txt").read_text(encoding="utf8").splitlines()
    return ("", *names) if name == "objects366" else tuple(names)
