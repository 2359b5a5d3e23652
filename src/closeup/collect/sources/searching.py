"""What every source shares: only the licences asked for, each photo once, and an end."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from closeup.collect.address import Address
from closeup.collect.contact import checked_contact
from closeup.collect.sources import commons, gbif, inaturalist, inaturalist_files, openverse
from closeup.collect.sources.asking import Asker
from closeup.collect.sources.found import MIN_SIDE, Found, credit
from closeup.core.errors import UsageError
from closeup.photos.licences import DEFAULT_CODES, licence_codes

_MODULES = {
    "openverse": openverse,
    "commons": commons,
    "inaturalist": inaturalist,
    "gbif": gbif,
}
SOURCES = tuple(_MODULES)
_KINDS = frozenset({"image/jpeg", "image/jpg", "image/png", "image/webp"})
_NOT_PHOTOS = (".svg", ".gif", ".tif", ".tiff", ".pdf", ".djvu", ".webm", ".ogv", ".mp4", ".xcf")


def search(
    source: str,
    words: str,
    *,
    label: str,
    count: int,
    contact: str,
    licences: tuple[str, ...] = DEFAULT_CODES,
    folder: Path | None = None,
    base: str = "",
    left_out: Counter[str] | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Iterator[Address]:
    """Addresses of photos that a source finds by words, at most `count`, each once.

    - `source`: one of :data:`SOURCES`
    - `label`: for all of them; `contact`: an e-mail address or web page, told to the source
    - `licences`: codes of :mod:`closeup.photos.licences`; checked here as well
    - `folder`: of iNaturalist's open data, read instead of asking its API
    - `base`: asked instead of the source's own address
    - `left_out`: counts, by reason, what was found but not given

    Addresses come as pages arrive. Raises `UsageError` at once where an argument is wrong. While
    iterating, raises `SourcePaused` where the source wants no more requests for now, `SourceError`
    where it fails, and `UsageError` where it does not know the words; what came before stays good.
    """
    if source not in _MODULES:
        raise UsageError(f"no source '{source}'; choose from {', '.join(SOURCES)}")
    if not words.strip() or count < 1:
        raise UsageError("give words to search for, and a count of at least 1")
    if folder is not None and source != "inaturalist":
        raise UsageError(f"only iNaturalist has open data as files, not {source}")
    codes, words = licence_codes(licences), " ".join(words.split())
    contact = checked_contact(contact)
    module = _MODULES[source]
    service = module.service()
    service = replace(service, base=base.rstrip("/")) if base else service

    def found() -> Generator[Found, None, None]:
        if folder is not None:
            yield from inaturalist_files.find(folder, words, codes, count)
            return
        with Asker(service, contact, clock=clock, sleep=sleep, chance=chance) as asker:
            yield from module.find(asker, words, codes)

    unwanted = Counter[str]() if left_out is None else left_out
    for_all = Address(url="", label=label, source=source)
    return wanted(found(), count, codes, for_all, service.name, unwanted)


def wanted(
    found: Generator[Found, None, None],
    count: int,
    codes: tuple[str, ...],
    for_all: Address,
    via: str,
    left_out: Counter[str],
) -> Iterator[Address]:
    """Those of the photos found that were asked for."""
    given: set[str] = set()
    with closing(found):
        for photo in found:
            reason = "found twice" if photo.url in given else _unwanted(photo, codes)
            if reason:
                left_out[reason] += 1
                continue
            given.add(photo.url)
            yield replace(
                for_all,
                url=photo.url,
                group=photo.group,
                licence=photo.licence.name,
                licence_url=photo.licence.url,
                creator=photo.creator,
                landing_page=photo.landing_page,
                title=photo.title,
                attribution=photo.attribution or credit(photo, via),
            )
            if len(given) == count:
                return


def _unwanted(photo: Found, codes: tuple[str, ...]) -> str:
    """Why a photo is left out, "" where it is not."""
    if not photo.url:
        return "no address"
    if not photo.free:
        return "not free"
    if not photo.licence.known:
        return "no known licence"
    if photo.licence.code not in codes:
        return f"under {photo.licence.code}"
    if photo.kind and photo.kind.lower() not in _KINDS:
        return "not a photo"
    try:
        if urlsplit(photo.url).path.lower().endswith(_NOT_PHOTOS):
            return "not a photo"
    except ValueError:
        return "no address"
    if 0 < photo.width < MIN_SIDE or 0 < photo.height < MIN_SIDE:
        return "too small"
    return ""
