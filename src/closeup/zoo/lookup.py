"""A network by its name: from the cache, the package, or converted on the spot."""

from __future__ import annotations

import difflib
import re
from typing import Literal

from closeup.errors import NetworkMissing, UsageError
from closeup.lock import sweep_dead, work_folder
from closeup.progress import Progress, silent
from closeup.zoo.cache import Network, builtin, installed, load, networks_folder, save
from closeup.zoo.derive import derive, split_name
from closeup.zoo.names import ALIASES

Kind = Literal["detector", "backbone"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}")


def find(
    name: str, kind: Kind, *, progress: Progress = silent, offline: bool | None = None
) -> Network:
    """The network called `name`: from the cache, else the package, else converted now.

    A backbone's name may end in a variant, which is made on the spot; see
    :mod:`closeup.zoo.derive`.

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


def known() -> dict[str, Kind]:
    """The short names that can be had by conversion, with what they are.

    Every timm architecture is a backbone's name too.
    """
    from closeup.zoo.export_detectors import DETECTORS

    kinds: dict[str, Kind] = dict.fromkeys(DETECTORS, "detector")
    return kinds | dict.fromkeys(ALIASES, "backbone")


def available(kind: Kind) -> str:
    """The networks of a kind that are here now, for a message."""
    names = [network.card.name for network in installed() if network.card.kind == kind]
    return ", ".join(names) or f"no {kind}s yet"


def check_name(name: str) -> None:
    """Raise UsageError where `name` cannot name a network (it becomes a folder's name)."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a network: use letters, digits, dot, dash, underscore or @, "
            "beginning with a letter or digit"
        )


def _obtain(name: str, kind: Kind, progress: Progress, offline: bool | None) -> Network:
    from closeup.zoo.download import is_offline

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
            from closeup.zoo.export_detectors import export_detector

            card = export_detector(name, work, progress, offline)
        else:
            from closeup.zoo.hub import convert_timm

            card = convert_timm(name, work, progress, offline)
        return save(card, work / card.graph, folder / name)


def unknown(name: str, kind: Kind) -> str:
    """A message for a name that nothing is known of."""
    obtainable = [other for other, its in known().items() if its == kind]
    here = [network.card.name for network in installed() if network.card.kind == kind]
    near = difflib.get_close_matches(name, [*obtainable, *here], 1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    more = ", or any timm architecture" if kind == "backbone" else ""
    return (
        f"no {kind} is called {name!r}{guess}: to be downloaded are {', '.join(obtainable)}{more}; "
        "add a file of your own with `closeup models add`"
    )
