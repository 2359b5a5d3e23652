"""Out again: a project's photos, boxes, labels, splits and answers in other tools' formats."""

from typing import Literal

Format = Literal["coco", "yolo", "voc", "label-studio", "imagefolder", "csv", "fiftyone"]
