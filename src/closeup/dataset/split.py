"""Labels and groups -> a leak-free split into training and test, and folds for cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import SplitConfig
from closeup.core.errors import DatasetError
from closeup.core.types import UNKNOWN, Crop, CropState, Example, Photo, PhotoState
from closeup.dataset.folds import grouped_folds
from closeup.dataset.groups import REJECTED, find_conflicts, labelled

DROPPED = "no object was found and such photos are dropped"
"""Reason of a photo without pixels: on the test side it stays, to count as wrong end to end."""


def make_dataset(
    photos: Sequence[Photo], crops: Sequence[Crop], config: SplitConfig, groups: Mapping[str, str]
) -> list[Example]:
    """One row per crop, in the order of `crops`, and one per photo that has no crop.

    Photos of the user's own test folder (``split="test"``), if any, are the test part; otherwise a
    share of ``config.test_fraction`` is held out, stratified by label, groups kept whole, each
    class on both sides. The result does not depend on the order of the rows.

    Left out (``split=""``, with a reason) are: unreadable photos, photos without a label,
    identical photos under different labels, rejected crops, training photos of a group that
    reaches into the user's test folder, and test photos of a label that training lacks. A photo
    without pixels because misses are dropped is left out of training, but stays in the test part
    with its reason, so that the end-to-end score can count it as wrong.

    - `photos`, `crops`: all of them; a crop's photo must be among `photos`
    - `groups`: ``{photo_id: group_id}`` for every photo; see
      :func:`closeup.dataset.groups.group_photos`

    Raises DatasetError where there are fewer than two labels, a label has no usable photo, or
    training and the user's test folder share no label.

    A label with one group of photos is trained on and not tested; where every label has but one,
    there is no test part.
    """
    by_id = {photo.id: photo for photo in photos}
    conflicting = {
        name: " and ".join(conflict.labels)
        for conflict in find_conflicts(labelled(photos, crops))
        for name in conflict.photo_ids
    }
    rows = [_example(by_id[crop.photo_id], crop, groups, conflicting) for crop in crops]
    present = {crop.photo_id for crop in crops}
    rows += [
        replace(_bare(photo, groups), reason=photo.reason or "no close-up was looked for")
        for photo in photos
        if photo.id not in present
    ]
    if any(photo.split == "test" for photo in photos):
        rows = _own_test(rows, by_id)
    else:
        rows = _hold_out(rows, config)
    return [
        replace(row, split="") if row.split == "train" and row.reason == DROPPED else row
        for row in rows
    ]


def folds(examples: Sequence[Example], config: SplitConfig) -> NDArray[np.int64]:
    """The fold of every training row: stratified by label, groups kept whole.

    Returns `folds`: ``(n,)`` numbers from 0 without gaps, one for each of `examples` with
    ``split="train"``, in their order. There are ``config.folds`` of them, fewer where the largest
    class has fewer groups. A class with fewer groups than folds is absent from some. All 0 where
    fewer than two classes have two groups to put into different folds: then nothing can be held
    out.
    """
    train = [row for row in examples if row.split == "train"]
    sizes = sorted(len(found) for found in _groups_by_label(train, "train").values())
    if len(sizes) < 2 or sizes[-2] < 2:
        return np.zeros(len(train), np.int64)
    numbers = _grouped_folds(train, min(config.folds, sizes[-1]), config.seed)
    # The greedy assignment may leave a number unused where a few groups hold nearly everything.
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _bare(photo: Photo, groups: Mapping[str, str]) -> Example:
    return Example("", photo.id, photo.label, groups[photo.id], "", False, "")


def _example(
    photo: Photo, crop: Crop, groups: Mapping[str, str], conflicting: Mapping[str, str]
) -> Example:
    """The row of a crop: split ``"train"`` where it can be used at all, else its reason."""
    bare = replace(_bare(photo, groups), crop_id=crop.id, label=crop.label)
    row = replace(bare, found=crop.state is CropState.CROPPED)
    if photo.state is not PhotoState.READABLE or crop.state is CropState.UNREADABLE:
        return replace(row, reason=f"unreadable: {photo.reason or crop.reason}")
    if crop.state is CropState.REJECTED:
        return replace(row, reason=crop.reason or REJECTED)
    if not row.label:
        return replace(
            row, reason="no label: the photo lies in no sub-folder, or its cell is empty"
        )
    if photo.id in conflicting:
        return replace(row, reason=f"identical photos are labelled {conflicting[photo.id]}")
    return replace(row, split="train", reason="" if crop.side else DROPPED)


def notes_on_rows(rows: Sequence[Example], photos: Sequence[Photo]) -> list[str]:
    """Notes for the user: readable rows that are on neither side, and misleading labels."""
    readable = {p.id: p.path for p in photos if p.state is PhotoState.READABLE}
    out = [row for row in rows if not row.split and row.reason != REJECTED
           and row.photo_id in readable]  # fmt: skip
    notes = []
    if out:
        notes.append(
            f"{len(out)} photos or close-ups are used neither for training nor for testing, such "
            f"as {readable[out[0].photo_id]}: {out[0].reason}; the report lists them"
        )
    if any(row.label == UNKNOWN for row in rows):
        notes.append(
            f"there are photos with the label {UNKNOWN!r}, which withheld answers are called, "
            "too; only withheld answers have a `reason`"
        )
    return notes


def _own_test(rows: Sequence[Example], photos: Mapping[str, Photo]) -> list[Example]:
    """Split by the user's own test folder."""

    def is_test(row: Example) -> bool:
        return photos[row.photo_id].split == "test"

    # Photos that are left out reserve their group as well: they may be copies of a test photo.
    reserved: dict[str, Example] = {row.group: row for row in rows if is_test(row)}
    split = []
    for row in rows:
        if not row.split:
            split.append(row)
        elif is_test(row):
            split.append(replace(row, split="test"))
        elif row.group in reserved:
            split.append(replace(row, split="", reason=_why_reserved(row, reserved, photos)))
        else:
            split.append(row)
    known = _groups_by_label(split, "train")
    _check_classes([r for r in split if not is_test(r)], known, "training photos")
    tested = {row.label for row in split if row.split == "test"}
    if not tested & set(known):
        raise DatasetError(
            f"the test folder has the labels {_names(tested)}, the training photos have "
            f"{_names(known)}: none in common; give the test folder's sub-folders the same names"
        )
    unknown = "the training photos have no photo of this label"
    return [
        replace(row, split="", reason=unknown)
        if row.split == "test" and row.label not in known
        else row
        for row in split
    ]


def _why_reserved(
    row: Example, reserved: Mapping[str, Example], photos: Mapping[str, Photo]
) -> str:
    twin = photos[reserved[row.group].photo_id]
    same = twin.sha256 == photos[row.photo_id].sha256
    return f"{'identical to' if same else 'in one group with'} the test photo {twin.path}"


def _hold_out(rows: Sequence[Example], config: SplitConfig) -> list[Example]:
    """Hold out a stratified share of the groups."""
    usable = [row for row in rows if row.split]
    groups_of = _groups_by_label(usable, "train")
    _check_classes(rows, groups_of, "photos")
    # Several of many folds make up a share that is no unit fraction (3 of 10 for 0.3).
    finest = min(20, max(map(len, groups_of.values())))
    if finest < 2:
        return list(rows)
    share = Fraction(config.test_fraction).limit_denominator(finest)
    share = min(max(share, Fraction(1, finest)), Fraction(finest - 1, finest))
    numbers = _grouped_folds(usable, share.denominator, config.seed)
    held = {row.group for row, n in zip(usable, numbers, strict=True) if n < share.numerator}
    # What is the only group of its label is needed for training.
    held -= {group for groups in groups_of.values() if len(groups) == 1 for group in groups}
    held = _both_sides(groups_of, held)
    return [replace(row, split="test") if row.split and row.group in held else row for row in rows]


def _both_sides(groups_of: Mapping[str, set[str]], held: set[str]) -> set[str]:
    """`held` with single groups moved over so that each class is in training and in test."""
    # Not where another class would then be missing from a side; a class of one group is trained on.
    for label in sorted(groups_of):
        if len(groups_of[label]) == 1 or _on_both(groups_of[label], held):
            continue
        both = {other for other, groups in groups_of.items() if _on_both(groups, held)}
        for group in sorted(groups_of[label]):
            moved = held ^ {group}
            alone = any(groups_of[o] <= moved for o in groups_of if len(groups_of[o]) == 1)
            if not alone and all(_on_both(groups_of[o], moved) for o in both | {label}):
                held = moved
                break
    return held


def _on_both(groups: set[str], held: set[str]) -> bool:
    return bool(groups & held) and bool(groups - held)


def _grouped_folds(rows: Sequence[Example], wanted: int, seed: int) -> NDArray[np.int64]:
    return grouped_folds([row.label for row in rows], [row.group for row in rows], wanted, seed)


def _groups_by_label(rows: Sequence[Example], split: str) -> dict[str, set[str]]:
    """The groups with pixels of each label on one side."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.split == split and row.reason != DROPPED:
            found.setdefault(row.label, set()).add(row.group)
    return found


def _check_classes(rows: Sequence[Example], groups: Mapping[str, set[str]], where: str) -> None:
    """Raise DatasetError where this is not a classification problem; rejected rows do not count."""
    labels = sorted({row.label for row in rows if row.reason != REJECTED} - {""})
    if len(labels) < 2:
        raise DatasetError(
            f"a classifier needs photos of at least 2 labels, the {where} have {len(labels)} "
            f"({_names(labels)}); make one sub-folder per label"
        )
    bare = [label for label in labels if not groups.get(label)]
    if bare:
        why = next((row.reason for row in rows if row.label in bare and row.reason), "")
        first = f" ({bare[0]}: {why})" if why else ""
        raise DatasetError(
            f"no usable photo of {_names(bare)} among the {where}{first}; add photos or remove "
            "the label"
        )


def _names(labels: Iterable[str]) -> str:
    names = sorted(labels)
    shown = ", ".join(names[:10]) or "none"
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
