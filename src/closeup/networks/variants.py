"""A stronger backbone made from another: more stages, covariances, larger pictures, more views.

``NAME@stages-320-flip`` is the backbone `NAME` with each feature map's average added to its
embedding, on pictures of 320 x 320 pixels, averaged with its embedding of the mirrored picture.
``cov`` in place of ``stages`` adds second-order statistics too; see
:mod:`closeup.networks.pooling`. With ``zoom`` it is averaged with that of the picture's middle,
four fifths of each side, for which it takes a picture a quarter larger. Any of these may be
omitted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError, UsageError
from closeup.core.lock import work_folder
from closeup.networks.cache import Network, load, measured, networks_folder, save
from closeup.networks.card import GRAPH_FILE
from closeup.networks.engine import open_to_try, read_signature
from closeup.networks.engine.choice import remembered
from closeup.networks.pooling import Pooling, add_pooling, free_name, opset_of
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from closeup.networks.card import Card

ZOOM = 4 / 5
"""Side of the middle that ``zoom`` looks at, as a share of the picture's."""
_SIZE = re.compile(r"[1-9][0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Variant:
    """What a variant changes.

    `pooling` is ``""`` for the base's own embedding, ``"stages"`` or ``"cov"``; `size` is the side
    of what the base sees in pixels, 0 for its own.
    """

    pooling: Pooling = ""
    size: int = 0
    zoom: bool = False
    flip: bool = False

    def __str__(self) -> str:
        size = str(self.size) * bool(self.size)
        parts = (self.pooling, size, "zoom" * self.zoom, "flip" * self.flip)
        return "-".join(part for part in parts if part)

    @property
    def work(self) -> float:
        """The pixels that go through the base, as a multiple of the input's."""
        return (2 if self.flip else 1) * (2 * ZOOM**2 if self.zoom else 1)


def split_name(name: str) -> tuple[str, Variant | None]:
    """The base name and the variant of ``BASE@VARIANT``, or None; UsageError if it is no variant.

    >>> split_name("mobilenetv2@stages-320")
    ('mobilenetv2', Variant(pooling='stages', size=320, zoom=False, flip=False))
    """
    base, found, text = name.partition("@")
    if not found:
        return name, None
    words = text.split("-")
    sizes = [int(word) for word in words if _SIZE.fullmatch(word)]
    pooling = [word for word in words if word in ("stages", "cov")]
    zooms, flips = words.count("zoom"), words.count("flip")
    counts = (len(sizes), len(pooling), zooms, flips)
    if sum(counts) != len(words) or max(counts) > 1:
        raise UsageError(
            f"{name}: expected NAME@ followed by `stages` or `cov`, a size in pixels, `zoom`, "
            "`flip`, or several of these, joined by `-` (as in mobilenetv2@stages-320-flip)"
        )
    chosen: Pooling = "cov" if "cov" in pooling else "stages" if pooling else ""
    return base, Variant(chosen, sizes[0] if sizes else 0, bool(zooms), bool(flips))


def derive(base: Network, variant: Variant) -> Network:
    """The variant of a backbone, from the cache where it was made from this very `base` before.

    Raises
    ------
    UsageError
        Where `base` is not a backbone, has no feature maps, or does not take the size.
    """
    name = f"{base.card.name}@{variant}"
    folder = networks_folder() / name
    if folder.is_dir():
        network = load(folder)
        if network.card.made_with.get("base") == base.card.sha256:
            return network
    if base.card.kind != "backbone":
        raise UsageError(f"{base.card.name} is a {base.card.kind}; only a backbone has variants")
    with work_folder(networks_folder(), ".making-") as work:
        card = base.card.model_copy(update={"name": name})
        card = _rewrite(card, base.file, work / GRAPH_FILE, variant)
        made_with = {**card.made_with, "base": base.card.sha256}
        card = card.model_copy(update={"scores": {}, "made_with": made_with})
        return save(card, work / card.graph, folder)


def has_feature_maps(network: Network) -> bool:
    """Whether there is a variant ``cov`` of a backbone; found once and remembered."""
    if network.card.made_with.get("flip"):  # what it sees inside are two pictures
        return False

    def tried() -> dict[str, bool]:
        try:
            derive(network, Variant("cov"))
        except UsageError:
            return {"found": False}
        return {"found": True}

    return bool(remembered(read_signature(network.file), "convolutional maps", tried)["found"])


def mirror(card: Card, file: Path) -> Card:
    """Let a backbone's graph embed its picture and the mirror image, and give the mean of both.

    `file`, the graph, has one input ``(n, 3, height, width)`` and one output ``(n, dim)``; it is
    rewritten. Returns the card that fits the new graph.
    """
    made = _rewrite(card, file, file, Variant(flip=True))
    changes = {"blocks": card.blocks, "made_with": {**card.made_with, "flip": "mean"}}
    return made.model_copy(update=changes)


def _rewrite(card: Card, source: Path, file: Path, variant: Variant) -> Card:
    """Write the variant of the graph `source` to `file`, and return the card that fits it."""
    import onnx

    model, spec = onnx.load(source), card.input
    if variant.size:
        _resize(model, variant.size)
        spec = spec.model_copy(update={"width": variant.size, "height": variant.size})
    blocks: tuple[int, ...] = (card.dim,)
    output = model.graph.output[0].name
    if variant.pooling:
        output, blocks = add_pooling(model, output, card, variant.pooling)
    if variant.zoom or variant.flip:
        outer = round(spec.width / ZOOM) if variant.zoom else 0
        output = _add_looks(model, output, outer, variant.flip)
        if variant.zoom:
            spec = spec.model_copy(update={"width": outer, "height": outer})
    finish(model, output, sum(blocks))
    file.write_bytes(model.SerializeToString())
    check_runs(card.name, file, spec, sum(blocks))
    changes = {"graph": file.name, "input": spec, "dim": sum(blocks), "blocks": blocks}
    return card.model_copy(update={**changes, **measured(file)})


def finish(model: ModelProto, output: str, dim: int) -> None:
    """Make the tensor `output` the graph's one output, called ``embedding``."""
    import onnx

    value = onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", dim])
    _rename(model, output, "embedding")
    del model.graph.output[:]
    model.graph.output.append(value)
    # The shapes that were noted inside no longer hold.
    del model.graph.value_info[:]
    onnx.checker.check_model(model)


def _resize(model: ModelProto, size: int) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_value = dims[3].dim_value = size
    del model.graph.value_info[:]


def _add_looks(model: ModelProto, output: str, outer: int, flip: bool) -> str:
    """Run several looks at the picture through the graph at once, and give their mean.

    - `outer`: the side of the square picture that the graph takes now, of which it sees the whole
      and the middle; 0 for one that it sees as it is
    - `flip`: whether it sees each mirrored as well
    """
    from onnx import helper, numpy_helper

    def tensor(word: str) -> str:
        return free_name(model, f"closeup_{word}")

    def constant(word: str, values: Any) -> str:
        name = tensor(word)
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        return name

    taken = model.graph.input[0]
    image, inner, mean = taken.name, tensor("looks"), tensor("mean")
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == image:
                node.input[place] = inner
    looks: list[str] = [image]
    first: list[NodeProto] = []
    if outer:
        dims = taken.type.tensor_type.shape.dim
        side = dims[3].dim_value
        dims[2].dim_value = dims[3].dim_value = outer
        looks = [tensor("whole"), tensor("middle")]
        factors = resizing((outer, outer), (side, side))
        start = np.full(2, (outer - side) // 2)
        slices = {"from": start, "to": start + side, "sides": [2, 3]}
        first += [
            helper.make_node("Resize", [image, "", constant("factors", factors)], looks[:1],
                             mode="linear"),
            helper.make_node("Slice", [image, *(constant(*one) for one in slices.items())],
                             looks[1:]),
        ]  # fmt: skip
    if flip:
        slices = {"starts": [-1], "ends": [-(2**31)], "axes": [3], "steps": [-1]}
        backwards = [constant(*one) for one in slices.items()]
        for number, look in enumerate(tuple(looks)):
            looks.append(tensor(f"mirrored{number}"))
            first.append(helper.make_node("Slice", [look, *backwards], looks[-1:]))
    first.append(helper.make_node("Concat", looks, [inner], axis=0))
    parts = [f"{mean}_of_{number}" for number in range(len(looks))]
    count = {"num_outputs": len(looks)} if opset_of(model) >= 18 else {}
    last = [
        helper.make_node("Split", [output], parts, axis=0, **count),
        helper.make_node("Mean", parts, [mean]),
    ]
    nodes = [*first, *model.graph.node, *last]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return mean


def resizing(given: tuple[int, int], wanted: tuple[int, int]) -> NDArray[np.float32]:
    """The factors of a ``Resize`` from one height and width to another.

    Sides are computed from factors and rounded down, so these are never too small.
    """
    factors = [np.float32(after / before) for before, after in zip(given, wanted, strict=True)]
    up = [factor if float(factor) * before >= after else np.nextafter(factor, np.float32(np.inf))
          for factor, before, after in zip(factors, given, wanted, strict=True)]  # fmt: skip
    return np.array([1, 1, *up], np.float32)


def _rename(model: ModelProto, old: str, new: str) -> None:
    """Rename the tensor `old` to `new`; a tensor that has this name already gets another."""
    if old == new:
        return
    names = {new: free_name(model, new), old: new}
    for node in model.graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                field[place] = names.get(name, name)
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def check_runs(name: str, file: Path, spec: InputSpec, dim: int) -> None:
    """Raise UsageError where a graph does not give a ``(1, dim)`` embedding."""
    picture: Any = np.zeros((1, 3, spec.height, spec.width), np.float32)
    try:
        graph = open_to_try(file)
        (answer,) = graph.run({next(iter(graph.inputs)): picture}).values()
    except NetworkError as err:
        raise UsageError(
            f"{name} cannot be made: {err}; try another size, or omit `stages`"
        ) from err
    if answer.shape != (1, dim):
        raise UsageError(f"{name} gives {answer.shape} instead of (1, {dim}); try another size")
