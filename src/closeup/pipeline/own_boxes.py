"""What the user's own boxes decide of a run: which are used, and whether they bring the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from closeup.core.config import DetectConfig, RunConfig
from closeup.core.errors import PhotosError, UsageError
from closeup.core.text import listed
from closeup.core.types import ANY
from closeup.detect import resolve_categories
from closeup.detect.given import GivenBoxes
from closeup.networks import Network
from closeup.photos.listing import Collection, Entry, collect
from closeup.pipeline.stages import Job


def collected(config: RunConfig) -> Collection:
    """The photos of a run; they need no labels where boxes may bring them."""
    detect = config.detect
    if detect.labels_from == "boxes" and not detect.boxes:
        raise UsageError(
            "labels come from the boxes, but no boxes are given; name their file with --boxes, or "
            "take the photos' own labels with --labels-from photos"
        )
    return collect(config.photos, labels_elsewhere=may_bring_labels(detect))


def may_bring_labels(detect: DetectConfig) -> bool:
    """Whether the photos need no labels, because boxes may have them."""
    return bool(detect.boxes) and detect.labels_from != "photos"


def take_boxes(
    job: Job, boxes: GivenBoxes, entries: Sequence[Entry], network: Network | None
) -> list[Entry]:
    """Decide which boxes are used and where labels come from, and put that into the job's options.

    Boxes bring the labels where the user says so, or where they name at least two classes and the
    photos fewer. Then each box is an example with its own label, and the photos have none. The
    parent names boxes' categories as well as those of the detector, `network`.

    Raises PhotosError where there are no labels at all, UsageError where the parent fits no box, or
    does not say what the detector is to look for.
    """
    detect = job.config.detect
    by_box = bring_labels(detect, boxes, entries)
    mine, theirs = _parents(detect, boxes, network, by_box)
    if not by_box:
        job.change_detect(parent=(*mine, *theirs))
        return list(entries)
    boxes.learn(mine)
    job.change_detect(parent=(*mine, *theirs), labels_from="boxes")
    crop = job.config.crop.model_copy(update={"which": "all"})
    job.config = job.config.model_copy(update={"crop": crop})
    used = boxes.classes
    job.notes.append(f"each of {used.total()} boxes is an example with a label of its own: "
                     f"{_listed(used)}")  # fmt: skip
    return [replace(entry, label="") for entry in entries]


def count_labels(
    detect: DetectConfig, boxes: GivenBoxes | None, entries: Sequence[Entry]
) -> Counter[str]:
    """Label -> number of examples that a run would begin with: of boxes where these bring them.

    As in a run, `boxes` then hold their classes, and only those that the parent names.
    """
    if boxes is None or not bring_labels(detect, boxes, entries):
        return Counter(entry.label for entry in entries if entry.label)
    boxes.learn(_categories_named(detect, boxes))
    return boxes.classes


def bring_labels(detect: DetectConfig, boxes: GivenBoxes, entries: Sequence[Entry]) -> bool:
    """Whether boxes bring the labels; PhotosError or UsageError where there are none at all."""
    named = {name: n for name, n in sorted(boxes.classes.items()) if name}
    labels = {entry.label for entry in entries} - {""}
    by_box = detect.labels_from == "boxes"
    if detect.labels_from == "auto":
        by_box = len(labels) < 2 <= len(named)
    if by_box and not named:
        raise UsageError(
            f"no box in {detect.boxes} has a class to learn; name it as the category or in a "
            "column label, or take the photos' own labels with --labels-from photos"
        )
    if not by_box and not labels:
        raise PhotosError(
            f"neither the photos nor the boxes in {detect.boxes} have two labels (the boxes: "
            f"{_listed(named)}); use a folder with one sub-folder per label, or boxes with classes"
        )
    return by_box


def _parents(
    detect: DetectConfig, boxes: GivenBoxes, network: Network | None, by_box: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parents that are categories of boxes, and those that are the detector's."""
    categories = boxes.categories
    mine = _categories_named(detect, boxes)
    own = {name.casefold() for name in mine}
    theirs = tuple(name for name in detect.parent if name.casefold() not in own)
    known = ANY in theirs or not detect.parent or set(categories) == {""}
    if not known and not mine and not (by_box and network):
        raise UsageError(
            f"no box in {detect.boxes} is of the category {' or '.join(theirs)}; it has "
            f"{_listed(categories)}: name one of them with --parent as well, or any"
        )
    if network is None:
        return mine, theirs
    if by_box and (ANY in theirs or not theirs):
        raise UsageError(
            f"the boxes bring the labels, so say what {network.card.name} calls these objects in "
            "new photos, such as --parent clock for watches (`closeup scout PHOTOS` shows it)"
        )
    if ANY in theirs or not detect.parent:
        return mine, theirs
    # A name that boxes and detector share is in both, each in its own spelling.
    shared = [name for name in mine if _knows(network, name)]
    wanted = (*theirs, *(shared if not by_box else ()))
    found = resolve_categories(network.card, wanted) if wanted else ()
    return mine, tuple(name for name in found if name not in mine)


def _categories_named(detect: DetectConfig, boxes: GivenBoxes) -> tuple[str, ...]:
    """Those of the boxes that the parent names, as the boxes spell them."""
    own = {name.casefold(): name for name in boxes.categories if name}
    return tuple(own[name.casefold()] for name in detect.parent if name.casefold() in own)


def _knows(network: Network, name: str) -> bool:
    try:
        resolve_categories(network.card, [name])
    except UsageError:
        return False
    return True


def _listed(counts: Counter[str] | dict[str, int]) -> str:
    """Names with how often they occur, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{name or 'without a category'} {n}" for name, n in ordered]) or "none"


def without_boxes(detect: DetectConfig) -> DetectConfig:
    """How a model finds objects in new photos, for which no boxes are given."""
    return detect.model_copy(
        update={"boxes": "", "boxes_by": "", "boxes_frame": "auto", "labels_from": "auto"}
    )
