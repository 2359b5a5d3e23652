"""Networks on disk: a folder with ``card.json`` and ``graph.onnx``, in the cache, the package or a
model folder. The cache also keeps the weights of a backbone, for fine-tuning.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from closeup.core.errors import NetworkDamaged, NetworkError, NetworkMissing, UsageError
from closeup.core.lock import work_folder
from closeup.networks.card import CARD_FORMAT, GRAPH_FILE, Card
from closeup.networks.engine import cache_folder, file_hash

CARD_FILE = "card.json"
LARGEST_CARD = 64_000_000  # bytes
BUILTIN = Path(__file__).parent / "builtin"
"""The networks that the package ships."""
_FIX = "delete the folder, then add or pull the network again"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Network:
    """A network on disk: its card, and the folder that holds card and graph."""

    card: Card
    folder: Path

    @property
    def file(self) -> Path:
        """The ONNX graph."""
        return self.folder / self.card.graph

    def files(self) -> dict[str, bytes]:
        """What a folder of it alone holds, by name: the card, and the graph as ``graph.onnx``."""
        card = self.card.model_copy(update={"graph": GRAPH_FILE})
        return {CARD_FILE: card.model_dump_json(indent=1).encode(),
                GRAPH_FILE: self.file.read_bytes()}  # fmt: skip

    @property
    def weights(self) -> Path | None:
        """The weights that fine-tuning starts from, None where there are none."""
        file = self.folder / self.card.origin.weights if self.card.origin else None
        return file if file and file.is_file() else None


def networks_folder() -> Path:
    """Where the cache keeps its networks; it may not exist yet."""
    return cache_folder() / "networks"


def refuse_existing(name: str, replace: bool) -> None:
    """Raise UsageError where a network is called `name` already, unless `replace` allows it."""
    for folder in (networks_folder() / name, BUILTIN / name):
        if folder.exists() and not replace:
            raise UsageError(
                f"there is a network called {name} already, in {folder}: give another --name, "
                "or --replace to put this one in its place"
            )


def measured(file: Path) -> dict[str, Any]:
    """The fields of a card that are measured on the graph's file: its hash and its size."""
    return {"sha256": file_hash(file), "bytes": file.stat().st_size}


def load(folder: Path, *, verify: bool = True) -> Network:
    """The network in `folder`; `verify` checks the graph's hash too, not only its size.

    Raises
    ------
    NetworkMissing
        Where the folder holds no card.
    NetworkDamaged
        Where the card cannot be read, or the graph is not the one it describes.
    """
    file = folder / CARD_FILE
    try:
        if file.stat().st_size > LARGEST_CARD:
            raise NetworkDamaged(f"{file} is larger than {LARGEST_CARD:,} bytes; {_FIX}")
        card = Card.model_validate_json(file.read_bytes())
    except FileNotFoundError as err:
        raise NetworkMissing(f"{folder} holds no network: {CARD_FILE} is not there") from err
    except OSError as err:
        raise NetworkError(f"{file} cannot be read: {err.strerror or err}") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise NetworkDamaged(f"{file}: {where}: {first['msg']}; {_FIX}") from err
    if card.format > CARD_FORMAT:
        raise NetworkDamaged(
            f"{file} is of format {card.format}, this version reads up to {CARD_FORMAT}: "
            "update closeup"
        )
    if card.format < 1:
        raise NetworkDamaged(f"{file} is of format {card.format}, which never existed; {_FIX}")
    if Path(card.graph).name != card.graph:  # a card from elsewhere must not point outside
        raise NetworkDamaged(f"{file}: graph {card.graph!r} is not a plain file name; {_FIX}")
    network = Network(card, folder)
    _check_graph(network, verify)
    return network


def _check_graph(network: Network, verify: bool) -> None:
    card, file = network.card, network.file
    try:
        size = file.stat().st_size
        if size != card.bytes:
            raise NetworkDamaged(f"{file} has {size} bytes, its card says {card.bytes}; {_FIX}")
        found = file_hash(file) if verify else card.sha256
    except FileNotFoundError as err:
        raise NetworkDamaged(f"{file} is missing, though its card is there; {_FIX}") from err
    except OSError as err:
        raise NetworkError(f"{file} cannot be read: {err.strerror or err}") from err
    if found != card.sha256:
        raise NetworkDamaged(
            f"{file} is not the file its card describes: expected SHA-256 {card.sha256}, "
            f"found {found}; {_FIX}"
        )


def save(card: Card, graph_file: Path, folder: Path) -> Network:
    """Write a network's folder: a copy of `graph_file`, the card, and the weights if there are any.

    Weights are copied from beside `graph_file`, under the name that the card's origin gives;
    without them the network can be used, but not fine-tuned. The folder appears whole or not at
    all. It replaces an existing one unless that holds the very same network, so that what another
    process is reading stays in place.

    Raises
    ------
    NetworkDamaged
        Where the card's `sha256` and `bytes` are not those of `graph_file`.
    NetworkError
        Where the folder cannot be written.
    """
    network = Network(card, folder)
    try:
        with work_folder(folder.parent, ".new-") as work:
            new = work / "new"
            new.mkdir()
            shutil.copyfile(graph_file, new / card.graph)
            _check_graph(Network(card, new), verify=True)
            beside = Network(card, graph_file.parent).weights
            if beside is not None:
                shutil.copyfile(beside, new / beside.name)
            (new / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf8")
            if not _is_whole(network) or (beside is not None and network.weights is None):
                _swap(new, folder, work)
    except OSError as err:
        raise NetworkError(f"{folder} cannot be written: {err.strerror or err}") from err
    return network


def _is_whole(network: Network) -> bool:
    """Whether exactly this network lies in its folder, undamaged."""
    try:
        return load(network.folder) == network
    except NetworkError:
        return False


def _swap(new: Path, folder: Path, work: Path) -> None:
    """Rename `new` to `folder`; one that is there is renamed into `work` first."""
    for attempt in range(10):
        try:
            new.rename(folder)
            return
        except OSError:
            if not folder.exists() and attempt:
                raise
        try:
            folder.rename(work / f"old{attempt}")
        except FileNotFoundError:  # another process has just moved it away
            continue
    raise OSError(f"other processes keep replacing {folder}")


def installed() -> list[Network]:
    """The networks that need no download, by name: those in the cache and the package's own.

    One in the cache hides the package's of the same name. A damaged folder is left out and logged;
    hashes are not checked.
    """
    found: dict[str, Network] = {}
    for base in (networks_folder(), BUILTIN):
        for file in base.glob(f"[!.]*/{CARD_FILE}"):  # a dot: half-written by another process
            try:
                network = load(file.parent, verify=False)
            except NetworkError as err:
                _log.warning("%s", err)
            else:
                found.setdefault(file.parent.name, network)
    return [found[name] for name in sorted(found)]
