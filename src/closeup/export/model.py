"""A model for other programs: graphs with everything inside, and a program that runs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.config import CONFIG_FILE
from closeup.core.errors import ModelError
from closeup.core.progress import Progress, silent
from closeup.core.types import ANY
from closeup.crops.view import VIEWS
from closeup.detect.detector import FLOOR
from closeup.evaluate.rights import count_rights
from closeup.export import ModelFormat, run
from closeup.export.boxes import detector
from closeup.export.folder import files_in, new_folder, write_credits
from closeup.export.graphs import classifier
from closeup.export.hub import is_hub_folder, write_hub_folder
from closeup.export.training import TRAINED_ON, training_photos
from closeup.model.card import CARD_FILE, ModelCard, check_files, read_card
from closeup.model.history import MODEL
from closeup.model.parts import Parts, read_parts
from closeup.networks import Network
from closeup.networks.engine import write_ir
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from onnx import ModelProto

LABELS_FILE, RUNNER = "labels.json", "run.py"
FORMAT = 1
"""Of labels.json."""


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """What is in `folder`: its files, by name, with their sizes in bytes."""

    folder: Path
    format: ModelFormat
    labels: tuple[str, ...]
    files: dict[str, int]


def model_folder(folder: Path) -> Path:
    """A model folder itself, or a project's model in use.

    Raises ModelError where there is none.
    """
    if (folder / CARD_FILE).is_file() or not (folder / CONFIG_FILE).is_file():
        return folder
    if not (folder / MODEL / CARD_FILE).is_file():
        raise ModelError(f"{folder} has no model yet; run `closeup run --out {folder}` first")
    return folder / MODEL


def export_model(
    source: Path, to: ModelFormat, out: Path, *, repo: str = "", progress: Progress = silent
) -> ExportedModel:
    """Write a model to a new folder, for other programs (`onnx`, `openvino`) or a model hub.

    Parameters
    ----------
    source
        A model folder, or a project, whose model in use it is.
    out
        A folder that does not exist yet, or is empty. Nothing appears in it before all is written.
    repo
        The repository on the hub that it is for, ``OWNER/NAME``. An earlier export of this model to
        `out` is left as it is then, with a model card that may have been edited.

    Raises
    ------
    UsageError
        Where `out` exists and is not an empty folder.
    ModelError
        Where there is no model, or it is damaged.
    NetworkError
        Where a graph cannot be brought into the form.
    ProjectError
        Where a file cannot be written.
    """
    source = model_folder(source)
    card = read_card(source)
    check_files(source, card)
    if repo and is_hub_folder(out, card):
        return ExportedModel(out, to, card.labels, files_in(out))
    photos = training_photos(source, card)
    with new_folder(out) as folder:
        if to == "hub":
            name = repo or out.absolute().name
            write_hub_folder(source, card, folder, name, count_rights(photos))
        else:
            _write_graphs(source, card, to, folder, progress)
        write_credits(folder, photos, TRAINED_ON)
    return ExportedModel(out, to, card.labels, files_in(out))


def _write_graphs(
    source: Path, card: ModelCard, to: ModelFormat, folder: Path, progress: Progress
) -> None:
    parts = read_parts(source, card)
    making: dict[str, Callable[[], ModelProto]] = {
        "classifier": lambda: classifier(parts.backbone, parts.head, parts.rule, VIEWS[card.view])
    }
    if (network := parts.detector) is not None:
        making["detector"] = lambda: detector(network)
    suffix = ".onnx" if to == "onnx" else ".xml"
    about = _about(card, parts, {name: f"{name}{suffix}" for name in making})
    for done, (name, make) in enumerate(making.items(), start=1):
        facts = {"labels": about["labels"] if name == "classifier" else about[name]["classes"],
                 "closeup": about}  # fmt: skip
        _write(make(), folder / f"{name}{suffix}", {key: _json(facts[key]) for key in facts})
        progress("export", done, len(making))
    (folder / LABELS_FILE).write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n",
                                      encoding="utf8")  # fmt: skip
    shutil.copyfile(run.__file__, folder / RUNNER)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write(model: ModelProto, file: Path, facts: Mapping[str, str]) -> None:
    """Write a graph with its facts, as ONNX or, by the file's suffix, as OpenVINO IR."""
    from onnx import helper

    helper.set_model_props(model, dict(facts))
    graph = file.with_suffix(".onnx")
    graph.write_bytes(model.SerializeToString())
    if file != graph:
        write_ir(graph, file, facts)
        graph.unlink()


def _about(card: ModelCard, parts: Parts, files: Mapping[str, str]) -> dict[str, Any]:
    """The contents of ``labels.json``: what the graphs are and how photos become their input."""
    parent = () if ANY in card.detect.parent else card.detect.parent
    found = None
    if parts.detector is not None:
        found = {"file": files["detector"], "input": _input(parts.detector.card.input),
                 "classes": parts.detector.card.classes}  # fmt: skip
    return {
        "format": FORMAT,
        "closeup": card.closeup,
        "labels": card.labels,
        "classifier": {"file": files["classifier"], "views": VIEWS[card.view],
                       "input": _input(parts.backbone.card.input)},
        "unknown": card.unknown and {name: card.unknown[name]
                                     for name in ("min_confidence", "max_distance")},
        "likely": card.likely and card.likely["threshold"],
        "none": card.none,
        "detector": found,
        "detect": {"parent": parent, "threshold": max(card.detect.threshold, FLOOR),
                   "which": card.crop.which, "min_size": card.crop.min_size},
        "crop": {"pad": card.crop.pad, "on_miss": card.crop.on_miss},
        "licences": {network.card.name: network.card.licence for network in _networks(parts)},
    }  # fmt: skip


def _networks(parts: Parts) -> list[Network]:
    return [network for network in (parts.detector, parts.backbone) if network is not None]


def _input(spec: InputSpec) -> dict[str, Any]:
    """What of a network's input is left to whoever resizes a picture for it."""
    keys = {"width", "height", "resize", "anchor", "pad", "interpolation"}
    return spec.model_dump(include=keys)
