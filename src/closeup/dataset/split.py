"""Labels and groups -> a leak-free split into training and test, and folds for cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import SplitConfig
from closeup.core.errors import DatasetError
from closeup.core.text import first_of
from closeup.core.types import NONE, UNKNOWN, Crop, CropState, Example, Photo, PhotoState
from closeup.dataset.groups import DROPPED, REJECTED, find_conflicts, labelled
from closeup.dataset.kept import Place
from closeup.dataset.placing import groups_by_label, hold_out, number_folds

MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of the dataset, and where its photos are from now on.

    - `rows`: one per crop, in the order of the crops, and one per photo that has no crop
    - `places`: by sha256, of the photos that can be used
    - `notes`: sentences on photos that had to move to training
    """

    rows: list[Example]
    places: dict[str, Place]
    notes: tuple[str, ...] = ()


def make_dataset(
    photos: Sequence[Photo],
    crops: Sequence[Crop],
    config: SplitConfig,
    groups: Mapping[str, str],
    kept: Mapping[str, Place] = {},
) -> Dataset:
    """One row per crop, in the order of `crops`, and one per photo that has no crop.

    Photos of the user's own test folder (``split="test"``), if any, are the test part; otherwise a
    share of ``config.test_fraction`` is held out, stratified by label, groups kept whole, each
    class on both sides. The training part is divided into folds likewise. The result depends on
    the photos' contents, labels and groups alone, not on their names or on the order of the rows.

    What has a place in `kept` stays there, and new photos of a group go where its others are. A
    group with photos of both sides goes to training whole; so does one of a label that would
    otherwise have nothing to train on. Photos with ``split="train"`` are trained on; the test part
    does not change for them.

    Left out (``split=""``, with a reason) are: unreadable photos, photos without a label,
    identical photos under different labels, rejected crops, training photos of a group that
    reaches into the user's test folder, photos with ``split="train"`` of a group of the test part,
    and test photos of a label that training lacks. A photo without pixels because misses are
    dropped is left out of training, but stays in the test part with its reason, so that the
    end-to-end score can count it as wrong.

    - `photos`, `crops`: all of them; a crop's photo must be among `photos`
    - `groups`: ``{photo_id: group_id}`` for every photo; see
      :func:`closeup.dataset.groups.group_photos`
    - `kept`: by sha256, the places of photos that have one, whether among `photos` or not

    Raises DatasetError where there are fewer than two labels, a label has no usable photo, or
    training and the user's test folder share no label.

    A label with one group of photos is trained on and not tested; where every label has but one,
    there is no test part.
    """
    by_id = {photo.id: photo for photo in photos}
    named = _named_by_content(photos, groups)
    rows = _rows(by_id, crops, named)
    placed = [
        (named[p.id], kept[p.sha256]) for p in photos if p.sha256 in kept and p.split != "test"
    ]
    notes: tuple[str, ...] = ()
    if any(photo.split == "test" for photo in photos):
        rows = _own_test(rows, by_id)
    else:
        sides = _sides_kept(placed)
        rows = _only_trained(rows, by_id, sides)
        rows = _held_out(rows, config, sides)
        notes = _notes_on_moved(rows, by_id, kept, sides)
    rows = _folded(rows, by_id, config, kept, placed)
    places = {
        photo.sha256: Place(photo.sha256, row.split, row.fold)
        for row in rows
        if row.split and (photo := by_id[row.photo_id]).split != "test"
    }
    rows = [
        replace(row, group=groups[row.photo_id])
        if row.split != "train" or row.reason != DROPPED
        else replace(row, group=groups[row.photo_id], split="", fold=-1)
        for row in rows
    ]
    return Dataset(rows, places, notes)


def folds(examples: Sequence[Example]) -> NDArray[np.int64]:
    """The fold of every training row.

    Returns `folds`: ``(n,)`` numbers from 0 without gaps, one for each of `examples` with
    ``split="train"``, in their order. A class with fewer groups than folds is absent from some. All
    0 where fewer than two classes are in two folds: then nothing can be held out.
    """
    train = [row for row in examples if row.split == "train"]
    of_label: dict[str, set[int]] = {}
    for row in train:
        of_label.setdefault(row.label, set()).add(row.fold)
    if sum(len(mine) > 1 for mine in of_label.values()) < 2:
        return np.zeros(len(train), np.int64)
    numbers = [row.fold for row in train]
    # A number may be unused where a few groups hold nearly everything, or photos have gone.
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _named_by_content(photos: Sequence[Photo], groups: Mapping[str, str]) -> dict[str, str]:
    """`groups`, each named by the least sha256 in it instead; by its id where there is none."""
    least: dict[str, str] = {}
    for photo in photos:
        if photo.sha256:
            group = groups[photo.id]
            least[group] = min(least.get(group, photo.sha256), photo.sha256)
    return {photo.id: least.get(groups[photo.id], groups[photo.id]) for photo in photos}


def _rows(
    photos: Mapping[str, Photo], crops: Sequence[Crop], groups: Mapping[str, str]
) -> list[Example]:
    """A row for everything; split ``"train"`` where it can be used at all."""
    conflicting = {
        name: " and ".join(conflict.labels)
        for conflict in find_conflicts(labelled(photos.values(), crops))
        for name in conflict.photo_ids
    }
    present = {crop.photo_id for crop in crops}
    return [_example(photos[crop.photo_id], crop, groups, conflicting) for crop in crops] + [
        replace(_bare(photo, groups), reason=photo.reason or "no close-up was looked for")
        for photo in photos.values()
        if photo.id not in present
    ]


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
        missing = "no label: the photo lies in no sub-folder, or its cell is empty"
        return replace(row, reason=missing if crop.side else crop.reason or missing)
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
    if any(row.label == NONE and row.split for row in rows):
        notes.append(
            f"the label {NONE!r} stands for objects that are none of the classes: the model "
            f"answers {UNKNOWN!r} for them; give it another name if it is a class of its own"
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
    known = groups_by_label([row for row in split if row.split == "train"])
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


def _sides_kept(placed: Iterable[tuple[str, Place]]) -> dict[str, str]:
    """The side of each group that has one: training where any of its photos is."""
    sides: dict[str, str] = {}
    for group, place in placed:
        sides[group] = "train" if sides.get(group) == "train" else place.side
    return sides


def _only_trained(
    rows: Sequence[Example], photos: Mapping[str, Photo], sides: dict[str, str]
) -> list[Example]:
    """`rows` without those that are only to be trained on but belong to the test part.

    The groups of the others get the side ``"train"`` in `sides`, where they have none.
    """
    mine = {row.group for row in rows if row.split and photos[row.photo_id].split == "train"}
    for group in mine:
        sides.setdefault(group, "train")
    return [
        replace(row, split="", reason="in one group with a test photo, and not a random sample")
        if row.split and photos[row.photo_id].split == "train" and sides[row.group] == "test"
        else row
        for row in rows
    ]


def _held_out(
    rows: Sequence[Example], config: SplitConfig, kept: Mapping[str, str]
) -> list[Example]:
    """Hold out a stratified share of the groups."""
    usable = [row for row in rows if row.split]
    _check_classes(rows, groups_by_label(usable), "photos")
    held = hold_out(usable, config, kept)
    return [replace(row, split="test") if row.split and row.group in held else row for row in rows]


def _notes_on_moved(
    rows: Sequence[Example],
    photos: Mapping[str, Photo],
    kept: Mapping[str, Place],
    sides: Mapping[str, str],
) -> tuple[str, ...]:
    """Sentences on the photos that were in the test part and are trained on now."""
    joined, needed = set[str](), set[str]()
    for row in rows:
        photo = photos[row.photo_id]
        if row.split == "train" and photo.sha256 in kept and kept[photo.sha256].side == "test":
            (joined if sides[row.group] == "train" else needed).add(photo.path)
    whys = [
        (joined, "it now belongs together with training photos",
         "they now belong together with training photos"),
        (needed, "its label would have no training photo otherwise",
         "their labels would have no training photos otherwise"),
    ]  # fmt: skip
    return tuple(
        f"{len(paths)} photo{'s' if len(paths) > 1 else ''} moved from the test part to training, "
        f"because {many if len(paths) > 1 else one}: {first_of(paths, MOST_NAMED)}"
        for paths, one, many in whys
        if paths
    )


def _folded(
    rows: Sequence[Example],
    photos: Mapping[str, Photo],
    config: SplitConfig,
    kept: Mapping[str, Place],
    placed: Iterable[tuple[str, Place]],
) -> list[Example]:
    """`rows` with folds: of a group, that of most of its training photos, of ties the smallest."""
    train = [row for row in rows if row.split == "train"]
    seen = [row for row in train if row.reason != DROPPED]
    used = {photos[row.photo_id].sha256 for row in seen}
    votes: dict[str, Counter[int]] = {}
    for group, place in placed:
        if place.fold >= 0:
            # One that can be used outvotes all that cannot.
            weight = len(kept) + 1 if place.sha256 in used else 1
            votes.setdefault(group, Counter())[place.fold] += weight
    of_group = {
        group: min(mine, key=lambda fold: (-mine[fold], fold)) for group, mine in votes.items()
    }
    there = {row.group for row in seen}
    numbers = number_folds(seen, config, {g: n for g, n in of_group.items() if g in there})
    of_group |= numbers
    return [
        replace(row, fold=of_group.get(row.group, -1)) if row.split == "train" else row
        for row in rows
    ]


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
    return first_of(labels, 10) or "none"
