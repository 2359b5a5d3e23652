"""The credits of photos as a Markdown page: who made them, under which licence, and where from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from closeup.core.text import markdown
from closeup.core.types import Rights
from closeup.photos.licences import Licence
from closeup.photos.rights import licence_of

ATTRIBUTION_FILE = "ATTRIBUTION.md"


def attribution(photos: Iterable[tuple[str, Rights]], about: str) -> str:
    """The page, with a list for each licence.

    - `photos`: each photo's name and its rights
    - `about`: what has become of the photos, in Markdown
    """
    lists: dict[Licence, list[str]] = {}
    for name, rights in photos:
        lists.setdefault(licence_of(rights), []).append(_credit(name, rights))
    known = sorted((one for one in lists if one.known), key=lambda one: one.name)
    # What is written for an unknown licence may be anything; each photo's line repeats it.
    unknown = [line for one, lines in lists.items() if not one.known for line in lines]
    blocks = [
        "# Attribution",
        about,
        "Creators and licences are as the list of photos gives them.",
    ]
    blocks += [_list(_link(one.name, one.url), lists[one]) for one in known]
    blocks += [_list("No known licence", unknown)] if unknown else []
    return "\n\n".join(blocks) + "\n"


def _list(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)


def _credit(name: str, rights: Rights) -> str:
    """One photo's line: the ready credit where there is one, else title and creator."""
    said = markdown(rights.attribution)
    if not said:
        title = f"“{markdown(rights.title)}”" if rights.title else "untitled"
        said = f"{title} by {markdown(rights.creator) or 'an unknown creator'}"
    licence = licence_of(rights)
    terms = _link(licence.name, licence.url) if licence.name else ""
    page = rights.landing_page or rights.url
    parts = [said, terms, _link("source", page) if _is_link(page) else markdown(page),
             markdown(rights.source)]  # fmt: skip
    return f"{markdown(name)}: {', '.join(filter(None, parts))}"


def _link(text: str, url: str) -> str:
    return f"[{markdown(text)}](<{url}>)" if _is_link(url) else markdown(text)


def _is_link(url: str) -> bool:
    """Whether an address can stand in angle brackets, and leads to a web page."""
    plain = url.isprintable() and not any(one in url for one in " <>\\")
    return plain and url.lower().startswith(("https://", "http://"))
