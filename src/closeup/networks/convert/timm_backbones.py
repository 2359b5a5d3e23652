"""Download the weights of a timm network and convert it once."""

from __future__ import annotations

from pathlib import Path

from closeup.core.errors import NetworkMissing
from closeup.core.progress import Progress
from closeup.networks.card import Card
from closeup.networks.convert.onnx_export import need_torch
from closeup.networks.download import download
from closeup.networks.names import ALIASES, WEIGHTS_FILE, TimmName, unknown
from closeup.networks.preprocess import InputOverrides


def convert_timm(name: str, folder: Path, progress: Progress, offline: bool | None) -> Card:
    """Write the graph of a timm backbone into `folder` and return its card.

    Parameters
    ----------
    name
        One of :data:`closeup.networks.names.ALIASES`, or any timm name, with the tag of its
        weights or without.

    Raises
    ------
    NetworkMissing
        Where PyTorch is absent, timm has no such network, or its weights cannot be downloaded.
    NetworkError
        Where the export fails.
    """
    need_torch(f"converting {name}")
    from closeup.networks.convert import backbones as export

    source = ALIASES.get(name) or _any_timm(name)
    weights = download(source.repo, WEIGHTS_FILE, progress=progress, offline=offline)
    architecture = export.Architecture("timm", source.architecture, source.args)
    backbone = export.from_checkpoint(architecture, InputOverrides(), weights)
    about = {
        "description": f"timm {source.architecture}",
        "source": f"https://huggingface.co/{source.repo}",
    }
    return export.export_backbone(backbone, folder, name, InputOverrides(), about)


def _any_timm(name: str) -> TimmName:
    import timm

    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None:
        raise NetworkMissing(unknown(name, "backbone"))
    if not config.hf_hub_id:
        raise NetworkMissing(
            f"timm has no weights for {name} on the hub; bring your own with "
            f"`closeup models add FILE --timm {name} --name NAME`"
        )
    return TimmName(f"{config.architecture}.{config.tag}" if config.tag else name)
