"""What a model folder holds, written and read; see :mod:`closeup.model.model`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from closeup.core.errors import ModelError, NetworkError
from closeup.core.project import write_together
from closeup.evaluate.neighbours import Known
from closeup.evaluate.unknown import UnknownRule, restore_rule
from closeup.learn.heads import Head, restore
from closeup.model.card import CARD_FILE, HEAD_FILE, UNKNOWN_FILE, ModelCard, check_inside
from closeup.networks import Network, load

GRAPH_FILE = "graph.onnx"
KNOWN_FILE = "references.json"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model consists of."""

    detector: Network | None
    backbone: Network
    head: Head
    rule: UnknownRule | None = None
    known: Known | None = None

    def files(self) -> dict[str, bytes]:
        """The contents of every file of the model folder but the card, by relative name."""
        from safetensors.numpy import save

        contents = {HEAD_FILE: save(self.head.arrays())}
        if self.rule is not None:
            contents[UNKNOWN_FILE] = save(self.rule.arrays())
        if self.known is not None:
            contents[KNOWN_FILE] = self.known.to_bytes()
        for name, network in (("detector", self.detector), ("backbone", self.backbone)):
            if network is not None:
                card = network.card.model_copy(update={"graph": GRAPH_FILE})
                contents[f"{name}/card.json"] = card.model_dump_json(indent=1).encode()
                contents[f"{name}/{GRAPH_FILE}"] = network.file.read_bytes()
        return contents


def save_model(
    folder: Path,
    card: ModelCard,
    contents: Mapping[str, bytes | Path],
    beside: Mapping[Path, bytes] = MappingProxyType({}),
) -> Path:
    """Write a model folder; all of it is replaced together.

    - `contents`: what :meth:`Parts.files` gave, or paths of files with these contents;
      ``card.files`` holds their hashes
    - `beside`: further files, by path, that are replaced with it

    Raises ProjectError where the folder cannot be written, ModelError where a name leads out of it.
    """
    for name in ("detector", "backbone", *contents):
        check_inside(folder, name)
    files = {folder / name: data for name, data in contents.items()}
    write_together({**files, **beside}, folder / CARD_FILE, card.to_bytes())
    if not card.detector:
        shutil.rmtree(folder / "detector", ignore_errors=True)
    return folder


def read_parts(folder: Path, card: ModelCard) -> Parts:
    """What the model in a folder consists of, once its files are checked; see :func:`load_model`.

    Raises ModelError where they do not fit the card.
    """
    from safetensors.numpy import load_file

    with loading(folder):
        detector = _network(folder, "detector") if card.detector else None
        backbone = _network(folder, "backbone")
        head = restore(card.head, card.labels, load_file(folder / HEAD_FILE), card.head_settings)
        rule = (None if card.unknown is None
                else restore_rule(load_file(folder / UNKNOWN_FILE), card.unknown))  # fmt: skip
        known = (Known.from_bytes((folder / KNOWN_FILE).read_bytes(), len(rule.references))
                 if rule is not None and KNOWN_FILE in card.files else None)  # fmt: skip
        return Parts(detector, backbone, head, rule, known)


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Raise ModelError, naming the folder, where the block meets something damaged."""
    from safetensors import SafetensorError

    try:
        yield
    except (NetworkError, SafetensorError, OSError, LookupError, TypeError, ValueError) as err:
        raise ModelError(f"{folder} cannot be loaded: {err}; train the model again") from err


def _network(folder: Path, kind: Literal["detector", "backbone"]) -> Network:
    """A network of the model; its graph is the file whose hash has been checked."""
    network = load(folder / kind, verify=False)
    if network.card.kind != kind or network.card.graph != GRAPH_FILE:
        raise ModelError(
            f"{folder / kind} holds a {network.card.kind} in {network.card.graph}, expected a "
            f"{kind} in {GRAPH_FILE}; train the model again"
        )
    return network
