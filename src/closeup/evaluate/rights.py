"""Under which licences the photos of a project are, and what these ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from closeup.core.text import first_of
from closeup.core.types import Crop, CropState, Photo, PhotoState, Rights
from closeup.evaluate.checks import Check, counted, issue, not_applicable, passed, shortened
from closeup.photos.rights import NOTHING, licence_of

_ASKS = {
    "by": "attribution", "attribution": "attribution", "sa": "share alike",
    "nc": "no commercial use", "nd": "no adaptations", "all-rights-reserved": "permission",
}  # fmt: skip
_LIMITS = {
    "no commercial use": "not for commercial use",
    "no adaptations": "not to be shared in a changed form",
    "permission": "only with permission",
}
"""What a licence asks that keeps people from using its photos, as the check says it."""


@dataclass(frozen=True, slots=True)
class Licensed:
    """The photos under one licence.

    `licence` is a code as in :mod:`closeup.photos.licences`, `url` its text where that is known.
    `asks` has ``attribution``, ``share alike``, ``no commercial use``, ``no adaptations`` and
    ``permission``; it is empty where nothing is asked, and for a licence that one must read.
    """

    licence: str
    name: str
    url: str
    photos: int
    asks: tuple[str, ...]

    def __str__(self) -> str:
        """What it asks, in words."""
        free = "nothing" if self.licence in ("cc0", "pdm") else "see the licence"
        return ", ".join(self.asks) or free


@dataclass(frozen=True, slots=True)
class RightsCount:
    """How many photos there are, those under each licence, and the paths of all others.

    The licence with the most photos comes first.
    """

    photos: int
    licences: tuple[Licensed, ...]
    unknown: tuple[str, ...]


def rights_in_use(
    photos: Sequence[Photo], crops: Sequence[Crop], rights: Mapping[str, Rights]
) -> list[tuple[str, Rights | None]]:
    """The path of each readable photo that was not rejected, and its rights where known."""
    kept = {crop.photo_id for crop in crops if crop.state is not CropState.REJECTED}
    return [(photo.path, rights.get(photo.id)) for photo in photos
            if photo.state is PhotoState.READABLE and photo.id in kept]  # fmt: skip


def count_rights(photos: Sequence[tuple[str, Rights | None]]) -> RightsCount | None:
    """Count photos, given by path, by licence; None where no licence or origin is known of any.

    Photos of one's own have neither.
    """
    if not any(rights is not None and rights.told for _, rights in photos):
        return None
    licences = [(path, licence_of(rights or NOTHING)) for path, rights in photos]
    counts = Counter(licence for _, licence in licences if licence.known)
    rows = [
        Licensed(licence.code, licence.name, licence.url, n,
                 tuple(dict.fromkeys(_ASKS[part] for part in _parts(licence.code))))
        for licence, n in sorted(counts.items(), key=lambda item: (-item[1], item[0].name))
    ]  # fmt: skip
    unknown = tuple(path for path, licence in licences if not licence.known)
    return RightsCount(len(photos), tuple(rows), unknown)


def _parts(code: str) -> list[str]:
    return [part for part in (code, *code.split("-")) if part in _ASKS]


def check_rights(rights: RightsCount | None) -> Check:
    """CU105, from the licences of the photos; None where nothing is known of any."""
    if rights is None:
        return not_applicable("CU105", "no photo has a licence, or an address that it is from")
    found, advice = [], []
    if rights.unknown:
        found.append(
            f"{len(rights.unknown)} without a known licence "
            f"({shortened(first_of(rights.unknown, 3))})"
        )
        advice.append("add their licences to the list of photos, ask their creators, or leave them "
                      "out; photos of your own need none")  # fmt: skip
    for asked, what in _LIMITS.items():
        mine = [row for row in rights.licences if asked in row.asks]
        if mine:
            named = ", ".join(row.name for row in mine)
            found.append(f"{sum(row.photos for row in mine)} {what} ({shortened(named)})")
    if len(found) > bool(rights.unknown):
        advice.append("read these licences before you share the photos, close-ups or model")
    if found:
        every = counted(rights.photos, "photo")
        return issue("CU105", f"{every}: {'; '.join(found)}", "; ".join(advice))
    return passed("CU105", f"each of {counted(rights.photos, 'photo')} has a known licence that "
                  "allows commercial use and changes")  # fmt: skip
