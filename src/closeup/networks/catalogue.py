"""The networks that are known by a short name: the rows of ``catalogue.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from closeup.networks.card import Family
from closeup.networks.preprocess import InputSpec

CATALOGUE_FILE = Path(__file__).with_name("catalogue.toml")

Kind = Literal["detector", "backbone"]
Pool = Literal["", "class", "mean", "both"]


class Entry(BaseModel):
    """One row of the catalogue; the file's own comments say more about its fields.

    Attributes
    ----------
    about
        What it is, in a few words.
    default
        Whether it is the one that ``closeup run`` takes, and ``closeup models pull`` without names.
    via
        How it is published. ``onnx`` needs no PyTorch.
    repo, revision, file
        Hub repository, commit (``""``: the newest) and the file of weights or graph in it.
    bytes, megabytes, sha256
        Of `file`: its size, about its size where that is not known, its hash; 0 and ``""`` where
        only the hub knows them.
    settings
        Files of the repository that are read beside `file`.
    architecture, args
        For timm and torchvision: its name there, and keyword arguments for building it.
    input
        What an ONNX graph takes; a network that is converted states its own.
    dim, pool
        The length of an ONNX backbone's vectors, and what becomes of its tokens: the ``class``
        token, their ``mean`` or ``both``. Of a classifier, what stands before its last fully
        connected layer is taken, and `dim` is the length of that.
    classes
        How many numbers a detector gives for each box.
    licence, terms
        Of the weights, and what else its makers ask for.
    commercial, suggested
        Whether commercial use is allowed, and whether messages may name it unasked.
    published, published_by
        Figures of its makers', and the page that has them.
    cost
        Time on a CPU relative to the default of its kind; 0 where unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=96)
    kind: Kind
    family: Family
    about: str = Field(min_length=1)
    default: bool = False
    via: Literal["onnx", "timm", "torchvision", "transformers"]
    repo: str = Field(default="", pattern=r"^([\w.-]+/[\w.-]+)?$")
    revision: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")
    file: str = Field(default="", pattern=r"^([\w-][\w.-]*/)*[\w-][\w.-]*$|^$")
    bytes: int = Field(default=0, ge=0)
    megabytes: float = Field(default=0.0, ge=0)
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    settings: tuple[str, ...] = ()
    architecture: str = ""
    args: dict[str, int | str] = {}
    input: InputSpec | None = None
    dim: int = Field(default=0, ge=0)
    pool: Pool = ""
    classes: int = Field(default=0, ge=0)
    licence: str = Field(min_length=1)
    terms: str = ""
    commercial: bool = True
    suggested: bool = True
    trained_on: tuple[str, ...] = ()
    published: dict[str, float] = {}
    published_by: str = Field(default="", pattern=r"^(https://\S+)?$")
    cost: float = Field(default=0.0, ge=0)

    @property
    def about_megabytes(self) -> float:
        """About what is to be downloaded; 0 where unknown."""
        return self.bytes / 1e6 or self.megabytes

    @property
    def description(self) -> str:
        """What the card says of it: what it is, and what its makers ask for."""
        return f"{self.about}; {self.terms}" if self.terms else self.about

    @property
    def needs_torch(self) -> bool:
        """Whether the network has to be converted here, with PyTorch."""
        return self.via != "onnx"

    @property
    def may_suggest(self) -> bool:
        """Whether a message may name it to people who have not asked for it."""
        return self.commercial and self.suggested

    @property
    def spec(self) -> InputSpec:
        """What an ONNX graph takes."""
        if self.input is None:
            raise ValueError(f"{self.name} is no ONNX graph; what it takes is not known before")
        return self.input

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Fields that only make sense together are together."""
        onnx = self.via == "onnx"
        rules = {
            "family embedding is for backbones, and for no other": (
                (self.family == "embedding") == (self.kind == "backbone")
            ),
            "a hub repository, or torchvision": bool(self.repo) != (self.via == "torchvision"),
            "an ONNX graph needs file and input": not onnx or bool(self.file and self.input),
            "timm and torchvision need an architecture, the others have none": (
                bool(self.architecture) == (self.via in ("timm", "torchvision"))
            ),
            "an ONNX detector needs its number of classes, nothing else has one": (
                bool(self.classes) == (onnx and self.kind == "detector")
            ),
            "an ONNX backbone needs dim, nothing else has it": (
                bool(self.dim) == (onnx and self.kind == "backbone")
            ),
            "a torchvision detector needs its input": (
                self.via != "torchvision" or self.input is not None
            ),
            "a pinned hash needs the size of a file, or its revision": (
                not self.sha256 or bool(self.bytes or self.revision)
            ),
            "published figures need the page that has them": (
                bool(self.published) == bool(self.published_by)
            ),
            "a default must be free to use": not self.default or self.may_suggest,
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise ValueError(f"{self.name}: {'; '.join(broken)}")
        return self


@cache
def read_catalogue(file: Path) -> Mapping[str, Entry]:
    """The rows of a catalogue, by name; ValueError where one is malformed or a name comes twice."""
    rows = tomllib.loads(file.read_text(encoding="utf8"))["network"]
    entries = [Entry.model_validate(row) for row in rows]
    found = {entry.name: entry for entry in entries}
    if len(found) != len(entries):
        raise ValueError(f"{file}: a name comes twice")
    return MappingProxyType(found)


def catalogue() -> Mapping[str, Entry]:
    """The networks that are known by a short name."""
    return read_catalogue(CATALOGUE_FILE)


def defaults() -> tuple[str, ...]:
    """The networks that ``closeup run`` takes by itself."""
    return tuple(entry.name for entry in catalogue().values() if entry.default)
