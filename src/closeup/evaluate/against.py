"""A new model against the one before, on the same photos.

Answers are matched by content, so renamed photos and other paddings are still the same. Test
answers are compared with test answers, and out-of-fold answers with out-of-fold answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from closeup.core.types import Box
from closeup.evaluate.scores import Difference, paired_difference

SAME = 0.5  # boxes of one photo show the same object from this IoU on
FEWEST = 10
"""Groups that both models must have answered out of fold: with fewer, no interval is reliable."""

Pairs = list[tuple["Answered", "Answered"]]


@dataclass(frozen=True, slots=True)
class Answered:
    """One close-up of a training and the answer to it.

    Attributes
    ----------
    photo, path
        The photo's sha256, and its path at that time, for people.
    box
        The object, in pixels of the upright photo.
    label, group, split
        As in the dataset at that time.
    answer
        On the test part the model's, on the training part that of a head that was not fitted on it;
        ``""`` where there is none.
    """

    photo: str
    path: str
    box: Box
    label: str
    group: str
    split: str
    answer: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The new model less the one in use, whose training has this `number`, in macro-F1.

    - `n`, `test`: close-ups in the test parts of both, and the difference on them; None for none
    - `relabelled`, `old_labels`: how many of these have another label now, and the difference by
      the old labels; None where no label has changed. What the two differ by is not the model's.
    - `n_out_of_fold`, `out_of_fold`: the same on the training part, which decides
    """

    number: int
    n: int
    test: Difference | None
    relabelled: int
    old_labels: Difference | None
    n_out_of_fold: int
    out_of_fold: Difference | None

    @property
    def clearly_worse(self) -> bool:
        """Whether the whole interval of the out-of-fold difference lies below 0."""
        return self.out_of_fold is not None and self.out_of_fold.delta.high < 0


def compare(
    number: int, before: Sequence[Answered], after: Sequence[Answered], *, seed: int = 0
) -> Comparison:
    """Compare the answers of a new model with those of training `number`."""
    test, held = (_matched(before, after, split) for split in ("test", "train"))
    relabelled = sum(one.label != other.label for one, other in test)
    enough = len({other.group for _, other in held}) >= FEWEST
    return Comparison(
        number,
        n=len(test),
        test=_difference(test, 1, seed),
        relabelled=relabelled,
        old_labels=_difference(test, 0, seed) if relabelled else None,
        n_out_of_fold=len(held),
        out_of_fold=_difference(held, 1, seed) if enough else None,
    )


def _difference(pairs: Pairs, labels: int, seed: int) -> Difference | None:
    """By the old (0) or the new (1) `labels`; None where there is no pair."""
    if not pairs:
        return None
    truth, groups = [pair[labels].label for pair in pairs], [pair[1].group for pair in pairs]
    old, new = ([pair[side].answer for pair in pairs] for side in (0, 1))
    return paired_difference(truth, old, new, groups, seed=seed)


def _matched(before: Sequence[Answered], after: Sequence[Answered], split: str) -> Pairs:
    """The same close-ups, answered on the same side of both."""
    mine, pairs = _by_photo(before, split), Pairs()
    for photo, new in _by_photo(after, split).items():
        old = mine.get(photo, [])
        if len(old) == len(new) == 1:
            pairs.append((old[0], new[0]))  # however the box has moved
            continue
        for row in new:
            best = max(old, key=lambda other: other.box.iou(row.box), default=None)
            if best is not None and best.box.iou(row.box) >= SAME:
                old.remove(best)
                pairs.append((best, row))
    return pairs


def _by_photo(rows: Sequence[Answered], split: str) -> dict[str, list[Answered]]:
    found: dict[str, list[Answered]] = {}
    for row in rows:
        if row.split == split and row.answer:
            found.setdefault(row.photo, []).append(row)
    return found
