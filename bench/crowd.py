"""Photos made by the thousand for timings: ``python -m bench.crowd FOLDER --photos 2000``.

Each is one of a few rendered watches, scaled, lit and placed anew on a background of its own, so
no two are copies. One in so many has 12 megapixels, and half of these are stored turned. Drawn
surfaces are smooth, so such a file takes half a megabyte; with ``--grain 8`` it takes three, as a
phone's does, and longer to decode. They are for timing alone: accuracy on them says nothing.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tools.render.scenes import MAKERS, render

SMALL, LARGE = (800, 600), (4000, 3000)
STOCK = 6
"""Rendered watches for each maker."""


@cache
def _stock(maker: str) -> list[Image.Image]:
    """Watches cut out of rendered scenes."""
    cut = []
    for index in range(STOCK):
        scene = render(77, 20_000_000 + index, maker, 480)
        cut.append(Image.fromarray(scene.pixels).crop(tuple(int(v) for v in scene.boxes[0])))
    return cut


def _make(order: tuple[Path, str, int, tuple[int, int], float]) -> None:
    """Write one photo."""
    file, maker, number, size, grain = order
    rng = np.random.default_rng([5, number])
    coarse = rng.integers(30, 226, (9, 12, 3)).astype(np.uint8)
    photo = Image.fromarray(coarse).resize(SMALL, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(photo)
    for _ in range(12):
        x, y = rng.integers(0, SMALL[0]), rng.integers(0, SMALL[1])
        w, h = rng.integers(20, 220, 2)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(
            (int(x), int(y), int(x + w), int(y + h)), fill=tuple(rng.integers(0, 256, 3).tolist())
        )
    stock = _stock(maker)
    watch = stock[int(rng.integers(len(stock)))]
    scale = rng.uniform(0.35, 0.6) * SMALL[1] / max(watch.size)
    watch = watch.resize((int(watch.width * scale), int(watch.height * scale)))
    light = rng.uniform(0.75, 1.2)
    watch = watch.point(lambda value: min(255, int(value * light)))
    left = int(rng.integers(0, SMALL[0] - watch.width))
    photo.paste(watch, (left, int(rng.integers(0, SMALL[1] - watch.height))))
    exif = Image.Exif()
    if size == LARGE:
        photo = photo.resize(size)
        if rng.random() < 0.5:
            exif[0x0112] = 6
        if grain:
            photo = _grained(photo, grain, rng)
    file.parent.mkdir(parents=True, exist_ok=True)
    photo.save(file, quality=88, exif=exif)


def _grained(photo: Image.Image, spread: float, rng: np.random.Generator) -> Image.Image:
    """The photo with noise of so many levels: smoothed, and some of each pixel's own."""
    width, height = photo.size
    coarse = rng.normal(0, spread, (height // 2, width // 2)).astype(np.float32)
    noise = np.asarray(Image.fromarray(coarse).resize(photo.size, Image.Resampling.BICUBIC))
    noise = noise + rng.normal(0, spread / 3, (height, width)).astype(np.float32)
    pixels = np.asarray(photo).astype(np.float32) + noise[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make(folder: Path, photos: int, one_large_in: int = 50, grain: float = 0) -> Path:
    """Write so many photos, evenly over the makers; photos that are there already stay.

    Parameters
    ----------
    one_large_in
        One photo in so many has 12 megapixels; 0 for none, 1 for all.
    grain
        Levels of noise in these; 0 for none.
    """
    orders = []
    for number in range(photos):
        maker = MAKERS[number % len(MAKERS)]
        size = LARGE if one_large_in and number % one_large_in == one_large_in - 1 else SMALL
        file = folder / maker / f"{number:06d}.jpg"
        if not file.is_file():
            orders.append((file, maker, number, size, grain))
    if orders:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_make, orders, chunksize=16))
    return folder


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--one-large-in", type=int, default=50, help="0: none, 1: all")
    parser.add_argument("--grain", type=float, default=0, help="levels of noise in large photos")
    given = parser.parse_args()
    make(given.folder, given.photos, given.one_large_in, given.grain)


if __name__ == "__main__":
    main()
