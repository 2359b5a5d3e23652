"""The training close-ups that are most similar to a photo.

A model keeps reduced embeddings of its training part to recognise unknown photos
(:mod:`closeup.evaluate.unknown`). This records which close-up each of them is, so that the nearest
can be named; the pictures stay in the project.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from closeup.core.errors import ModelError
from closeup.core.serialization import from_json, to_json
from closeup.core.types import Example, Floats, Neighbour
from closeup.evaluate.unknown import UnknownRule, reference_rows


@dataclass(frozen=True, slots=True)
class Known:
    """The close-ups behind a rule's references, in their order: ids and labels."""

    crops: tuple[str, ...]
    labels: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """As a JSON file."""
        return (json.dumps(to_json(self)) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Known:
        """Read what :meth:`to_bytes` gave, for a rule with `count` references.

        Raises ModelError where it is something else, or of another length.
        """
        try:
            known = from_json(cls, json.loads(data))
        except (ValueError, RecursionError) as err:
            raise ModelError(f"the list of training close-ups is damaged: {err!r}") from err
        if not len(known.crops) == len(known.labels) == count:
            raise ModelError(f"the list of training close-ups is not that of {count} references")
        return known


def known_of(examples: Sequence[Example]) -> Known:
    """The close-ups behind the references of a rule that was fitted on these, in this order."""
    kept = [examples[row] for row in reference_rows(len(examples))]
    return Known(tuple(e.crop_id for e in kept), tuple(e.label for e in kept))


def neighbours(
    rule: UnknownRule, known: Known, embedding: Floats, count: int
) -> tuple[Neighbour, ...]:
    """The `count` training close-ups most similar to a ``(d,)`` embedding, the nearest first.

    Raises ModelError as :meth:`UnknownRule.nearest`.
    """
    rows, cosines = rule.nearest(embedding, count)
    return tuple(
        Neighbour(known.crops[row], known.labels[row], float(cosine))
        for row, cosine in zip(rows, cosines, strict=True)
    )


def beside(rule: UnknownRule, known: Known, crop: str, count: int) -> tuple[Neighbour, ...]:
    """The `count` training close-ups most similar to another one of them, the nearest first.

    Empty where `crop` is not among the references.
    """
    if crop not in known.crops:
        return ()
    own = known.crops.index(crop)
    references = rule.references.astype(np.float32)
    cosines = references @ references[own] / max(float(np.linalg.norm(references[own])), 1e-12)
    order = [row for row in np.argsort(-cosines, kind="stable").tolist() if row != own][:count]
    return tuple(Neighbour(known.crops[row], known.labels[row], float(cosines[row]))
                 for row in order)  # fmt: skip
