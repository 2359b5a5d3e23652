"""Networks that are published as ONNX graphs: fetched, compared with the catalogue, given a card.

No PyTorch is needed. The repository's own settings name the categories and say how pixels become
the input; where they contradict the catalogue, the network is refused, because it would answer
wrongly without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from closeup.core.errors import NetworkDamaged, NetworkError, UsageError
from closeup.core.progress import Progress
from closeup.networks.cache import measured
from closeup.networks.card import GRAPH_FILE, Card
from closeup.networks.catalogue import Entry
from closeup.networks.download import NEWEST, HubFile, Source, page_of
from closeup.networks.engine import file_hash, open_to_try, read_signature
from closeup.networks.layouts import CONFIG_FILE, FILTERS, PREPROCESSOR_FILE, read_json
from closeup.networks.preprocess import InputOverrides

if TYPE_CHECKING:
    from onnx import ModelProto

_NO_NAMES = {"", "none", "n/a"}
_CLOSE = 2e-3  # relative: of two numbers that are rounded differently


def files_of(entry: Entry) -> list[HubFile]:
    """What has to be fetched for a network that is published as an ONNX graph."""
    revision = entry.revision or NEWEST
    graph = HubFile(entry.repo, entry.file, revision, entry.sha256, entry.bytes)
    return [graph, *(HubFile(entry.repo, name, revision) for name in entry.settings)]


def make(entry: Entry, sources: list[Source], work: Path, progress: Progress) -> Card:
    """Fetch what :func:`files_of` lists, write ``graph.onnx`` into `work` and return its card.

    Raises
    ------
    NetworkMissing
        Where a file cannot be downloaded.
    NetworkDamaged
        Where a file is not what it should be, or they do not fit together.
    NetworkError
        Where the repository contradicts the catalogue.
    """
    graph = sources[0].fetch(progress, entry.name)
    settings = [source.fetch() for source in sources[1:]]  # a few kilobytes
    read = dict(zip(entry.settings, map(read_json, settings), strict=True))
    commits = {source.commit for source in sources} - {""}
    if len(commits) > 1:
        raise NetworkError(f"{entry.repo} was changed while it was being read; try again")
    compare_input(entry, read.get(PREPROCESSOR_FILE, {}))
    classes = categories(entry, read[CONFIG_FILE]) if entry.classes else ()
    if entry.kind == "detector":
        facts: dict[str, Any] = {"classes": classes, "batch": 1}
        _write_detector(entry, graph, work / GRAPH_FILE)
    else:
        facts = _write_backbone(entry, graph, work / GRAPH_FILE)
    commit = "".join(commits)
    page = page_of(entry.repo)
    origin = {"revision": commit, "file": entry.file, "sha256": file_hash(graph)}
    return Card(
        name=entry.name,
        kind=entry.kind,
        family=entry.family,
        **measured(work / GRAPH_FILE),
        input=entry.spec,
        **facts,
        description=entry.description,
        licence=entry.licence,
        source=f"{page}/tree/{commit}" if commit else page,
        trained_on=entry.trained_on,
        made_with={**_version(), **{key: value for key, value in origin.items() if value}},
    )


def _version() -> dict[str, str]:
    from closeup._version import __version__

    return {"closeup": __version__}


def categories(entry: Entry, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The categories in the order of the network's numbers; ``""`` for one that is not used."""
    stated = config.get("id2label")
    try:
        names = {int(number): str(name).strip() for number, name in dict(stated or {}).items()}
    except (TypeError, ValueError, OverflowError) as err:
        raise NetworkDamaged(f"{CONFIG_FILE} of {entry.repo} names no categories ({err})") from err
    if names.keys() != set(range(entry.classes)):
        raise NetworkError(
            f"{CONFIG_FILE} of {entry.repo} names {len(names)} categories, the catalogue expects "
            f"{entry.classes}: the repository has changed; update closeup"
        )
    return tuple(
        "" if names[number].lower() in _NO_NAMES else names[number] for number in sorted(names)
    )


def compare_input(entry: Entry, stated: Mapping[str, Any]) -> None:
    """Raise NetworkError where ``preprocessor_config.json`` contradicts the catalogue."""
    spec = entry.spec
    wanted: dict[str, tuple[Any, Any]] = {}
    normalise = stated.get("do_normalize", "image_mean" in stated)
    for key, own, plain in (("image_mean", spec.mean, 0.0), ("image_std", spec.std, 1.0)):
        if stated:
            theirs = stated.get(key, own) if normalise else [plain] * 3
            if not _near(theirs, own):
                wanted[key] = theirs, own
    factor = stated.get("rescale_factor", 1 / 255) if stated.get("do_rescale", True) else 1.0
    if not _near(factor, 1 / 255):
        wanted["rescale_factor"] = factor, 1 / 255
    resample = stated.get("resample")
    if resample is not None and FILTERS.get(str(resample)) != spec.interpolation:
        wanted["resample"] = resample, spec.interpolation
    size = stated.get("crop_size" if stated.get("do_center_crop") else "size")
    if isinstance(size, Mapping) and {"width", "height"} <= size.keys():
        theirs = size["width"], size["height"]
        wanted |= {} if theirs == (spec.width, spec.height) else {"size": (size, entry.input)}
    if stated.get("do_pad", False):
        wanted["do_pad"] = True, False
    if wanted:
        differences = "; ".join(f"{key} {a}, expected {b}" for key, (a, b) in wanted.items())
        raise NetworkError(
            f"{PREPROCESSOR_FILE} of {entry.repo} contradicts the catalogue: {differences}. The "
            "repository has changed: update closeup"
        )


def _near(found: Any, expected: Any) -> bool:
    try:
        return bool(
            np.allclose(
                np.asarray(found, float),
                np.asarray(expected, float),
                rtol=_CLOSE,
                atol=_CLOSE * 1e-2,
            )
        )
    except (TypeError, ValueError, OverflowError):
        return False


def _write_detector(entry: Entry, source: Path, file: Path) -> None:
    """Write the graph with its input's size fixed, which engines run quicker, and try it."""
    model = _read(source)
    _fix_input(entry, model)
    file.write_bytes(model.SerializeToString())
    outputs = _try(entry, source, file)
    if entry.family != "detr-logits":
        return
    shapes = {name: value.shape for name, value in outputs.items()}
    logits, boxes = shapes.get("logits", ()), shapes.get("pred_boxes", ())
    if len(logits) != 3 or logits[2] != entry.classes or boxes != (*logits[:2], 4):
        raise NetworkDamaged(
            f"{entry.file} of {entry.repo} gives {shapes}, expected logits (1, boxes, "
            f"{entry.classes}) and pred_boxes (1, boxes, 4)"
        )


def _write_backbone(entry: Entry, source: Path, file: Path) -> dict[str, Any]:
    """Write the graph with one output, the embedding; returns the fields of the card about it."""
    from closeup.networks.onnx_backbone import embedding_graph

    stated = entry.spec.model_dump()
    try:
        made = embedding_graph(
            source, file, overrides=InputOverrides(), stated=stated, pool=entry.pool or None
        )
    except UsageError as err:
        raise NetworkDamaged(f"{entry.file} of {entry.repo}: {err}") from err
    if set(made.blocks) != {entry.dim}:
        raise NetworkDamaged(
            f"{entry.file} of {entry.repo} gives {made.blocks} numbers, expected {entry.dim} each"
        )
    blocks = made.blocks if len(made.blocks) > 1 else ()
    return {"dim": sum(made.blocks), "blocks": blocks, "batch": made.batch}


def _read(source: Path) -> ModelProto:
    import onnx

    read_signature(source)  # which refuses what is not one whole ONNX file
    return onnx.load(source)


def _fix_input(entry: Entry, model: ModelProto) -> None:
    """Fix the size of the picture that a graph takes, and that it is one."""
    spec = entry.spec
    given = {constant.name for constant in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in given]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise NetworkDamaged(
            f"{entry.file} of {entry.repo} takes {', '.join(one.name for one in inputs)}, "
            "expected pictures alone"
        )
    dims = inputs[0].type.tensor_type.shape.dim
    for dim, value in zip(dims, (1, 3, spec.height, spec.width), strict=True):
        if dim.dim_value not in (0, value):
            raise NetworkDamaged(
                f"{entry.file} of {entry.repo} takes pictures of another size than "
                f"{spec.width}x{spec.height}"
            )
        dim.dim_value = value
    # The shapes that were noted inside are more general than what they are now.
    del model.graph.value_info[:]


def _try(entry: Entry, source: Path, file: Path) -> dict[str, Any]:
    """Run a graph on noise: what cannot run, or gives no numbers, is refused now."""
    spec = entry.spec
    graph = open_to_try(file)
    pixels = np.random.default_rng(0).random((1, 3, spec.height, spec.width), np.float32)
    outputs = graph.run({next(iter(graph.inputs)): pixels})
    if not all(np.isfinite(value).all() for value in outputs.values()):
        raise NetworkDamaged(f"{source} gives numbers that are not finite; delete it and try again")
    return outputs
