"""A network by its name: from the cache, the package, or converted on the spot."""

from __future__ import annotations

from closeup.core.errors import NetworkMissing, UsageError
from closeup.core.lock import sweep_dead, work_folder
from closeup.core.progress import Progress, silent
from closeup.networks.cache import (
    Network,
    builtin,
    load,
    networks_folder,
    save,
)
from closeup.networks.known import Kind, available, check_name, known, unknown
from closeup.networks.variants import derive, split_name


def find(
    name: str, kind: Kind, *, progress: Progress = silent, offline: bool | None = None
) -> Network:
    """The network called `name`: from the cache, else the package, else converted now.

    A backbone's name may end in a variant, which is made on the spot; see
    :mod:`closeup.networks.variants`.

    Parameters
    ----------
    kind
        What it must be.
    progress
        Called while weights are downloaded, with bytes done and in all.
    offline
        Download nothing; None asks the environment (``HF_HUB_OFFLINE``).

    Raises
    ------
    UsageError
        Where the network is of the other kind.
    NetworkMissing
        Where it is unknown, or its weights or PyTorch cannot be had; the message says where to
        put the file by hand and which networks are here.
    NetworkDamaged
        Where what is on disk is not what its card says.
    NetworkError
        Where the conversion fails.
    """
    check_name(name)
    base, variant = split_name(name) if kind == "backbone" else (name, None)
    if variant is not None:
        return derive(find(base, kind, progress=progress, offline=offline), variant)
    sweep_dead(networks_folder())
    for folder in (networks_folder() / name, builtin(name)):
        if folder.is_dir():
            network = load(folder)
            if network.card.kind != kind:
                raise UsageError(
                    f"{name} is a {network.card.kind}, but a {kind} is needed; "
                    f"here are {available(kind)}"
                )
            return network
    return _obtain(name, kind, progress, offline)


def _obtain(name: str, kind: Kind, progress: Progress, offline: bool | None) -> Network:
    from closeup.networks.download import is_offline

    offline = is_offline() if offline is None else offline
    names = known()
    if names.get(name, kind) != kind:
        raise UsageError(f"{name} is a {names[name]}, but a {kind} is needed")
    if kind == "detector" and name not in names:
        raise NetworkMissing(f"{unknown(name, kind)}; on this machine are {available(kind)}")
    try:
        return _convert(name, kind, progress, offline)
    except NetworkMissing as err:
        raise NetworkMissing(f"{err}; on this machine are {available(kind)}") from err


def _convert(name: str, kind: Kind, progress: Progress, offline: bool) -> Network:
    folder = networks_folder()
    with work_folder(folder, ".making-") as work:
        if kind == "detector":
            from closeup.networks.convert.detectors import export_detector

            card = export_detector(name, work, progress, offline)
        else:
            from closeup.networks.convert.timm_backbones import convert_timm

            card = convert_timm(name, work, progress, offline)
        return save(card, work / card.graph, folder / name)
