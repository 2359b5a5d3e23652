"""Detectors by name: their weights, turned into an ONNX graph with its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from closeup.core.errors import NetworkMissing, UsageError
from closeup.core.progress import Progress, silent
from closeup.networks.cache import measured
from closeup.networks.card import Card
from closeup.networks.convert import torchvision_detectors, transformers_detectors
from closeup.networks.convert.onnx_export import Converted, made_with, need_torch, write_graph
from closeup.networks.engine import cache_folder

GRAPH_FILE = "graph.onnx"
UNVERIFIED = "not verified on real weights"


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """Where a detector comes from.

    `source` is the hub repository of its weights, for torchvision the name of its builder; `size`
    the side of its input in pixels, where a checkpoint does not state its own.
    """

    framework: Literal["torchvision", "transformers"]
    source: str
    size: int
    licence: str
    trained_on: tuple[str, ...] = ("COCO 2017",)
    note: str = ""


def _torchvision(builder: str, size: int) -> DetectorRecipe:
    return DetectorRecipe("torchvision", builder, size, "BSD-3-Clause")


def _hub(source: str, *more: str, note: str = "") -> DetectorRecipe:
    """A checkpoint of transformers; `more` are data sets besides COCO."""
    return DetectorRecipe("transformers", source, 640, "Apache-2.0", ("COCO 2017", *more), note)


DETECTORS: Mapping[str, DetectorRecipe] = MappingProxyType(
    {
        "d-fine-n": _hub("ustc-community/dfine-nano-coco"),
        "d-fine-s": _hub("ustc-community/dfine-small-coco"),
        "d-fine-m": _hub("ustc-community/dfine-medium-coco"),
        "d-fine-l": _hub("ustc-community/dfine-large-coco"),
        "faster-rcnn": _torchvision("fasterrcnn_resnet50_fpn", 1024),
        "faster-rcnn-v2": _torchvision("fasterrcnn_resnet50_fpn_v2", 1024),
        "ssdlite": _torchvision("ssdlite320_mobilenet_v3_large", 320),
        "rt-detr": _hub("PekingU/rtdetr_r18vd_coco_o365", "Objects365"),
        "rt-detr-r50": _hub("PekingU/rtdetr_r50vd_coco_o365", "Objects365"),
        "rt-detr-v2": _hub("PekingU/rtdetr_v2_r18vd"),
        "rt-detr-v2-r50": _hub("PekingU/rtdetr_v2_r50vd"),
        "deimv2-n": _hub("harshaljanjani/DEIMv2_HGNetv2_N_COCO_Transformers", note=UNVERIFIED),
    }
)
"""The detectors that can be downloaded by name."""


def export_detector(
    name: str,
    target: Path,
    progress: Progress = silent,
    offline: bool | None = None,
    *,
    weights: Path | None = None,
) -> Card:
    """Write ``graph.onnx`` of a named detector into the folder `target` and return its card.

    Parameters
    ----------
    name
        One of :data:`DETECTORS`.
    progress, offline
        As for :func:`closeup.networks.find`.
    weights
        A local file instead of the download: torchvision's checkpoint, or a ``model.safetensors``
        with its ``config.json`` and ``preprocessor_config.json`` beside it.

    Raises
    ------
    UsageError
        Where no detector is called `name`.
    NetworkError
        Where the weights or PyTorch are absent (NetworkMissing), the weights are damaged or of
        another network (NetworkDamaged), or the export fails.
    """
    if name not in DETECTORS:
        raise UsageError(f"no detector is called {name!r}; there are {', '.join(DETECTORS)}")
    recipe = DETECTORS[name]
    need_torch(f"converting {name}")
    load = _from_torchvision if recipe.framework == "torchvision" else _from_transformers
    return write_detector(name, load(recipe, weights, progress, offline), target)


def _from_torchvision(
    recipe: DetectorRecipe, weights: Path | None, progress: Progress, offline: bool | None
) -> Converted:
    from closeup.networks.convert.weights import load_weights
    from closeup.networks.download import download_url

    if weights is None:
        url = torchvision_detectors.weights_url(recipe.source)
        place = cache_folder() / "downloads" / "torchvision" / url.rsplit("/", 1)[1]
        start = place.stem.rsplit("-", 1)[1]
        weights = download_url(url, place, sha256=start, progress=progress, offline=offline)
    model = torchvision_detectors.build(recipe.source)
    load_weights(model, weights)
    return torchvision_detectors.converted(model, recipe.size)


def _from_transformers(
    recipe: DetectorRecipe, weights: Path | None, progress: Progress, offline: bool | None
) -> Converted:
    from closeup.networks.download import download

    names, repo = transformers_detectors.FILES, recipe.source
    if weights is None:
        files = {n: download(repo, n, progress=progress, offline=offline) for n in names}
    else:
        files = {name: weights.parent / name for name in names}
        files[transformers_detectors.WEIGHTS_FILE] = weights
        for name, file in files.items():
            if not file.is_file():
                raise NetworkMissing(
                    f"{file} is not there: put the {name} of {recipe.source} beside {weights.name}"
                )
    spec = transformers_detectors.input_spec(files[transformers_detectors.PREPROCESSOR_FILE])
    return transformers_detectors.converted(transformers_detectors.read_checkpoint(files), spec)


def write_detector(name: str, converted: Converted, target: Path) -> Card:
    """Write ``graph.onnx`` of the detector `name`, however its module was made, and its card."""
    recipe, file = DETECTORS[name], target / GRAPH_FILE
    write_graph(name, converted, file)
    title = f"{recipe.framework} {recipe.source}"
    if recipe.framework == "transformers":
        source = f"https://huggingface.co/{recipe.source}"
    else:
        source = torchvision_detectors.weights_url(recipe.source)
    return Card(
        name=name,
        kind="detector",
        family=converted.family,
        **measured(file),
        input=converted.spec,
        batch=1,
        classes=converted.classes,
        description=f"{title} ({recipe.note})" if recipe.note else title,
        licence=recipe.licence,
        source=source,
        trained_on=recipe.trained_on,
        made_with=made_with(recipe.framework),
    )
