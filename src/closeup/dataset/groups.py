"""Photos that must stay on one side of every split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from closeup.core.types import Crop, CropState, Photo

REJECTED = "rejected in review"  # the reason of a close-up that a person rejected

DROPPED = "no object was found and such photos are dropped"
"""Reason of a photo without pixels: on the test side it stays, to count as wrong end to end."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Byte-identical photos under different labels: at least one label is wrong."""

    photo_ids: tuple[str, ...]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.photo_ids)} identical photos have different labels "
            f"({', '.join(self.labels)}) and are left out: {', '.join(self.photo_ids)}"
        )


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which photos belong together.

    - `group_of`: ``{photo_id: group_id}`` for every photo; a group's id is the smallest photo id in
      it
    - `conflicts`: identical photos whose labels contradict each other
    """

    group_of: dict[str, str]
    conflicts: tuple[Conflict, ...]


def group_photos(photos: Sequence[Photo], *, pairs: Iterable[tuple[str, str]] = ()) -> Grouping:
    """The groups of the photos, independent of their order.

    Byte-identical photos, photos of the same non-empty `group`, and the `pairs` of photo ids belong
    together, directly or through others. Any other photo is a group of its own.

    Raises KeyError where `pairs` names a photo that is not among `photos`.
    """
    parent = {photo.id: photo.id for photo in photos}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[tuple[str, str], str] = {}
    same = [
        (photo.id, first.setdefault((kind, value), photo.id))
        for photo in photos
        for kind, value in (("bytes", photo.sha256), ("group", photo.group))
        if value
    ]
    for one, other in (*same, *pairs):
        low, high = sorted((find(one), find(other)))
        parent[high] = low
    return Grouping({name: find(name) for name in parent}, tuple(find_conflicts(photos)))


def labelled(photos: Iterable[Photo], crops: Iterable[Crop]) -> list[Photo]:
    """The photos with the labels of their close-ups, which people may have changed.

    A photo with several labels, or whose close-ups were all rejected, has none.
    """
    labels: dict[str, set[str]] = {}
    for crop in crops:
        mine = labels.setdefault(crop.photo_id, set())
        if crop.state is not CropState.REJECTED:
            mine.add(crop.label)
    named = []
    for photo in photos:
        mine = labels.get(photo.id, {photo.label})
        label = next(iter(mine)) if len(mine) == 1 else ""
        named.append(photo if label == photo.label else replace(photo, label=label))
    return named


def find_conflicts(photos: Iterable[Photo]) -> list[Conflict]:
    """Byte-identical photos with different labels, sorted; unlabelled ones do not count."""
    copies: dict[str, list[Photo]] = {}
    for photo in photos:
        if photo.sha256 and photo.label:
            copies.setdefault(photo.sha256, []).append(photo)
    conflicts = []
    for same in copies.values():
        labels = sorted({photo.label for photo in same})
        if len(labels) > 1:
            conflicts.append(Conflict(tuple(sorted(p.id for p in same)), tuple(labels)))
    return sorted(conflicts, key=lambda conflict: conflict.photo_ids)
