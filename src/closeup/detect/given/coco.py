"""COCO JSON: images, annotations with ``bbox = [x, y, width, height]`` in pixels, categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from closeup.core.errors import PhotosError
from closeup.core.types import Box
from closeup.detect.given.box import (
    Fault,
    Given,
    Row,
    Unusable,
    around,
    each,
    numbers,
    score_of,
    size_of,
    sized,
    text,
)


def coco(content: Mapping[str, Any], where: str) -> Iterator[Row]:
    """The boxes of a COCO file; identifiers that are text or numbers are the same.

    Raises PhotosError where it has no lists of images and annotations.
    """
    images, annotations = content.get("images"), content.get("annotations")
    for name, found in (("images", images), ("annotations", annotations)):
        if not isinstance(found, list):
            raise PhotosError(
                f"{where} has no list of {name}, which COCO JSON requires; export it again"
            )
    assert isinstance(images, list)
    assert isinstance(annotations, list)
    seen = Counter(str(i.get("id")) for i in images if isinstance(i, dict))
    by_id = {str(i.get("id")): i for i in images if isinstance(i, dict)}
    categories = _categories(content.get("categories"))

    def read(annotation: Mapping[str, Any]) -> Iterator[Row]:
        name = str(annotation.get("image_id"))
        if name not in by_id:
            raise Unusable("belong to no image of the file")
        if seen[name] > 1:
            raise Unusable("belong to several images with one id")
        image = by_id[name]
        if not (file_name := text(image.get("file_name"))):
            raise Unusable("belong to an image without a file_name")
        if annotation.get("iscrowd") == 1:
            raise Unusable("mark a crowd rather than one object")
        number = text(annotation.get("category_id"))
        if annotation.get("score", 0) is None:
            yield Fault("", "have no score (null) and count as certain", used=True)
        yield Given(
            "",
            file_name,
            _box(annotation),
            category=categories.get(number, number),
            score=score_of(annotation.get("score")),
            size=size_of(image.get("width"), image.get("height")),
        )

    yield from each(annotations, _place, read)


def _place(number: int, annotation: object) -> str:
    name = annotation.get("id", number) if isinstance(annotation, dict) else number
    return f"annotation {name if isinstance(name, int | str) else number}"


def _box(annotation: Mapping[str, Any]) -> Box:
    given, outline = annotation.get("bbox"), annotation.get("segmentation")
    if not given and isinstance(outline, list) and outline:
        parts = [around(numbers(part, len(part))) for part in outline]
        return Box(min(p.x1 for p in parts), min(p.y1 for p in parts),
                   max(p.x2 for p in parts), max(p.y2 for p in parts))  # fmt: skip
    return sized(*numbers(given, 4))


def _categories(found: object) -> dict[str, str]:
    """Names by id; what is damaged is left out, so that its number stands for it."""
    names = {}
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str | int | float):
            names[str(one.get("id"))] = str(one["name"]).strip()
    return names
