"""What a pass over the photos has seen so far, kept in parts until the tables are written.

A pass over many photos takes long, and the tables come after it. So every few seconds what is new
goes into a file of its own, and a pass after a kill begins with what the files hold. Each is
believed only as far as it still holds: a photo by its size and time, detections by their recipe,
embeddings by the name of their file, a saved close-up by its own size and time.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from closeup.core.project import Project
from closeup.core.types import Box, Detection, Floats, Photo, PhotoState, values_of
from closeup.dataset.duplicates import Signature, Spilled
from closeup.dataset.duplicates.signature import VERSION as SIGNATURES_VERSION

V = TypeVar("V")
FOLDER = "unfinished"
VERSION = 2
SECONDS = 10.0  # what a kill costs at most

_ARRAYS = ("luma", "colour")


@dataclass
class Observed:
    """What a pass has seen of the photos, or what the parts of killed passes hold.

    - `photos`: a row for each file, in order
    - `detections`: by photo id
    - `unsound`: id to path of the photos for which the detector gave values that are not finite
      numbers; they are looked at again the next time, so that they are told of then too
    - `files`: name of each close-up that lies saved -> what it shows, see
      :func:`closeup.crops.cut.saved_as`
    - `signatures`: by sha256, of photos that had none
    - `vectors`: name of the embeddings file -> content key -> embedding, of those that were not
      cached
    """

    photos: list[Photo] = field(default_factory=list)
    detections: dict[str, list[Detection]] = field(default_factory=dict)
    unsound: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    signatures: MutableMapping[str, Signature] = field(default_factory=dict)
    vectors: dict[str, dict[str, Floats]] = field(default_factory=dict)


class Unfinished:
    """The parts in a project.

    - `recipe`: of the detections, see ``stages.detection_recipe``; ``""`` where they are no part of
      this
    """

    def __init__(self, project: Project, recipe: str) -> None:
        self._project = project
        self._recipe = recipe
        self._number = 0
        self._wrote = time.monotonic()
        self._photos = self._signatures = self._files = 0
        self._vectors: dict[str, int] = {}

    def read(self) -> Observed:
        """What is there and still holds; a damaged part is passed over."""
        kept = Observed(signatures=Spilled(self._project.folder))
        for file in sorted(self._project.place(FOLDER).glob("*.safetensors")):
            if file.stem.isdecimal():
                self._number = max(self._number, int(file.stem) + 1)
            with contextlib.suppress(LookupError, ValueError, TypeError, AttributeError):
                self._add(kept, file)
        return kept

    def _add(self, kept: Observed, file: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="numpy") as stored:
                about = json.loads((stored.metadata() or {})["closeup"])
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            if about["version"] != [VERSION, SIGNATURES_VERSION]:
                return
            photos = [_photo(values) for values in about["photos"]]
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            return
        kept.photos += photos
        if about["recipe"] == self._recipe != "":
            for name, rows in about["detections"].items():
                kept.detections[name] = [_detection(row) for row in rows]
        for name, (what, *mark) in about["files"].items():
            if mark == _mark(self._project.folder / name):
                kept.files[name] = what
        if about["signatures"]:
            rows = zip(*(arrays[name] for name in _ARRAYS), strict=True)
            kept.signatures.update(zip(about["signatures"], rows, strict=True))
        for place, (name, keys) in enumerate(about["vectors"].items()):
            mine = kept.vectors.setdefault(name, {})
            mine.update(zip(keys, arrays[f"vectors{place}"], strict=True))

    def begin(self, seen: Observed) -> None:
        """What `seen` holds now need not be written."""
        self._photos, self._files = len(seen.photos), len(seen.files)
        self._signatures = len(seen.signatures)
        self._vectors = {name: len(found) for name, found in seen.vectors.items()}

    def keep(self, seen: Observed) -> None:
        """Write what has come to `seen` since the last time, every few seconds."""
        if time.monotonic() - self._wrote < SECONDS:
            return
        photos = seen.photos[self._photos :]
        signatures = _after(seen.signatures, self._signatures)
        vectors = {
            name: _after(found, self._vectors.get(name, 0)) for name, found in seen.vectors.items()
        }
        if photos or signatures or any(vectors.values()):
            new = {photo.id for photo in photos} - seen.unsound.keys()
            detections = {n: rows for n, rows in seen.detections.items() if n in new}
            arrays = dict(zip(_ARRAYS, map(np.stack, zip(*signatures.values(), strict=True)),
                              strict=False))  # fmt: skip
            self._write(
                {"photos": photos, "detections": detections, "signatures": list(signatures)},
                _after(seen.files, self._files), arrays, vectors,
            )  # fmt: skip
        self.begin(seen)
        self._wrote = time.monotonic()

    def keep_files(self, files: Mapping[str, str]) -> None:
        """Write what saved close-ups show, before the table that says so is marked unfinished."""
        self._write({"photos": [], "detections": {}, "signatures": []}, files, {}, {})

    def _write(
        self,
        rows: Mapping[str, Any],
        files: Mapping[str, str],
        arrays: dict[str, Any],
        vectors: Mapping[str, Mapping[str, Floats]],
    ) -> None:
        from safetensors.numpy import save

        marked = {name: (what, *_mark(self._project.folder / name)) for name, what in files.items()}
        filled = {name: found for name, found in vectors.items() if found}
        for place, found in enumerate(filled.values()):
            arrays[f"vectors{place}"] = np.stack(list(found.values()))
        about = {
            "version": [VERSION, SIGNATURES_VERSION], "recipe": self._recipe, "files": marked,
            "photos": [values_of(photo) for photo in rows["photos"]],
            "detections": {n: [values_of(row) for row in mine]
                           for n, mine in rows["detections"].items()},
            "signatures": rows["signatures"],
            "vectors": {name: list(found) for name, found in filled.items()},
        }  # fmt: skip
        name = f"{FOLDER}/{self._number:06d}.safetensors"
        data = save(arrays, {"closeup": json.dumps(about)})
        self._project.write_bytes(name, data, durable=False)
        self._number += 1


def _after(found: Mapping[str, V], count: int) -> dict[str, V]:
    """All but the first `count` of a mapping that only grows."""
    return {name: found[name] for name in islice(found, count, None)}


def _mark(file: Path) -> list[int]:
    """Changes whenever the file is written; empty where there is none."""
    try:
        status = file.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _photo(values: Iterable[Any]) -> Photo:
    photo = Photo(*values)
    return replace(photo, state=PhotoState(photo.state))


def _detection(values: tuple[Any, ...]) -> Detection:
    photo_id, rank, category, score, box = values
    return Detection(photo_id, rank, category, score, Box(*box))
