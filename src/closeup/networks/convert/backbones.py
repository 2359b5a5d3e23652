"""Turn a PyTorch backbone into an ONNX graph with its card; download one from timm."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from closeup.core.errors import NetworkMissing, UsageError
from closeup.core.progress import Progress
from closeup.networks.cache import measured
from closeup.networks.card import GRAPH_FILE, Card, Origin
from closeup.networks.catalogue import catalogue
from closeup.networks.convert.onnx_export import (
    export_onnx,
    made_with,
    need_torch,
    require_agreement,
)
from closeup.networks.convert.weights import load_weights
from closeup.networks.download import NEWEST, HubFile, Source, look, page_of
from closeup.networks.engine import file_hash, open_to_try
from closeup.networks.names import unknown
from closeup.networks.preprocess import InputOverrides

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS_FILE = "weights.safetensors"
_HEADS = ("classifier", "fc", "head", "heads")  # torchvision's names for the classifying part


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network of a framework: its name there, and keyword arguments for building it."""

    framework: Literal["timm", "torchvision"]
    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A PyTorch module from pixels to pooled features, and the input it expects.

    `spec` holds the arguments of its :class:`closeup.networks.preprocess.InputSpec`; `head` the
    prefixes of the classifier's keys, which a state dict may have or lack; `notes` what was found
    out about its weights.
    """

    architecture: Architecture
    module: nn.Module
    spec: dict[str, Any]
    head: tuple[str, ...]
    licence: str = "unknown"
    trained_on: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def build(architecture: Architecture, overrides: InputOverrides) -> Backbone:
    """A backbone with random weights, without its classifier.

    Raises UsageError where the framework has no such network, or it does not take the arguments.
    """
    builder = _build_timm if architecture.framework == "timm" else _build_torchvision
    return builder(architecture, overrides)


def _build_timm(architecture: Architecture, overrides: InputOverrides) -> Backbone:
    import timm

    name, args = architecture.name, dict(architecture.args)
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        raise UsageError(f"timm has no architecture {name!r}" + (f"; it has {near}" * bool(near)))
    config = timm.get_pretrained_cfg(name)
    if overrides.size and config is not None and config.fixed_input_size:
        args.setdefault("img_size", (overrides.size[1], overrides.size[0]))
    try:
        module = timm.create_model(name, pretrained=False, **{"num_classes": 0, **args})
    except (TypeError, ValueError, RuntimeError, AssertionError) as err:
        raise UsageError(f"timm cannot build {name} with {args}: {err}") from err
    stated = timm.data.resolve_model_data_config(module)
    size = args.get("img_size") or stated["input_size"][1:]
    height, width = (size, size) if isinstance(size, int) else size
    spec = {
        **{"width": width, "height": height, "mean": stated["mean"], "std": stated["std"]},
        "interpolation": "bilinear" if stated["interpolation"] == "bilinear" else "bicubic",
    }
    cfg = module.pretrained_cfg
    heads = cfg.get("classifier") or ()
    return Backbone(
        architecture,
        module,
        spec,
        (heads,) if isinstance(heads, str) else tuple(heads),
        cfg.get("license") or "unknown",
        _data_sets(cfg.get("tag") or ""),
    )


def _data_sets(tag: str) -> tuple[str, ...]:
    """What the tag of timm's weights says they were trained on."""
    names = {
        "in1k": "ImageNet-1k",
        "in12k": "ImageNet-12k",
        "in21k": "ImageNet-21k",
        "in22k": "ImageNet-22k",
        "lvd142m": "LVD-142M",
        "laion2b": "LAION-2B",
    }
    return tuple(name for mark, name in names.items() if mark in tag)


def _build_torchvision(architecture: Architecture, overrides: InputOverrides) -> Backbone:
    from torch import nn
    from torchvision import models

    name, args = architecture.name, dict(architecture.args)
    if name not in models.list_models(module=models):
        raise UsageError(
            f"torchvision has no classification network {name!r}; "
            f"it has {', '.join(models.list_models(module=models))}"
        )
    try:
        module = models.get_model(name, weights=None, **args)
    except (TypeError, ValueError) as err:
        raise UsageError(f"torchvision cannot build {name} with {args}: {err}") from err
    head = next((attribute for attribute in _HEADS if hasattr(module, attribute)), None)
    if head is None:
        raise UsageError(f"{name} has no classifier that can be removed; use a timm network")
    pool, classifier = nn.AdaptiveAvgPool2d(1), getattr(module, head)
    # Kept are the layers before the first linear one (ConvNeXt's norm), dropout aside.
    first = takewhile(
        lambda layer: not isinstance(layer, nn.Linear | nn.Dropout), classifier.children()
    )
    convolutional = any(isinstance(part, nn.Conv2d) for part in classifier.modules())
    setattr(module, head, pool if convolutional else nn.Sequential(*first))
    if hasattr(module, "avgpool"):  # VGG and AlexNet pool to 6 or 7 pixels, others to 1 anyway
        module.avgpool = pool
    # Trained with these weights' own transforms, which state the size, mean and filter.
    stated = models.get_model_weights(name).DEFAULT.transforms()
    spec = {
        **{"width": stated.crop_size[0], "height": stated.crop_size[0]},
        **{"mean": tuple(stated.mean), "std": tuple(stated.std)},
        "interpolation": "bicubic" if stated.interpolation.value == "bicubic" else "bilinear",
    }
    return Backbone(architecture, module, spec, (head,))


def from_checkpoint(
    architecture: Architecture,
    overrides: InputOverrides,
    file: Path,
    stated: Mapping[str, Any] | None = None,
) -> Backbone:
    """The backbone with the weights in `file`; see :func:`build` and :func:`load_weights`.

    `stated` is what a file beside `file` says of the input, instead of the framework.
    """
    backbone = build(architecture, overrides)
    notes = load_weights(backbone.module, file, backbone.head)
    return replace(backbone, spec={**backbone.spec, **(stated or {})}, notes=notes)


def export_backbone(
    backbone: Backbone, folder: Path, name: str, overrides: InputOverrides, about: Mapping[str, Any]
) -> Card:
    """Write ``graph.onnx`` and the weights into `folder` and return the card.

    The graph's input is ``image`` ``(n, 3, height, width)``, its output ``embedding``
    ``(n, dim)``. It is run on random pixels and must agree with PyTorch to 1e-3 relative; raises
    NetworkError where it does not, or the export fails.
    """
    import torch

    # Close-ups are square; anything else keeps its shape, in the middle.
    spec = overrides.apply({**backbone.spec, "resize": "letterbox", "anchor": "centre"})
    module = backbone.module.eval()
    pixels = torch.rand(3, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(0))
    pixels = (pixels - 0.5) * 4  # about the range that mean and std give
    expected = _embed(module, pixels, name).numpy()
    file = folder / GRAPH_FILE
    export_onnx(module, (pixels[:2],), file, input_names=("image",), output_names=("embedding",))
    graph = open_to_try(file)
    for count in (3, 1):
        found = graph.run({"image": pixels[:count].numpy()})["embedding"]
        wanted = expected[:count]
        require_agreement(name, wanted, found, 1e-3 * (float(abs(wanted).max()) or 1.0))
    return Card(
        name=name,
        kind="backbone",
        family="embedding",
        **measured(file),
        input=spec,
        dim=expected.shape[1],
        origin=_save_origin(backbone, folder),
        **{"licence": backbone.licence, "trained_on": backbone.trained_on, **about},
        made_with=made_with(),
    )


def _embed(module: nn.Module, pixels: Tensor, name: str) -> Tensor:
    import torch

    try:
        with torch.no_grad():
            features: Tensor = module(pixels)
    except (RuntimeError, AssertionError, ValueError) as err:
        raise UsageError(
            f"{name} does not take {pixels.shape[3]}x{pixels.shape[2]} pixels: {err}; "
            "give another size"
        ) from err
    if features.ndim != 2:
        raise UsageError(
            f"{name} gives features of shape {tuple(features.shape)} instead of one row per "
            "picture; leave its pooling on"
        )
    return features


def _save_origin(backbone: Backbone, folder: Path) -> Origin:
    """Write the weights into `folder`; the graph's own have batch norm folded into them."""
    from safetensors.torch import save_file

    made = backbone.architecture
    # Copies, because a file of safetensors holds no tensor that shares memory with another.
    weights = {
        key: value.detach().cpu().clone().contiguous()
        for key, value in backbone.module.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS_FILE)
    origin = Origin(
        framework=made.framework,
        architecture=made.name,
        args=dict(made.args),
        weights=WEIGHTS_FILE,
        sha256=file_hash(folder / WEIGHTS_FILE),
    )
    # As it will be read back: a tuple among the arguments becomes a list.
    return Origin.model_validate_json(origin.model_dump_json())


def convert_backbone(name: str, folder: Path, progress: Progress, offline: bool | None) -> Card:
    """Write the graph of a backbone that PyTorch has to convert into `folder`; returns its card.

    `name` is one of the catalogue, or any of timm (with the tag of its weights or without) or of
    torchvision's classification networks. Raises NetworkMissing where PyTorch, the name or the
    weights cannot be had, NetworkError where the export fails.
    """
    need_torch(f"converting {name}")
    entry = catalogue().get(name)
    if entry is not None:
        architecture = Architecture("timm", entry.architecture, entry.args)
        files = _weights_of(entry.repo, entry.revision or NEWEST)
        about: dict[str, Any] = {
            "description": entry.description,
            "licence": entry.licence,
            "trained_on": entry.trained_on,
        }
    else:
        architecture, files = _any_name(name)
        about = {"description": f"{architecture.framework} {architecture.name}"}
    source = _first_of(files, offline)
    weights = source.fetch(progress)
    backbone = from_checkpoint(architecture, InputOverrides(), weights)
    page = source.file.url or page_of(source.file.repo)
    card = export_backbone(backbone, folder, name, InputOverrides(), {**about, "source": page})
    facts = {"revision": source.commit, "file": source.file.name, "sha256": file_hash(weights)}
    made = {**card.made_with, **{key: value for key, value in facts.items() if value}}
    return card.model_copy(update={"made_with": made})


def _weights_of(repo: str, revision: str = NEWEST, file: str = "") -> list[HubFile]:
    """Where timm's weights are in a repository: as safetensors, in some as a checkpoint alone."""
    names = [file] if file else ["model.safetensors", "pytorch_model.bin"]
    return [HubFile(repo, name, revision) for name in names]


def _first_of(files: Sequence[HubFile], offline: bool | None) -> Source:
    """The first of several files that there is; what is said of the first where there is none."""
    faults: list[NetworkMissing] = []
    for file in files:
        try:
            return look([file], offline=offline)[0]
        except NetworkMissing as err:
            faults.append(err)
    raise faults[0]


def _any_name(name: str) -> tuple[Architecture, list[HubFile]]:
    """A network that the catalogue does not have, and where its weights are."""
    import timm
    from torchvision import models

    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is not None:
        tagged = f"{config.architecture}.{config.tag}" if config.tag else name
        found = Architecture("timm", tagged)
        if config.hf_hub_id:  # not always named after the network
            return found, _weights_of(config.hf_hub_id, file=config.hf_hub_filename or "")
        if config.url and (file := _plain_file("timm", config.url)):
            return found, [file]
        raise NetworkMissing(
            f"timm has no weights for {name} on the hub; bring your own with "
            f"`closeup models add FILE --timm {name} --name NAME`"
        )
    if name in models.list_models(module=models):
        url = models.get_model_weights(name).DEFAULT.url
        if file := _plain_file("torchvision", url):
            return Architecture("torchvision", name), [file]
    raise NetworkMissing(unknown(name, "backbone"))


def _plain_file(folder: str, url: str) -> HubFile | None:
    """A file outside the hub, where its name ends in the first digits of its hash."""
    name = url.rsplit("/", 1)[1]
    digits = re.search(r"-([0-9a-f]{8,})\.\w+$", name)
    return HubFile(folder, name, "", digits[1], url=url) if digits else None
