"""What a run over many photos did: the result of :func:`closeup.batch.predict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, and what the folder of answers now holds.

    - `run`: its number; the names of its parts begin with it
    - `listed`: photos of the source
    - `answered`: photos answered by this run; `known`: those that the folder held already
    - `left`: photos without an answer because a part could not be written; `failures`: why
    - `photos`: photos that the folder now holds
    - `counts`: objects with each label, ``"unknown"``, ``"not found"`` and ``"unreadable"``
    - `before`: `counts` after the run before, empty after the first
    - `seconds`: from the first photo listed to the last part written
    """

    run: int
    listed: int
    answered: int
    known: int
    left: int
    photos: int
    counts: Mapping[str, int]
    before: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def changes(self) -> dict[str, int]:
        """By how much each count differs from `before`; what is the same is left out."""
        names = {**self.counts, **self.before}
        change = {name: self.counts.get(name, 0) - self.before.get(name, 0) for name in names}
        return {name: count for name, count in change.items() if count}
