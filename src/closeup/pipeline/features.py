"""The close-ups that a head learns from, and its features: embeddings of one or two views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from closeup.core.config import ViewName
from closeup.core.project import Table, key_of
from closeup.core.types import Crop, Example, Floats, Photo
from closeup.crops.view import View, views_of
from closeup.networks import Network
from closeup.pipeline.stages import Job, embeddings_stage


@dataclass(frozen=True)
class TrainingSet:
    """The close-ups of both parts.

    - `photos`: all photos of the project
    - `crops`, `examples`: one of each for every close-up with pixels that the split uses, in the
      same order
    - `missed`: examples of the test part that have no close-up
    """

    photos: Table[Photo]
    crops: tuple[Crop, ...]
    examples: tuple[Example, ...]
    missed: tuple[Example, ...] = ()

    @classmethod
    def of(cls, photos: Table[Photo], crops: Table[Crop], examples: Table[Example]) -> TrainingSet:
        """Those of the tables' close-ups that the split uses."""
        crop_of = {crop.id: crop for crop in crops.rows}
        rows = [(e, crop_of[e.crop_id]) for e in examples.rows if e.split]
        used = [(e, crop) for e, crop in rows if crop.side > 0]
        missed = tuple(e for e, crop in rows if e.split == "test" and not crop.side > 0)
        return cls(photos, tuple(crop for _, crop in used), tuple(e for e, _ in used), missed)

    @cached_property
    def photo_of(self) -> dict[str, Photo]:
        """By id."""
        return {photo.id: photo for photo in self.photos.rows}

    def only(self, crop_ids: Sequence[str]) -> TrainingSet:
        """The close-ups of these ids alone, in this order."""
        place = {crop.id: number for number, crop in enumerate(self.crops)}
        rows = [place[name] for name in crop_ids]
        return replace(self, crops=tuple(self.crops[row] for row in rows),
                       examples=tuple(self.examples[row] for row in rows))  # fmt: skip

    def side(self, split: str) -> TrainingSet:
        """The close-ups of one part, ``"train"`` or ``"test"``; there may be none."""
        return self.only([e.crop_id for e in self.examples if e.split == split])


@dataclass(frozen=True, slots=True)
class Features:
    """The features of every close-up.

    - `of`: crop id to a ``(d,)`` vector
    - `blocks`: lengths of the parts of a vector, which sum to d
    - `key`: changes with anything that changes a vector of given pixels
    - `augmented`: for each augmented view, crop id to a vector; training close-ups only
    - `rate`: close-ups per second, all views and decoding included; 0 where that is not known
    """

    of: Mapping[str, Floats]
    blocks: tuple[int, ...]
    key: str
    augmented: tuple[Mapping[str, Floats], ...] = ()
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """One side of the split: its examples and their ``(n, d)`` features."""

    examples: tuple[Example, ...]
    vectors: Floats

    @classmethod
    def of(cls, data: TrainingSet, features: Features, split: str) -> Part:
        """The training or the test part; it may be empty."""
        mine = tuple(example for example in data.examples if example.split == split)
        vectors = [features.of[example.crop_id] for example in mine]
        empty = np.zeros((0, sum(features.blocks)), np.float32)
        return cls(mine, np.stack(vectors) if vectors else empty)

    @property
    def labels(self) -> list[str]:
        """One for each example."""
        return [example.label for example in self.examples]

    @property
    def groups(self) -> list[str]:
        """One for each example."""
        return [example.group for example in self.examples]


def features_stage(
    job: Job,
    data: TrainingSet,
    backbone: Network,
    choice: ViewName,
    like: View = View(),  # noqa: B008 (frozen)
) -> Features:
    """Embed every view of the close-ups, reusing what is cached.

    `like` says whether they are augmented or covered; its own name is not used.
    """
    photo_of, parts, keys, rates = data.photo_of, [], [], []
    for view in views_of(choice):
        view = replace(like, name=view.name)
        embeddings, key = embeddings_stage(job, data.photos, data.crops, backbone, view)
        vector_of = embeddings.as_mapping()
        parts.append([vector_of[view.key(photo_of[c.photo_id], c)] for c in data.crops])
        keys.append(key)
        rates.append(embeddings.rate)
    joined = {
        crop.id: np.concatenate(vectors) if len(vectors) > 1 else vectors[0]
        for crop, vectors in zip(data.crops, zip(*parts, strict=True), strict=True)
    }
    blocks = backbone.card.blocks or (backbone.card.dim,)
    rate = 1 / sum(1 / one for one in rates) if all(rates) else 0.0
    return Features(joined, blocks * len(parts), key_of("features", 1, choice, keys), rate=rate)
