"""The input of an image network's ONNX file: which it is, what it expects, and how to change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import UsageError
from closeup.networks.engine import Graph
from closeup.networks.pooling import free_name
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputOverrides, InputSpec

if TYPE_CHECKING:
    from onnx import ModelProto

USUAL_SIDE = 224


@dataclass(frozen=True, slots=True)
class PictureInput:
    """A graph's own input for pictures.

    `shape` is ``(n, 3, height, width)``, None where an axis is free, whatever the order in the
    graph; `channels_last` says whether that is another.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    channels_last: bool

    def feed(self, pictures: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Pictures ``(n, 3, height, width)`` as it takes them."""
        given = pictures if self.dtype.kind == "f" else pictures.round()
        turned = given.transpose(0, 2, 3, 1) if self.channels_last else given
        return {self.name: turned.astype(self.dtype)}


def picture_input(file: Path, graph: Graph) -> PictureInput:
    """The one input of `graph`, which pictures go into; UsageError where there are others."""
    inputs = {name: shape for name, shape in graph.inputs.items() if len(shape) == 4}
    if len(graph.inputs) != 1 or not inputs:
        found = ", ".join(f"{name} {shape}" for name, shape in graph.inputs.items())
        raise UsageError(
            f"{file} takes {found}; a backbone takes pictures alone, (1, 3, height, width). Export "
            "the part of the network that sees the picture (as vision_model.onnx)"
        )
    ((name, shape),) = inputs.items()
    last = shape[3] == 3 and shape[1] != 3
    turned = (shape[0], shape[3], shape[1], shape[2]) if last else shape
    if turned[1] not in (3, None):
        raise UsageError(f"{file} takes pictures of {turned[1]} channels; expected 3, red, green "
                         "and blue")  # fmt: skip
    return PictureInput(name, turned, graph.signature.dtypes[name], last)


def input_spec(
    file: Path, given: PictureInput, overrides: InputOverrides, stated: Mapping[str, Any]
) -> InputSpec:
    """What the user says of the input, else what a file beside it `stated`, else the usual.

    The size is the graph's own where it is fixed. Raises UsageError where the user says what cannot
    be.
    """
    height, width = given.shape[2:]
    usual: dict[str, Any] = {
        "width": USUAL_SIDE, "height": USUAL_SIDE, "mean": IMAGENET_MEAN, "std": IMAGENET_STD
    }  # fmt: skip
    if given.dtype.kind != "f":  # what happens to whole numbers, the graph does itself
        usual |= {"mean": (0.0,) * 3, "std": (1.0,) * 3, "scale": "byte"}
        stated = {key: stated[key] for key in stated if key not in ("mean", "std", "scale")}
        if overrides.mean or overrides.std or overrides.scale == "unit":
            raise UsageError(f"{file} takes whole numbers 0-255: omit --mean, --std and --scale")
    fixed: dict[str, Any] = {}
    if height is not None and width is not None:
        fixed = {"width": width, "height": height}
        if overrides.size not in (None, (width, height)):
            raise UsageError(f"{file} takes {width}x{height} pixels only; omit --size")
    # Close-ups are square; anything else keeps its shape, in the middle.
    return overrides.apply({**usual, "anchor": "centre", **stated, **fixed})


def take_pictures(model: ModelProto, given: PictureInput, spec: InputSpec) -> None:
    """Let the graph take float32 pictures of the size in `spec`, any number at once."""
    from onnx import TensorProto, helper

    name, nodes = given.name, []
    if given.channels_last or given.dtype != np.float32:
        name = free_name(model, "image")
        last = name
        steps: list[tuple[str, dict[str, Any]]] = []
        if given.dtype.kind != "f":
            steps.append(("Round", {}))
        if given.dtype != np.float32:
            steps.append(("Cast", {"to": helper.np_dtype_to_tensor_dtype(given.dtype)}))
        if given.channels_last:
            steps.append(("Transpose", {"perm": [0, 2, 3, 1]}))
        for place, (kind, settings) in enumerate(steps):
            ends = place == len(steps) - 1
            out = given.name if ends else free_name(model, f"image_{kind.lower()}")
            nodes.append(helper.make_node(kind, [last], [out], **settings))
            last = out
    image = helper.make_tensor_value_info(
        name, TensorProto.FLOAT, ["n", 3, spec.height, spec.width]
    )
    kept = list(model.graph.node)
    for field, values in ((model.graph.input, [image]), (model.graph.node, [*nodes, *kept])):
        del field[:]
        field.extend(values)
    del model.graph.value_info[:]  # shapes of one picture, or of another size
