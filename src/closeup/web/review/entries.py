"""The log for people: what was decided in one step is one entry, and is undone as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from closeup.decisions.fold import live
from closeup.decisions.kinds import Row

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """The rows of one step, of which those numbered `active` are not undone."""

    rows: tuple[Row, ...]
    active: tuple[int, ...]

    @property
    def numbers(self) -> str:
        """The numbers of its rows, which follow one another."""
        first, last = self.rows[0].number, self.rows[-1].number
        return str(first) if first == last else f"{first}–{last}"

    @property
    def kinds(self) -> list[tuple[Row, int]]:
        """A row of each kind and label that was decided, and how many there are of it."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row.decision.kind, row.decision.label), []).append(row)
        return [(mine[0], len(mine)) for mine in found.values()]

    @property
    def named(self) -> tuple[Row, ...]:
        """The rows whose photos are named; the rest is counted."""
        return self.rows if len(self.rows) <= MOST_NAMED + 1 else self.rows[:MOST_NAMED]


def entries_of(rows: Sequence[Row], most: int) -> list[Entry]:
    """The newest entries of the log, at most so many, the newest first."""
    active = {row.number for row in live(rows)}
    steps = groupby(reversed(rows), key=lambda row: row.batch)
    found = []
    for _, step in steps:
        mine = tuple(step)[::-1]
        found.append(Entry(mine, tuple(row.number for row in mine if row.number in active)))
        if len(found) == most:
            break
    return found
