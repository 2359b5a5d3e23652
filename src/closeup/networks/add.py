"""Add a network of the user's own: a backbone in any form, or an ONNX detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.core.lock import work_folder
from closeup.core.progress import Progress, silent
from closeup.networks.cache import Network, measured, networks_folder, refuse_existing, save
from closeup.networks.card import Card
from closeup.networks.coco import LISTS, class_list
from closeup.networks.convert.backbones import Architecture
from closeup.networks.convert.onnx_export import need_torch
from closeup.networks.engine import Graph, Results, open_graph
from closeup.networks.layouts import Source, locate
from closeup.networks.names import check_name
from closeup.networks.onnx_backbone import embedding_graph
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputOverrides, InputSpec
from closeup.networks.tokens import TokenPool

Say = Callable[[str], object]
_UNNAMED = "backbone"


def _silent(sentence: str) -> None:
    """Say nothing."""


OwnFamily = Literal["yolox", "picodet", "detr", "detr-logits"]

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "yolox": {"color": "bgr", "scale": "byte", "resize": "letterbox", "anchor": "corner"},
    "picodet": {"resize": "stretch", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "detr": {"resize": "stretch"},
    "detr-logits": {"resize": "stretch"},
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
        ``detr-logits``: ``logits`` ``(1, queries, classes)`` and ``pred_boxes``
        ``(1, queries, 4)`` come out, as transformers exports D-FINE and RT-DETR.
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


def add_backbone(
    source: str | Path,
    *,
    name: str,
    timm: str = "",
    torchvision: str = "",
    args: Mapping[str, Any] | None = None,
    pool: TokenPool | None = None,
    overrides: InputOverrides = InputOverrides(),  # noqa: B008 (frozen)
    about: Mapping[str, Any] | None = None,
    replace: bool = False,
    say: Say = _silent,
    progress: Progress = silent,
) -> Network:
    """Add a backbone to the cache: an ONNX file, a checkpoint, a folder or a hub repository.

    A classifier is removed; feature maps are averaged over the picture, tokens pooled. Only what
    comes as ONNX needs no PyTorch, and only what comes as a checkpoint of timm or torchvision can
    be fine-tuned later.

    Parameters
    ----------
    source
        An ``.onnx`` file; a ``.safetensors`` file or PyTorch checkpoint of plain weights; a folder
        as transformers or timm lay it out (an ONNX file in it is preferred); or
        ``hf:OWNER/NAME[@REVISION]``, such a folder on the model hub.
    timm, torchvision
        A checkpoint's architecture by its name in one of these libraries, where no ``config.json``
        beside it names one of timm's.
    args
        Keyword arguments for building it, such as ``{"pad_type": "same"}``.
    pool
        How a vision transformer's tokens become an embedding, see
        :func:`closeup.networks.tokens.pooled`; None is ``both`` where all tokens are given, and
        what its classifier was given where it ends in one.
    overrides
        How the input differs from what a ``preprocessor_config.json`` or timm's ``config.json``
        beside the weights says, or the framework; of an ONNX file alone, ImageNet's mean and
        standard deviation are assumed, and 224 pixels where its size is free.
    about
        Further fields of the card: ``licence``, ``source``, ``description``, ``trained_on``.
    replace
        Put it in the place of a network of the same name.
    say
        Called with each sentence that the user should read: what was taken, ignored, assumed.
    progress
        Called with the bytes done and the total while files are downloaded.

    Raises
    ------
    UsageError
        Where `name` is taken, an argument does not fit, or nothing at `source` embeds pictures.
    NetworkError
        Where files are damaged or do not hold the architecture's weights (NetworkDamaged), they or
        PyTorch are absent (NetworkMissing), or the export fails.
    """
    check_name(name)
    refuse_existing(name, replace)
    if timm and torchvision:
        raise UsageError("give --timm or --torchvision, not both")
    if pool is not None and pool not in get_args(TokenPool):
        raise UsageError(f"pool {pool!r}: expected one of {', '.join(get_args(TokenPool))}")
    found = locate(source, progress)
    named: Architecture | None = None
    if timm or torchvision:
        named = Architecture("timm" if timm else "torchvision", timm or torchvision, args or {})
    elif stated := found.architecture:
        named = Architecture("timm", stated[0], {**stated[1], **(args or {})})
    folder = networks_folder()
    with work_folder(folder, ".making-") as work:
        if found.is_onnx and (timm or torchvision or args):
            raise UsageError(f"{found.file} is whole: omit --timm, --torchvision and --arg")
        if named is not None and not found.is_onnx:
            if pool is not None:
                raise UsageError(
                    f"{named.framework} pools the tokens of {named.name} itself: omit --pool, or "
                    "give it --arg global_pool=avg"
                )
            card = _converted(name, named, found, work, overrides, say)
        else:
            graph = found.file if found.is_onnx else _exported(found, work)
            card = _embedding_card(graph, work, found, pool, overrides, say)
        card = card.model_copy(update={"name": name, **found.about, **(about or {})})
        return save(card, work / card.graph, folder / name)


def _converted(
    name: str, made: Architecture, found: Source, work: Path, overrides: InputOverrides, say: Say
) -> Card:
    """Write the graph of a checkpoint of timm or torchvision into `work`."""
    need_torch(f"converting {found.file}")
    from closeup.networks.convert import backbones as export

    backbone = export.from_checkpoint(made, overrides, found.file, found.spec)
    for note in backbone.notes:
        say(note)
    # The licence and data sets of the framework's own weights say nothing about this file.
    about = {"licence": "unknown", "trained_on": (), "description": f"{made.framework} {made.name}"}
    return export.export_backbone(backbone, work, name, overrides, about)


def _exported(found: Source, work: Path) -> Path:
    """The ONNX file of a network of transformers, exported now."""
    if found.config_file is None or "model_type" not in found.config:
        raise UsageError(
            f"{found.file} needs its architecture: give --timm or --torchvision, or put the "
            "config.json of its makers beside it"
        )
    need_torch(f"converting {found.file}")
    from closeup.networks.convert.transformers_backbones import export_tokens

    return export_tokens(found.config_file, found.file, found.spec, work / "exported.onnx")


def _embedding_card(
    graph: Path,
    work: Path,
    found: Source,
    pool: TokenPool | None,
    overrides: InputOverrides,
    say: Say,
) -> Card:
    """Write ``graph.onnx`` into `work`; its card still lacks its name."""
    from closeup._version import __version__

    file = work / "graph.onnx"
    made = embedding_graph(graph, file, overrides=overrides, stated=found.spec, pool=pool)
    if found.stated_in:
        say(f"input as {found.stated_in} says: {made.spec.width}x{made.spec.height}")
    for note in made.notes:
        say(note)
    return Card(
        name=_UNNAMED,
        kind="backbone",
        family="embedding",
        **measured(file),
        input=made.spec,
        batch=made.batch,
        dim=sum(made.blocks),
        blocks=made.blocks if len(made.blocks) > 1 else (),
        description=made.notes[0] if made.notes else "",
        made_with={"closeup": __version__},
    )


def class_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """A detector's class names, in its own order.

    `classes` is one of :data:`closeup.networks.coco.LISTS`, a text file with a name per line, or
    names separated by commas. An empty line, or nothing between two commas, is an unused number.
    Raises UsageError where there is no name, or one appears twice.
    """
    if not isinstance(classes, str):
        names = tuple(classes)
    elif classes in LISTS:
        names = class_list(classes)
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
            f"classes {classes!r}: expected {', '.join(LISTS)}, a text file with a name per line, "
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


def _queries_fault(outputs: Results, spec: InputSpec, classes: int) -> str:
    if missing := {"logits", "pred_boxes"} - outputs.keys():
        return f"it has no output {', '.join(sorted(missing))}"
    logits, boxes = outputs["logits"].shape, outputs["pred_boxes"].shape
    if len(logits) != 3 or boxes != (*logits[:2], 4):
        return "expected logits (1, queries, classes) and pred_boxes (1, queries, 4)"
    if logits[2] not in (classes, classes + 1):
        return f"it scores {logits[2]} classes"
    return ""


_FAULTS = {
    "yolox": _yolox_fault,
    "picodet": _picodet_fault,
    "detr": _detr_fault,
    "detr-logits": _queries_fault,
}
