"""Photos, found, cut out and embedded once, for the benchmarks that only vary what follows."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.config import CropConfig, DetectConfig, EngineConfig, PhotosConfig
from closeup.core.parallel import ordered_map
from closeup.core.types import Box, Crop, Detection, Floats, Photo, PhotoState
from closeup.crops.cut import content_key, find_crops
from closeup.dataset.groups import group_photos
from closeup.detect import Detector
from closeup.detect.detector import FLOOR, as_rows
from closeup.learn.embed import Embedder, embed_crops
from closeup.networks import find
from closeup.photos.listing import list_photos
from closeup.photos.reading import read_picture_again

FREE = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "horse",
        "moon", "page", "rocket", "text")  # fmt: skip
"""Photos that come with scikit-image itself; none shows a clock or an apple."""


@dataclass(frozen=True)
class Networks:
    """What looks at the photos."""

    detector: str
    parent: tuple[str, ...]
    backbones: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """n close-ups.

    Attributes
    ----------
    labels, groups, found
        One of each; `found` is False where the whole photo stands in.
    closeup, photo
        ``(n, d)`` embeddings of both views for each backbone.
    """

    labels: list[str]
    groups: list[str]
    found: NDArray[np.bool_]
    closeup: dict[str, Floats]
    photo: dict[str, Floats]

    def features(self, names: Sequence[str]) -> tuple[Floats, list[int]]:
        """Views ``BACKBONE/closeup`` or ``BACKBONE/photo`` side by side, and their lengths."""
        parts = []
        for name in names:
            backbone, _, view = name.rpartition("/")
            parts.append((self.closeup if view == "closeup" else self.photo)[backbone])
        return np.hstack(parts), [part.shape[1] for part in parts]


def look(source: str, networks: Networks) -> Pictures:
    """Find, cut out and embed every photo of a folder (labels are its sub-folders)."""
    engine = EngineConfig()
    photos = list_photos(PhotosConfig(source=source))
    detector = Detector(find(networks.detector, "detector"), engine)
    by_photo: dict[str, list[Detection]] = {}
    readable = [photo for photo in photos if photo.state is PhotoState.READABLE]
    found = detector.detect(ordered_map(read_picture_again, readable), floor=FLOOR)
    for photo, many in zip(readable, found, strict=True):
        by_photo[photo.id] = as_rows(photo.id, many)
    detect = DetectConfig(detector=networks.detector, parent=networks.parent)
    crops = [c for c in find_crops(photos, by_photo, CropConfig(), detect) if c.side]
    by_id = {photo.id: photo for photo in photos}
    group_of = group_photos(photos).group_of
    embedders = {name: Embedder(find(name, "backbone"), engine) for name in networks.backbones}
    whole = [_whole(by_id[crop.photo_id], crop) for crop in crops]
    return Pictures(
        [crop.label for crop in crops],
        [group_of[crop.photo_id] for crop in crops],
        np.array([not crop.stand_in for crop in crops]),
        {name: _embed(by_id, crops, embedder) for name, embedder in embedders.items()},
        {name: _embed(by_id, whole, embedder) for name, embedder in embedders.items()},
    )


def _whole(photo: Photo, crop: Crop) -> Crop:
    window = Box(0, 0, photo.width, photo.height)
    return replace(crop, window=window, side=max(photo.width, photo.height))


def _embed(photos: dict[str, Photo], crops: Sequence[Crop], embedder: Embedder) -> Floats:
    vectors = embed_crops(photos, crops, embedder, {}).as_mapping()
    return np.stack([vectors[content_key(photos[c.photo_id], c)] for c in crops])


def others(given: Sequence[str], networks: Networks, most: int) -> dict[str, Pictures]:
    """Photos of other things: ``NAME=FOLDER``, ``NAME=ARCHIVE.zip:PART`` and scikit-image's own.

    PART is a folder within the archive; of each source at most so many photos are
    taken, evenly spread.
    """
    found = {}
    for text in given:
        name, _, where = text.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            _gather(where, Path(folder) / name, most)
            found[name] = look(folder, networks)
    with tempfile.TemporaryDirectory() as folder:
        if _free(Path(folder) / "free"):
            found["scikit-image's photos"] = look(folder, networks)
    return found


def _gather(where: str, folder: Path, most: int) -> None:
    folder.mkdir()
    archive, _, part = where.rpartition(":")
    if archive.endswith(".zip"):
        with zipfile.ZipFile(archive) as stored:
            names = [n for n in stored.namelist() if part in n.split("/") and n.endswith(".jpg")]
            data = [stored.read(name) for name in _spread(names, most)]
    else:
        data = [file.read_bytes() for file in _spread(sorted(Path(where).rglob("*.jpg")), most)]
    if not data:
        raise SystemExit(f"{where} holds no .jpg; expected FOLDER or ARCHIVE.zip:FOLDER")
    for number, content in enumerate(data):
        (folder / f"{number}.jpg").write_bytes(content)


def _spread(items: Sequence[str] | Sequence[Path], most: int) -> list[str] | list[Path]:
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]  # type: ignore[return-value]


def _free(folder: Path) -> bool:
    """Write scikit-image's photos; False where it is not installed."""
    try:
        from skimage import data
    except ModuleNotFoundError:
        return False
    folder.mkdir()
    for name in FREE:
        pixels = np.asarray(getattr(data, name)())
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8) * 255
        Image.fromarray(pixels).convert("RGB").save(folder / f"{name}.png")
    return True
