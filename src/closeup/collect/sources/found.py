"""What a source finds, and how its answers are read: fields may be missing, or be anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from closeup.photos.licences import Licence

MIN_SIDE = 256
"""Pixels of the shorter side below which a photo is not worth fetching, where its size is known."""
_NONE = Licence()


@dataclass(frozen=True, slots=True)
class Found:
    """A photo that a source lists.

    `width` and `height` (pixels) are 0 and `kind` (the media type) is "" where the source does not
    say. `free` is False where it says that the photo is not free whatever the licence is called.
    """

    url: str
    licence: Licence = _NONE
    creator: str = ""
    title: str = ""
    landing_page: str = ""
    attribution: str = ""
    group: str = ""
    width: int = 0
    height: int = 0
    kind: str = ""
    free: bool = True


def objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects of a list, without whatever else is in it."""
    yield from (
        item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict)
    )


def inner(value: object, *path: str) -> object:
    """The value at a path of keys, None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: object, *path: str, most: int = 500) -> str:
    """The text at a path, on one line; a number as text, "" for anything else."""
    value = inner(value, *path)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    line = " ".join(str(value).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def address(value: object, *path: str) -> str:
    """The web address at a path, "" where there is none; never shortened."""
    found = text(value, *path, most=4000)
    return found if found.startswith(("http://", "https://")) and " " not in found else ""


def number(value: object, *path: str) -> int:
    """The whole number at a path, 0 where there is none."""
    value = inner(value, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def group_of(source: str, observation: str) -> str:
    """The group of an observation's photos: near copies must not straddle training and test."""
    return f"{source}:{observation}" if observation else ""


def plain(html: str) -> str:
    """The visible text of a piece of HTML.

    >>> plain('<a href="//x.org/User:Jo">Jo &amp; Co</a><span style="display: none;">Jo</span>')
    'Jo & Co'
    """
    reader = _Plain()
    reader.feed(html)
    reader.close()
    return " ".join("".join(reader.parts).split())


def credit(found: Found, via: str) -> str:
    """The line to credit a photo with: title, creator, licence, and where it was found.

    >>> credit(Found("", Licence("by", name="CC BY"), "Jo", "Dial"), "Commons")
    '"Dial" by Jo, CC BY, via Commons'
    """
    what = f'"{found.title}"' if found.title else "Photo"
    by = f" by {found.creator}" if found.creator else ""
    url = f" ({found.licence.url})" if found.licence.url else ""
    return f"{what}{by}, {found.licence.name}{url}, via {via}"


_SPACED = frozenset({"br", "p", "li", "div", "tr", "td", "dd", "dt", "ul", "table"})
_EMPTY = frozenset({"br", "img", "hr", "input", "wbr", "meta", "link"})


class _Plain(HTMLParser):
    """Collects text, except what is hidden."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SPACED:
            self.parts.append(" ")
        style = (dict(attrs).get("style") or "").replace(" ", "").lower()
        if tag not in _EMPTY and (
            self._hidden or tag in {"script", "style"} or "display:none" in style
        ):
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        if tag in _SPACED:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
