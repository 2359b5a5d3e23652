"""People's decisions applied to what Closeup found by itself; tables are never edited in place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from closeup.core.config import CropConfig, DetectConfig
from closeup.core.text import first_of
from closeup.core.types import Box, Crop, CropState, Detection, Photo, PhotoState
from closeup.crops.cut import find_crops, saved_at
from closeup.dataset.groups import REJECTED
from closeup.decisions.fold import Current

NONE_THERE = "marked in review as showing no object"
MOST_NAMED = 3
SAME_OBJECT = 0.5  # IoU above which a redrawn box shows the object of an earlier one


def decided_crops(
    photos: Iterable[Photo],
    detections: Mapping[str, Sequence[Detection]],
    config: CropConfig,
    detect: DetectConfig,
    current: Current,
) -> list[Crop]:
    """The close-ups of every photo, as in :func:`crops.find_crops`, after people's decisions.

    All of a person's boxes become close-ups, whatever `config.which` and their size, with no
    category and a score of 1. A rejected close-up keeps its box and has no file. Decisions about
    unreadable photos and about close-ups that do not exist change nothing.
    """
    if not current:
        return find_crops(photos, detections, config, detect)
    every = config.model_copy(update={"which": "all", "min_size": 0})
    crops = []
    for photo in photos:
        own = current.boxes.get(photo.id)
        if own is None or photo.state is not PhotoState.READABLE:
            mine = find_crops([photo], detections, config, detect)
        else:
            before = detections.get(photo.id, ()) if detect.labels_from == "boxes" else ()
            given = {photo.id: own_detections(photo.id, own, before)}
            mine = find_crops([photo], given, every, detect)
            if not own:
                mine = [replace(crop, reason=NONE_THERE) for crop in mine]
        crops += [_decided(crop, current) for crop in mine]
    return crops


def own_detections(
    photo_id: str, boxes: Sequence[Box], before: Sequence[Detection] = ()
) -> list[Detection]:
    """A person's boxes in place of the detector's, in their order.

    Each keeps the category of the one in `before` that it overlaps most, by an IoU above 0.5.
    """
    rows = []
    for rank, box in enumerate(boxes):
        best = max(before, key=lambda row: row.box.iou(box), default=None)
        same = best is not None and best.box.iou(box) > SAME_OBJECT
        rows.append(Detection(photo_id, rank, best.category if best and same else "", 1.0, box))
    return rows


def _decided(crop: Crop, current: Current) -> Crop:
    verdict = current.verdict(crop.photo_id, crop.id)
    if crop.state is CropState.UNREADABLE:
        return crop
    if verdict.label:
        crop = replace(crop, label=verdict.label)
        crop = replace(crop, file=saved_at(crop) if crop.file else "")
    if verdict.rejected:
        crop = replace(crop, state=CropState.REJECTED, reason=REJECTED, stand_in=False, file="")
    return crop


def decided_pairs(pairs: Iterable[tuple[str, str]], current: Current) -> list[tuple[str, str]]:
    """The pairs of photos that must stay together, after people's decisions."""
    known = {(one, other) if one < other else (other, one) for one, other in pairs}
    known |= {pair for pair, same in current.pairs.items() if same}
    return sorted(known - {pair for pair, same in current.pairs.items() if not same})


def without_gone(current: Current, photos: Iterable[Photo]) -> Current:
    """The decisions whose photos all still exist."""
    there = {photo.id for photo in photos}
    return replace(
        current,
        verdicts={name: v for name, v in current.verdicts.items() if name in there},
        boxes={name: boxes for name, boxes in current.boxes.items() if name in there},
        pairs={pair: same for pair, same in current.pairs.items() if there.issuperset(pair)},
    )


def notes_on(
    current: Current, photos: Sequence[Photo], crops: Sequence[Crop], left: Collection[str] = ()
) -> list[str]:
    """A sentence on each group of decisions that could not be used.

    - `left`: ids of photos that are rightly not among `photos`
    """
    notes = []
    there = {photo.id for photo in photos}
    if gone := sorted(current.photos - there - set(left)):
        notes.append(_sentence(gone, "photo", "no longer in the collection"))
    held = {crop.id for crop in crops}
    lost = sorted(name for photo, mine in current.verdicts.items() if photo in there
                  for name in mine if name not in held)  # fmt: skip
    if lost:
        notes.append(_sentence(lost, "close-up", "no longer cut"))
    broken = {p.id for p in photos if p.state is PhotoState.UNREADABLE}
    if unread := sorted((current.boxes.keys() | current.verdicts.keys()) & broken):
        notes.append(_sentence(unread, "photo", "now unreadable"))
    return notes


def _sentence(names: Sequence[str], what: str, why: str) -> str:
    many = "s" if len(names) > 1 else ""
    shown = first_of(names, MOST_NAMED)
    return f"decisions about {len(names)} {what}{many} {why} were ignored: {shown}"
