"""A network by its name: from the cache, the package, or fetched and made ready on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from closeup.core.errors import NetworkError, NetworkMissing, UsageError
from closeup.core.lock import sweep_dead, work_folder
from closeup.core.progress import Progress, silent
from closeup.networks import ready
from closeup.networks.cache import BUILTIN, Network, load, networks_folder, save
from closeup.networks.card import Card
from closeup.networks.catalogue import Kind, catalogue
from closeup.networks.download import HubFile, Source, look
from closeup.networks.join import SIGN, join
from closeup.networks.names import (
    available,
    check_name,
    is_repository,
    known,
    name_here,
    near,
    unknown,
)
from closeup.networks.variants import derive, split_name
from closeup.networks.words import OPEN_VOCABULARY, name_with_words


def find(
    name: str,
    kind: Kind,
    *,
    words: Sequence[str] = (),
    progress: Progress = silent,
    offline: bool | None = None,
) -> Network:
    """The network called `name`: from the cache, else the package, else fetched now.

    A name of the catalogue (:mod:`closeup.networks.catalogue`) that is published as an ONNX graph
    needs no PyTorch; the others, timm's and torchvision's own names, and a detector's repository on
    the hub (``OWNER/NAME``) are converted. A backbone's name may end in a variant
    (:mod:`closeup.networks.variants`), and several can be joined by ``+``
    (:mod:`closeup.networks.join`); these are made on the spot.

    Parameters
    ----------
    words
        What a detector of any words is to look for (:mod:`closeup.networks.words`); others have
        categories of their own.
    progress
        Called with the bytes done and the total while files are downloaded.
    offline
        Download nothing; None follows the environment (``HF_HUB_OFFLINE``).

    Raises
    ------
    UsageError
        Where the network is not of this `kind`, or lacks the words that it needs.
    NetworkMissing
        Where it is unknown, or its files or PyTorch are not available; the message says where to
        put the files by hand and which networks are here.
    NetworkError
        Where its folder is damaged (NetworkDamaged), its files are not what the catalogue says, or
        the conversion fails.
    """
    if SIGN in name and kind == "backbone":
        parts = dict.fromkeys(name.split(SIGN))
        return join([find(part, kind, progress=progress, offline=offline) for part in parts])
    if name in OPEN_VOCABULARY and kind == "detector":
        return _for_words(name, words, progress, offline)
    check_name(name_here(name) if kind == "detector" else name)
    base, variant = split_name(name) if kind == "backbone" else (name, None)
    if variant is not None:
        return derive(find(base, kind, progress=progress, offline=offline), variant)
    sweep_dead(networks_folder())
    if here := _here(name):
        if here.card.kind != kind:
            raise UsageError(
                f"{name} is a {here.card.kind}, but a {kind} is needed; {available(kind)}"
            )
        return here
    names = known()
    if names.get(name, kind) != kind:
        raise UsageError(f"{name} is a {names[name]}, but a {kind} is needed")
    try:
        return _bring(name, kind, None, progress, offline)
    except NetworkMissing as err:
        if hasattr(err, "__notes__"):
            err.add_note(available(kind))
            raise
        raise NetworkMissing(f"{err}; {available(kind)}") from err


def _here(name: str) -> Network | None:
    """The network in the cache, else in the package, if any."""
    for folder in (networks_folder() / name_here(name), BUILTIN / name):
        if folder.is_dir():
            network = load(folder)
            if is_repository(name) and not network.card.source.endswith(f"/{name}"):
                raise UsageError(
                    f"{folder} is another network than {name} (from {network.card.source or '?'}): "
                    f"`closeup models remove {name_here(name)}` first"
                )
            return network
    return None


def _bring(
    name: str,
    kind: Kind,
    sources: Sequence[Source] | None,
    progress: Progress,
    offline: bool | None,
) -> Network:
    """Fetch a network and put it into the cache; `sources` are its files where found already."""
    entry = catalogue().get(name)
    folder = networks_folder()
    with work_folder(folder, ".making-") as work:
        if entry is not None and not entry.needs_torch:
            found = look(ready.files_of(entry), offline=offline) if sources is None else sources
            card = ready.make(entry, list(found), work, progress)
        else:
            card = _convert(name, kind, work, progress, offline)
        return save(card, work / card.graph, folder / card.name)


def _convert(name: str, kind: Kind, work: Path, progress: Progress, offline: bool | None) -> Card:
    from closeup.networks.convert.backbones import convert_backbone
    from closeup.networks.convert.detectors import export_detector, is_detector

    if kind == "backbone":
        return convert_backbone(name, work, progress, offline)
    if not is_detector(name):
        raise NetworkMissing(unknown(name, kind))
    return export_detector(name, work, progress, offline)


@dataclass(frozen=True, slots=True)
class Pull:
    """Networks to be brought here; `here` are there already.

    `wanted` maps the names of the others to their kind and, for those published as ONNX graphs, to
    the files that were found.
    """

    here: tuple[Network, ...]
    wanted: dict[str, tuple[Kind, list[Source] | None]]

    @property
    def bytes(self) -> int:
        """What will be downloaded for those published as ONNX graphs."""
        return sum(source.bytes for _, sources in self.wanted.values() for source in sources or ())

    @property
    def conversions(self) -> list[str]:
        """The names of those that are converted with PyTorch, which says their size as it goes."""
        return [name for name, (_, sources) in self.wanted.items() if sources is None]

    def carry_out(self, progress: Progress = silent, offline: bool | None = None) -> list[Network]:
        """Download and make ready; raises as :func:`find`."""
        return [
            _bring(name, kind, sources, progress, offline)
            for name, (kind, sources) in self.wanted.items()
        ]


def plan_pull(names: Sequence[str], *, offline: bool | None = None) -> Pull:
    """Look up several networks, and all their files at once, before any is downloaded.

    Raises
    ------
    UsageError
        Where a name cannot be one.
    NetworkMissing
        Where files of those published as ONNX graphs can be had neither from disk nor from the hub;
        the message names all of them, with where to put each by hand. The same where one needs
        PyTorch, which is not installed.
    """
    here: list[Network] = []
    wanted: dict[str, tuple[Kind, list[Source] | None]] = {}
    files: list[tuple[str, HubFile]] = []
    sweep_dead(networks_folder())
    for name in dict.fromkeys(names):
        check_name(name_here(name))
        entry = catalogue().get(name)
        if network := _here(name):
            here.append(network)
        elif entry is not None and not entry.needs_torch:
            wanted[name] = entry.kind, []
            files += [(name, file) for file in ready.files_of(entry)]
        else:
            wanted[name] = _kind_of(name), None
    for (name, _), source in zip(
        files, look([file for _, file in files], offline=offline), strict=True
    ):
        found = wanted[name][1]
        assert found is not None
        found.append(source)
    return Pull(tuple(here), wanted)


def _kind_of(name: str) -> Kind:
    """The kind of a network that is to be converted; NetworkMissing without PyTorch."""
    from closeup.networks.convert.detectors import is_detector
    from closeup.networks.convert.onnx_export import need_torch

    try:
        need_torch(f"converting {name}")
    except NetworkMissing as err:
        guess = "" if name in catalogue() else near(name)
        raise NetworkMissing(f"{err}" + f"; did you mean {guess}?" * bool(guess)) from err
    return "detector" if is_detector(name) else "backbone"


def remove(name: str) -> Path:
    """Delete a network of the cache and what was downloaded for it; returns its folder.

    Raises
    ------
    UsageError
        Where the cache has no network of this name: the package's own stay.
    NetworkError
        Where its folder cannot be deleted.
    """
    local = name_here(name)
    check_name(local.replace(SIGN, "-"))
    folder = networks_folder() / local
    if not folder.is_dir():
        if (BUILTIN / local).is_dir():
            raise UsageError(f"{name} comes with the package and stays; nothing was removed")
        here = sorted(one.name for one in networks_folder().glob("[!.]*"))
        raise UsageError(
            f"no network called {name} is in the cache; it has {', '.join(here) or 'none'}"
        )
    try:
        # Away in one step, so that nobody finds half of it.
        with work_folder(networks_folder(), ".new-") as work:
            folder.rename(work / "gone")
        entry = catalogue().get(name)
        for file in ready.files_of(entry) if entry and not entry.needs_torch else ():
            file.place.unlink(missing_ok=True)
    except OSError as err:
        raise NetworkError(f"{folder} cannot be removed: {err.strerror or err}") from err
    return folder


def _for_words(
    name: str, words: Sequence[str], progress: Progress, offline: bool | None
) -> Network:
    """The network of the detector `name` that looks for `words`: from the cache, else made now."""
    from closeup.networks.convert.open_vocabulary import export_with_words

    if not OPEN_VOCABULARY[name].exports:
        raise UsageError(
            f"{name} cannot become an ONNX network; let it write the boxes once, with PyTorch: "
            f'--boxes-by {name} --parent "pocket watch, compass"'
        )
    cache = networks_folder()
    folder = cache / name_with_words(name, words)
    sweep_dead(cache)
    if folder.is_dir():
        return load(folder)
    with work_folder(cache, ".making-") as work:
        card = export_with_words(name, words, work, progress, offline)
        return save(card, work / card.graph, folder)
