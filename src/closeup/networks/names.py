"""The names of networks: which are here, and which can be downloaded."""

from __future__ import annotations

import difflib
import re

from closeup.core.errors import UsageError
from closeup.networks.cache import installed
from closeup.networks.catalogue import Kind, catalogue
from closeup.networks.download import NEWEST
from closeup.networks.words import OPEN_VOCABULARY

HUB = "hf:"
"""How the name of a repository on the model hub begins where a path could stand, too."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}")
_REPOSITORY = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)


def known() -> dict[str, Kind]:
    """The short names of the networks that can be downloaded, with their kinds."""
    kinds: dict[str, Kind] = dict.fromkeys(OPEN_VOCABULARY, "detector")
    return {name: entry.kind for name, entry in catalogue().items()} | kinds


def name_here(name: str) -> str:
    """What a network is called once it is here: a repository ``OWNER/NAME`` by its second part.

    >>> name_here("PekingU/rtdetr_r101vd"), name_here("d-fine-n")
    ('rtdetr_r101vd', 'd-fine-n')
    """
    return name.rpartition("/")[2] if is_repository(name) else name


def is_repository(name: str) -> bool:
    """Whether a name is that of a hub repository, ``OWNER/NAME``."""
    return _REPOSITORY.fullmatch(name) is not None


def on_hub(source: str) -> tuple[str, str]:
    """Repository and revision of ``hf:OWNER/NAME[@REVISION]``; UsageError where it is malformed.

    >>> on_hub("hf:owner/name"), on_hub("hf:owner/name@v1")
    (('owner/name', 'main'), ('owner/name', 'v1'))
    """
    repo, _, revision = source.removeprefix(HUB).partition("@")
    if not is_repository(repo) or not _REVISION.fullmatch(revision or NEWEST):
        raise UsageError(f"{source}: expected hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
    return repo, revision or NEWEST


def available(kind: Kind) -> str:
    """The networks of a kind that are here now, for the end of a message."""
    return f"installed {kind}s: {', '.join(_names_here(kind)) or 'none'}"


def _names_here(kind: Kind) -> list[str]:
    return [network.card.name for network in installed() if network.card.kind == kind]


def check_name(name: str) -> None:
    """Raise UsageError where `name` cannot name a network (it becomes a folder's name)."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a network: use letters, digits, dot, dash, underscore or @, "
            "beginning with a letter or digit"
        )


def unknown(name: str, kind: Kind) -> str:
    """The message for a name that no network of this kind has."""
    entries = [entry for entry in catalogue().values() if entry.kind == kind]
    obtainable = [entry.name for entry in entries if entry.may_suggest]
    near = _near(name, [*obtainable, *_names_here(kind)])
    guess = f" (did you mean {near}?)" if near else ""
    more = ", or any timm architecture" if kind == "backbone" else ""
    return (
        f"no {kind} is called {name!r}{guess}; you can download {', '.join(obtainable)}{more}, "
        "or add a file of your own with `closeup models add`"
    )


def near(name: str) -> str:
    """The name of the catalogue that is most like another one; ``""`` where none is."""
    return _near(name, [entry.name for entry in catalogue().values() if entry.may_suggest])


def _near(name: str, names: list[str]) -> str:
    return next(iter(difflib.get_close_matches(name, names, 1)), "")
