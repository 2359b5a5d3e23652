"""What was fetched, by its content: is it a photo, and of which kind and size?"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from closeup.collect.outcome import NotFetched
from closeup.core.errors import PhotoError
from closeup.photos.kinds import what_it_is
from closeup.photos.reading import picture_format, read_picture

START = 1024
"""Bytes from which it is seen what is no photo, so that the rest need not be fetched."""
FORMATS = {
    "JPEG": ("image/jpeg", ".jpg"),
    "MPO": ("image/jpeg", ".jpg"),
    "PNG": ("image/png", ".png"),
    "GIF": ("image/gif", ".gif"),
    "WEBP": ("image/webp", ".webp"),
    "TIFF": ("image/tiff", ".tif"),
    "BMP": ("image/bmp", ".bmp"),
    "DIB": ("image/bmp", ".bmp"),
    "AVIF": ("image/avif", ".avif"),
    "HEIF": ("image/heic", ".heic"),
    "JPEG2000": ("image/jp2", ".jp2"),
    "DNG": ("image/x-adobe-dng", ".dng"),
}
"""Media type and suffix of each kind of photo that is kept, by Pillow's name."""


@dataclass(frozen=True, slots=True)
class Content:
    """A photo's hash, media type, suffix, and size in pixels, upright."""

    sha256: str
    type: str
    suffix: str
    width: int
    height: int


def what_else(start: bytes) -> str:
    """What begins like this and is no photo, such as ``"a web page"``; ``""`` if it may be one.

    >>> what_else(b"\\n<?xml version='1.0'?><svg>"), what_else(b"\\xff\\xd8\\xff")
    ('an SVG drawing', '')
    """
    text = start[:START].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        if b"<svg" in text:
            return "an SVG drawing"
        return "a web page" if b"<html" in text or b"<!doctype html" in text else "a text document"
    if text.startswith((b"{", b"[")):
        return "a text document"
    what = what_it_is(start[:64])
    return "" if "photo" in what and "pointer" not in what else what


def examine(data: bytes, max_pixels: int) -> Content:
    """Decode a photo, to be sure of all of it.

    Raises
    ------
    NotFetched
        Where it is no photo, one that is broken, or one that is too large; it says which.
    """
    if what := what_else(data):
        raise NotFetched(f"this is {what}, not a photo")
    try:
        name = picture_format(data)
        if name not in FORMATS:
            raise NotFetched(f"this is a picture of a kind that is not collected ({name})")
        picture = read_picture(data, max_pixels=max_pixels)
    except PhotoError as err:
        raise NotFetched(err.message) from err
    width, height = picture.size
    kind, suffix = FORMATS[name]
    return Content(hashlib.sha256(data).hexdigest(), kind, suffix, width, height)


class Unpacker:
    """Undoes a ``Content-Encoding`` piece by piece, never far beyond a limit.

    Raises NotFetched for an encoding that was not asked for and is not known.
    """

    def __init__(self, encoding: str, most: int) -> None:
        self._most = most
        self._inflate = None
        name = encoding.strip().lower()
        if name in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif name not in ("", "identity"):
            raise NotFetched(f"the server sends an encoding that was not asked for ({name[:20]})")

    def __call__(self, piece: bytes) -> bytes:
        """The next bytes, at most one more than the limit."""
        if self._inflate is None:
            return piece
        try:
            return self._inflate.decompress(piece, self._most + 1)
        except zlib.error as err:
            raise NotFetched("the server's compressed answer is broken") from err
