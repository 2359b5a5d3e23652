"""Detectors by name: their PyTorch weights, turned into an ONNX graph with its card."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from closeup.core.errors import NetworkMissing, UsageError
from closeup.core.progress import Progress, silent
from closeup.networks.cache import measured
from closeup.networks.card import GRAPH_FILE, Card
from closeup.networks.catalogue import Entry, catalogue
from closeup.networks.convert import torchvision_detectors, transformers_detectors
from closeup.networks.convert.onnx_export import Converted, made_with, need_torch, write_graph
from closeup.networks.download import NEWEST, HubFile, download_url, look, page_of
from closeup.networks.layouts import PREPROCESSOR_FILE
from closeup.networks.names import is_repository, name_here


def recipes() -> dict[str, Entry]:
    """The catalogue's detectors that have to be converted, by name."""
    return {
        name: entry
        for name, entry in catalogue().items()
        if entry.kind == "detector" and entry.needs_torch
    }


def is_detector(name: str) -> bool:
    """Whether a detector of this name can be converted; PyTorch must be installed.

    It may be one of the catalogue, a Faster R-CNN or SSD of torchvision, or a repository on the hub
    ``OWNER/NAME`` that holds a DETR of transformers.
    """
    return name in recipes() or is_repository(name) or name in _of_torchvision()


@cache
def _of_torchvision() -> tuple[str, ...]:
    from torchvision.models import detection, list_models

    return tuple(n for n in list_models(module=detection) if n.startswith(("fasterrcnn", "ssd")))


def recipe_of(name: str) -> Entry:
    """How the detector `name` is made; UsageError where there is none."""
    if name in recipes():
        return recipes()[name]
    facts: dict[str, Any] = {"name": name_here(name), "kind": "detector"}
    if is_repository(name):
        facts |= {"via": "transformers", "family": "detr", "repo": name}
        facts |= {"licence": f"unknown, see {page_of(name)}"}
    elif name in _of_torchvision():
        side = next((size for size in (320, 300) if str(size) in name), 1024)
        facts |= {"via": "torchvision", "family": "rcnn", "architecture": name}
        facts |= {"licence": "BSD-3-Clause", "input": {"width": side, "height": side}}
    else:
        raise UsageError(f"no detector is called {name!r}; there are {', '.join(recipes())}")
    return Entry.model_validate({**facts, "about": f"{facts['via']} {name}"})


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
        See :func:`is_detector`.
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
    recipe = recipe_of(name)
    need_torch(f"converting {name}")
    load = _from_torchvision if recipe.via == "torchvision" else _from_transformers
    converted, facts = load(recipe, weights, progress, offline)
    return write_detector(recipe, converted, target, facts)


def _from_torchvision(
    recipe: Entry, weights: Path | None, progress: Progress, offline: bool | None
) -> tuple[Converted, dict[str, str]]:
    from closeup.networks.convert.weights import load_weights

    if weights is None:
        url = torchvision_detectors.weights_url(recipe.architecture)
        start = Path(url).stem.rsplit("-", 1)[1]
        weights = download_url(url, "torchvision", sha256=start, progress=progress, offline=offline)
    model = torchvision_detectors.build(recipe.architecture)
    load_weights(model, weights)
    assert recipe.input is not None
    return torchvision_detectors.converted(model, recipe.input.width), {}


def _from_transformers(
    recipe: Entry, weights: Path | None, progress: Progress, offline: bool | None
) -> tuple[Converted, dict[str, str]]:
    names, repo = transformers_detectors.FILES, recipe.repo
    facts: dict[str, str] = {}
    if weights is None:
        wanted = [HubFile(repo, name, recipe.revision or NEWEST) for name in names]
        sources = look(wanted, offline=offline)
        files = {one.file.name: one.fetch(progress) for one in sources}
        facts = {"revision": commit} if (commit := sources[0].commit) else {}
    else:
        files = {name: weights.parent / name for name in names}
        files[transformers_detectors.WEIGHTS_FILE] = weights
        for name, file in files.items():
            if not file.is_file():
                raise NetworkMissing(
                    f"{file} is not there: put the {name} of {repo} beside {weights.name}"
                )
    spec = transformers_detectors.input_spec(files[PREPROCESSOR_FILE])
    model = transformers_detectors.read_checkpoint(files)
    return transformers_detectors.converted(model, spec), facts


def write_detector(
    recipe: Entry, converted: Converted, target: Path, facts: dict[str, str] | None = None
) -> Card:
    """Write ``graph.onnx`` of a detector, however its module was made, and its card.

    `facts` are added to what the card says of its making.
    """
    file = target / GRAPH_FILE
    write_graph(recipe.name, converted, file)
    if recipe.via == "transformers":
        source = page_of(recipe.repo)
    else:
        source = torchvision_detectors.weights_url(recipe.architecture)
    return Card(
        name=recipe.name,
        kind="detector",
        family=converted.family,
        **measured(file),
        input=converted.spec,
        batch=1,
        classes=converted.classes,
        description=recipe.description,
        licence=recipe.licence,
        source=source,
        trained_on=recipe.trained_on,
        made_with={**made_with(recipe.via), **(facts or {})},
    )
