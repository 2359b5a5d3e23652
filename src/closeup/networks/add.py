"""Add a network of the user's own: an ONNX detector, or a checkpoint with its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.core.lock import work_folder
from closeup.networks.cache import Network, measured, networks_folder, save
from closeup.networks.card import Card
from closeup.networks.coco import COCO80, COCO91
from closeup.networks.convert.onnx_export import need_torch
from closeup.networks.engine import Graph, Results, open_graph
from closeup.networks.names import check_name
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputOverrides, InputSpec

OwnFamily = Literal["yolox", "picodet", "detr"]

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "yolox": {"color": "bgr", "scale": "byte", "resize": "letterbox", "anchor": "corner"},
    "picodet": {"resize": "stretch", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "detr": {"resize": "stretch"},
}
_SIZES = "orig_target_sizes"


def add_onnx(
    file: Path,
    *,
    name: str,
    family: OwnFamily,
    classes: str | Sequence[str],
    overrides: InputOverrides = InputOverrides(),  # noqa: B008 (frozen)
    about: Mapping[str, Any] | None = None,
) -> Network:
    """Add a detector's ONNX file to the cache, replacing one of the same name.

    The graph is run once on noise, and its outputs must fit `family` and `classes`.

    Parameters
    ----------
    family
        ``yolox``: one output ``(1, cells, 5 + classes)`` at strides 8, 16, 32 (and 64).
        ``picodet``: score maps ``(1, cells, classes)``, then as many box distributions
        ``(1, cells, 4 * bins)``, one of each per stride from 8 up.
        ``detr``: a picture and ``orig_target_sizes`` go in; ``labels``, ``boxes`` and ``scores``
        come out.
    classes
        See :func:`class_names`; a sequence is taken as it is.
    overrides
        How the input differs from the family's usual one; the size is read from the graph, and
        must be given where the graph leaves it free.
    about
        Further fields of the card: ``licence``, ``source``, ``description``, ``trained_on``.

    Raises
    ------
    UsageError
        Where an argument is unknown or missing, or file, family and classes do not fit together.
    NetworkDamaged
        Where the file is not one whole ONNX file.
    """
    check_name(name)
    if family not in get_args(OwnFamily):
        raise UsageError(f"family {family!r}: expected one of {', '.join(get_args(OwnFamily))}")
    names = class_names(classes)
    graph = open_graph(file, EngineConfig(engine="onnxruntime"))
    picture = _picture_input(file, graph, (_SIZES,) if family == "detr" else ())
    batch, _, height, width = graph.inputs[picture]
    spec = _spec(file, family, (width, height), overrides)
    outputs = graph.run(_noise(graph, picture, spec))
    if fault := _FAULTS[family](outputs, spec, len(names)):
        found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
        raise UsageError(
            f"{file} does not fit family {family} with {len(names)} classes: {fault}. "
            f"Its outputs are {found}; check --family, --classes and --size"
        )
    card = Card(
        name=name,
        kind="detector",
        family=family,
        **measured(file),
        input=spec,
        batch=batch or 0,
        classes=names,
        **{"source": file.name, **(about or {})},
    )
    return save(card, file, networks_folder() / name)


def add_checkpoint(
    file: Path,
    *,
    name: str,
    timm: str = "",
    torchvision: str = "",
    args: Mapping[str, Any] | None = None,
    overrides: InputOverrides = InputOverrides(),  # noqa: B008 (frozen)
    about: Mapping[str, Any] | None = None,
) -> Network:
    """Convert a checkpoint to a backbone in the cache, replacing one of the same name.

    Needs PyTorch. The classifier is removed; the features are averaged over the picture.

    Parameters
    ----------
    file
        ``.safetensors`` or a PyTorch checkpoint of plain weights.
    timm, torchvision
        The architecture's name in one of these libraries.
    args
        Keyword arguments for building it, such as ``{"pad_type": "same"}``.
    overrides, about
        As for :func:`add_onnx`; the usual input is the one that the framework states.

    Raises
    ------
    UsageError
        Where not exactly one architecture is given, or it cannot be built like this.
    NetworkError
        Where the file does not hold the architecture's weights (NetworkDamaged), PyTorch is
        absent (NetworkMissing) or the export fails.
    """
    check_name(name)
    if bool(timm) == bool(torchvision):
        raise UsageError("a checkpoint needs its architecture: give --timm or --torchvision")
    need_torch(f"converting {file}")
    from closeup.networks.convert import backbones as export

    framework: Literal["timm", "torchvision"] = "timm" if timm else "torchvision"
    architecture = export.Architecture(framework, timm or torchvision, args or {})
    backbone = export.from_checkpoint(architecture, overrides, file)
    # The licence and data sets of the framework's own weights say nothing about this file.
    facts: dict[str, Any] = {"licence": "unknown", "trained_on": (), "source": file.name}
    facts["description"] = f"{architecture.framework} {architecture.name}"
    folder = networks_folder()
    with work_folder(folder, ".making-") as work:
        card = export.export_backbone(backbone, work, name, overrides, {**facts, **(about or {})})
        return save(card, work / card.graph, folder / name)


def class_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """A detector's class names, in its own order.

    `classes` is ``coco80``, ``coco91``, a text file with a name per line, or names separated by
    commas. An empty line, or nothing between two commas, is an unused number. Raises UsageError
    where there is no name, or one appears twice.
    """
    if not isinstance(classes, str):
        names = tuple(classes)
    elif classes in ("coco80", "coco91"):
        names = COCO80 if classes == "coco80" else COCO91
    elif "," in classes:
        names = tuple(part.strip() for part in classes.split(","))
    elif Path(classes).is_file():
        try:
            lines = Path(classes).read_text(encoding="utf8").rstrip().splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise UsageError(f"the class names in {classes} cannot be read: {err}") from err
        names = tuple(line.strip() for line in lines)
    else:
        raise UsageError(
            f"classes {classes!r}: expected coco80, coco91, a text file with a name per line, "
            "or names separated by commas"
        )
    used = [name for name in names if name]
    if not used:
        raise UsageError("a detector needs at least one class name")
    if twice := {name for name in used if used.count(name) > 1}:
        raise UsageError(f"class names must be unique; repeated: {', '.join(sorted(twice))}")
    return names


def _picture_input(file: Path, graph: Graph, others: tuple[str, ...]) -> str:
    pictures = [name for name, shape in graph.inputs.items() if len(shape) == 4]
    fits = len(pictures) == 1 and graph.inputs.keys() == {*pictures, *others}
    if not fits or graph.inputs[pictures[0]][1] not in (3, None):
        wanted = " and ".join(("one of shape (1, 3, height, width)", *others))
        raise UsageError(
            f"{file} has the inputs {dict(graph.inputs)}, but its family needs {wanted}: "
            "check --family"
        )
    if (batch := graph.inputs[pictures[0]][0]) not in (1, None):
        raise UsageError(f"{file} takes {batch} pictures at once; export it with a batch of 1")
    return pictures[0]


def _spec(
    file: Path, family: str, size: tuple[int | None, int | None], overrides: InputOverrides
) -> InputSpec:
    width, height = size
    if width is None or height is None:
        if overrides.size is None:
            raise UsageError(f"{file} does not fix the size of its input: give --size")
    elif overrides.size not in (None, (width, height)):
        raise UsageError(f"{file} takes {width}x{height} pixels only; omit --size")
    return overrides.apply({"width": width, "height": height, **_DEFAULTS[family]})


def _noise(graph: Graph, picture: str, spec: InputSpec) -> dict[str, np.ndarray[Any, Any]]:
    top = 255.0 if spec.scale == "byte" else 1.0
    pixels = np.random.default_rng(0).random((1, 3, spec.height, spec.width)) * top
    feeds: dict[str, Any] = {picture: pixels.astype(np.float32)}
    if _SIZES in graph.inputs:
        feeds[_SIZES] = np.array([[spec.width, spec.height]], np.int64)
    return feeds


def _cells(spec: InputSpec, level: int) -> int:
    return -(-spec.width // (8 << level)) * -(-spec.height // (8 << level))


def _yolox_fault(outputs: Results, spec: InputSpec, classes: int) -> str:
    (shape, *others) = [value.shape for value in outputs.values()]
    three = sum(_cells(spec, level) for level in range(3))
    cells = (three, three + _cells(spec, 3))
    if others or len(shape) != 3:
        return "expected one output (1, cells, 5 + classes)"
    if shape[2] != 5 + classes:
        return f"expected 5 + {classes} numbers for each cell, found {shape[2]}"
    if shape[1] not in cells:
        return f"expected {cells[0]} or {cells[1]} cells, found {shape[1]}"
    return ""


def _picodet_fault(outputs: Results, spec: InputSpec, classes: int) -> str:
    shapes = [value.shape for value in outputs.values()]
    levels = len(shapes) // 2
    if len(shapes) < 2 or len(shapes) % 2 or any(len(shape) != 3 for shape in shapes):
        return "expected score maps, then as many box distributions"
    for level, (scores, boxes) in enumerate(zip(shapes[:levels], shapes[levels:], strict=True)):
        cells = _cells(spec, level)
        if scores[1:] != (cells, classes):
            return f"expected scores (1, {cells}, {classes}) at stride {8 << level}"
        if boxes[1] != cells or boxes[2] % 4 or boxes[2] < 8:
            return f"expected box distributions (1, {cells}, 4 * bins) at stride {8 << level}"
    return ""


def _detr_fault(outputs: Results, spec: InputSpec, classes: int) -> str:
    if missing := {"labels", "boxes", "scores"} - outputs.keys():
        return f"it has no output {', '.join(sorted(missing))}"
    labels, boxes, scores = (outputs[name] for name in ("labels", "boxes", "scores"))
    if labels.ndim != 2 or scores.shape != labels.shape or boxes.shape != (*labels.shape, 4):
        return "expected labels and scores (1, boxes), and boxes (1, boxes, 4)"
    if labels.size and labels.max() >= classes:
        return f"it answers with class number {int(labels.max())}"
    return ""


_FAULTS = {"yolox": _yolox_fault, "picodet": _picodet_fault, "detr": _detr_fault}
