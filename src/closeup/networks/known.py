"""The names that networks go by: what is here, and what can be had."""

from __future__ import annotations

import difflib
import re
from typing import Literal

from closeup.core.errors import UsageError
from closeup.networks.cache import installed
from closeup.networks.names import ALIASES

Kind = Literal["detector", "backbone"]


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}")


def known() -> dict[str, Kind]:
    """The short names that can be had by conversion, with what they are.

    Every timm architecture is a backbone's name too.
    """
    from closeup.networks.convert.detectors import DETECTORS

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
