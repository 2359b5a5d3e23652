"""The card of a model folder, and the check that the folder holds the files on its card.

A model folder may come from a stranger. Its hashes show that it is complete, not that it is
trustworthy; so only plain files inside the folder that the card has a hash for are read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from closeup.core.config import CropConfig, DetectConfig, ViewName
from closeup.core.errors import ModelError
from closeup.core.project import file_hash

if TYPE_CHECKING:
    from closeup.learn.heads import Head

FORMAT = 2
OLDEST = 1  # the earliest format that is still read
CARD_FILE = "model.json"
HEAD_FILE = "head.safetensors"
UNKNOWN_FILE = "unknown.safetensors"
ATTRIBUTES_FILE = "attributes.safetensors"
LARGEST = 64_000_000  # bytes of a card, at most: a million labels need a third of it


class AttributeHead(BaseModel):
    """The head of an attribute: its kind, its settings that are not arrays, and the values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: str
    head_settings: dict[str, Any]
    values: tuple[str, ...]

    @classmethod
    def of(cls, head: Head) -> AttributeHead:
        """Of a head whose labels are the values."""
        return cls(head=head.kind, head_settings=dict(head.settings()), values=head.labels)


class ModelCard(BaseModel):
    """The contents of ``model.json``.

    Attributes
    ----------
    labels
        The classes, in the order of the head's probabilities.
    detect, crop
        How the close-up is found and cut.
    detector
        Name of the detector; ``""`` where the model has none and classifies whole photos.
    view
        What the backbone sees: the close-up, the whole photo, or both, one after the other.
    head, head_settings
        Kind of head, and its settings that are not arrays.
    unknown
        Thresholds for unknown photos; None where there were too few photos for them.
    likely
        The rule for sets of labels, a ``Conformal`` as JSON; None likewise.
    none
        The label among `labels` that is answered as unknown; ``""`` where there is none.
    attributes
        The heads of further things to tell apart, by name; written only where there are any.
    scores, counts
        The scores on the test part when the model was trained, and the number of close-ups.
    files
        sha256 of every other file of the folder, by relative name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    closeup: str
    key: str
    labels: tuple[str, ...]
    detect: DetectConfig
    crop: CropConfig
    detector: str
    backbone: str
    view: ViewName = "closeup"
    head: str
    head_settings: dict[str, Any]
    unknown: dict[str, float] | None = None
    likely: dict[str, int | float] | None = None
    none: str = ""
    attributes: dict[str, AttributeHead] = {}
    scores: dict[str, Any]
    counts: dict[str, int]
    files: dict[str, str]

    def to_bytes(self) -> bytes:
        """The contents of ``model.json``."""
        none = None if self.attributes else {"attributes"}
        return (self.model_dump_json(indent=1, exclude=none) + "\n").encode()


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder.

    Raises ModelError where `folder` is not a model folder, is damaged, or has a later format.
    """
    file = folder / CARD_FILE
    if not file.is_file():
        hint = f"; did you mean {folder / 'model'}?" if (folder / "model").is_dir() else ""
        raise ModelError(f"{folder} is not a model folder (it has no {CARD_FILE}){hint}")
    check_inside(folder, CARD_FILE)
    if file.stat().st_size > LARGEST:
        raise ModelError(f"{file} is larger than {LARGEST:,} bytes, so it is not a model card")
    try:
        value = json.loads(file.read_text(encoding="utf8"))
        found = value.get("format") if isinstance(value, dict) else None
        if isinstance(found, int) and not OLDEST <= found <= FORMAT:
            reads, hint = f"{OLDEST} to {FORMAT}", "train the model again"
            if found > FORMAT:
                reads, hint = str(FORMAT), "upgrade Closeup"
            raise ModelError(f"{file} has format {found}, this version reads {reads}; {hint}")
        return ModelCard.model_validate(value)
    except ValidationError as err:
        first = err.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200] or "the file"
        raise ModelError(
            f"{file} is damaged: {where}: {first['msg']}; train the model again"
        ) from err
    except (OSError, ValueError, RecursionError) as err:
        raise ModelError(f"{file} is damaged: {err}; train the model again") from err


def check_files(folder: Path, card: ModelCard) -> None:
    """Check that every file on the card is there and unchanged, and that none is missing on it.

    Raises ModelError where a file is missing, changed, outside the folder or without a hash; names
    the file.
    """
    for name, expected in card.files.items():
        _check_file(folder, name, expected)
    check_named(folder, card)


def check_named(folder: Path, card: ModelCard) -> None:
    """Raise ModelError where the card of `folder` has no hash for a file that the model needs."""
    needed = [HEAD_FILE, "backbone/card.json", "backbone/graph.onnx"]
    if card.detector:
        needed += ["detector/card.json", "detector/graph.onnx"]
    if card.unknown is not None:
        needed.append(UNKNOWN_FILE)
    if card.attributes:
        needed.append(ATTRIBUTES_FILE)
    for name in needed:
        if name not in card.files:
            raise ModelError(
                f"{folder / CARD_FILE} has no hash for {name}, which the model needs; "
                "train the model again"
            )


def check_inside(folder: Path, name: str) -> None:
    """Raise ModelError where `name` leads out of the folder, by itself or through a link."""
    inside = os.path.realpath(folder)
    try:
        outside = os.path.commonpath([inside, os.path.realpath(folder / name)]) != inside
    except ValueError:  # a name that no file can have
        outside = True
    if outside:
        raise ModelError(
            f"{folder / CARD_FILE} names {name}, which lies outside the folder; copy the model "
            "folder again from where it was made"
        )


def _check_file(folder: Path, name: str, expected: str) -> None:
    file = folder / name
    check_inside(folder, name)
    try:
        if not file.is_file():
            raise ModelError(f"{file} is missing; copy the whole model folder, or train again")
        found = file_hash(file)
    except OSError as err:
        raise ModelError(f"{file} cannot be read: {err.strerror or err}") from err
    if found != expected:
        raise ModelError(
            f"{file} has changed (sha256 {found[:12]}…, {CARD_FILE} has {expected[:12]}…); "
            "copy the model folder again, or train again"
        )
