"""The active decisions, as a pure function of everything that was ever decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from closeup.core.types import Box
from closeup.decisions.kinds import ABOUT_CROP, ABOUT_PAIR, Kind, Row


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about a close-up: the person's `label` or ``""``, and whether to use it."""

    label: str = ""
    rejected: bool = False
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Current:
    """The active decisions, and how many were `undone`.

    `verdicts` are by photo id and close-up id. `boxes` are the person's, by photo id; none where
    there is no object. `pairs` says for two photo ids, the smaller one first, whether they must
    stay together (or apart).
    """

    verdicts: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    undone: int = 0

    def __bool__(self) -> bool:
        return bool(self.verdicts or self.boxes or self.pairs)

    def verdict(self, photo: str, crop: str) -> Verdict:
        """What was decided about a close-up; the default verdict if nothing was."""
        return self.verdicts.get(photo, {}).get(crop, _UNDECIDED)

    @property
    def settled(self) -> frozenset[str]:
        """Close-ups whose label a person has confirmed or given: no longer label issues."""
        return frozenset(
            crop for mine in self.verdicts.values() for crop, v in mine.items()
            if v.accepted or v.label
        )  # fmt: skip

    @property
    def photos(self) -> frozenset[str]:
        """Every photo that a decision is about."""
        paired = {name for pair in self.pairs for name in pair}
        return frozenset({*self.verdicts, *self.boxes, *paired})

    def counts(self) -> dict[Kind, int]:
        """Active decisions of each kind; a close-up may be both relabelled and accepted."""
        verdicts = [v for mine in self.verdicts.values() for v in mine.values()]
        return {
            Kind.ACCEPT: sum(v.accepted for v in verdicts),
            Kind.REJECT: sum(v.rejected for v in verdicts),
            Kind.RELABEL: sum(bool(v.label) for v in verdicts),
            Kind.NOT_FOUND: sum(not boxes for boxes in self.boxes.values()),
            Kind.BOXES: sum(bool(boxes) for boxes in self.boxes.values()),
            Kind.SAME: sum(self.pairs.values()),
            Kind.DIFFERENT: sum(not same for same in self.pairs.values()),
        }


_UNDECIDED = Verdict()
_STILL = 0.01  # pixels: a browser returns boxes with rounding errors
NOTHING = Current()
"""No decisions at all."""


def live(rows: Sequence[Row]) -> list[Row]:
    """The decisions that are not undone, in order; an undoing may itself be undone."""
    dead: set[int] = set()
    kept = []
    for row in reversed(rows):
        if row.number in dead:
            continue
        if row.decision.kind is Kind.UNDO:
            dead.add(row.decision.undoes)
        else:
            kept.append(row)
    return kept[::-1]


def current(rows: Sequence[Row]) -> Current:
    """The active decisions after `rows`, which are in order of their numbers.

    The latest decision counts. Giving a close-up a label, or its photo a box, means that it is to
    be used, so this ends an earlier rejection, as accepting does. But a close-up whose own box is
    unchanged when another one is drawn in its photo stays rejected. Labels stay when boxes change.
    """
    kept = live(rows)
    verdicts: dict[str, dict[str, Verdict]] = {}
    boxes: dict[str, tuple[Box, ...]] = {}
    pairs: dict[tuple[str, str], bool] = {}
    for row in kept:
        decision = row.decision
        mine = verdicts.get(decision.photo, {})
        before = mine.get(decision.crop, _UNDECIDED)
        if decision.kind in ABOUT_PAIR:
            pairs[decision.pair] = decision.kind is Kind.SAME
        elif decision.kind in ABOUT_CROP:
            after = {
                Kind.ACCEPT: replace(before, accepted=True, rejected=False),
                Kind.REJECT: replace(before, accepted=False, rejected=True),
                Kind.RELABEL: Verdict(label=decision.label),
            }[decision.kind]
            verdicts.setdefault(decision.photo, {})[decision.crop] = after
        else:
            kept_still = _unmoved(decision.photo, boxes.get(decision.photo, ()), decision.boxes)
            boxes[decision.photo] = decision.boxes
            used = {name: v if name in kept_still else replace(v, rejected=False)
                    for name, v in mine.items()}  # fmt: skip
            verdicts.pop(decision.photo, None)
            if left := {name: v for name, v in used.items() if v != _UNDECIDED}:
                verdicts[decision.photo] = left
    undoings = sum(row.decision.kind is Kind.UNDO for row in rows)
    return Current(verdicts, boxes, pairs, undone=len(rows) - len(kept) - undoings)


def _unmoved(photo: str, before: Sequence[Box], after: Sequence[Box]) -> set[str]:
    """The close-ups of a photo whose boxes are unchanged, unless all of them are."""
    same = {
        photo if place == 0 else f"{photo}-{place + 1}"
        for place, (old, new) in enumerate(zip(before, after, strict=False))
        if max(abs(a - b) for a, b in zip(old, new, strict=True)) < _STILL
    }
    return same if len(same) < max(len(before), len(after)) else set()


def last_batch(rows: Sequence[Row], who: str) -> list[Row]:
    """The newest active decisions of `who` that were made together; what undo reverts."""
    mine = [row for row in live(rows) if row.who == who]
    return [row for row in mine if row.batch == mine[-1].batch]
