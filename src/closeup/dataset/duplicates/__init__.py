"""Pairs of photos that show the same picture, verified pixel by pixel.

Crawled sets hold the same picture many times: encoded again, resized, cropped, watermarked,
recoloured. Such copies must not straddle a split. Two photos of one watch model, or two watches in
one shop's layout, are *not* copies of one picture, however similar they look.

Each photo is aligned and compared with the nearest others by layout; the result is a list of
verified pairs with their similarities, never a chain of lookalikes. Nothing is deleted. Mirrored
copies are not searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from closeup.core.parallel import one_blas_thread, ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.types import Floats, Photo
from closeup.dataset.duplicates.align import (
    downsample,
    inverse,
    normalise_contrast,
    refine,
    unmoved,
)
from closeup.dataset.duplicates.colours import Pictures, odd_colours
from closeup.dataset.duplicates.compare import agreement
from closeup.dataset.duplicates.signature import (
    Bytes,
    Signature,
    Signatures,
    signature_of,
    signatures,
)
from closeup.dataset.duplicates.spill import Spilled

__all__ = [
    "Pair",
    "Signature",
    "Signatures",
    "Spilled",
    "near_duplicates",
    "signature_of",
    "signatures",
]

SIMILAR = 0.72  # similarity from which two photos count as one picture; see ``bench/duplicates.py``

_NEIGHBOURS = 8
_LAYOUT = 0.85  # inner product of layouts below which nothing is compared
_ROWS = 512  # photos processed together
_PRODUCTS = 4_000_000  # of photos with all others, at a time: bounds memory
_CHUNK = 64  # pairs aligned at a time
_CONTRADICTION_WEIGHT = 1.5
_COLOUR_FREE, _COLOUR_WEIGHT = 0.06, 4.0
_SMALL = 32
_THREADS = 2  # more would only wait for the interpreter: the arrays are small

Places = NDArray[np.int64]


# Sides at which pairs are aligned, steps of alignment, and the least share that must agree to go on
# to the next. One copy in a thousand agrees less than 0.62, 0.72 and 0.74.
_LEVELS = ((16, 8, 0.4), (32, 4, 0.6), (64, 4, 0.55))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos (ids, ``a < b``) of the same picture; `similarity` is 1 for identical bytes."""

    a: str
    b: str
    similarity: float


def near_duplicates(
    photos: Sequence[Photo],
    known: Signatures,
    *,
    similar: float = SIMILAR,
    progress: Progress = silent,
) -> tuple[Pair, ...]:
    """Verified pairs of `photos` that show the same picture, sorted, whatever the photos' order.

    The smallest id represents all byte-identical photos: the others are each paired with it, and it
    alone is compared with different photos. A photo is compared with the 8 nearest by layout, so
    not all pairs are listed among many copies of one picture.

    - `known`: the signatures of all readable photos among `photos`; other signatures are ignored
    - `similar`: the least similarity, 0 to 1: the share of the texture that is the same in both,
      minus contradictions in the middle and colours that no single recolouring explains
    """
    copies: dict[str, list[str]] = {}
    for photo in photos:
        copies.setdefault(photo.sha256, []).append(photo.id)
    rows = np.array([i for i, key in enumerate(known.keys) if key in copies], np.int64)
    names = [sorted(copies[known.keys[row]]) for row in rows]
    pairs = [Pair(same[0], other, 1.0) for same in names for other in same[1:]]
    candidates = rows[_candidates(known.layout[rows])]
    place = {int(row): number for number, row in enumerate(rows)}
    measured = similarities(known, candidates, progress)
    for (one, other), similarity in zip(candidates, measured, strict=True):
        if similarity >= similar:
            a, b = sorted(names[place[int(row)]][0] for row in (one, other))
            pairs.append(Pair(a, b, round(float(similarity), 4)))
    return tuple(sorted(pairs, key=lambda pair: (pair.a, pair.b)))


def _candidates(layout: NDArray[np.float16]) -> Places:
    """``(m, 2)`` rows to compare, each pair once: nearest neighbours of either."""
    vectors = layout.astype(np.float32)
    count = min(_NEIGHBOURS, len(vectors) - 1)
    found = [np.zeros((0, 2), np.int64)]
    rows = max(1, min(_ROWS, _PRODUCTS // max(1, len(vectors))))
    for begin in range(0, len(vectors) if count > 0 else 0, rows):
        near = vectors[begin : begin + rows] @ vectors.T
        mine = np.arange(begin, begin + len(near))
        near[np.arange(len(near)), mine] = -1
        best = np.argpartition(-near, count - 1, axis=1)[:, :count]
        good = np.take_along_axis(near, best, axis=1) >= _LAYOUT
        both = np.stack([np.broadcast_to(mine[:, None], best.shape)[good], best[good]], axis=1)
        found.append(np.sort(both, axis=1))
    unique: Places = np.unique(np.concatenate(found), axis=0)
    return unique


def similarities(known: Signatures, pairs: Places, progress: Progress = silent) -> Floats:
    """Measured similarity of each of the ``(m, 2)`` rows, 0 to 1; 0 where a coarse level sufficed.

    Runs on threads, linear algebra on one thread in each: batches of small matrices.
    """
    threads = partial(ordered_map, workers=_THREADS)
    found = np.zeros(len(pairs), np.float32)
    placed, kept = unmoved(len(pairs)), np.arange(len(pairs))
    with one_blas_thread():
        small = _small(known.luma) if len(pairs) else known.luma
        for side, steps, least in _LEVELS:
            pictures = small if side <= _SMALL else known.luma
            chunks = _chunks(kept)
            work = partial(_align, pictures, pairs, placed, side, steps)
            stage = f"compare at {side}"
            aligned = list(track(threads(work, chunks), stage, len(chunks), progress))
            if aligned:
                placed[kept] = np.concatenate([part for part, _ in aligned])
                kept = kept[np.concatenate([agreeing for _, agreeing in aligned]) >= least]
        fine = threads(lambda part: _fine(known, pairs[part], placed[part]), _chunks(kept))
        found[kept] = np.concatenate([np.zeros(0, np.float32), *fine])
    return found


def _chunks(of: Places) -> list[Places]:
    return [of[i : i + _CHUNK] for i in range(0, len(of), _CHUNK)]


def _small(luma: Bytes) -> Bytes:
    """Brightness ``(n, 32, 32)``, for the coarse levels."""
    parts = (downsample(luma[i : i + _ROWS], _SMALL) for i in range(0, len(luma), _ROWS))
    return np.concatenate([np.rint(part).astype(np.uint8) for part in parts])


def _align(
    pictures: Bytes, pairs: Places, placements: Floats, size: int, steps: int, rows: Places
) -> tuple[Floats, Floats]:
    """Better placements of these rows of the pairs, and the share of each pair that agrees."""
    pairs, placed = pairs[rows], placements[rows]
    still, moved = (downsample(pictures[pairs[:, side]], size) for side in (0, 1))
    placed = refine(normalise_contrast(still), normalise_contrast(moved), placed, steps)
    return placed, agreement(still, moved, placed).agreeing


def _fine(known: Signatures, pairs: Places, placed: Floats) -> Floats:
    """Similarities ``(m,)`` at full size."""
    # The picture that shows less is warped onto the one that shows more: enlarging blurs.
    more = placed[:, 0] * placed[:, 2] >= 1
    pairs = np.where(more[:, None], pairs, pairs[:, ::-1])
    placed = np.where(more[:, None], placed, inverse(placed))
    still, moved = (_pictures(known, pairs[:, side]) for side in (0, 1))
    placed = refine(normalise_contrast(still.luma), normalise_contrast(moved.luma), placed, 3)
    agreed = agreement(still.luma, moved.luma, placed)
    odd = np.maximum(0, odd_colours(still, moved, placed, agreed) - _COLOUR_FREE)
    lost = _CONTRADICTION_WEIGHT * agreed.contradicting + _COLOUR_WEIGHT * odd
    return np.asarray(np.clip(agreed.agreeing - lost, 0, 1), np.float32)


def _pictures(known: Signatures, rows: Places) -> Pictures:
    return Pictures(known.luma[rows].astype(np.float32), known.colour[rows].astype(np.float32))
