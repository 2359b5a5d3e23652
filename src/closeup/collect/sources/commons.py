"""Wikimedia Commons: the Action API, a search among files with what is known of their rights.

One request at a time, `maxlag=5`, and a User-Agent with a contact, as Wikimedia's etiquette asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from closeup.collect.sources.asking import Asker, Service
from closeup.collect.sources.found import Found, address, inner, number, objects, plain, text
from closeup.photos.licences import Licence, read_licence

WIDTH = 1280
"""Of the pictures asked for, in pixels; Wikimedia makes only some widths, and this is one."""
_RIGHTS = (
    ("LicenseShortName", "LicenseUrl", "License", "Artist", "Attribution", "ObjectName", "NonFree")
)  # fmt: skip


def service() -> Service:
    """What Wikimedia allows: one request at a time; the numbers are ours, as it names none."""
    return Service(
        "Wikimedia Commons",
        "https://commons.wikimedia.org",
        per_minute=60,
        per_day=2_000,
        later=("maxlag", "ratelimited", "readonly"),
    )


def find(asker: Asker, words: str, codes: tuple[str, ...]) -> Iterator[Found]:
    """The pictures that Commons finds, best first; its search knows nothing of licences."""
    params: dict[str, str | int] = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "maxlag": 5,
        "generator": "search",
        "gsrsearch": f"{words} filetype:bitmap",
        "gsrnamespace": 6,
        "gsrlimit": 50,
        "prop": "imageinfo",
        "iiprop": "url|size|mime|extmetadata",
        "iiurlwidth": WIDTH,
        "iiextmetadatalanguage": "en",
        "iiextmetadatafilter": "|".join(_RIGHTS),
    }
    following: dict[str, str | int] = {}
    while True:
        document = asker.ask("/w/api.php", params | following)
        pages = list(objects(inner(document, "query", "pages")))
        for page in sorted(pages, key=lambda page: number(page, "index")):
            for info in list(objects(page.get("imageinfo")))[:1]:
                yield _found(page, info)
        known, following = following, _following(document)
        if not following or following == known:
            return


def _following(document: dict[str, object]) -> dict[str, str | int]:
    """What to ask with for the rest: whatever `continue` holds, as MediaWiki asks."""
    further = inner(document, "continue")
    return {key: text(further, key) for key in further} if isinstance(further, dict) else {}


def _found(page: dict[str, object], info: dict[str, object]) -> Found:
    """One file."""
    said = {name: plain(text(info, "extmetadata", name, "value", most=5_000)) for name in _RIGHTS}
    url = address(info, "extmetadata", "LicenseUrl", "value")
    licence = read_licence(said["LicenseShortName"] or said["License"], url)
    title = said["ObjectName"] or text(page, "title").removeprefix("File:").rpartition(".")[0]
    creator = said["Artist"][:500]
    smaller = number(info, "width") > WIDTH and address(info, "thumburl")
    return Found(
        url=smaller or address(info, "url"),
        licence=licence,
        creator=creator,
        title=title[:500],
        landing_page=address(info, "descriptionurl"),
        attribution=_credit(said["Attribution"] or creator, licence),
        width=number(info, "width"),
        height=number(info, "height"),
        kind=text(info, "mime"),
        free=said["NonFree"].lower() not in {"1", "true", "yes"},
    )


def _credit(who: str, licence: Licence) -> str:
    """The line that Commons proposes for a file's use elsewhere."""
    named = f"{licence.name} <{licence.url}>" if licence.url else licence.name
    return ", ".join(filter(None, [who[:1000], named, "via Wikimedia Commons"]))
