"""A network by its name: from the cache, the package, or converted on the spot."""

from __future__ import annotations

from closeup.core.errors import NetworkMissing, UsageError
from closeup.core.lock import sweep_dead, work_folder
from closeup.core.progress import Progress, silent
from closeup.networks.cache import BUILTIN, Network, load, networks_folder, save
from closeup.networks.join import SIGN, join
from closeup.networks.names import Kind, available, check_name, known, unknown
from closeup.networks.variants import derive, split_name


def find(
    name: str, kind: Kind, *, progress: Progress = silent, offline: bool | None = None
) -> Network:
    """The network called `name`: from the cache, else the package, else converted now.

    A backbone's name may end in a variant (:mod:`closeup.networks.variants`), and several can be
    joined by ``+`` (:mod:`closeup.networks.join`); these are made on the spot.

    Parameters
    ----------
    progress
        Called with the bytes done and the total while weights are downloaded.
    offline
        Download nothing; None follows the environment (``HF_HUB_OFFLINE``).

    Raises
    ------
    UsageError
        Where the network is not of this `kind`.
    NetworkMissing
        Where it is unknown, or its weights or PyTorch are not available; the message says where to
        put the file by hand and which networks are here.
    NetworkError
        Where its folder is damaged (NetworkDamaged), or the conversion fails.
    """
    if SIGN in name and kind == "backbone":
        parts = dict.fromkeys(name.split(SIGN))
        return join([find(part, kind, progress=progress, offline=offline) for part in parts])
    check_name(name)
    base, variant = split_name(name) if kind == "backbone" else (name, None)
    if variant is not None:
        return derive(find(base, kind, progress=progress, offline=offline), variant)
    sweep_dead(networks_folder())
    for folder in (networks_folder() / name, BUILTIN / name):
        if folder.is_dir():
            network = load(folder)
            if network.card.kind != kind:
                raise UsageError(
                    f"{name} is a {network.card.kind}, but a {kind} is needed; {available(kind)}"
                )
            return network
    names = known()
    if names.get(name, kind) != kind:
        raise UsageError(f"{name} is a {names[name]}, but a {kind} is needed")
    try:
        if kind == "detector" and name not in names:
            raise NetworkMissing(unknown(name, kind))
        return _convert(name, kind, progress, offline)
    except NetworkMissing as err:
        raise NetworkMissing(f"{err}; {available(kind)}") from err


def _convert(name: str, kind: Kind, progress: Progress, offline: bool | None) -> Network:
    from closeup.networks.convert.backbones import convert_timm
    from closeup.networks.convert.detectors import export_detector

    folder = networks_folder()
    convert = export_detector if kind == "detector" else convert_timm
    with work_folder(folder, ".making-") as work:
        card = convert(name, work, progress, offline)
        return save(card, work / card.graph, folder / name)
