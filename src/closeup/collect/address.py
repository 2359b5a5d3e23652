"""One line of a list: where a photo lies, what it shows, and what is known of its rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Address:
    """Where to fetch one photo.

    - `url`: an ``http`` or ``https`` address
    - `label`: what the photo shows
    - `group`: photos that belong together, such as those of one object; ``""`` for none
    - `licence`, `licence_url`, `creator`, `attribution`: rights as the source states them
    - `landing_page`: the page that shows the photo
    - `title`, `source`: what it is called there, and where it was found
    """

    url: str
    label: str
    group: str = ""
    licence: str = ""
    licence_url: str = ""
    creator: str = ""
    landing_page: str = ""
    title: str = ""
    attribution: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Make each field text that any file can hold: JSON may have halves of characters."""
        for one in fields(self):
            text = str(getattr(self, one.name) or "").encode(errors="backslashreplace").decode()
            object.__setattr__(self, one.name, text)

    @property
    def key(self) -> tuple[str, str]:
        """What makes it a row of its own: an address under a label."""
        return self.url, self.label


def unique(addresses: Iterable[Address]) -> list[Address]:
    """The addresses in their order, each under a label once: as it comes first."""
    found: dict[tuple[str, str], Address] = {}
    for one in addresses:
        found.setdefault(one.key, one)
    return list(found.values())


@dataclass(slots=True)
class Job:
    """An address to fetch, for all the labels that the list gives it.

    `before` and `attempts`: how often it was asked for in earlier runs, and in this one.
    """

    url: str
    addresses: list[Address] = field(default_factory=list)
    before: int = 0
    attempts: int = 0
