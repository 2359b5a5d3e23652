"""The summary of what was collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from closeup.collect.record import Collected, Status
from closeup.core.serialization import to_json
from closeup.photos.labels import plain


@dataclass(frozen=True, slots=True)
class CollectResult:
    """What became of the addresses of a list, in this run and those before.

    - `photos`: the folder; `addresses`: how many the list has, `asked` of them in this run
    - `saved`, `duplicate`, `failed`, `refused`: how many of them are in each state
    - `conflicts`: duplicates that the list gives another label than the photo that was kept
    - `labels`: label -> state -> number; `licences`: licence -> saved photos, ``""`` for unknown
    - `reasons`: why photos were refused or failed -> number, most frequent first
    - `bytes`: of the photos saved in this run; `seconds`: that it took
    """

    photos: str
    addresses: int
    asked: int
    saved: int
    duplicate: int
    failed: int
    refused: int
    conflicts: int
    labels: dict[str, dict[str, int]]
    licences: dict[str, int]
    reasons: dict[str, int]
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """What ``closeup collect --json`` prints."""
        found: dict[str, Any] = to_json(self)
        return found


def summary(
    folder: str, rows: Sequence[Collected], *, asked: int, bytes: int, seconds: float
) -> CollectResult:
    """The summary of the rows of a list."""
    states = Counter(row.status for row in rows)
    kept = {row.sha256: row.label for row in reversed(rows) if row.status is Status.SAVED}
    labels: dict[str, dict[str, int]] = {}
    for row in rows:
        mine = labels.setdefault(row.label, dict.fromkeys(map(str, Status), 0))
        mine[row.status] += 1
    return CollectResult(
        photos=folder,
        addresses=len(rows),
        asked=asked,
        saved=states[Status.SAVED],
        duplicate=states[Status.DUPLICATE],
        failed=states[Status.FAILED],
        refused=states[Status.REFUSED],
        conflicts=sum(
            row.status is Status.DUPLICATE
            and plain(kept.get(row.sha256, row.label)) != plain(row.label)
            for row in rows
        ),
        labels=labels,
        licences=_most(row.licence for row in rows if row.status is Status.SAVED),
        reasons=_most(
            row.reason.partition("(")[0].strip()
            for row in rows
            if row.status in (Status.FAILED, Status.REFUSED)
        ),
        bytes=bytes,
        seconds=round(seconds, 3),
    )


def _most(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
