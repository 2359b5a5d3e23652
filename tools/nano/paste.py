"""Cut watches out of photos and paste them into others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

_BRIGHT = 228  # a border at least so bright is paper, not background worth keeping
_SEEN = 0.4  # share of a pasted head that must lie inside the picture


@dataclass(frozen=True, slots=True)
class Cutout:
    """A watch with its surroundings made transparent.

    Attributes
    ----------
    picture
        RGBA.
    box
        XYXY of its head in the picture's pixels.
    """

    picture: Image.Image
    box: tuple[float, float, float, float]


def cut_out(pixels: NDArray[np.uint8], box: NDArray[np.float32]) -> Cutout:
    """Cut a watch out of its photo.

    On white paper all that hangs together with the photo's border and is white becomes
    transparent; elsewhere what is left is an ellipse a little larger than the head.

    Parameters
    ----------
    pixels
        ``(height, width, 3)`` uint8, letterboxed at the top left with grey 114.
    box
        XYXY of the watch's head.
    """
    filled = (pixels != 114).any(-1)
    rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
    photo = pixels[: rows[-1] + 1, : columns[-1] + 1]
    edge = np.concatenate([photo[2], photo[-3], photo[:, 2], photo[:, -3]]).min(-1)
    x1, y1, x2, y2 = (float(v) for v in box)
    if np.median(edge) >= _BRIGHT:
        white = photo.min(-1) >= _BRIGHT
        labels, _ = ndimage.label(white)
        border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        paper = np.isin(labels, np.unique(border[border > 0]))
        alpha = Image.fromarray(np.where(paper, 0, 255).astype(np.uint8))
        alpha = alpha.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(0.8))
    else:
        y, x = np.ogrid[: photo.shape[0], : photo.shape[1]]
        far = np.hypot(
            (x - (x1 + x2) / 2) / (0.56 * (x2 - x1)), (y - (y1 + y2) / 2) / (0.56 * (y2 - y1))
        )
        alpha = Image.fromarray((np.clip((1.06 - far) * 12, 0, 1) * 255).astype(np.uint8))
    picture = Image.fromarray(photo).convert("RGBA")
    picture.putalpha(alpha)
    return Cutout(picture, (x1, y1, x2, y2))


def turned(box: Sequence[float], size: tuple[int, int], angle: float) -> NDArray[np.float64]:
    """The box of a round head after turning the picture counter-clockwise about its centre.

    The head is taken for the ellipse in `box`. The result is relative to the picture's centre.

    >>> turned((0, 0, 2, 4), (2, 4), math.pi / 2).round(6).tolist()
    [-2.0, -1.0, 2.0, 1.0]
    """
    x1, y1, x2, y2 = box
    cx, cy = (x1 + x2 - size[0]) / 2, (y1 + y2 - size[1]) / 2
    a, b = (x2 - x1) / 2, (y2 - y1) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    mx, my = cos * cx + sin * cy, -sin * cx + cos * cy
    half_x, half_y = math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos)
    return np.array([mx - half_x, my - half_y, mx + half_x, my + half_y])


def paste(
    canvas: NDArray[np.uint8],
    cutout: Cutout,
    taken: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """Paste a watch into `canvas` (changed in place) at a random place, size and angle.

    Returns its head's XYXY box inside the canvas; None where it would hide one of `taken` or lie
    outside, and then the canvas is as before.
    """
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = cutout.box
    wanted = math.exp(rng.uniform(math.log(0.1), math.log(0.8))) * max(height, width)
    scale = wanted / max(x2 - x1, y2 - y1)
    size = (
        max(8, round(cutout.picture.width * scale)),
        max(8, round(cutout.picture.height * scale)),
    )
    angle = float(rng.integers(4)) * math.pi / 2 + float(rng.normal(0, 0.15))
    small = cutout.picture.resize(size, Image.Resampling.BILINEAR)
    small = small.rotate(math.degrees(angle), Image.Resampling.BILINEAR, expand=True)
    head = turned([v * scale for v in cutout.box], size, angle)
    centre = np.array([rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height])
    middle = centre - (head[:2] + head[2:]) / 2  # where the picture's own centre goes
    box = head + np.tile(middle, 2)
    seen = box.clip(0, [width, height, width, height])
    if np.prod(seen[2:] - seen[:2]) < _SEEN * np.prod(box[2:] - box[:2]):
        return None
    if any(_touch(box, other) for other in taken):
        return None
    ground = Image.fromarray(canvas)
    corner = (round(middle[0] - small.width / 2), round(middle[1] - small.height / 2))
    ground.paste(small.convert("RGB"), corner, small.getchannel("A"))
    canvas[:] = np.asarray(ground)
    return seen


def _touch(box: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool((np.minimum(box[2:], other[2:]) > np.maximum(box[:2], other[:2])).all())
