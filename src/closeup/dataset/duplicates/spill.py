"""Signatures on disk until their table is built: at 20 kB each they would fill the memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from closeup.core.errors import ProjectError
from closeup.dataset.duplicates.signature import COLOUR, LUMA, Signature

_LUMA = LUMA * LUMA
_SLOT = _LUMA + COLOUR * COLOUR * 3


class Spilled(MutableMapping[str, Signature]):
    """Signatures by sha256, in the order of insertion; the file ends with the object or process.

    - `folder`: where the file is put, without a name where the system allows that

    Raises ProjectError from whatever reads or writes: where the file cannot be written, perhaps for
    lack of space.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, int] = {}
        self._end = 0
        self._file: IO[bytes] | None = None

    def __setitem__(self, key: str, signature: Signature) -> None:
        data = b"".join(np.ascontiguousarray(part).tobytes() for part in signature)
        if len(data) != _SLOT:
            raise ValueError(f"a signature takes {_SLOT} bytes, not {len(data)}")
        place = self._places.get(key, self._end)
        with self._at(place) as stream:
            while data:
                data = data[stream.write(data) :]
        self._places[key] = place
        self._end = max(self._end, place + 1)

    def __getitem__(self, key: str) -> Signature:
        with self._at(self._places[key]) as stream:
            values = np.frombuffer(stream.read(_SLOT), np.uint8)
        return values[:_LUMA].reshape(LUMA, LUMA), values[_LUMA:].reshape(COLOUR, COLOUR, 3)

    @contextmanager
    def _at(self, place: int) -> Iterator[IO[bytes]]:
        """The file, at the place of a signature; made by the first write."""
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed below
                weakref.finalize(self, self._file.close)
            self._file.seek(place * _SLOT)
            yield self._file
        except OSError as err:
            raise ProjectError(
                f"cannot write a temporary file in {self._folder}: {err.strerror or err}; free the "
                "space or rights it needs and run again"
            ) from err

    def __delitem__(self, key: str) -> None:
        del self._places[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
