"""The category names of COCO, in both of their numberings.

Networks number COCO's 80 categories 0 to 79, or by the data set's own ids 1 to 90, of which ten
are unused; torchvision puts ``__background__`` at 0 as well.
"""

from __future__ import annotations

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
