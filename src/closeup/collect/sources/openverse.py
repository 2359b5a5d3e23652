"""Openverse: openly licensed images of Flickr, museums and many others.

Its terms allow searches, but no copy of the catalogue: without a key it gives 20 results a page and
240 in all. An access token in the environment variable `CLOSEUP_OPENVERSE_TOKEN` allows more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from closeup.collect.sources.asking import Asker, Service
from closeup.collect.sources.found import Found, address, number, objects, text
from closeup.photos.licences import read_licence

PAGE = 20
PAGES = 20
TOKEN = "CLOSEUP_OPENVERSE_TOKEN"
_BASE = "https://api.openverse.org"


def service() -> Service:
    """The limits that apply, with or without a token."""
    if token := os.environ.get(TOKEN, "").strip():
        return Service("Openverse", _BASE, per_minute=100, per_day=10_000, token=token)
    return Service("Openverse", _BASE, per_minute=20, per_day=200)


def find(asker: Asker, words: str, codes: tuple[str, ...]) -> Iterator[Found]:
    """The images that Openverse finds, best first."""
    params: dict[str, str | int] = {
        "q": words,
        "license": ",".join(codes),
        "mature": "false",
        "filter_dead": "true",
        "page_size": PAGE,
    }
    for page in range(1, PAGES + 1):
        document = asker.ask("/v1/images/", params | {"page": page})
        results = list(objects(document.get("results")))
        yield from map(_found, results)
        if not results or page >= number(document, "page_count"):
            return


def _found(image: dict[str, object]) -> Found:
    version = text(image, "license_version")
    licence = read_licence(f"{text(image, 'license')} {version}", address(image, "license_url"))
    kind = text(image, "filetype").lower().replace("jpg", "jpeg")
    return Found(
        url=address(image, "url"),
        licence=licence,
        creator=text(image, "creator"),
        title=text(image, "title"),
        landing_page=address(image, "foreign_landing_url"),
        attribution=text(image, "attribution", most=2000),
        width=number(image, "width"),
        height=number(image, "height"),
        kind=f"image/{kind}" if kind else "",
    )
