"""What is kept of each photo to recognise others that show the same picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.types import Photo, PhotoState, Pixels
from closeup.dataset.duplicates.layout import LENGTH, layouts
from closeup.photos.picture import Picture
from closeup.photos.reading import read_picture_again

VERSION = 4
LUMA = 128  # side of the brightness picture, fine enough to distinguish watches in one layout
COLOUR = 32
_AT_ONCE = 32  # photos whose layouts are computed together

Bytes = NDArray[np.uint8]
Signature = tuple[Bytes, Bytes]
"""Brightness and colour of one photo, as rows of :class:`Signatures`; its layout follows."""


@dataclass(frozen=True, eq=False)
class Signatures:
    """Small pictures of n photos, one row for each different file content, sorted by hash.

    Each takes about 20 kB. Photos of any shape are squeezed into a square.

    - `keys`: n SHA-256 hashes of the files, ascending
    - `luma`: ``(n, 128, 128)`` uint8 brightness
    - `colour`: ``(n, 32, 32, 3)`` uint8 RGB
    - `layout`: ``(n, 512)`` float16: directions of edges by place, of unit length, zeros for a
      blank photo; the inner product of two is 1 for the same layout
    """

    keys: tuple[str, ...]
    luma: Bytes
    colour: Bytes
    layout: NDArray[np.float16]

    def parts(self) -> Iterator[bytes | memoryview]:
        """A safetensors file part by part, without a copy; the keys are JSON in its metadata."""
        about = {"keys": json.dumps(self.keys), "version": str(VERSION)}
        header: dict[str, Any] = {"__metadata__": about}
        arrays: dict[str, NDArray[Any]] = {
            "layout": self.layout, "luma": self.luma, "colour": self.colour
        }  # fmt: skip
        start = 0
        for name, array in arrays.items():
            kind = "F16" if array.dtype == np.float16 else "U8"
            header[name] = {"dtype": kind, "shape": array.shape,
                            "data_offsets": (start, start + array.nbytes)}  # fmt: skip
            start += array.nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        yield len(text).to_bytes(8, "little") + text
        for array in arrays.values():
            # A view of no bytes cannot be cast.
            yield np.ascontiguousarray(array).data.cast("B") if array.size else b""

    @classmethod
    def read(cls, file: Path) -> Signatures | None:
        """Read what :meth:`parts` gave; None where absent, old or damaged: it is a cache."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="numpy") as stored:
                meta = stored.metadata()
                keys = tuple(json.loads(meta["keys"]))
                version = meta["version"]
                found = cls(keys, *(stored.get_tensor(n) for n in ("luma", "colour", "layout")))
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            return None
        n = len(keys)
        whole = (
            found.luma.shape == (n, LUMA, LUMA)
            and found.colour.shape == (n, COLOUR, COLOUR, 3)
            and found.layout.shape == (n, LENGTH)
            and found.luma.dtype == found.colour.dtype == np.uint8
            and found.layout.dtype == np.float16
        )
        return found if whole and version == str(VERSION) and list(keys) == sorted(keys) else None


def signatures(
    photos: Sequence[Photo],
    known: Signatures | None = None,
    progress: Progress = silent,
    fresh: MutableMapping[str, Signature] | None = None,
) -> Signatures:
    """The signatures of all readable `photos`, reusing the `known` ones and the `fresh` by hash.

    Those taken from `fresh` are removed there, so that none is held twice.

    Raises ProjectError where a photo has changed or vanished since it was listed.
    """
    readable = {p.sha256: p for p in photos if p.state is PhotoState.READABLE and p.sha256}
    keys = tuple(sorted(readable))
    rows = {key: row for row, key in enumerate(known.keys)} if known else {}
    luma = np.empty((len(keys), LUMA, LUMA), np.uint8)
    colour = np.empty((len(keys), COLOUR, COLOUR, 3), np.uint8)
    layout = np.empty((len(keys), LENGTH), np.float16)
    missing, new = [], []
    for place, key in enumerate(keys):
        if known is not None and key in rows:
            row = rows[key]
            luma[place], colour[place] = known.luma[row], known.colour[row]
            layout[place] = known.layout[row]
            continue
        new.append(place)
        if fresh and key in fresh:
            luma[place], colour[place] = fresh.pop(key)
        else:
            missing.append(place)

    def make(place: int) -> tuple[int, Signature]:
        return place, signature_of(read_picture_again(readable[keys[place]]))

    def lay_out(places: list[int]) -> None:
        layout[places] = layouts(luma[places])

    for place, made in track(ordered_map(make, missing), "duplicates", len(missing), progress):
        luma[place], colour[place] = made
    together = [new[start : start + _AT_ONCE] for start in range(0, len(new), _AT_ONCE)]
    for _ in ordered_map(lay_out, together):
        pass
    return Signatures(keys, luma, colour, layout)


def signature_of(photo: Pixels | Picture) -> Signature:
    """Brightness and colour of one decoded photo, as rows of :class:`Signatures`."""
    small, _ = (photo if isinstance(photo, Picture) else Picture.of(photo)).small
    luma = np.asarray(_squeeze(small.convert("L"), LUMA))
    return luma, np.asarray(_squeeze(small, COLOUR))


def _squeeze(photo: Image.Image, side: int) -> Image.Image:
    """Averaged down, interpolated up. A large photo is first reduced by an integer: faster."""
    gap = 2.0 if min(photo.size) > 4 * side else None
    return photo.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=gap)
