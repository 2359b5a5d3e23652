"""Photos that show one picture, in groups, with what people say of each pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from closeup.core.types import Photo
from closeup.decisions import Current
from closeup.web.review.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Twin:
    """Two photos of a group; `same` is None where nobody has decided, `similarity` from 0 to 1."""

    a: str
    b: str
    similarity: float
    same: bool | None


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that stay together unless people say otherwise; `labels` go with `photos`."""

    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    twins: tuple[Twin, ...]

    @property
    def name(self) -> str:
        """Names the group on a page."""
        return self.photos[0].id

    def place(self, photo_id: str) -> int:
        """Which of the group's photos this is, counted from 1."""
        return [photo.id for photo in self.photos].index(photo_id) + 1

    @property
    def open(self) -> bool:
        """Whether nobody has decided about any of its pairs."""
        return all(twin.same is None for twin in self.twins)

    @property
    def disputed(self) -> bool:
        """Whether its photos carry different labels."""
        return len(set(self.labels)) > 1


def groups_of(catalogue: Catalogue, decisions: Current, label_of: Mapping[str, str]) -> list[Group]:
    """The groups of pairs that were found or that people named, the least alike first.

    Identical files are no pairs: they always stay together. Pairs that people cut stay in their
    group, so that they can change their minds.
    """
    photos = catalogue.photos
    similar = {
        (min(p.a, p.b), max(p.a, p.b)): p.similarity for p in catalogue.pairs
        if photos[p.a].sha256 != photos[p.b].sha256
    }  # fmt: skip
    for pair in decisions.pairs:
        if all(name in photos for name in pair):
            similar.setdefault(pair, 0.0)
    parent = {name: name for pair in similar for name in pair}

    def top(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in similar:
        low, high = sorted((top(a), top(b)))
        parent[high] = low
    members: dict[str, list[str]] = {}
    for name in sorted(parent):
        members.setdefault(top(name), []).append(name)
    twins: dict[str, list[Twin]] = {}
    for (a, b), similarity in sorted(similar.items(), key=lambda kv: (kv[1], kv[0])):
        twins.setdefault(top(a), []).append(
            Twin(a, b, similarity, decisions.pairs.get((a, b)))
        )  # fmt: skip
    groups = [
        Group(tuple(photos[name] for name in mine),
              tuple(label_of.get(name, photos[name].label) for name in mine), tuple(twins[root]))
        for root, mine in members.items()
    ]  # fmt: skip
    return sorted(groups, key=lambda group: (group.twins[0].similarity, group.name))
