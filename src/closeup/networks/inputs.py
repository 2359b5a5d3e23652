"""What the user says about a network's input, where it differs from the defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from closeup.core.errors import UsageError
from closeup.networks.preprocess import InputSpec, Resize

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class InputOverrides(BaseModel):
    """Overrides of an :class:`InputSpec`; None means "leave the default".

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
        return (value,) * (2 if info.field_name == "size" else 3) if _is_number(value) else value

    def apply(self, defaults: dict[str, Any]) -> InputSpec:
        """`defaults` (arguments of :class:`InputSpec`) with the overrides put over them.

        Raises
        ------
        UsageError
            Where the result is no possible input.
        """
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
