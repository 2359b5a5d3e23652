"""Photos out of the two openly licensed archives that the shipped networks are trained on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.parallel import ordered_map

HELD_BACK = "/Fruit/Apple/"
"""The grocery archive's apples serve as a test of the finished package: never trained on."""


@dataclass(frozen=True, slots=True)
class ArchivePhoto:
    """A decoded photo.

    Attributes
    ----------
    name
        Path inside the archive.
    label
        The folder it lies in.
    pixels
        ``(height, width, 3)`` uint8 RGB; the shorter side has at most 144 pixels.
    """

    name: str
    label: str
    pixels: NDArray[np.uint8]


def read_archive(archive: Path, folder: str = "") -> Iterator[ArchivePhoto]:
    """Every photo below `folder` that may be trained on, sorted by name.

    Raises
    ------
    ValueError
        Where the archive holds none.
    """
    with zipfile.ZipFile(archive) as packed:
        names = training_names(packed.namelist(), folder)
        if not names:
            raise ValueError(f"{archive} holds no photos below {folder or 'its root'}")
        contents = ((name, packed.read(name)) for name in names)
        yield from ordered_map(_decode, contents)


def training_names(names: list[str], folder: str = "") -> list[str]:
    """The sorted names of photos below `folder`, without those that are held back for tests.

    >>> training_names(["b/2.jpg", "b/1.jpg", "a/notes.txt", "train/Fruit/Apple/x/1.jpg"])
    ['b/1.jpg', 'b/2.jpg']
    """
    return sorted(
        name
        for name in names
        if name.lower().endswith(".jpg") and name.startswith(folder) and HELD_BACK not in f"/{name}"
    )


def _decode(item: tuple[str, bytes]) -> ArchivePhoto:
    name, content = item
    with Image.open(io.BytesIO(content)) as photo:
        pixels = np.asarray(photo.convert("RGB"))
    return ArchivePhoto(name, name.split("/")[-2], pixels)
