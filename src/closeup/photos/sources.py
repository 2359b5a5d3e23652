"""A photo in whatever form a program holds it: paths, bytes, open and uploaded files, arrays."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.errors import PhotoError
from closeup.photos.arrays import from_array
from closeup.photos.picture import Picture
from closeup.photos.reading import MAX_PIXELS, read_picture

_URL = re.compile(r"(data:|[a-z][a-z0-9+.-]+:/)", re.IGNORECASE)
_NO_PHOTO = "give a path, the bytes of a file, an open file in binary mode, a PIL image or an array"


@runtime_checkable
class Readable(Protocol):
    """An open or uploaded file."""

    def read(self) -> Any:
        """All that is left of it, as bytes."""


@runtime_checkable
class ArrayLike(Protocol):
    """What NumPy can make an array of, such as a tensor."""

    def __array__(self) -> NDArray[Any]: ...


Source = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | Image.Image | ArrayLike
    | Picture
)  # fmt: skip
"""What :func:`open_source` takes."""

Sources = list[Source] | tuple[Source, ...]
"""Several of them, all at hand."""


def open_source(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The photo, decoded.

    Parameters
    ----------
    source
        A path; the bytes of a picture file; an open file in binary mode, read from its beginning;
        an uploaded file of FastAPI, Starlette, Flask, Django or Streamlit; a PIL image; an array or
        tensor as :func:`closeup.photos.arrays.from_array` takes it, RGB, upright, also on a GPU.

    Raises
    ------
    PhotoError
        With one of :data:`closeup.photos.reading.CODES`.
    """
    if isinstance(source, Picture):
        return source
    if is_path(source):
        return read_picture(_path(os.fspath(source)), max_pixels=max_pixels)
    if isinstance(source, Readable):
        source = _content(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return read_picture(bytes(source), max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        return read_picture(source, max_pixels=max_pixels)
    if isinstance(source, ArrayLike):
        return Picture.of(from_array(_array(source), max_pixels))
    what = "None" if source is None else f"a value of type {type(source).__name__}"
    raise PhotoError("unsupported", f"{what} is not a photo; {_NO_PHOTO}")


def is_path(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether `source` names a file, rather than holding the photo."""
    return isinstance(source, str | os.PathLike)


def is_one_photo(value: object) -> bool:
    """Whether `value` is a single photo, although one could iterate over it."""
    if isinstance(value, ArrayLike) and not isinstance(value, Image.Image):
        return len(getattr(value, "shape", ())) in (2, 3)
    kinds = bytes | bytearray | memoryview | Readable | Image.Image | Picture
    return is_path(value) or isinstance(value, kinds)


def _path(name: str) -> Path:
    if url := _URL.match(name):
        what = "a data URL" if url[1] == "data:" else "a URL"
        raise PhotoError(
            "unsupported",
            f"this is {what}, and Closeup opens files only: download or decode it yourself and "
            "give its bytes",
        )
    return Path(name)


def _content(stream: Readable) -> bytes:
    """All of a file; what wraps an open file, as FastAPI's uploads do, stands for that."""
    inner = getattr(stream, "file", None)
    stream = inner if isinstance(inner, Readable) else stream
    try:
        seek = getattr(stream, "seek", None)
        if seek is not None and getattr(stream, "seekable", lambda: True)():
            seek(0)
        data = stream.read()
    except (OSError, ValueError) as err:
        raise PhotoError("io_error", f"the open file could not be read: {err}") from err
    if isinstance(data, bytes):
        return data
    if inspect.iscoroutine(data):
        data.close()
        raise PhotoError("unsupported", "this file is read asynchronously; give the bytes that "
                         "`await file.read()` returns")  # fmt: skip
    raise PhotoError("unsupported", f"this open file gives {type(data).__name__}, expected bytes; "
                     "open it in binary mode ('rb')")  # fmt: skip


def _array(source: Any) -> NDArray[Any]:
    """As NumPy's; a tensor of PyTorch is taken off its device and graph first."""
    try:
        if hasattr(source, "detach"):
            source = source.detach().cpu()
            if "bfloat16" in str(source.dtype):  # which NumPy lacks
                source = source.float()
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as err:
        raise PhotoError(
            "unsupported", f"this cannot be made an array: {err}; {_NO_PHOTO}"
        ) from err
