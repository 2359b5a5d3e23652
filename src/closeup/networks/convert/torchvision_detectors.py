"""torchvision's detectors (Faster R-CNN, SSDlite) as modules that can be exported.

Their own resizing is left out: what :class:`closeup.networks.preprocess.InputSpec` says takes its
place, so that a photo is resized once. PyTorch is imported inside the functions.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.errors import UsageError
from closeup.networks.engine import cache_folder
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST_SCORE = 0.01
"""The graph gives no box that scores less; torchvision's own 0.05 would hide weak ones."""

_FASTER_RCNN_V1 = "fasterrcnn_resnet50_fpn"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Where torchvision keeps a network's weights: the name ends in the start of its SHA-256."""

    url: str

    @property
    def sha256_start(self) -> str:
        """The first hexadecimal digits of the file's SHA-256."""
        return self.url.rsplit("-", 1)[1].split(".")[0]

    @property
    def place(self) -> Path:
        """Where the cache keeps it."""
        return cache_folder() / "downloads" / "torchvision" / self.url.rsplit("/", 1)[1]


def weights_file(architecture: str) -> WeightsFile:
    """The COCO weights of a torchvision detector."""
    from torchvision.models import get_model_weights

    return WeightsFile(get_model_weights(architecture).DEFAULT.url)


def build(architecture: str, classes: int = 91) -> nn.Module:
    """A torchvision detector with random weights, in evaluation mode.

    Its batch norms are those that the COCO weights were made for, which torchvision itself builds
    only together with those weights.
    """
    from torch import nn
    from torchvision.models import get_model

    model: nn.Module = get_model(
        architecture, weights=None, weights_backbone=None, num_classes=classes
    )
    if architecture == _FASTER_RCNN_V1:
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 0.0
    return model.eval()


def input_spec(model: Any, size: int) -> InputSpec:
    """What `model` wants at ``size`` x ``size`` pixels: as in its training, but for the size.

    SSDlite stretches; Faster R-CNN keeps the shape and pads, with what its normalisation turns
    into zeros.
    """
    from torchvision.models.detection.ssd import SSD

    mean, std = tuple(model.transform.image_mean), tuple(model.transform.image_std)
    return InputSpec(
        width=size,
        height=size,
        resize="stretch" if isinstance(model, SSD) else "letterbox",
        pad=tuple(round(255 * value) for value in mean),
        mean=mean,
        std=std,
    )


def deployed(model: Any) -> nn.Module:
    """A module from ``(1, 3, height, width)`` normalised pixels to ``boxes, labels, scores``.

    Boxes are ``(n, 4)`` XYXY input pixels, labels and scores ``(n,)``, best first.

    Raises
    ------
    UsageError
        Where `model` is neither an R-CNN nor an SSD.
    """
    from torch import nn
    from torchvision.models.detection.faster_rcnn import FasterRCNN
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.ssd import SSD

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            batch = ImageList(images, [(images.shape[2], images.shape[3])])
            features = self.model.backbone(images)
            found = self.read(batch, features)[0]
            return found["boxes"], found["labels"], found["scores"]

    class DeployedRcnn(Deployed):
        def read(
            self, batch: ImageList, features: OrderedDict[str, Tensor]
        ) -> list[dict[str, Tensor]]:
            proposals, _ = self.model.rpn(batch, features)
            found: list[dict[str, Tensor]] = self.model.roi_heads(
                features, proposals, batch.image_sizes
            )[0]
            return found

    class DeployedSsd(Deployed):
        def read(
            self, batch: ImageList, features: OrderedDict[str, Tensor]
        ) -> list[dict[str, Tensor]]:
            levels = list(features.values())
            anchors = self.model.anchor_generator(batch, levels)
            found: list[dict[str, Tensor]] = self.model.postprocess_detections(
                self.model.head(levels), anchors, batch.image_sizes
            )
            return found

    if isinstance(model, FasterRCNN):
        model.roi_heads.score_thresh = LEAST_SCORE
        return DeployedRcnn().eval()
    if isinstance(model, SSD):
        model.score_thresh = LEAST_SCORE
        return DeployedSsd().eval()
    raise UsageError(f"{type(model).__name__} is no Faster R-CNN or SSD of torchvision")
