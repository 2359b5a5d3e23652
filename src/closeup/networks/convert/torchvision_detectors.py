"""torchvision's detectors (Faster R-CNN, SSDlite) as modules that can be exported.

Their own resizing is left out: :class:`closeup.networks.preprocess.InputSpec` takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from closeup.core.errors import UsageError
from closeup.networks.coco import COCO91
from closeup.networks.convert.onnx_export import LEAST_SCORE, Converted
from closeup.networks.preprocess import InputSpec, Resize

if TYPE_CHECKING:
    from torch import Tensor, nn

_FASTER_RCNN_V1 = "fasterrcnn_resnet50_fpn"


def weights_url(architecture: str) -> str:
    """Where a detector's COCO weights are; the name ends in the first digits of its SHA-256."""
    from torchvision.models import get_model_weights

    return str(get_model_weights(architecture).DEFAULT.url)


def build(architecture: str) -> nn.Module:
    """A torchvision detector of COCO's categories with random weights, in evaluation mode.

    Its batch norms are those that the COCO weights were made for, which torchvision itself builds
    only together with those weights.
    """
    from torch import nn
    from torchvision.models import get_model

    random: dict[str, Any] = {"weights": None, "weights_backbone": None}
    model: nn.Module = get_model(architecture, **random, num_classes=len(COCO91))
    if architecture == _FASTER_RCNN_V1:
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 0.0
    return model.eval()


def converted(model: Any, size: int) -> Converted:
    """An R-CNN or SSD of torchvision for ``size`` x ``size`` pixels, ready for export.

    The graph goes from ``(1, 3, height, width)`` normalised pixels to ``boxes, labels, scores``:
    ``(n, 4)`` XYXY input pixels and twice ``(n,)``, best first. SSDlite stretches; Faster R-CNN
    keeps the shape and pads, with what its normalisation turns into zeros.
    """
    from torch import nn
    from torchvision.models.detection.faster_rcnn import FasterRCNN
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.ssd import SSD

    is_ssd = isinstance(model, SSD)
    if not is_ssd and not isinstance(model, FasterRCNN):
        raise UsageError(f"{type(model).__name__} is not a Faster R-CNN or SSD of torchvision")
    # torchvision's own 0.05 would hide weak boxes.
    (model if is_ssd else model.roi_heads).score_thresh = LEAST_SCORE

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            batch = ImageList(images, [(images.shape[2], images.shape[3])])
            features = self.model.backbone(images)
            if is_ssd:
                levels = list(features.values())
                anchors = self.model.anchor_generator(batch, levels)
                heads = self.model.head(levels)
                found = self.model.postprocess_detections(heads, anchors, batch.image_sizes)
            else:
                proposals, _ = self.model.rpn(batch, features)
                found = self.model.roi_heads(features, proposals, batch.image_sizes)[0]
            return found[0]["boxes"], found[0]["labels"], found[0]["scores"]

    mean, std = tuple(model.transform.image_mean), tuple(model.transform.image_std)
    pad = tuple(round(255 * value) for value in mean)
    resize: Resize = "stretch" if is_ssd else "letterbox"
    spec = InputSpec(width=size, height=size, resize=resize, pad=pad, mean=mean, std=std)
    outputs = ("boxes", "labels", "scores")
    return Converted(Deployed().eval(), "rcnn", spec, COCO91, ("images",), outputs)
