"""Where groups go: training or test, and which fold; those with a place stay there.

Only groups without a place are given one, by the criterion of :mod:`closeup.dataset.folds` with
those that have one counted where they are. A group's name decides ties and the random order, so it
should depend on the content of the photos, not on their files' names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from closeup.core.config import SplitConfig
from closeup.core.types import Example
from closeup.dataset.folds import grouped_folds
from closeup.dataset.groups import DROPPED


def hold_out(rows: Sequence[Example], config: SplitConfig, kept: Mapping[str, str]) -> set[str]:
    """The groups of the test part: a stratified share of ``config.test_fraction``.

    Each label is in training, and in the test part as far as its new groups allow. A group that
    was in the test part leaves it only where a label would have nothing to train on, and none
    ever comes to it from training.

    - `rows`: those that can be used
    - `kept`: ``"train"`` or ``"test"``, for groups that have a side
    """
    groups_of = groups_by_label(rows)
    present = {row.group for row in rows}
    held = {group for group in present if kept.get(group) == "test"}
    new = present - kept.keys()
    # Several of many folds make up a share that is no unit fraction (3 of 10 for 0.3).
    finest = min(20, max(map(len, groups_of.values())))
    if new and finest > 1:
        share = Fraction(config.test_fraction).limit_denominator(finest)
        share = min(max(share, Fraction(1, finest)), Fraction(finest - 1, finest))
        parts = {"test": range(share.numerator), "train": range(share.numerator, share.denominator)}
        places = {group: parts[side] for group, side in kept.items()}
        numbers = _numbered(rows, share.denominator, config.seed, places)
        held |= {group for group, number in numbers.items() if number < share.numerator}
    return _both_sides(groups_of, _each_trained(rows, groups_of, held, kept), new)


def number_folds(
    rows: Sequence[Example], config: SplitConfig, kept: Mapping[str, int]
) -> dict[str, int]:
    """The fold of each group, stratified by label.

    There are ``config.folds`` of them, fewer where the largest label has fewer groups. Groups
    without a fold get none where fewer than two labels have two groups to put into different
    folds: then nothing can be held out.

    - `rows`: the training rows with pixels
    - `kept`: folds from 0, for groups that have one; a group leaves it only where a label with
      several groups would be in no other fold
    """
    groups_of = groups_by_label(rows)
    sizes = sorted(map(len, groups_of.values()))
    if len(sizes) < 2 or sizes[-2] < 2:
        return dict(kept)
    stay = {group: [fold] for group, fold in kept.items()}
    for label in sorted(groups_of):
        groups = groups_of[label]
        if len(groups) > 1 and len({stay[g][0] if g in stay else -1 for g in groups}) == 1:
            stay.pop(min(groups), None)
    wanted = max([min(config.folds, sizes[-1]), *(fold + 1 for (fold,) in stay.values())])
    return _numbered(rows, wanted, config.seed, stay)


def groups_by_label(rows: Sequence[Example]) -> dict[str, set[str]]:
    """The groups with pixels of each label."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.reason != DROPPED:
            found.setdefault(row.label, set()).add(row.group)
    return found


def _numbered(
    rows: Sequence[Example], wanted: int, seed: int, kept: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    labels, groups = [row.label for row in rows], [row.group for row in rows]
    return dict(zip(groups, grouped_folds(labels, groups, wanted, seed, kept).tolist(),
                    strict=True))  # fmt: skip


def _each_trained(
    rows: Sequence[Example],
    groups_of: Mapping[str, set[str]],
    held: set[str],
    kept: Collection[str],
) -> set[str]:
    """`held` without the fewest groups, new ones first, that leave each label some to train on."""
    sizes = Counter(row.group for row in rows)
    while bare := [label for label, groups in groups_of.items() if groups <= held]:
        wanted = Counter(group for label in bare for group in groups_of[label])
        held = held - {min(wanted, key=lambda g: (g in kept, -wanted[g], sizes[g], g))}
    return held


def _both_sides(
    groups_of: Mapping[str, set[str]], held: set[str], new: Collection[str]
) -> set[str]:
    """`held` with single new groups moved so that each class is in training and in test."""
    # Not where another class would then be missing from a side; a class of one group is trained on.
    for label in sorted(groups_of):
        if len(groups_of[label]) == 1 or _on_both(groups_of[label], held):
            continue
        both = {other for other, groups in groups_of.items() if _on_both(groups, held)}
        for group in sorted(groups_of[label].intersection(new)):
            moved = held ^ {group}
            alone = any(groups_of[o] <= moved for o in groups_of if len(groups_of[o]) == 1)
            if not alone and all(_on_both(groups_of[o], moved) for o in both | {label}):
                held = moved
                break
    return held


def _on_both(groups: set[str], held: set[str]) -> bool:
    return bool(groups & held) and bool(groups - held)
