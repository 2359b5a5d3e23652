"""Out again: a project's photos in other tools' formats, a model for other programs and the hub."""

from typing import Literal

Format = Literal["coco", "yolo", "voc", "label-studio", "imagefolder", "csv", "fiftyone"]
"""What a project's photos are exported to."""

ModelFormat = Literal["onnx", "openvino", "hub"]
"""What a model is exported to."""
