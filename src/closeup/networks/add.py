"""Add a backbone of the user's own, in any form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from closeup.core.errors import UsageError
from closeup.core.lock import work_folder
from closeup.core.progress import Progress, Say, say_nothing, silent
from closeup.networks.cache import Network, measured, networks_folder, refuse_existing, save
from closeup.networks.card import GRAPH_FILE, Card
from closeup.networks.convert.backbones import Architecture
from closeup.networks.convert.onnx_export import need_torch
from closeup.networks.layouts import Source, locate
from closeup.networks.names import check_name
from closeup.networks.onnx_backbone import embedding_graph
from closeup.networks.preprocess import InputOverrides
from closeup.networks.tokens import TokenPool

_UNNAMED = "backbone"


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
    say: Say = say_nothing,
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
        :data:`closeup.networks.tokens.TokenPool`; None is ``both`` where all tokens are given, and
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

    file = work / GRAPH_FILE
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
