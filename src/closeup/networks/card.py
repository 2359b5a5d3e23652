"""The typed card beside every ONNX graph."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from closeup.networks.preprocess import InputSpec

CARD_FORMAT = 1
GRAPH_FILE = "graph.onnx"

Family = Literal[
    "yolox", "yolov5", "yolov8", "nms", "picodet", "detr", "detr-logits", "rcnn", "embedding"
]


class Origin(BaseModel):
    """The PyTorch module that a backbone's graph was exported from, so that it can be fine-tuned.

    `weights` is its state dict beside the graph, without the classifier, and `sha256` that file's
    hash. A folder that only predicts (a model's) does not have the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    framework: Literal["timm", "torchvision"]
    architecture: str
    args: dict[str, Any] = {}
    weights: str = Field(default="weights.safetensors", pattern=r"^[A-Za-z0-9_-]+\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class OutputSpec(BaseModel):
    """How a detector's outputs are laid out, where its family leaves that open.

    Attributes
    ----------
    names
        Which output plays a part: ``boxes``, ``labels``, ``scores``, ``count``; those not named
        are called like the part.
    boxes, unit
        What the four numbers of a box are, and whether in pixels of the input or in shares of it.
    columns
        What stands in the columns of a graph that gives everything in one array.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: dict[str, str] = {}
    boxes: Literal["xyxy", "yxyx", "cxcywh"] = "xyxy"
    unit: Literal["pixels", "shares"] = "pixels"
    columns: Literal["box score class", "class score box", "batch box class score"] = (
        "box score class"
    )


class Card(BaseModel):
    """What a frozen network is, what it expects and what it returns.

    Attributes
    ----------
    name
        The user's name for it; also its folder in the cache.
    family
        How its outputs are read: a detector family, or ``embedding`` for a backbone, whose one
        output is ``(n, dim)`` float32.
    graph, sha256, bytes
        The ONNX file beside the card, its hash and size.
    batch
        The graph's fixed batch size, or 0 where it is free.
    output
        How a detector's outputs are laid out; None, and not written, where as the family's usually
        are.
    classes
        A detector's category names in its own order; ``""`` marks an unused number.
    dim, blocks
        Length of a backbone's embedding, and of the parts that it consists of, in order; empty
        where it is one piece.
    licence, source, trained_on
        Of the weights, as their makers state them.
    scores
        Measured figures, name to value.
    made_with
        Versions and the command that made the graph.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = CARD_FORMAT
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=2000)
    kind: Literal["detector", "backbone"]
    family: Family
    graph: str = GRAPH_FILE
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)
    input: InputSpec
    batch: int = Field(default=0, ge=0)
    output: OutputSpec | None = None
    classes: tuple[str, ...] = ()
    dim: int = Field(default=0, ge=0)
    blocks: tuple[int, ...] = ()
    description: str = ""
    licence: str = "unknown"
    source: str = ""
    trained_on: tuple[str, ...] = ()
    scores: dict[str, float] = {}
    made_with: dict[str, str] = {}
    origin: Origin | None = None

    @model_serializer(mode="wrap")
    def _without_the_usual(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = whole(self)
        if self.output is None:
            values.pop("output", None)
        return values
