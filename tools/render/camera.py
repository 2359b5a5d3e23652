"""The camera: where points of the scene fall in the photo, and what a lens and a sensor do to it.

The scene's frame is the table: x right, y down the table, z up towards the camera; lengths in case
radii. Photo coordinates are pixels, the middle of the first pixel at (0.5, 0.5).
"""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from .paint import Points, scaled

Matrix = NDArray[np.floating[Any]]
"""A 3x3 homography."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that looks at the table.

    ``scale`` is pixels per case radius at the scene's middle, which falls on ``centre`` (pixels);
    ``tilt`` (radians) leans the view back from straight down, ``roll`` turns the camera;
    ``distance`` is in case radii.
    """

    size: tuple[int, int]
    scale: float
    centre: tuple[float, float]
    tilt: float
    roll: float
    distance: float

    def plane(self, z: float = 0.0) -> Matrix:
        """Return the homography from table (x, y) at height ``z`` to photo pixels."""
        ct, st, cr, sr = (
            math.cos(self.tilt), math.sin(self.tilt), math.cos(self.roll), math.sin(self.roll),
        )  # fmt: skip
        lean = np.array([[1, 0, 0], [0, ct, -st], [0, st, ct]])
        turn = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        view = turn @ lean
        columns = np.stack([view[:, 0], view[:, 1], view[:, 2] * z], axis=1)
        columns[2] *= -1
        columns[2, 2] += self.distance
        focal = self.scale * self.distance
        lens = np.array([[focal, 0, self.centre[0]], [0, focal, self.centre[1]], [0, 0, 1]])
        result: Matrix = lens @ columns
        return result


def placed(x: float, y: float, angle: float, scale: float = 1.0) -> Matrix:
    """Return the 3x3 matrix that scales, turns (radians, x towards y) and moves table points."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])


def project(matrix: Matrix, points: Points) -> Points:
    """Send Nx2 points through a homography, Nx2."""
    ones = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    result: Points = ones[:, :2] / ones[:, 2:]
    return result


def warp(
    picture: Image.Image,
    half: tuple[float, float],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    sharp: bool = False,
) -> tuple[Image.Image, tuple[int, int]] | None:
    """Warp a picture of ``2 * half`` table units through ``matrix`` into a photo of ``size``.

    Returns the warped part and where its upper left pixel lies; None when it is out of the photo.
    """
    width, height = picture.size
    a, b = 2 * half[0] / width, 2 * half[1] / height
    full = matrix @ np.array([[a, 0, -half[0]], [0, b, -half[1]], [0, 0, 1]])
    corners = project(full, np.array([(0, 0), (width, 0), (width, height), (0, height)], float))
    low = np.maximum(np.floor(corners.min(axis=0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + 1, size).astype(int)
    if (high - low).min() < 2:
        return None
    back = np.linalg.inv(full) @ np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]])
    back = back / back[2, 2]
    part = picture.transform(
        (int(high[0] - low[0]), int(high[1] - low[1])),
        Image.Transform.PERSPECTIVE,
        [float(v) for v in back.ravel()[:8]],
        Image.Resampling.BICUBIC if sharp else Image.Resampling.BILINEAR,
    )
    return part, (int(low[0]), int(low[1]))


def cast_shadow(
    photo: Image.Image,
    mask: Image.Image,
    half: tuple[float, float],
    matrix: Matrix,
    blur: float,
    strength: float,
) -> None:
    """Darken the photo under a warped mask (mode L), softened by ``blur`` pixels."""
    # A blurred shadow holds nothing fine: the softer, the coarser the raster it is made on.
    factor = 2 if blur < 3 else 3 if blur < 5 else 4 if blur < 9 else 6
    size = (photo.width // factor + 1, photo.height // factor + 1)
    small = np.diag([1 / factor, 1 / factor, 1.0]) @ matrix
    dim = mask.reduce(2) if min(mask.size) > 64 else mask
    part = warp(dim, half, small, size)
    if part is None:
        return
    layer = Image.new("L", size, 0)
    layer.paste(part[0], part[1])
    margin = int(3 * blur / factor) + 3
    box = (
        max(0, part[1][0] - margin), max(0, part[1][1] - margin),
        min(size[0], part[1][0] + part[0].width + margin),
        min(size[1], part[1][1] + part[0].height + margin),
    )  # fmt: skip
    soft = layer.crop(box).filter(ImageFilter.GaussianBlur(blur / factor))
    soft = soft.resize((soft.width * factor, soft.height * factor), Image.Resampling.BILINEAR)
    area = (box[0] * factor, box[1] * factor)
    photo.paste(
        (8, 7, 10), (*area, area[0] + soft.width, area[1] + soft.height), scaled(soft, strength)
    )


def lay(
    photo: Image.Image,
    picture: Image.Image,
    half: tuple[float, float],
    matrix: Matrix,
    *,
    sharp: bool = False,
) -> None:
    """Lay an RGBA picture of ``2 * half`` units into the photo, in place."""
    part = warp(picture, half, matrix, photo.size, sharp=sharp)
    if part is not None:
        photo.paste(part[0], part[1], part[0].getchannel("A"))


def blurred(photo: Image.Image, radius: float) -> Image.Image:
    """Return the photo out of focus by ``radius`` pixels; large radii on a smaller raster."""
    if radius < 0.3:
        return photo
    factor = 1 if radius < 1.4 else 2 if radius < 4 else 4
    if factor == 1:
        return photo.filter(ImageFilter.GaussianBlur(radius))
    small = photo.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor))
    return small.resize(photo.size, Image.Resampling.BILINEAR)


def shallow_focus(photo: Image.Image, line: float, radius: float) -> Image.Image:
    """Blur by the distance of a row from the sharp one, ``line`` (0 top, 1 bottom)."""
    soft = blurred(photo, radius)
    rows = np.abs(np.linspace(0, 1, photo.height) - line)
    weight = np.clip((rows - 0.16) / 0.34, 0, 1) * 255
    mask = Image.fromarray(weight.astype(np.uint8)[:, None]).resize(photo.size)
    return Image.composite(soft, photo, mask)


def _shaken(photo: Image.Image, rng: np.random.Generator, length: float) -> Image.Image:
    """Blur along a line of ``length`` pixels, as a moving hand does."""
    angle = rng.uniform(0, math.pi)
    result = photo
    for i, part in enumerate((-0.5, -0.25, 0.25, 0.5)):
        dx, dy = part * length * math.cos(angle), part * length * math.sin(angle)
        moved = photo.transform(
            photo.size, Image.Transform.AFFINE, (1, 0, dx, 0, 1, dy), Image.Resampling.BILINEAR
        )
        result = Image.blend(result, moved, 1 / (i + 2))
    return result


def _exposed(photo: Image.Image, bias: float, balance: tuple[float, float, float]) -> Image.Image:
    """Expose as a camera does: dark scenes brighter, highlights rolled off, a little contrast.

    ``balance`` multiplies red, green and blue.
    """
    small = np.asarray(photo.reduce(8))
    bright = float(np.percentile(small, 97))
    gain = float(np.clip((118 / max(float(small.mean()), 1.0)) ** 0.5, 0.98, 1.7))
    # Highlights decide: what is bright already must not burn out.
    gain = bias * min(gain, max(1.0, 236 / max(bright, 1.0)))
    table: list[int] = []
    for channel in balance:
        tone = np.linspace(0, 1, 256) * gain * channel
        rolled = np.where(tone > 0.8, 0.8 + 0.2 * np.tanh((tone - 0.8) / 0.2), tone)
        curved = rolled + 0.03 * np.sin(2 * np.pi * (rolled - 0.5))
        table += np.clip(255 * curved, 0, 255).astype(int).tolist()
    return photo.point(table)


def _vignette(photo: Image.Image, depth: float) -> Image.Image:
    """Darken the corners by ``depth`` (0 to 1)."""
    line = np.linspace(-1, 1, 64)
    fall = 255 * (1 - depth * (line[:, None] ** 2 + line[None, :] ** 2) / 2)
    mask = Image.fromarray(fall.astype(np.uint8)).resize(photo.size, Image.Resampling.BILINEAR)
    return ImageChops.multiply(photo, Image.merge("RGB", [mask] * 3))


def _grainy(photo: Image.Image, rng: np.random.Generator, level: float) -> NDArray[np.uint8]:
    """Add a sensor's noise: fine in brightness, coarser in colour; ``level`` in grey levels."""
    width, height = photo.size
    pixels = np.asarray(photo).astype(np.int16)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    pixels += (level * grain).astype(np.int16)[:, :, None]
    coarse = rng.normal(128.0, 0.5 * level, (height // 3 + 1, width // 3 + 1)).astype(np.uint8)
    tint = np.asarray(Image.fromarray(coarse).resize(photo.size, Image.Resampling.BILINEAR))
    pixels[:, :, 0] += tint.astype(np.int16) - 128
    pixels[:, :, 2] -= tint.astype(np.int16) - 128
    return pixels.clip(0, 255, out=pixels).astype(np.uint8)


def develop(
    photo: Image.Image, rng: np.random.Generator, rough: float, *, plain: bool = False
) -> NDArray[np.uint8]:
    """Turn the ideal picture into a photo: exposure, blur, vignette, colour cast, noise, JPEG.

    ``rough`` (0 to 1) scales all of it; ``plain`` keeps a studio's white white. Returns HxWx3
    uint8.
    """
    warmth, green = float(rng.normal(0, 0.012 if plain else 0.035)), float(rng.normal(0, 0.01))
    bias = float(rng.uniform(1.0, 1.16) if plain else rng.uniform(0.92, 1.08))
    photo = _exposed(photo, bias, (1 + warmth, 1 + green, 1 - warmth))
    if rng.random() < 0.35 * rough:
        photo = blurred(photo, float(rng.uniform(0.4, 1.1)))
    if rng.random() < 0.15 * rough:
        photo = _shaken(photo, rng, float(rng.uniform(1.2, 3.2)))
    if not plain:
        photo = _vignette(photo, float(rng.uniform(0, 0.3)))
    pixels = _grainy(photo, rng, (0.4 if plain else 1.0) * rough * float(rng.gamma(2.0, 1.6)))
    if rng.random() < 0.5 * rough:
        pixels = compressed(pixels, int(rng.integers(45, 92)))
    return pixels


def compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return the pixels after one round of JPEG at ``quality``, HxWx3 uint8."""
    with BytesIO() as stream:
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        with Image.open(BytesIO(stream.getvalue())) as photo:
            return np.asarray(photo.convert("RGB"))


def glow(photo: Image.Image, angle: float, strength: float) -> Image.Image:
    """Light the scene from one side: brighter towards ``angle`` (radians), darker away."""
    width, height = photo.size
    ys, xs = np.linspace(-1, 1, 48)[:, None], np.linspace(-1, 1, 48)[None, :]
    slope = 0.5 + 0.5 * (math.cos(angle) * xs + math.sin(angle) * ys) / math.sqrt(2)
    dark = Image.fromarray((255 - 255 * strength * (1 - slope)).astype(np.uint8))
    mask = dark.resize((width, height), Image.Resampling.BILINEAR)
    return ImageChops.multiply(photo, Image.merge("RGB", [mask] * 3))
