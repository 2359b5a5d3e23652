"""Near-duplicate photos in groups, with what people decided about each pair."""

from __future__ import annotations

from dataclasses import dataclass, replace

from closeup.core.types import Photo
from closeup.dataset.groups import group_photos
from closeup.web.review.session import Snapshot


@dataclass(frozen=True, slots=True)
class PhotoPair:
    """Two photos of a group; `same` is None if nobody has decided, `similarity` is 0 to 1."""

    a: str
    b: str
    similarity: float
    same: bool | None


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that are joined by `pairs`, each with its label, and whether it is `left_out`."""

    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    pairs: tuple[PhotoPair, ...]
    left_out: tuple[bool, ...]

    @property
    def name(self) -> str:
        """The group's name on a page."""
        return self.photos[0].id

    def place(self, photo_id: str) -> int:
        """The position of a photo in the group, from 1."""
        return [photo.id for photo in self.photos].index(photo_id) + 1

    @property
    def open(self) -> bool:
        """Whether several of its photos are used, and nobody has decided about any pair."""
        used = self.left_out.count(False)
        return used > 1 and all(pair.same is None for pair in self.pairs)

    @property
    def conflicting(self) -> bool:
        """Whether the photos that are used have different labels."""
        pairs = zip(self.labels, self.left_out, strict=True)
        return len({label for label, left in pairs if not left}) > 1


def groups_of(now: Snapshot) -> list[Group]:
    """The groups of pairs that were found or that people named, the least similar first.

    Identical files are no pairs: they always stay together. Pairs that people separated stay in
    their group, so that they can change their minds.
    """
    photos, decisions = now.data.photos, now.decisions
    similarities = {
        (min(p.a, p.b), max(p.a, p.b)): p.similarity for p in now.data.pairs
        if photos[p.a].sha256 != photos[p.b].sha256
    }  # fmt: skip
    for pair in decisions.pairs:
        if all(name in photos for name in pair):
            similarities.setdefault(pair, 0.0)
    paired = sorted({name for pair in similarities for name in pair})
    bare = [replace(photos[name], sha256="", group="") for name in paired]  # joined by pairs only
    root_of = group_photos(bare, pairs=similarities).group_of
    members: dict[str, list[str]] = {}
    for name in paired:
        members.setdefault(root_of[name], []).append(name)
    pairs_of: dict[str, list[PhotoPair]] = {}
    for (a, b), similarity in sorted(similarities.items(), key=lambda kv: (kv[1], kv[0])):
        row = PhotoPair(a, b, similarity, decisions.pairs.get((a, b)))
        pairs_of.setdefault(root_of[a], []).append(row)
    groups = [
        Group(tuple(photos[name] for name in mine),
              tuple(_label(now, name) for name in mine), tuple(pairs_of[root]),
              tuple(all(item.verdict.rejected for item in now.items[name]) for name in mine))
        for root, mine in members.items()
    ]  # fmt: skip
    return sorted(groups, key=lambda group: (group.pairs[0].similarity, group.name))


def _label(now: Snapshot, name: str) -> str:
    mine = now.items[name]
    return mine[0].crop.label if mine else now.data.photos[name].label
