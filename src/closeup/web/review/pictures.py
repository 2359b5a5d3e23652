"""Small pictures of photos and close-ups, made on demand and kept for a while."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

from PIL import Image

from closeup.core.project import place_in
from closeup.core.types import Crop, Photo
from closeup.crops.cut import content_key, cut_out, saved_as
from closeup.photos.reading import read_picture_again
from closeup.web.review.data import ProjectData
from closeup.web.thumbnails import encode_thumbnail, open_jpeg

SIZES = (256, 512, 1600)
"""The longest sides that can be requested; arbitrary ones could fill the memory with copies."""
MOST_BYTES = 96_000_000
WORKERS = 2
"""Decoding keeps a processor busy; more at once would only delay the answers to decisions."""


class Pictures:
    """A cache of JPEG pictures in the sizes that pages need.

    Every method raises a ProjectError if the photo's file has changed since it was listed.
    """

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(WORKERS)

    def photo(self, photo: Photo, size: int) -> bytes:
        """The whole photo, at most `size` pixels long."""

        def make() -> Image.Image:
            picture = read_picture_again(photo)
            small, _ = picture.small
            return small if max(small.size) >= size else picture.upright

        return self._get(photo.sha256, size, make)

    def closeup(self, data: ProjectData, photo: Photo, crop: Crop, size: int) -> bytes:
        """A close-up with pixels, at most `size` pixels long; its saved file if that is current."""

        def make() -> Image.Image:
            expected = saved_as(photo, crop, data.config.crop.quality)
            if crop.file and data.files.get(crop.file) == expected:
                try:
                    return _saved(data, crop, size)
                except OSError:
                    pass  # missing or damaged: the photo has the same pixels
            return cut_out(read_picture_again(photo), crop.window, crop.side)

        return self._get(content_key(photo, crop), size, make)

    def _get(self, content: str, size: int, make: Callable[[], Image.Image]) -> bytes:
        key = (content, size)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        with self._slots:
            data = encode_thumbnail(make(), size)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = data
                self._bytes += len(data)
            while self._bytes > MOST_BYTES and len(self._cache) > 1:
                self._bytes -= len(self._cache.popitem(last=False)[1])
        return data


def _saved(data: ProjectData, crop: Crop, size: int) -> Image.Image:
    # The names come from tables, which may be untrusted: no file outside, and no other format.
    return open_jpeg(place_in(data.folder, crop.file), size)


def version_of(content: str) -> str:
    """A short hash of what a picture shows, for its address: a changed picture has another."""
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
