"""iNaturalist: its API, for some hundred photos of a species; its open data are read from files.

60 requests a minute and fewer than 10,000 a day, as it asks. Only observations of "research" grade:
others have agreed on what is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closeup.collect.sources.asking import Asker, Service
from closeup.collect.sources.found import Found, address, group_of, number, objects, text
from closeup.core.errors import UsageError
from closeup.photos.licences import Licence, read_licence

SIZE = "large"
"""The size of photos asked for: at most 1024 pixels a side."""
_CODES = {code: f"cc-{code}" for code in ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")}
_CODES["cc0"] = "cc0"
_PHOTO = re.compile(
    r"\A(https?://(?:inaturalist-open-data\.s3\.amazonaws\.com|static\.inaturalist\.org)"
    r"/photos/\d+/)[a-z]+\."
)
_NAME = re.compile(r"(?:\(c\) |©\s*)?(.+?), (?:some|no|all) rights reserved.*", re.IGNORECASE)


def service() -> Service:
    """What iNaturalist asks to keep to; it throttles at 100 requests a minute."""
    return Service("iNaturalist", "https://api.inaturalist.org", per_minute=60, per_day=2_000)


def find(asker: Asker, words: str, codes: tuple[str, ...]) -> Iterator[Found]:
    """The photos of a taxon, by scientific or common name, oldest observations first."""
    params: dict[str, str | int] = {
        "taxon_name": words,
        "photos": "true",
        "photo_license": ",".join(asked(codes)),
        "quality_grade": "research",
        "per_page": 200,
        "order_by": "id",
        "order": "asc",
    }
    last = 0
    while True:
        document = asker.ask("/v1/observations", params | {"id_above": last})
        observations = list(objects(document.get("results")))
        for observation in observations:
            for photo in objects(observation.get("photos")):
                yield _found(observation, photo)
        highest = max((number(one, "id") for one in observations), default=0)
        if highest <= last:
            return
        last = highest


def asked(codes: tuple[str, ...]) -> list[str]:
    """iNaturalist's own codes of licences. Raises `UsageError` where it has none of them."""
    known = [_CODES[code] for code in codes if code in _CODES]
    if not known:
        raise UsageError(
            f"iNaturalist has no photos under {', '.join(codes)}; it knows {', '.join(_CODES)}"
        )
    return known


def licence_of(code: str) -> Licence:
    """The licence by iNaturalist's code, which names no version: it links to 4.0."""
    licence = read_licence(code)
    versioned = licence.version or licence.code not in _CODES
    return licence if versioned else read_licence(f"{licence.name} 4.0")


def sized(url: str) -> str:
    """The address of the same photo in the size asked for; other sites' addresses as they are.

    >>> sized("https://static.inaturalist.org/photos/7/original.jpg?15")
    'https://static.inaturalist.org/photos/7/large.jpg?15'
    """
    return _PHOTO.sub(rf"\1{SIZE}.", url)


def _found(observation: dict[str, object], photo: dict[str, object]) -> Found:
    """One photo of an observation."""
    credited = text(photo, "attribution")
    named = _NAME.fullmatch(credited)
    user = text(observation, "user", "name") or text(observation, "user", "login")
    page = (
        f"https://www.inaturalist.org/photos/{photo_id}"
        if (photo_id := number(photo, "id"))
        else ""
    )
    return Found(
        url=sized(address(photo, "url")),
        licence=licence_of(text(photo, "license_code")),
        creator=named[1] if named else user,
        title=text(observation, "taxon", "name"),
        landing_page=page or address(observation, "uri"),
        attribution=f"{credited}, via iNaturalist" if credited else "",
        group=group_of("inaturalist", text(observation, "id")),
        width=number(photo, "original_dimensions", "width"),
        height=number(photo, "original_dimensions", "height"),
        free=photo.get("hidden") is not True,
    )
