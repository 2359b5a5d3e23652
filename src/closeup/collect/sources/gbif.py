"""GBIF: photos of observed organisms from thousands of data sets.

A photo's own licence counts. Where it has none, its record's does not stand in for it: GBIF says
that photos may be under stricter terms than the data, and does not interpret their licences.
"""

from __future__ import annotations

from collections.abc import Iterator

from closeup.collect.sources.asking import Asker, Service
from closeup.collect.sources.found import Found, address, group_of, number, objects, text
from closeup.collect.sources.inaturalist import sized
from closeup.core.errors import UsageError
from closeup.core.text import visible
from closeup.photos.licences import read_licence

PAGE = 300
DEEPEST = 10_000
"""Records from the start. GBIF answers up to 100,000, but restricts who goes beyond this."""


def service() -> Service:
    """GBIF names no number; these are ours."""
    return Service("GBIF", "https://api.gbif.org", per_minute=60, per_day=2_000)


def find(asker: Asker, words: str, codes: tuple[str, ...]) -> Iterator[Found]:
    """The photos of a taxon by its scientific name, of observations and not of collections.

    The search is not narrowed by the records' licences, as they are not the photos'.
    """
    taxon = _taxon(asker, words)
    for offset in range(0, DEEPEST - PAGE + 1, PAGE):
        document = asker.ask(
            "/v1/occurrence/search",
            {
                "taxonKey": taxon,
                "mediaType": "StillImage",
                "basisOfRecord": "HUMAN_OBSERVATION",
                "limit": PAGE,
                "offset": offset,
            },
        )
        records = list(objects(document.get("results")))
        for record in records:
            for media in objects(record.get("media")):
                if text(media, "type") in {"", "StillImage"}:
                    yield _found(record, media)
        if not records or document.get("endOfRecords") is not False:
            return


def _taxon(asker: Asker, words: str) -> int:
    """The key of a taxon. Raises `UsageError` where GBIF knows no taxon of that name."""
    match = asker.ask("/v1/species/match", {"name": words})
    key = number(match, "usageKey")
    if not key or text(match, "matchType") not in {"EXACT", "FUZZY"}:
        raise UsageError(
            f"GBIF knows no species, genus or family '{visible(words)}'; give its scientific name"
        )
    return key


def _found(record: dict[str, object], media: dict[str, object]) -> Found:
    """One photo of a record."""
    key = text(record, "key")
    page = f"https://www.gbif.org/occurrence/{key}"
    licence = read_licence(text(media, "license"))
    holder = text(media, "rightsHolder")
    creator = text(media, "creator") or holder
    parts = [holder or creator, licence.name, licence.url, text(media, "publisher")]
    return Found(
        url=sized(address(media, "identifier")),
        licence=licence,
        creator=creator,
        title=text(media, "title") or text(record, "species") or text(record, "scientificName"),
        landing_page=address(media, "references") or page,
        attribution=", ".join([*filter(None, parts), f"via GBIF, {page}"]),
        group=group_of("gbif", key),
        kind=text(media, "format"),
    )
