"""Files that the user names for output: nothing is replaced that Closeup did not write itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from closeup.core.config import CONFIG_FILE
from closeup.core.errors import PhotosError, UsageError
from closeup.core.project import cannot_write, write_atomically
from closeup.model.card import CARD_FILE
from closeup.networks import cache
from closeup.photos.tables import read_table
from closeup.photos.walk import TABLE_SUFFIXES

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_MARKS = (CONFIG_FILE, CARD_FILE, cache.CARD_FILE)
"""By one of these files a folder is known as a project, a model or a network."""
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}

IsOurs = Callable[[Path], bool]
"""Whether Closeup wrote an existing file, for the purpose in hand."""


def descriptor(file: Path) -> int | None:
    """The open file that a name such as ``/dev/stdout`` or ``/dev/fd/63`` stands for, or None."""
    name = file.as_posix()
    found = _DESCRIPTOR.fullmatch(name)
    return int(found[1]) if found else _STANDARD.get(name)


def require_free(file: Path, is_ours: IsOurs, *, overwrite: bool = False) -> None:
    """Refuse a target that would destroy something of the user's; call it before any work.

    Free are names that do not exist, streams (pipes, devices, open files), and files for which
    `is_ours`; any other only with `overwrite`, and photos, tables of labels and files of a
    project or model never. Links stand for what they lead to.

    Raises
    ------
    UsageError
        Where the target is not free, or is a folder.
    """
    if file.is_dir():
        raise UsageError(f"{file} is a folder; name a file in it")
    if descriptor(file) is not None or not file.is_file():
        return
    real = Path(os.path.realpath(file))
    try:
        if is_ours(real):
            return
    except OSError as err:
        raise UsageError(f"{file} cannot be read: {err.strerror}; name another file") from err
    if what := _precious(real):
        raise UsageError(f"{file} is {what}, which is never replaced; name another file")
    if not overwrite:
        raise UsageError(
            f"{file} exists and is not an earlier output of this kind; name another file, or "
            "replace it with --overwrite"
        )


def require_free_table(
    file: Path | None, inputs: Iterable[Path], is_ours: IsOurs, *, overwrite: bool = False
) -> None:
    """:func:`require_free` for a table of answers, if one is wanted, which is none of `inputs`."""
    if file is None:
        return
    if str(file) == "-":
        raise UsageError("tables are written to a file; --json prints the answers")
    if file.exists() and any(one.exists() and file.samefile(one) for one in inputs):
        raise UsageError(f"{file} is one of the photos or films to classify; name another file")
    require_free(file, is_ours, overwrite=overwrite)


def names_for(stems: Iterable[str], suffix: str) -> list[str]:
    """A file name for each of `stems`, numbered where several are the same.

    >>> names_for(["a", "b", "a"], ".jpg")
    ['a.jpg', 'b.jpg', 'a-2.jpg']
    """
    names: dict[str, None] = {}
    for stem in stems:
        name, number = f"{stem}{suffix}", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}{suffix}"
        names[name] = None
    return list(names)


def write_output(file: Path, data: bytes) -> None:
    """Write what :func:`require_free` has allowed.

    A stream is written to; a regular file, or the one that a link leads to, is replaced in one
    step. Raises ProjectError where it cannot be written.
    """
    number = descriptor(file)
    if number is None and (file.is_file() or not file.exists()):
        write_atomically(Path(os.path.realpath(file)), data)
        return
    with cannot_write(file):
        stream = file.open("wb") if number is None else os.fdopen(os.dup(number), "wb")
        with stream:
            stream.write(data)


def _precious(file: Path) -> str:
    """What the file is, if it is of a kind that is never replaced."""
    folder = next((f for f in file.parents if _is_of_closeup(f)), None)
    if folder is not None:
        return f"a file of {folder}"
    if _is_picture(file):
        return "a photo"
    return "a table of labels" if _is_table_of_labels(file) else ""


def _is_of_closeup(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MARKS)


def _is_picture(file: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(file):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _is_table_of_labels(file: Path) -> bool:
    if file.suffix.lower() not in TABLE_SUFFIXES:
        return False
    try:
        read_table(file, ("path", "label"))
    except PhotosError:
        return False
    return True


def all_free(files: Iterable[Path], is_ours: IsOurs, *, overwrite: bool = False) -> None:
    """:func:`require_free` for each of `files`."""
    for file in files:
        require_free(file, is_ours, overwrite=overwrite)
