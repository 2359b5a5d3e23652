"""What nano-embed is trained on: views of openly licensed photos and of generated watches.

Everything is made once and kept in a work folder: the views as one uint8 array on disk, the
teachers' embeddings of the very same views, and the labels.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.config import EngineConfig
from closeup.learn.embed import Embedder
from closeup.networks import Network

from ..render.designs import ATTRIBUTES
from ..render.scenes import render

SIDE = 144
"""Side of a stored view of a photo in pixels."""
WATCH_SIDE = 192
"""Side of a stored close-up of a generated watch, whose details are small."""
VIEWS = 3
"""Views of each photo; a generated watch has two."""
RENDER_SEED = 7_000_000
"""Series of generated photos that nothing else uses."""
NONE = -1
"""Category of a photo of nothing in particular."""

# The apples of the Grocery Store Dataset serve as a test of the finished package.
HELD_BACK = "/Apple/"


@dataclass(frozen=True, slots=True)
class Views:
    """The training set; the large arrays stay on disk.

    Attributes
    ----------
    photos
        ``(n, SIDE, SIDE, 3)`` uint8 RGB.
    teacher
        ``(n, dim)`` float16: the teachers' standardised embeddings of them, side by side.
    category
        ``(n,)`` number of the photo's category, or NONE.
    watches
        ``(m, WATCH_SIDE, WATCH_SIDE, 3)`` uint8 RGB: close-ups of generated watches.
    details
        ``(m, len(ATTRIBUTES))`` numbers of their details.
    """

    photos: NDArray[np.uint8]
    teacher: NDArray[np.float16]
    category: NDArray[np.int64]
    watches: NDArray[np.uint8]
    details: NDArray[np.int64]

    @property
    def categories(self) -> int:
        """How many categories there are."""
        return int(self.category.max()) + 1


def read_photos(archive: Path) -> Iterator[tuple[str, Image.Image]]:
    """``(category, photo)`` for every training photo of an archive, in a fixed order."""
    with zipfile.ZipFile(archive) as packed:
        names = sorted(n for n in packed.namelist() if n.lower().endswith(".jpg"))
        for name in names:
            if HELD_BACK in f"/{name}":
                continue
            parts = name.split("/")
            # caltech: CATEGORY/file; grocery: split/Kind/[Group/]CATEGORY/file
            category = f"{archive.stem}/{parts[-2]}"
            with Image.open(io.BytesIO(packed.read(name))) as photo:
                yield category, photo.convert("RGB")


def random_view(photo: Image.Image, rng: np.random.Generator, whole: bool) -> NDArray[np.uint8]:
    """A random part of a photo as ``(SIDE, SIDE, 3)``, mirrored half the time."""
    width, height = photo.size
    share = 1.0 if whole else float(rng.uniform(0.25, 1.0))
    side = max(8.0, np.sqrt(width * height * share))
    stretch = float(np.exp(rng.uniform(-0.25, 0.25)))
    w, h = min(side * stretch, width), min(side / stretch, height)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    view = photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + w, top + h))
    pixels = np.asarray(view)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def rendered_views(index: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Close-ups ``(k, WATCH_SIDE, WATCH_SIDE, 3)`` of a generated watch, and its details.

    Only freely drawn designs are used, never those of the demonstration's five makers. k is 2, or
    0 where the watch lies outside the photo.
    """
    scene = render(RENDER_SEED, index, size=640, style="random")
    rng = np.random.default_rng([RENDER_SEED, index, 99])
    photo = Image.fromarray(scene.pixels)
    details = np.array([scene.attributes[name] for name in ATTRIBUTES], np.int64)
    views = []
    for x1, y1, x2, y2 in scene.boxes[:1] * 2:
        side = max(x2 - x1, y2 - y1) * float(rng.uniform(0.95, 1.4))
        x = (x1 + x2) / 2 + side * float(rng.normal(0, 0.04)) - side / 2
        y = (y1 + y2) / 2 + side * float(rng.normal(0, 0.04)) - side / 2
        cut = photo.crop((round(x), round(y), round(x + side), round(y + side)))
        views.append(np.asarray(cut.resize((WATCH_SIDE, WATCH_SIDE), Image.Resampling.BICUBIC)))
    shape = (len(views), WATCH_SIDE, WATCH_SIDE, 3)
    return np.array(views, np.uint8).reshape(shape), details


def make_views(
    archives: Sequence[Path], teachers: Sequence[Network], work: Path, rendered: int
) -> None:
    """Make the training set in the folder `work`, except what is there already."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "watches.npy").exists():
        watches, details = _rendered_views(rendered)
        np.save(work / "details.npy", details)
        np.save(work / "watches.npy", watches)
    if not (work / "photos.npy").exists():
        photos, category = _photo_views(archives)
        np.save(work / "category.npy", category)
        np.save(work / "photos.npy", photos)
    if not (work / "teacher.npy").exists():
        photos = np.load(work / "photos.npy", mmap_mode="r")
        taught = [_taught(network, photos) for network in teachers]
        np.save(work / "teacher.npy", np.concatenate(taught, axis=1))


def read_views(work: Path) -> Views:
    """What :func:`make_views` left."""
    return Views(
        np.load(work / "photos.npy", mmap_mode="r"),
        np.load(work / "teacher.npy", mmap_mode="r"),
        np.load(work / "category.npy"),
        np.load(work / "watches.npy", mmap_mode="r"),
        np.load(work / "details.npy"),
    )


def _rendered_views(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(rendered_views, range(count), chunksize=16))
    details = [np.repeat(each[None], len(views), axis=0) for views, each in found]
    return np.concatenate([views for views, _ in found]), np.concatenate(details)


def _photo_views(archives: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    numbers: dict[str, int] = {}
    pixels, category = [], []
    for archive in archives:
        for name, photo in read_photos(archive):
            # Caltech's BACKGROUND_Google is a category of no kind.
            number = NONE if "BACKGROUND" in name else numbers.setdefault(name, len(numbers))
            for view in range(VIEWS):
                pixels.append(random_view(photo, rng, whole=view == 0))
                category.append(number)
    return np.stack(pixels), np.array(category)


def _taught(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """A teacher's embeddings of all views, standardised per value, ``(n, dim)``."""
    embedder = Embedder(network, EngineConfig())
    found = np.stack(list(embedder.embed(iter(pixels))))
    spread = found.std(axis=0) + 1e-6
    taught: NDArray[np.float16] = ((found - found.mean(axis=0)) / spread).astype(np.float16)
    return taught
