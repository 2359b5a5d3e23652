"""What a head sees of each close-up: embeddings of one or two views, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from closeup.core.config import View as ViewName
from closeup.core.project import Table, key_of
from closeup.core.types import Crop, Floats, Photo
from closeup.crops.view import View, views_of
from closeup.networks import Network
from closeup.pipeline.stages import Job, embeddings_stage


@dataclass(frozen=True, slots=True)
class Features:
    """The features of every close-up.

    Attributes
    ----------
    of
        Crop id to a ``(d,)`` vector.
    blocks
        Lengths of the parts of a vector, which sum to d.
    key
        Changes with anything that changes a vector of given pixels.
    augmented
        For each augmented view, crop id to a vector; training close-ups only.
    rate
        Close-ups a second, all views and decoding included; 0 where that is not known.
    """

    of: Mapping[str, Floats]
    blocks: tuple[int, ...]
    key: str
    augmented: tuple[Mapping[str, Floats], ...] = ()
    rate: float = 0.0


def features_stage(
    job: Job,
    photos: Table[Photo],
    crops: Sequence[Crop],
    backbone: Network,
    choice: ViewName,
    like: View = View(),  # noqa: B008 (frozen)
) -> Features:
    """Embed every view of `crops` (those with pixels), reusing what is cached.

    `like` says whether they are augmented or covered; its own name is not used.
    """
    photo_of = {photo.id: photo for photo in photos.rows}
    parts, keys, rates = [], [], []
    for view in views_of(choice):
        view = replace(like, name=view.name)
        embeddings, key = embeddings_stage(job, photos, crops, backbone, view)
        vector_of = embeddings.as_mapping()
        parts.append([vector_of[view.key(photo_of[c.photo_id], c)] for c in crops])
        keys.append(key)
        rates.append(embeddings.rate)
    joined = {
        crop.id: np.concatenate(vectors)
        for crop, vectors in zip(crops, zip(*parts, strict=True), strict=True)
    }
    blocks = backbone.card.blocks or (backbone.card.dim,)
    rate = 1 / sum(1 / one for one in rates) if all(rates) else 0.0
    return Features(joined, blocks * len(parts), key_of("features", 1, choice, keys), rate=rate)
