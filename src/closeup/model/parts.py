"""What a model folder holds, written and read; see :mod:`closeup.model.model`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from numpy.typing import NDArray

from closeup.core.errors import ModelError, NetworkError
from closeup.core.project import write_together
from closeup.core.types import Attribute, Floats
from closeup.evaluate.neighbours import Known
from closeup.evaluate.unknown import UnknownRule, restore_rule
from closeup.learn.heads import Head, restore
from closeup.model.card import (
    ATTRIBUTES_FILE,
    CARD_FILE,
    HEAD_FILE,
    UNKNOWN_FILE,
    ModelCard,
    check_inside,
)
from closeup.networks import Network, load
from closeup.networks.card import GRAPH_FILE

KNOWN_FILE = "references.json"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model consists of."""

    detector: Network | None
    backbone: Network
    head: Head
    rule: UnknownRule | None = None
    known: Known | None = None
    attributes: Mapping[str, Head] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """The contents of every file of the model folder but the card, by relative name."""
        from safetensors.numpy import save

        contents = {HEAD_FILE: save(self.head.arrays())}
        if self.rule is not None:
            contents[UNKNOWN_FILE] = save(self.rule.arrays())
        if self.known is not None:
            contents[KNOWN_FILE] = self.known.to_bytes()
        if self.attributes:
            contents[ATTRIBUTES_FILE] = save(arrays_of(self.attributes))
        for name, network in (("detector", self.detector), ("backbone", self.backbone)):
            if network is not None:
                contents |= {f"{name}/{file}": data for file, data in network.files().items()}
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
    if not card.attributes:
        with suppress(OSError):
            (folder / ATTRIBUTES_FILE).unlink()
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
        rule, known = read_references(folder, card)
        return Parts(detector, backbone, head, rule, known, read_heads(folder, card))


def read_references(folder: Path, card: ModelCard) -> tuple[UnknownRule | None, Known | None]:
    """The rule for unknown photos, and the close-ups behind its references; None for what is not.

    Raises ModelError where they are damaged.
    """
    from safetensors.numpy import load_file

    with loading(folder):
        if card.unknown is None:
            return None, None
        rule = restore_rule(load_file(folder / UNKNOWN_FILE), card.unknown)
        if KNOWN_FILE not in card.files:
            return rule, None
        return rule, Known.from_bytes((folder / KNOWN_FILE).read_bytes(), len(rule.references))


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


def arrays_of(heads: Mapping[str, Head]) -> dict[str, NDArray[Any]]:
    """The arrays of all heads, each after ``NAME/``."""
    return {f"{name}/{key}": array
            for name, head in heads.items() for key, array in head.arrays().items()}  # fmt: skip


def read_heads(folder: Path, card: ModelCard) -> dict[str, Head]:
    """The heads of a model folder whose files are checked, by the attribute's name.

    Raises LookupError and ModelError where the arrays are not those of the card.
    """
    from safetensors.numpy import load_file

    arrays: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in card.attributes}
    for key, array in (load_file(folder / ATTRIBUTES_FILE) if arrays else {}).items():
        name, _, layer = key.rpartition("/")
        arrays[name][layer] = array
    return {name: restore(one.head, one.values, arrays[name], one.head_settings)
            for name, one in card.attributes.items()}  # fmt: skip


def attribute(name: str, head: Head, vector: Floats) -> Attribute:
    """The answer of one head for a close-up with the ``(d,)`` features."""
    (row,) = head.probabilities(vector[None])
    best = int(row.argmax())
    return Attribute(name, head.labels[best], float(row[best]))
