"""Photos and detections -> close-ups: choose the box, pad and square it, cut original pixels."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from PIL import Image, ImageStat

from closeup.core.config import CropConfig, DetectConfig
from closeup.core.text import folder_name
from closeup.core.types import ANY, Box, Crop, CropState, Detection, Photo, PhotoState, Pixels
from closeup.photos.picture import Picture

FILL = 114
"""Grey level of the letterbox, the usual one of detectors and near the mean of most photos."""
WIDEST = 16_384
"""Side in pixels up to which a close-up may grow."""
_SLENDER = 4_096  # side up to which a narrow window may be letterboxed at its own size
_LETTERBOX = 16  # beyond it, how many times the window's pixels the square may hold
TOO_SMALL = "too small: "
"""How the reason of a photo begins that has suitable boxes, but only smaller ones than allowed."""
SAME_OBJECT = 0.6
"""IoU above which two boxes are one object, named twice."""


def _is_any(parent: Sequence[str]) -> bool:
    return not parent or ANY in parent


def choose(
    detections: Sequence[Detection],
    parent: Sequence[str],
    threshold: float,
    which: Literal["best", "largest", "all"],
) -> list[Detection]:
    """The detections of one photo that become close-ups, best first.

    Parameters
    ----------
    parent
        Wanted categories, ``("any",)`` or none for all. A detection without a category (drawn in
        review, or from a boxes file that names no category at all) suits every parent.
    threshold
        Smallest score that counts.
    which
        ``best``: the highest score; ``largest``: the largest area; ``all``: every one, except a
        weaker box that overlaps a stronger one by an IoU above 0.6, for detectors name one object
        twice (``clock`` and ``cell phone``).
    """
    wanted, every = frozenset(parent), _is_any(parent)
    suited = [
        d
        for d in detections
        if d.score >= threshold and (every or d.category in wanted or not d.category)
    ]
    suited.sort(key=lambda d: (-d.score, d.rank))
    if which == "best":
        return suited[:1]
    if which == "largest":
        return [max(suited, key=lambda d: d.box.area)] if suited else []
    kept: list[Detection] = []
    for detection in suited:
        if all(detection.box.iou(other.box) <= SAME_OBJECT for other in kept):
            kept.append(detection)
    return kept


def window(box: Box, width: int, height: int, pad: float) -> tuple[Box, int]:
    """The pixels to cut for a box, and the side of the square close-up that holds them.

    The box is padded on each side by `pad` times its longer side and squared by taking in more of
    the photo; at an edge the square is shifted inwards. Only where the photo is narrower than the
    square is the rest letterboxed, and the square is never larger than the photo's longer side,
    so a photo that is a close-up already stays as it is.

    Parameters
    ----------
    box
        The object, in pixels of the upright photo; the part outside the photo is ignored.
    width, height
        Of the photo, at least 1.

    Returns
    -------
    window
        Integer corners inside the photo, at least 1 x 1, around the clipped box.
    side
        At least the window's longer side, except as :func:`bounded` says.
    """
    inner = box.clip(width, height)
    x1, x2 = _span(inner.x1, inner.x2, width)
    y1, y2 = _span(inner.y1, inner.y2, height)
    longer = max(x2 - x1, y2 - y1)
    wanted = max(longer, round(longer * (1 + 2 * pad)))
    left, right = _extend(x1, x2, min(wanted, width), width)
    top, bottom = _extend(y1, y2, min(wanted, height), height)
    around = Box(left, top, right, bottom)
    return around, bounded(around, min(wanted, max(width, height)))


def bounded(window: Box, side: int) -> int:
    """`side`, or the largest side that a close-up of `window` may have where that is less.

    A square around a strip of 30,000 x 20 pixels would hold 900 million. So beyond 4,096 pixels a
    square holds at most 16 times the pixels of its window, and its side ends at 16,384.
    """
    room = math.isqrt(_LETTERBOX * int(window.width) * int(window.height))
    return min(side, WIDEST, max(_SLENDER, room))


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    """The whole pixels around an interval within ``[0, limit]``, at least one."""
    first = min(math.floor(low), limit - 1)
    return first, min(max(math.ceil(high), first + 1), limit)


def _extend(low: int, high: int, size: int, limit: int) -> tuple[int, int]:
    """An interval of `size` centred on ``[low, high]`` as far as ``[0, limit]`` allows."""
    start = min(max((low + high - size) // 2, 0), limit - size)
    return start, start + size


def cut(photo: Pixels | Picture, window: Box, side: int) -> Pixels:
    """As :func:`cut_out`, as ``(side, side, 3)`` uint8, a new array."""
    return np.array(cut_out(photo, window, side))


def cut_out(photo: Pixels | Picture, window: Box, side: int) -> Image.Image:
    """The original pixels of `window` in an upright photo, centred on a grey square of side `side`.

    Nothing is resampled, except a window longer than `side` (see :func:`bounded`), which is shrunk
    to it. A photo is ``(height, width, 3)`` uint8 or a :class:`Picture`; the result is RGB.
    """
    if isinstance(photo, Picture):
        inside = photo.crop(window)
    else:
        x1, y1, x2, y2 = (int(v) for v in window)
        inside = Image.fromarray(photo[y1:y2, x1:x2])
    return _squared(inside, side)


def _squared(inside: Image.Image, side: int) -> Image.Image:
    """Centred on a grey square, made smaller where it is longer."""
    side = min(max(side, 1), WIDEST)  # a stranger's table may say anything
    longer = max(inside.size)
    if longer > side:
        size = [max(1, round(length * side / longer)) for length in inside.size]
        inside = inside.resize(size, Image.Resampling.BOX)
    width, height = inside.size
    if (width, height) == (side, side):
        return inside
    square = Image.new("RGB", (side, side), (FILL, FILL, FILL))
    square.paste(inside, ((side - width) // 2, (side - height) // 2))
    return square


def cut_covered(photo: Picture, box: Box, window: Box, side: int) -> Image.Image:
    """As :func:`cut_out`, the box painted over in the mean colour of the rest of the photo.

    Where the box is the whole photo, in its own mean colour.
    """
    width, height = photo.size
    x1, y1 = max(0, math.floor(box.x1)), max(0, math.floor(box.y1))
    x2, y2 = min(width, math.ceil(box.x2)), min(height, math.ceil(box.y2))
    window = window.clip(width, height)
    inside, left, top = photo.crop(window), int(window.x1), int(window.y1)
    if x1 < x2 and y1 < y2:
        colour = _colour_around(photo, Box(x1, y1, x2, y2))
        inside.paste(colour, (x1 - left, y1 - top, x2 - left, y2 - top))
    return _squared(inside, side)


def _colour_around(photo: Picture, box: Box) -> tuple[int, ...]:
    """The mean colour outside the box, of a large photo as its smaller copy shows it."""
    seen, factor = photo.small
    if factor > 1 and min(box.x1, box.y1, photo.size[0] - box.x2, photo.size[1] - box.y2) < factor:
        seen, factor = photo.upright, 1  # the rest may be a rim that the copy does not show
    hidden = seen.crop((math.floor(box.x1 / factor), math.floor(box.y1 / factor),
                        math.ceil(box.x2 / factor), math.ceil(box.y2 / factor)))  # fmt: skip
    sums = [np.array(ImageStat.Stat(part).sum) for part in (seen, hidden)]
    count, less = (part.width * part.height for part in (seen, hidden))
    mean = (sums[0] - sums[1]) / (count - less) if count > less else sums[0] / count
    return tuple(int(value) for value in mean.round())


def encode_crop(closeup: Image.Image, quality: int = 95) -> bytes:
    """A close-up as JPEG with full colour resolution (4:4:4), for small marks live in colour."""
    stream = io.BytesIO()
    closeup.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def find_crops(
    photos: Iterable[Photo],
    detections_by_photo: Mapping[str, Sequence[Detection]],
    config: CropConfig,
    detect: DetectConfig,
) -> list[Crop]:
    """The close-ups of every photo: at least one row each, in the order of `photos`.

    An unreadable photo is ``unreadable`` with the photo's reason; for the others see
    :func:`closeups_of`. ``detections_by_photo`` is by the photo's id and may lack some.
    """
    crops = []
    for photo in photos:
        if photo.state is PhotoState.READABLE:
            name, size = (photo.id, photo.label), (photo.width, photo.height)
            found = detections_by_photo.get(photo.id, ())
            crops += closeups_of(name, size, found, config, detect)
        else:
            crops.append(_empty((photo.id, photo.label), CropState.UNREADABLE, photo.reason))
    return crops


def closeups_of(
    name: tuple[str, str],
    size: tuple[int, int],
    detections: Sequence[Detection],
    config: CropConfig,
    detect: DetectConfig,
) -> list[Crop]:
    """The close-ups of one picture: at least one row.

    A box with a shorter side below ``min_size`` pixels counts as not found, so that a larger one of
    the photo is used. Without a suitable box it is ``not_found``: with ``on_miss="photo"`` the
    whole photo stands in (`stand_in` is True), with ``"drop"`` there are no pixels and `file` is
    ``""``.

    `name` is the photo's id and label, `size` its width and height in pixels. The part of a
    detection's box that lies outside the photo is cut off.

    Where labels come from the user's boxes, each box becomes a close-up labelled with its category,
    and no whole photo stands in for one, because it would have no label.
    """
    whole = Box(0, 0, *size)
    by_box = detect.labels_from == "boxes"
    if by_box:
        detect = detect.model_copy(update={"parent": (ANY,)})
        config = config.model_copy(update={"which": "all", "on_miss": "drop"})
    visible = []
    for detection in detections:
        inside = detection.box.clip(*size)
        if inside.area > 0:
            same = inside == detection.box
            visible.append(detection if same else replace(detection, box=inside))
    large = [d for d in visible if min(d.box.width, d.box.height) >= config.min_size]
    chosen = choose(large, detect.parent, detect.threshold, config.which)
    if not chosen:
        missed = _empty(name, CropState.NOT_FOUND, _why_none(visible, config, detect))
        if config.on_miss == "photo":
            missed = _placed(replace(missed, stand_in=True, box=whole), size, 0.0)
        return [missed]
    return [
        _placed(
            replace(
                _empty(name, CropState.CROPPED, ""),
                id=name[0] if number == 1 else f"{name[0]}-{number}",
                label=detection.category if by_box else name[1],
                box=detection.box,
                category=detection.category,
                score=detection.score,
            ),
            size,
            config.pad,
        )
        for number, detection in enumerate(chosen, start=1)
    ]


def _placed(crop: Crop, size: tuple[int, int], pad: float) -> Crop:
    """`crop` with its window, side and file."""
    around, side = window(crop.box, *size, pad)
    return replace(crop, window=around, side=side, file=saved_at(crop))


def saved_at(crop: Crop) -> str:
    """Where a close-up is saved, relative to the project: the folder of its label."""
    return f"crops/{folder_name(crop.label)}/{crop.id}.jpg"


def _empty(name: tuple[str, str], state: CropState, reason: str) -> Crop:
    nowhere = Box(0, 0, 0, 0)
    photo_id, label = name
    return Crop(
        id=photo_id, photo_id=photo_id, label=label, state=state, reason=reason,
        stand_in=False, box=nowhere, window=nowhere, side=0, category="", score=0.0, file="",
    )  # fmt: skip


def too_small(crops: Iterable[Crop]) -> int:
    """How many photos have suitable boxes, but none as large as ``min_size`` demands."""
    missed = (crop for crop in crops if crop.state is CropState.NOT_FOUND)
    return len({crop.photo_id for crop in missed if crop.reason.startswith(TOO_SMALL)})


def _why_none(visible: Sequence[Detection], config: CropConfig, detect: DetectConfig) -> str:
    wanted = "object" if _is_any(detect.parent) else " or ".join(detect.parent)
    if small := choose(visible, detect.parent, detect.threshold, config.which):
        box = small[0].box
        return (
            f"{TOO_SMALL}the {wanted} measures {box.width:.0f} x {box.height:.0f} pixels, and "
            f"--min-size asks for {config.min_size} on the shorter side"
        )
    best = choose(visible, detect.parent, 0.0, "best")
    if not best and detect.labels_from == "boxes":
        return "no box that can be used was given for this photo"
    seen = f"the best scores {best[0].score:.2f}" if best else "none at any score"
    return f"no {wanted} with a score of at least {detect.threshold:g} ({seen})"


def padded(photo: Photo, crop: Crop, pad: float) -> Crop:
    """`crop` with the window that another padding gives its box; a stand-in stays as it is."""
    if crop.stand_in:
        return crop
    around, side = window(crop.box, photo.width, photo.height, pad)
    return replace(crop, window=around, side=side)


def content_key(photo: Photo, crop: Crop) -> str:
    """Names the pixels of a close-up: the photo's bytes, the window, the side."""
    corners = ",".join(str(int(value)) for value in crop.window)
    return f"{photo.sha256}:{corners}:{crop.side}"


def saved_as(photo: Photo, crop: Crop, quality: int) -> str:
    """What a saved close-up shows, and how well."""
    return f"{content_key(photo, crop)}:{quality}"
