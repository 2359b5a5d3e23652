"""Small pictures of photos and close-ups, made when they are asked for and kept for a while."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable

from PIL import Image

from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.types import Crop, Photo
from closeup.crops.cut import content_key, cut_out, saved_as
from closeup.photos.reading import read_picture_again
from closeup.web.review.catalogue import Catalogue

SIZES = (256, 512, 1600)
"""Longest sides that may be asked for; any other could fill the memory with copies."""
MOST_BYTES = 96_000_000
WORKERS = 2
"""Decoding keeps a processor busy; more at once would only slow the answers to decisions."""


class Pictures:
    """JPEG files of the sizes that pages need, from the saved close-ups where these are current."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(WORKERS)

    def photo(self, photo: Photo, size: int) -> bytes:
        """The whole photo, at most `size` pixels long.

        Raises
        ------
        ProjectError
            Where the file has changed or vanished since it was listed.
        """

        def make() -> Image.Image:
            picture = read_picture_again(photo)
            small, _ = picture.small
            return small if max(small.size) >= size else picture.upright

        return self._get(photo.sha256, size, make)

    def closeup(self, catalogue: Catalogue, photo: Photo, crop: Crop, size: int) -> bytes:
        """A close-up with pixels, at most `size` pixels long.

        Raises
        ------
        ProjectError
            As :meth:`photo`.
        """

        def make() -> Image.Image:
            known = catalogue.files.get(crop.file)
            quality = catalogue.config.crop.quality
            if crop.file and known == saved_as(photo, crop, quality):
                try:
                    return _saved(catalogue, crop, size)
                except OSError:
                    pass  # gone or damaged: the photo has the same pixels
            return cut_out(read_picture_again(photo), crop.window, crop.side)

        return self._get(content_key(photo, crop), size, make)

    def _get(self, what: str, size: int, make: Callable[[], Image.Image]) -> bytes:
        key = (what, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._slots:
            data = _small(make(), size)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = data
                self._held += len(data)
            while self._held > MOST_BYTES and len(self._kept) > 1:
                self._held -= len(self._kept.popitem(last=False)[1])
        return data


def _saved(catalogue: Catalogue, crop: Crop, size: int) -> Image.Image:
    # The names are from tables, which may be a stranger's: no other file, and no other format.
    file = Project(catalogue.folder).place(crop.file)
    with Image.open(file, formats=["JPEG"]) as picture:
        picture.draft("RGB", (size, size))  # decodes large files at a fraction of the work
        return picture.convert("RGB")


def _small(picture: Image.Image, size: int) -> bytes:
    way = Image.Resampling.BOX if size <= SIZES[0] else Image.Resampling.BICUBIC
    picture.thumbnail((size, size), way, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def version_of(text: str) -> str:
    """A short name of what a picture shows, for its address: a changed one has another."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def closeup_version(photo: Photo, crop: Crop) -> str:
    """The version of a close-up's picture."""
    return version_of(content_key(photo, crop))


__all__ = ["SIZES", "Pictures", "ProjectError", "closeup_version", "version_of"]
