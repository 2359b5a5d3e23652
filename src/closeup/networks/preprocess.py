"""Turn upright RGB pixels into a network's input, as its card says, and boxes back again.

Training, prediction, the exported model and the server share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from closeup.core.errors import UsageError
from closeup.core.types import Box, Pixels
from closeup.photos.picture import Picture

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Resize = Literal["letterbox", "stretch"]
Layout = Literal["nchw", "nhwc", "chw", "hwc"]
_GAP = 2.0  # averaging down to twice the wanted size first takes a third of the time


class InputSpec(BaseModel):
    """What a network expects as its input.

    Attributes
    ----------
    width, height
        Size of the network's input in pixels.
    resize
        ``letterbox`` keeps the shape and pads; ``stretch`` does not keep it.
    anchor
        Where a letterboxed picture lies: ``corner`` (top left) or ``centre``.
    pad
        Level 0-255 of the padding in each channel, in RGB order.
    color
        Channel order of the input.
    scale
        ``unit`` for values 0 to 1, ``byte`` for 0 to 255; `mean` and `std` apply after it and are
        given in the order of `color`.
    layout, dtype
        Order of the axes (``n`` batch, ``c`` colour, ``h`` row, ``w`` column), and type of the
        values. Neither is written where it is the usual one, so that cards stay as they were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=8, le=8192)
    height: int = Field(ge=8, le=8192)
    resize: Resize = "letterbox"
    anchor: Literal["corner", "centre"] = "corner"
    pad: tuple[int, int, int] = (114, 114, 114)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    color: Literal["rgb", "bgr"] = "rgb"
    scale: Literal["unit", "byte"] = "unit"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layout: Layout = "nchw"
    dtype: Literal["float32", "float16", "uint8"] = "float32"

    @model_serializer(mode="wrap")
    def _without_the_usual(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = whole(self)
        for name in ("layout", "dtype"):
            if values.get(name) == type(self).model_fields[name].default:
                del values[name]
        return values


class InputOverrides(BaseModel):
    """What the user changes about a network's :class:`InputSpec`; None keeps the default.

    `size` is ``(width, height)``, or one number for both; `mean` and `std` are three numbers in
    the order of `color`, or one for all three.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int] | None = None
    color: Literal["rgb", "bgr"] | None = None
    scale: Literal["unit", "byte"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    resize: Resize | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None

    @field_validator("size", "mean", "std", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any, info: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if not isinstance(value, int | float):
            return value
        return (value,) * (2 if info.field_name == "size" else 3)

    def apply(self, defaults: dict[str, Any]) -> InputSpec:
        """`defaults` (of :class:`InputSpec`) with the overrides; UsageError where invalid."""
        given = self.model_dump(exclude_none=True)
        if size := given.pop("size", None):
            given["width"], given["height"] = size
        try:
            spec = InputSpec.model_validate({**defaults, **given})
        except ValidationError as err:
            first = err.errors()[0]
            raise UsageError(f"input {first['loc'][0]}: {first['msg']}") from err
        if 0.0 in spec.std:
            raise UsageError("std must not be 0: it divides the pixels")
        return spec


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a photo landed in a network's input: ``input = photo * scale + offset``, in pixels."""

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_photo(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map ``(n, 4)`` XYXY boxes from input pixels to photo pixels; ``(0, 4)`` stays that."""
        shift = np.array([self.offset_x, self.offset_y] * 2)
        scale = np.array([self.scale_x, self.scale_y] * 2)
        mapped: NDArray[np.float64] = (boxes.astype(np.float64) - shift) / scale
        return mapped


def place(width: int, height: int, spec: InputSpec) -> tuple[Placement, Box]:
    """Where a ``width`` x ``height`` photo goes: the placement, and its box in input pixels.

    The scales are those of the rounded size, so mapping boxes back is exact.
    """
    if spec.resize == "stretch":
        new_w, new_h = spec.width, spec.height
    else:
        ratio = min(spec.width / width, spec.height / height)
        new_w = min(spec.width, max(1, round(width * ratio)))
        new_h = min(spec.height, max(1, round(height * ratio)))
    left = top = 0
    if spec.resize == "letterbox" and spec.anchor == "centre":
        left, top = (spec.width - new_w) // 2, (spec.height - new_h) // 2
    placement = Placement(new_w / width, new_h / height, left, top)
    return placement, Box(left, top, left + new_w, top + new_h)


def prepare(
    photo: Pixels | Image.Image | Picture, spec: InputSpec
) -> tuple[NDArray[Any], Placement]:
    """One photo as a network's input.

    Parameters
    ----------
    photo
        Upright: ``(height, width, 3)`` uint8 RGB, a PIL image of the same, or a
        :class:`Picture`, whose smaller copy is used where that is large enough.

    Returns
    -------
    input
        ``(3, spec.height, spec.width)``, or ``(spec.height, spec.width, 3)`` by `spec.layout`, of
        `spec.dtype`, C-contiguous; the batch axis is left to the caller.
    placement
        How to map boxes back with :meth:`Placement.to_photo`.
    """
    width, height = photo.shape[1::-1] if isinstance(photo, np.ndarray) else photo.size
    placement, area = place(width, height, spec)
    x1, y1, x2, y2 = (int(v) for v in area)
    way = Image.Resampling[spec.interpolation.upper()]
    seen: Pixels = np.asarray(_resized(photo, (x2 - x1, y2 - y1), way))
    padded = seen.shape[:2] != (spec.height, spec.width)
    unit = 255.0 if spec.scale == "unit" else 1.0
    gain = 1.0 / (unit * np.asarray(spec.std, np.float64))
    bias = -np.asarray(spec.mean, np.float64) / np.asarray(spec.std, np.float64)
    values = np.empty((3, spec.height, spec.width), np.float32)
    # Channel by channel: what is worked on stays in the processor's cache.
    for channel, plane in enumerate(values):
        source = 2 - channel if spec.color == "bgr" else channel
        if padded:
            plane[:] = spec.pad[source]
        plane[y1:y2, x1:x2] = seen[:, :, source]
        if gain[channel] != 1.0:
            plane *= gain[channel].astype(np.float32)
        if bias[channel] != 0.0:
            plane += bias[channel].astype(np.float32)
    if spec.layout.endswith("hwc"):
        values = np.ascontiguousarray(values.transpose(1, 2, 0))
    if spec.dtype == "uint8":
        values = values.round().clip(0, 255)
    return values.astype(spec.dtype, copy=False), placement


def _resized(
    photo: Pixels | Image.Image | Picture, size: tuple[int, int], way: Image.Resampling
) -> Pixels | Image.Image:
    """The photo at another size, or itself where it has that."""
    if isinstance(photo, np.ndarray):
        if photo.shape[1::-1] == size:
            return photo
        photo = Image.fromarray(photo)
    box = None
    if isinstance(photo, Picture):
        (width, height), (small, factor) = photo.size, photo.small
        if factor > 1 and all(have >= want for have, want in zip(small.size, size, strict=True)):
            # What is left over by the factor makes a last row or column that is a part of one.
            photo, box = small, (0, 0, width / factor, height / factor)
        else:
            photo = photo.upright
    if photo.size == size and box is None:
        return photo
    return photo.resize(size, way, box, reducing_gap=_GAP)
