"""The photo inside a raw file: the largest JPEG that the camera put into a DNG, NEF, ARW or CR2.

These are TIFF files whose first picture is often a thumbnail of 160 x 120 pixels, which a reader of
TIFF takes for the photo.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from PIL import ExifTags, Image, JpegImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from closeup.core.errors import PhotoError

LEAST_PREVIEW = 1024
"""Pixels that the longer side of an embedded JPEG has at least, to stand for the photo."""
_MOST_BYTES = 64 << 20
_MOST_DIRECTORIES = 24

_TYPE, _COMPRESSION, _PHOTOMETRIC = 254, 259, 262  # tags of TIFF 6.0, of TIFF/EP and of DNG
_OFFSETS, _COUNTS, _ORIENTATION, _SUBS, _JPEG, _JPEG_LENGTH, _DNG = (
    273,
    279,
    274,
    330,
    513,
    514,
    50706,
)
_JPEG_KINDS, _SENSOR = (6, 7, 34892), (32803, 34892)


def is_tiff(start: bytes) -> bool:
    """Whether a file that begins like this is laid out as TIFF, as most raw files are."""
    return start[:4] in (b"II*\0", b"MM\0*")


def open_preview(stream: IO[bytes], start: bytes) -> Image.Image | None:
    """The largest JPEG in a raw file, to be turned as the raw file says; None of any other TIFF.

    Raises
    ------
    PhotoError
        ``unsupported`` where a raw file has none of at least :data:`LEAST_PREVIEW` pixels. What
        Pillow raises on a broken TIFF file is let through.
    """
    directories = list(_directories(stream, start))
    first = directories[0]
    reduced = bool(int(first.get(_TYPE, 0)) & 1) and _SUBS in first
    sensor = any(one.get(_PHOTOMETRIC) in _SENSOR for one in directories)
    if not (_DNG in first or start[8:10] == b"CR" or sensor or reduced):
        return None
    best: Image.Image | None = None
    for offset, length in (place for one in directories for place in _jpegs(one)):
        found = _open_jpeg(stream, offset, length)
        if found is not None and (best is None or sum(found.size) > sum(best.size)):
            best = found
    if best is None or max(best.size) < LEAST_PREVIEW:
        what = f"only {best.width} x {best.height} pixels" if best else "missing"
        raise PhotoError(
            "unsupported",
            f"this is a raw photo, whose embedded preview is {what}; export it as JPEG",
        )
    exif = best.getexif()
    if ExifTags.Base.Orientation not in exif and _ORIENTATION in first:
        exif[ExifTags.Base.Orientation] = first[_ORIENTATION]
    return best


def _directories(stream: IO[bytes], start: bytes) -> Iterator[ImageFileDirectory_v2]:
    """The directories of a TIFF file, those below each after it."""
    waiting = [int(ImageFileDirectory_v2(start[:8]).next)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        offset = waiting.pop(0)
        if offset in seen or offset <= 0:
            continue
        seen.add(offset)
        directory = ImageFileDirectory_v2(start[:8])
        stream.seek(offset)
        directory.load(stream)
        yield directory
        subs = directory.get(_SUBS, ())
        waiting += [int(sub) for sub in (subs if isinstance(subs, tuple) else (subs,))]
        waiting.append(int(directory.next))


def _jpegs(directory: ImageFileDirectory_v2) -> Iterator[tuple[int, int]]:
    """Where in the file a directory says that a JPEG lies: offset and length."""
    if directory.get(_PHOTOMETRIC) in _SENSOR:
        return
    if _JPEG in directory and _JPEG_LENGTH in directory:
        yield int(directory[_JPEG]), int(directory[_JPEG_LENGTH])
    offsets, counts = directory.get(_OFFSETS, ()), directory.get(_COUNTS, ())
    if directory.get(_COMPRESSION) in _JPEG_KINDS and len(offsets) == len(counts) == 1:
        yield int(offsets[0]), int(counts[0])


def _open_jpeg(stream: IO[bytes], offset: int, length: int) -> Image.Image | None:
    """The JPEG at a place of the file; None where there is none that Pillow can read."""
    if not 0 < length <= _MOST_BYTES:
        return None
    stream.seek(offset)
    data = stream.read(length)
    try:
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, ValueError, OSError):  # the sensor's own, lossless
        return None
