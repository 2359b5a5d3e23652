"""Decode a photo once: any format Pillow reads, upright, RGB, within a size limit.

Embedded ICC profiles are ignored: pixels are taken as sRGB, which is what the networks were
trained on and what nearly every phone and web photo is.
"""

from __future__ import annotations

import errno
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from closeup.core.errors import PhotoError, ProjectError, how_to_install
from closeup.core.project import file_hash
from closeup.core.types import Photo, Pixels
from closeup.photos.arrays import check_size, from_array
from closeup.photos.kinds import NOT_PHOTOS, is_heif, what_it_is
from closeup.photos.picture import Picture
from closeup.photos.raw import is_tiff, open_preview
from closeup.photos.rgb import to_rgb

CODES: Mapping[str, str] = {
    "missing": "there is no such file",
    "not_a_file": "a folder, pipe or device, not a file",
    "no_permission": "the file may not be opened",
    "bad_name": "the file's name is not valid text",
    "io_error": "the disk or network drive failed while reading",
    "empty": "the file or array holds nothing",
    "not_an_image": "no known picture format",
    "damaged": "a picture whose contents are broken",
    "truncated": "a picture whose end is missing",
    "too_large": "more pixels than allowed",
    "unsupported": "a kind of picture that cannot be used",
}
"""Every code a :class:`~closeup.core.errors.PhotoError` may carry, with its meaning."""

Source = Path | str | bytes | Image.Image | NDArray[Any]
"""What :func:`read_photo` takes: a path, a file's content, a PIL image or an array."""

MAX_PIXELS = 200_000_000
"""The most pixels (width x height) of a photo, unless told otherwise."""

AT_ONCE = 64 << 20
"""Most bytes of a file that are held in memory at once while it is decoded."""

# What Pillow's decoders raise on broken files. Its own reader treats the first four as "not this
# format" and lets the others through.
_HEADER_ERRORS = (SyntaxError, IndexError, TypeError, struct.error)
_BROKEN = (
    *_HEADER_ERRORS,
    OSError,
    ValueError,
    KeyError,
    OverflowError,
    EOFError,
    RuntimeError,
    MemoryError,
    zlib.error,
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_photo(source: Source, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """One photo as upright RGB pixels.

    Parameters
    ----------
    source
        A path, the bytes of a picture file, a PIL image, or an array as
        :func:`closeup.photos.arrays.from_array` takes it. EXIF orientation is applied once to
        files, bytes and PIL images; an array is taken to be upright. Of an animation the first
        frame is read.
    max_pixels
        The most pixels (width x height) to decode; checked from the header before decoding.
        GIF, WebP and tiled TIFF are also bound by Pillow's own limit of 179 million.

    Returns
    -------
    pixels
        ``(height, width, 3)`` uint8, possibly read-only or sharing memory with `source`.
        Transparency is put on white. 16-bit greys keep their upper 8 bits; 32-bit and float
        greys are scaled as :func:`closeup.photos.rgb.to_rgb` says.

    Raises
    ------
    PhotoError
        With one of :data:`CODES`; the message does not repeat the path.
    """
    if isinstance(source, np.ndarray):
        return from_array(source, max_pixels)
    return read_picture(source, max_pixels=max_pixels).pixels()


def read_picture(
    source: Path | str | bytes | Image.Image, *, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Like :func:`read_photo`, but parts and a smaller copy are quicker to get than all of it."""
    with _quiet():
        if isinstance(source, Image.Image):
            return _decode(source, max_pixels, own=False)
        if isinstance(source, bytes):
            return _decode_stream(io.BytesIO(source), max_pixels)
        with open_photo(Path(source)) as stream:
            return _decode_stream(stream, max_pixels)


def picture_format(data: bytes) -> str:
    """Pillow's name of a picture's format, by its header; ``"DNG"`` for a raw file with a preview.

    Raises PhotoError as :func:`read_photo`.
    """
    try:
        with _quiet(), _open(io.BytesIO(data)) as image:
            name = image.format or ""
            return "DNG" if is_tiff(data) and name != "TIFF" else name
    except Image.DecompressionBombError as err:
        raise PhotoError("too_large", f"too many pixels for its format: {err}") from err
    except _BROKEN as err:
        raise _broken(err) from err


def read_and_hash(path: Path, stream: IO[bytes], max_pixels: int) -> tuple[Picture, str]:
    """A photo, as :func:`read_photo` reads it, and the SHA-256 of its file, open in `stream`.

    Both are of the very same bytes, except of files that grow or have more than :data:`AT_ONCE`
    bytes, which are read twice.
    """
    size = os.fstat(stream.fileno()).st_size
    with _reading():
        data = stream.read(min(size, AT_ONCE) + 1)
    if len(data) > size or size > AT_ONCE:
        return read_picture(path, max_pixels=max_pixels), hash_file(path)
    return read_picture(data, max_pixels=max_pixels), file_hash(io.BytesIO(data))


def read_picture_again(photo: Photo) -> Picture:
    """A listed photo; a ProjectError where its file has changed or vanished since."""
    try:
        picture = read_picture(photo.file, max_pixels=photo.width * photo.height)
        same = _holds_what_it_did(photo)
    except PhotoError as err:
        raise _changed(photo, err.message) from err
    width, height = picture.size
    if not same or (width, height) != (photo.width, photo.height):
        raise _changed(photo, f"it is now a different photo of {width} x {height}")
    return picture


def _holds_what_it_did(photo: Photo) -> bool:
    """Whether the file is as it was listed: by its size and time, else by its bytes."""
    with suppress(OSError):  # which reading its bytes will report
        status = photo.file.stat()
        if (status.st_size, status.st_mtime_ns) == (photo.bytes, photo.mtime_ns):
            return True
    return hash_file(photo.file) == photo.sha256


def _changed(photo: Photo, found: str) -> ProjectError:
    return ProjectError(
        f"{photo.file} was a readable photo of {photo.width} x {photo.height} when the photos were "
        f"listed, but has changed since: {found}; run the command again"
    )


def open_photo(path: Path) -> io.BufferedReader:
    """Open a regular file for reading.

    Raises
    ------
    PhotoError
        ``missing``, ``not_a_file`` (pipes included: opening one would wait forever),
        ``no_permission`` or ``io_error``.
    """
    try:
        if path.exists() and not path.is_file():
            raise PhotoError("not_a_file", "this is a folder, pipe or device, not an image file")
        return path.open("rb")
    except PermissionError as err:
        raise PhotoError("no_permission", "no permission to read the file; check its mode") from err
    except FileNotFoundError as err:
        raise PhotoError("missing", "there is no such file; check the path") from err
    except ValueError as err:
        raise PhotoError("missing", f"this is not a valid path: {err}") from err
    except OSError as err:
        if err.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
            raise PhotoError(
                "missing", f"no file can be here: {err.strerror}; fix the link or the name"
            ) from err
        raise PhotoError("io_error", f"the file could not be opened: {err}") from err


def turn_of(path: Path) -> Image.Transpose | None:
    """What makes a photo upright according to its EXIF; None where nothing does, or it is broken.

    Only the file's header is read.
    """
    try:
        with open_photo(path) as stream, _quiet(), _open(stream) as image:
            return _turn_of(image)
    except (PhotoError, *_BROKEN):
        return None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; a PhotoError as :func:`open_photo` raises."""
    with open_photo(path) as stream, _reading():
        return file_hash(stream)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise PhotoError("io_error", f"the file could not be read: {err}") from err


def _decode_stream(stream: IO[bytes], max_pixels: int) -> Picture:
    try:
        with _open(stream) as image:
            return _decode(image, max_pixels)
    except Image.DecompressionBombError as err:
        raise PhotoError("too_large", f"too many pixels for its format: {err}") from err
    except _BROKEN as err:
        raise _broken(err) from err


def _open(stream: IO[bytes]) -> Image.Image:
    """Find the format and read the header, as ``Image.open`` does for photo formats only.

    ``Image.open`` cannot be used: it enforces a process-wide limit, which is below today's
    200-megapixel phone photos and which is not ours to change.
    """
    prefix = stream.read(64)
    if not prefix:
        raise PhotoError("empty", "the file is empty (0 bytes)")
    Image.init()
    if is_heif(prefix):
        return _open_heif(stream)
    if is_tiff(prefix):
        with suppress(*_HEADER_ERRORS, ValueError, OverflowError):  # reported below
            preview = open_preview(stream, prefix)
            if preview is not None:
                return preview
    begun = unavailable = ""
    for name in Image.ID:
        if name in NOT_PHOTOS:
            continue
        factory, accept = Image.OPEN[name]
        claimed = accept is not None and accept(prefix[:16].ljust(16, b"\0"))
        if isinstance(claimed, str):
            unavailable = claimed
        if accept is not None and claimed is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except _HEADER_ERRORS:
            if claimed:
                begun = begun or name
    if unavailable:
        raise PhotoError("unsupported", f"Pillow cannot read this here: {unavailable}")
    if begun:
        raise PhotoError("damaged", f"this starts like a {begun} file but its header is broken")
    raise _no_photo(what_it_is(prefix))


def _no_photo(what: str) -> PhotoError:
    """The error for a file that begins like no format that can be read; `what` it is instead."""
    if "photo" in what and "pointer" not in what:
        return PhotoError("unsupported", f"this is {what}, which cannot be read here; save it as "
                          "JPEG")  # fmt: skip
    known = f"this is {what}, not a photo" if what else "this is not a picture in any known format"
    return PhotoError("not_an_image", known)


def _open_heif(stream: IO[bytes]) -> Image.Image:
    """A HEIC photo, with the reader of the extra ``heif``."""
    try:
        from pi_heif import HeifImageFile
    except ModuleNotFoundError:
        raise PhotoError(
            "unsupported",
            f"this is a HEIC photo: {how_to_install('heif')} reads it, or save it as JPEG",
        ) from None
    stream.seek(0)
    image: Image.Image = HeifImageFile(stream, "")
    return image


def _decode(image: Image.Image, max_pixels: int, *, own: bool = True) -> Picture:
    check_size(*image.size, max_pixels)
    try:
        image.load()
        # TIFF turns itself while loading and then no longer has the tag, so check afterwards.
        turn, rgb = _turn_of(image), to_rgb(image)
        if rgb is image and not own:
            rgb = image.copy()
        # Comments and the like would be saved with every crop, where they may be too long.
        rgb.info = {}
        return Picture(rgb, turn)
    except Image.DecompressionBombError as err:
        raise PhotoError("too_large", f"too many pixels for its format: {err}") from err
    except _BROKEN as err:
        raise _broken(err) from err


def _broken(err: BaseException) -> PhotoError:
    detail = str(err) or type(err).__name__
    if isinstance(err, MemoryError):
        return PhotoError("too_large", "there is not enough memory to decode the picture")
    if isinstance(err, OSError) and err.errno is not None:
        return PhotoError("io_error", f"the file could not be read: {detail}")
    missing_end = ("truncat", "not enough", "not large enough", "unexpected end", "no more data")
    if isinstance(err, EOFError) or any(words in detail.lower() for words in missing_end):
        return PhotoError("truncated", f"the end of the picture is missing ({detail})")
    return PhotoError("damaged", f"the picture is damaged ({detail})")


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes it upright according to EXIF; None where that is missing or unreadable."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN:
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters: warnings.catch_warnings[None] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata while any thread decodes.

    ``warnings.catch_warnings`` swaps process-wide filters, so threads that overlap would restore
    them in the wrong order. So the first one in swaps, and the last one out restores.
    """
    global _quiet_users, _quiet_filters  # noqa: PLW0603
    with _quiet_lock:
        _quiet_users += 1
        if _quiet_users == 1:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
