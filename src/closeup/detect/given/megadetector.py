"""MegaDetector's and SpeciesNet's JSON: detections in fractions of each picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from closeup.detect.given.box import (
    Fault,
    Given,
    Row,
    Unusable,
    each,
    numbers,
    score_of,
    sized,
    text,
)


def is_megadetector(content: Mapping[str, Any]) -> bool:
    """Whether this is one of the two, rather than COCO."""
    rows = content.get("predictions", content.get("images"))
    return "detection_categories" in content or (
        isinstance(rows, list)
        and any(isinstance(row, dict) and "detections" in row for row in rows)
    )


def megadetector(content: Mapping[str, Any]) -> Iterator[Row]:
    """The boxes; a picture that could not be looked at is a fault."""
    named = content.get("detection_categories")
    names = {str(k): str(v) for k, v in named.items()} if isinstance(named, dict) else {}

    def read(row: Mapping[str, Any]) -> Iterator[Row]:
        file = text(row.get("file") or row.get("filepath"))
        if not file:
            raise Unusable("name no file")
        found = row.get("detections")
        if not isinstance(found, list):
            raise Unusable("hold no detections, because the picture could not be looked at")
        for number, one in enumerate(found, start=1):
            place = f"{file}, detection {number}"
            try:
                key = text(one.get("category"))
                yield Given(
                    place,
                    file,
                    sized(*numbers(one.get("bbox"), 4)),
                    category=text(one.get("label")) or names.get(key, key),
                    score=score_of(one.get("conf")),
                    relative=True,
                )
            except Unusable as err:
                yield Fault(place, str(err))

    rows = content.get("predictions", content.get("images"))
    yield from each(rows if isinstance(rows, list) else [], lambda n, _: f"image {n + 1}", read)
