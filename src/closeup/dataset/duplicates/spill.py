"""Signatures that wait on the disk for their table: 20 kB each, of which memory would fill."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import IO

import numpy as np

from closeup.core.errors import ProjectError
from closeup.dataset.duplicates.signatures import COLOUR, LUMA, Signature

_LUMA = LUMA * LUMA
_SLOT = _LUMA + COLOUR * COLOUR * 3


class Spilled(MutableMapping[str, Signature]):
    """By sha256, in the order in which they came; the file goes with the object, or the process.

    Parameters
    ----------
    folder
        Where the file lies, without a name where the system allows that.

    Raises
    ------
    ProjectError
        From whatever reads or writes: where the file cannot be written, for want of space perhaps.
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
        try:
            stream = self._opened()
            stream.seek(place * _SLOT)
            while data:
                data = data[stream.write(data) :]
        except OSError as err:
            raise self._wrong(err) from err
        self._places[key] = place
        self._end = max(self._end, place + 1)

    def __getitem__(self, key: str) -> Signature:
        place = self._places[key]
        try:
            stream = self._opened()
            stream.seek(place * _SLOT)
            data = stream.read(_SLOT)
        except OSError as err:
            raise self._wrong(err) from err
        values = np.frombuffer(data, np.uint8)
        return values[:_LUMA].reshape(LUMA, LUMA), values[_LUMA:].reshape(COLOUR, COLOUR, 3)

    def _opened(self) -> IO[bytes]:
        """The file, made by the first write: where there is nothing to keep none is needed."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed below
            weakref.finalize(self, self._file.close)
        return self._file

    def __delitem__(self, key: str) -> None:
        del self._places[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _wrong(self, err: OSError) -> ProjectError:
        return ProjectError(
            f"cannot write a temporary file in {self._folder}: {err.strerror or err}; free the "
            "space or rights it needs and run again"
        )
