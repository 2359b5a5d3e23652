"""Close-ups for training: cut once, kept small, augmented anew in every epoch.

The augmentation is our own because torchvision's draws from PyTorch's global random state, so that
pictures made in several threads would not be reproducible.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.types import Crop, Photo, Pixels
from closeup.crops.cut import cut
from closeup.learn.finetune.config import FinetuneConfig
from closeup.networks.preprocess import InputSpec, prepare
from closeup.photos.reading import read_picture_again

Closeup = Callable[[], Pixels]
"""Returns the ``(h, w, 3)`` uint8 RGB pixels of one close-up, the same on every call."""

SPARE = 1.25
"""Training canvases are up to this factor larger than the network's input."""
KEPT_BYTES = 2 << 30
_LUMA = np.array([0.299, 0.587, 0.114])


def closeups_of(photos: Mapping[str, Photo], crops: Sequence[Crop]) -> list[Closeup]:
    """The close-up of each crop, to be cut from its photo on demand.

    `photos` are by id, and hold that of every crop; `crops` have pixels (``side > 0``).
    """

    def one(crop: Crop) -> Pixels:
        return cut(read_picture_again(photos[crop.photo_id]), crop.window, crop.side)

    return [partial(one, crop) for crop in crops]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Close-ups as canvases of about the network's input size.

    Attributes
    ----------
    canvases
        ``(h, w, 3)`` uint8 each, in the input's aspect ratio, up to :data:`SPARE` times as large
        as the network's input. None for those that are made again each time, to limit memory.
    held
        The rows that are held out from any training, and so judged as prediction sees them.
    plains
        Those, exactly of the network's size, unless there are too many.
    digest
        A hash over all canvases.
    """

    closeups: tuple[Closeup, ...]
    spec: InputSpec
    canvases: tuple[Pixels | None, ...]
    held: frozenset[int]
    plains: Mapping[int, Pixels]
    digest: str

    @classmethod
    def load(
        cls,
        closeups: Sequence[Closeup],
        spec: InputSpec,
        held: Sequence[bool],
        progress: Progress = silent,
        kept_bytes: int = KEPT_BYTES,
    ) -> Pictures:
        """Make every canvas once.

        `held` says for each close-up whether it is held out from any training. What goes beyond
        `kept_bytes` is made again when needed.
        """
        digest = hashlib.sha256()
        kept: list[Pixels | None] = []
        plains: dict[int, Pixels] = {}
        room = kept_bytes

        def make(pair: tuple[Closeup, bool]) -> tuple[Pixels, Pixels | None]:
            pixels = pair[0]()
            return _canvas(pixels, spec, False), _canvas(pixels, spec, True) if pair[1] else None

        made = ordered_map(make, list(zip(closeups, held, strict=True)))
        for row, (canvas, plain) in enumerate(track(made, "read", len(closeups), progress)):
            digest.update(repr(canvas.shape).encode() + canvas.tobytes())
            room -= canvas.nbytes + (0 if plain is None else plain.nbytes)
            kept.append(canvas if room >= 0 else None)
            if plain is not None and room >= 0:
                plains[row] = plain
        rows = frozenset(row for row, one in enumerate(held) if one)
        return cls(tuple(closeups), spec, tuple(kept), rows, plains, digest.hexdigest())

    def canvas(self, row: int) -> Pixels:
        """The canvas of one close-up."""
        canvas = self.canvases[row]
        if canvas is None:
            canvas = _canvas(self.closeups[row](), self.spec, exact=False)
        return canvas

    def plain(self, row: int) -> Pixels:
        """One close-up without augmentation, ``(height, width, 3)`` uint8 of the network's size."""
        if row in self.plains:
            return self.plains[row]
        pixels = self.closeups[row]() if row in self.held else self.canvas(row)
        return _canvas(pixels, self.spec, exact=True)

    def augmented(self, row: int, rng: np.random.Generator, config: FinetuneConfig) -> Pixels:
        """One close-up with augmentation, ``(height, width, 3)`` uint8 of the network's size."""
        return augment(self.canvas(row), self.spec, rng, config)


def _canvas(pixels: Pixels, spec: InputSpec, exact: bool) -> Pixels:
    """`pixels` letterboxed or stretched as `spec` says, at the network's size or larger."""
    longer, wanted = max(pixels.shape[:2]), max(spec.width, spec.height)
    factor = 1.0 if exact else min(SPARE, longer / wanted)
    size = {"width": max(8, round(spec.width * factor)),
            "height": max(8, round(spec.height * factor))}  # fmt: skip
    raw = {"color": "rgb", "scale": "byte", "mean": (0.0,) * 3, "std": (1.0,) * 3}
    values, _ = prepare(pixels, spec.model_copy(update={**size, **raw}))
    return np.ascontiguousarray(values.transpose(1, 2, 0).astype(np.uint8))


def augment(
    canvas: Pixels, spec: InputSpec, rng: np.random.Generator, config: FinetuneConfig
) -> Pixels:
    """Crop, rotate, mirror and tint a canvas at random: ``(spec.height, spec.width, 3)`` uint8.

    A single resampling does all of the geometry and a single matrix all of the colour, which is
    fast and keeps pictures sharp.
    """
    picture = Image.fromarray(canvas).transform(
        (spec.width, spec.height),
        Image.Transform.AFFINE,
        _geometry(canvas.shape[1], canvas.shape[0], spec, rng, config),
        Image.Resampling[spec.interpolation.upper()],
        fillcolor=spec.pad,
    )
    if config.colour:
        picture = picture.convert("RGB", _tint(float(canvas.mean()), rng, config.colour))
    pixels = np.array(picture)
    if rng.random() < config.erase:
        _erase(pixels, rng, spec.pad)
    return pixels


def _geometry(
    width: int, height: int, spec: InputSpec, rng: np.random.Generator, config: FinetuneConfig
) -> tuple[float, ...]:
    """The affine map from output to canvas pixels, as Pillow's six coefficients."""
    squeeze = min(0.1, 1 - config.least_area)
    area, shape = rng.uniform(config.least_area, 1), math.exp(rng.uniform(-squeeze, squeeze))
    cut_w = min(1.0, math.sqrt(area * shape)) * width
    cut_h = min(1.0, math.sqrt(area / shape)) * height
    centre_x = rng.uniform(cut_w / 2, width - cut_w / 2)
    centre_y = rng.uniform(cut_h / 2, height - cut_h / 2)
    angle = math.radians(rng.uniform(-config.rotation, config.rotation))
    mirrored = config.flip and rng.random() < 0.5
    step_x, step_y = cut_w / spec.width * (-1 if mirrored else 1), cut_h / spec.height
    a, b = math.cos(angle) * step_x, -math.sin(angle) * step_y
    d, e = math.sin(angle) * step_x, math.cos(angle) * step_y
    half_w, half_h = spec.width / 2, spec.height / 2
    return (a, b, centre_x - a * half_w - b * half_h, d, e, centre_y - d * half_w - e * half_h)


def _tint(mean: float, rng: np.random.Generator, most: float) -> tuple[float, ...]:
    """Brightness, contrast about `mean` and saturation as one 3 x 4 matrix, row by row."""
    bright, contrast, saturation = 1 + rng.uniform(-most, most, 3)
    mix = saturation * np.eye(3) + (1 - saturation) * _LUMA
    shift = np.full((3, 1), bright * (1 - contrast) * mean)
    return tuple(np.hstack([bright * contrast * mix, shift]).ravel().tolist())


def _erase(pixels: Pixels, rng: np.random.Generator, fill: tuple[int, int, int]) -> None:
    """Blank a rectangle of 2 to 20 % of the picture (Zhong et al. 2020)."""
    height, width = pixels.shape[:2]
    area, shape = rng.uniform(0.02, 0.2), math.exp(rng.uniform(-1, 1))
    w = min(width, max(1, round(width * math.sqrt(area * shape))))
    h = min(height, max(1, round(height * math.sqrt(area / shape))))
    x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
    pixels[y : y + h, x : x + w] = fill
