"""Detectors by name: their weights, turned into an ONNX graph with its card.

PyTorch, torchvision and transformers are imported inside the functions.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkError, NetworkMissing, UsageError
from closeup.core.progress import Progress, silent
from closeup.networks.cache import file_hash
from closeup.networks.card import Card
from closeup.networks.coco import COCO80, COCO91
from closeup.networks.convert import detr as export_detr
from closeup.networks.convert import torchvision_detectors as export_torchvision
from closeup.networks.convert.onnx_export import OPSET, need_torch, trace_onnx
from closeup.networks.engine import open_graph
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from torch import nn

GRAPH_FILE = "graph.onnx"
UNVERIFIED = "not verified on real weights"


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """How a detector is had.

    Attributes
    ----------
    framework
        Where its architecture comes from.
    source
        The hub repository of its weights; for torchvision the name of its builder.
    size
        Width and height of its input in pixels; a checkpoint's own word goes before it.
    model_type, sizes
        What transformers calls the architecture, and the arguments that give it its size: used
        only to build it with random weights.
    """

    framework: Literal["torchvision", "transformers"]
    source: str
    size: int
    licence: str
    trained_on: tuple[str, ...] = ("COCO 2017",)
    note: str = ""
    model_type: str = ""
    sizes: Mapping[str, Any] = field(default_factory=dict)


def _torchvision(builder: str, size: int) -> DetectorRecipe:
    return DetectorRecipe("torchvision", builder, size, "BSD-3-Clause")


def _hub(source: str, model_type: str, *more: str, note: str = "", **sizes: Any) -> DetectorRecipe:
    """A checkpoint of transformers; `more` are data sets besides COCO."""
    trained_on = ("COCO 2017", *more)
    return DetectorRecipe(
        "transformers", source, 640, "Apache-2.0", trained_on, note, model_type, sizes
    )


DETECTORS: Mapping[str, DetectorRecipe] = MappingProxyType(
    {
        "d-fine-n": _hub("ustc-community/dfine-nano-coco", "d_fine", **export_detr.D_FINE_N),
        "d-fine-s": _hub("ustc-community/dfine-small-coco", "d_fine"),
        "d-fine-m": _hub("ustc-community/dfine-medium-coco", "d_fine"),
        "d-fine-l": _hub("ustc-community/dfine-large-coco", "d_fine"),
        "faster-rcnn": _torchvision("fasterrcnn_resnet50_fpn", 1024),
        "faster-rcnn-v2": _torchvision("fasterrcnn_resnet50_fpn_v2", 1024),
        "ssdlite": _torchvision("ssdlite320_mobilenet_v3_large", 320),
        "rt-detr": _hub("PekingU/rtdetr_r18vd_coco_o365", "rt_detr", "Objects365"),
        "rt-detr-r50": _hub("PekingU/rtdetr_r50vd_coco_o365", "rt_detr", "Objects365"),
        "rt-detr-v2": _hub("PekingU/rtdetr_v2_r18vd", "rt_detr_v2"),
        "rt-detr-v2-r50": _hub("PekingU/rtdetr_v2_r50vd", "rt_detr_v2"),
        "deimv2-n": _hub(
            "harshaljanjani/DEIMv2_HGNetv2_N_COCO_Transformers", "deimv2", note=UNVERIFIED
        ),
    }
)
"""The detectors that can be had by name."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A detector as a PyTorch module, ready for export, and what its card will say.

    `inputs` and `outputs` are the names of the graph's inputs and outputs; the first input is the
    picture.
    """

    module: nn.Module
    family: Literal["detr", "rcnn"]
    spec: InputSpec
    classes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def from_torchvision(model: nn.Module, size: int, classes: tuple[str, ...] = COCO91) -> Converted:
    """An R-CNN or SSD of torchvision, ready for export."""
    return Converted(
        export_torchvision.deployed(model),
        "rcnn",
        export_torchvision.input_spec(model, size),
        classes,
        ("images",),
        ("boxes", "labels", "scores"),
    )


def from_transformers(model: nn.Module, spec: InputSpec) -> Converted:
    """A DETR of transformers, ready for export; the categories are those of its configuration."""
    return Converted(
        export_detr.deployed(model),
        "detr",
        spec,
        export_detr.class_names(model),
        ("images", "orig_target_sizes"),
        ("labels", "boxes", "scores"),
    )


def export_detector(
    name: str,
    target: Path,
    progress: Progress = silent,
    offline: bool | None = None,
    *,
    weights: Path | None = None,
    random_weights: bool = False,
) -> Card:
    """Write ``graph.onnx`` of a named detector into the folder `target` and return its card.

    Parameters
    ----------
    name
        One of :data:`DETECTORS`.
    progress
        Called while weights are downloaded, with bytes done and in all.
    offline
        Download nothing; None asks the environment.
    weights
        A local file in the place of the download: torchvision's checkpoint, or a
        ``model.safetensors`` with its ``config.json`` and ``preprocessor_config.json`` beside it.
    random_weights
        Use none: for tests and timing. Architectures whose sizes are not written down here get
        those of transformers' defaults.

    Raises
    ------
    UsageError
        Where no detector is called `name`.
    NetworkMissing
        Where the weights are neither on disk nor to be had; it says where to put them by hand.
    NetworkDamaged
        Where the weights are damaged or of another network.
    NetworkError
        Where PyTorch is absent, or the export fails.
    """
    if name not in DETECTORS:
        raise UsageError(f"no detector is called {name!r}; there are {', '.join(DETECTORS)}")
    recipe = DETECTORS[name]
    need_torch(f"converting {name}")
    if random_weights:
        converted = _random(recipe)
    elif recipe.framework == "torchvision":
        converted = _from_weights(recipe, weights or _fetch_torchvision(recipe, progress, offline))
    else:
        converted = _from_checkpoint(_checkpoint_files(recipe, weights, progress, offline))
    return _export(name, recipe, converted, target)


def _random(recipe: DetectorRecipe) -> Converted:
    if recipe.framework == "torchvision":
        return from_torchvision(export_torchvision.build(recipe.source), recipe.size)
    model = export_detr.build(recipe.model_type, COCO80, dict(recipe.sizes))
    return from_transformers(
        model, InputSpec(width=recipe.size, height=recipe.size, resize="stretch")
    )


def _fetch_torchvision(recipe: DetectorRecipe, progress: Progress, offline: bool | None) -> Path:
    from closeup.networks.download import download_url

    file = export_torchvision.weights_file(recipe.source)
    return download_url(
        file.url, file.place, sha256=file.sha256_start, progress=progress, offline=offline
    )


def _from_weights(recipe: DetectorRecipe, weights: Path) -> Converted:
    from closeup.networks.convert.backbones import Backbone, load_weights, read_weights

    model = export_torchvision.build(recipe.source)
    load_weights(Backbone(model, {}, ()), read_weights(weights), weights)
    return from_torchvision(model, recipe.size)


def _checkpoint_files(
    recipe: DetectorRecipe, weights: Path | None, progress: Progress, offline: bool | None
) -> dict[str, Path]:
    """The files of a checkpoint, by their usual names, wherever they lie."""
    from closeup.networks.download import download

    if weights is None:
        return {
            name: download(recipe.source, name, progress=progress, offline=offline)
            for name in export_detr.FILES
        }
    files = {name: weights.parent / name for name in export_detr.FILES}
    files[export_detr.WEIGHTS_FILE] = weights
    for name, file in files.items():
        if not file.is_file():
            raise NetworkMissing(
                f"{file} is not there: put the {name} of {recipe.source} beside {weights.name}"
            )
    return files


def _from_checkpoint(files: Mapping[str, Path]) -> Converted:
    spec = export_detr.input_spec(files[export_detr.PREPROCESSOR_FILE])
    # transformers wants them in one folder and under these names; they may come from two caches.
    with tempfile.TemporaryDirectory() as folder:
        for name, file in files.items():
            _link(file, Path(folder) / name)
        return from_transformers(export_detr.read_checkpoint(Path(folder)), spec)


def _link(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file.resolve())
    except OSError:  # Windows allows it to administrators only
        shutil.copyfile(file, place)


def _export(name: str, recipe: DetectorRecipe, converted: Converted, target: Path) -> Card:
    import torch

    from closeup._version import __version__

    file = target / GRAPH_FILE
    write_graph(name, converted, file)
    library = __import__(recipe.framework)
    title = f"{recipe.framework} {recipe.source}"
    return Card(
        name=name,
        kind="detector",
        family=converted.family,
        sha256=file_hash(file),
        bytes=file.stat().st_size,
        input=converted.spec,
        batch=1,
        classes=converted.classes,
        description=f"{title} ({recipe.note})" if recipe.note else title,
        licence=recipe.licence,
        source=_address(recipe),
        trained_on=recipe.trained_on,
        made_with={
            "closeup": __version__,
            "torch": str(torch.__version__),
            recipe.framework: str(library.__version__),
            "opset": str(OPSET),
        },
    )


def _address(recipe: DetectorRecipe) -> str:
    if recipe.framework == "transformers":
        return f"https://huggingface.co/{recipe.source}"
    return export_torchvision.weights_file(recipe.source).url


def write_graph(name: str, converted: Converted, file: Path) -> None:
    """Export a detector to `file` and check it against PyTorch on random pixels.

    Raises
    ------
    NetworkError
        Where the export fails, or the graph's best scores are not PyTorch's.
    """
    import torch

    spec = converted.spec
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, spec.height, spec.width, generator=generator)
    inputs = [pixels, torch.tensor([[spec.width, spec.height]])][: len(converted.inputs)]
    with torch.no_grad():
        expected = dict(zip(converted.outputs, converted.module(*inputs), strict=True))
    trace_onnx(
        converted.module,
        inputs,
        file,
        input_names=converted.inputs,
        output_names=converted.outputs,
    )
    # ONNX Runtime, because OpenVINO would leave a compiled copy of this temporary file behind.
    graph = open_graph(file, EngineConfig(engine="onnxruntime"))
    feeds = {key: value.numpy() for key, value in zip(converted.inputs, inputs, strict=True)}
    found = _best_scores(graph.run(feeds)["scores"])
    gap = float(np.abs(found - _best_scores(expected["scores"].numpy())).max())
    if not gap <= 0.01:  # also true of NaN
        raise NetworkError(
            f"{name}: the exported graph's scores differ from PyTorch's by {gap:.2g}; "
            "the export is wrong, use another version of PyTorch"
        )


def _best_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ten best, filled up with the least score that a graph may give."""
    best = np.sort(scores.reshape(-1))[::-1][:10]
    filled = np.full(10, export_torchvision.LEAST_SCORE, np.float32)
    filled[: len(best)] = best
    return filled
