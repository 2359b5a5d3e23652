"""Names in annotation files -> photos, through one normaliser.

A name is first compared as a whole path, then by as many of its last parts as tell the photos
apart; each time exactly first, then in ever looser forms. A name that fits several photos, or a
photo that several names fit, is left unmatched rather than guessed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from closeup.photos.kinds import photo_suffixes


class Named(Protocol):
    """What is matched: a photo, or its entry before it is read."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def file(self) -> Path: ...


_HASH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?[-_](?=.)")
_ROBOFLOW = re.compile(r"_([a-zA-Z0-9]+)\.rf\.[0-9a-f]{16,}(?=\.|$)")
_ODD = re.compile(r"[^-\w./]")


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _decoded(path: str) -> str:
    return _composed(unquote(path, errors="replace"))


def _caseless(path: str) -> str:
    return _composed(_decoded(path).casefold())


def _uploaded(path: str) -> str:
    """Without what Label Studio and Roboflow add to a name, and the letters that they replace."""
    folder, slash, name = _caseless(path).rpartition("/")
    name = _ROBOFLOW.sub(r".\1" if not _suffix(name) else "", _HASH.sub("", name, count=1))
    return _ODD.sub("", (folder + slash + name).replace(" ", "_"))


FORMS: tuple[Callable[[str], str], ...] = (str, _composed, _decoded, _caseless, _uploaded)
"""From the name as it is to the loosest form of it."""


def match(
    names: Iterable[str], base: Path, photos: Sequence[Named]
) -> tuple[dict[str, str], list[str]]:
    """The photo's id of each name, and the names that have none or more than one.

    - `names`: paths with slashes, relative to `base`, to the photos' folder, or to anything else; a
      name without a picture's suffix stands for the photo with any
    """
    open_names = list(dict.fromkeys(names))
    found: dict[str, str] = {}
    for whole, form, bare in product((True, False), FORMS, (False, True)):
        if not open_names:
            break
        index = _index(photos, form, whole, bare)
        wanted: dict[str, set[str]] = defaultdict(set)
        for name in open_names:
            if (hit := _photo(name, base, form, index, whole, bare)) is not None:
                wanted[hit].add(name)
        taken = set(found.values())
        for photo, mine in wanted.items():
            if photo not in taken and len(mine) == 1:
                found[mine.pop()] = photo
        open_names = [name for name in open_names if name not in found]
    return found, open_names


Index = dict[tuple[str, ...], set[str]]


def _index(photos: Sequence[Named], form: Callable[[str], str], whole: bool, bare: bool) -> Index:
    """Photos' ids by their paths in one form, or by every end of these."""
    index: Index = defaultdict(set)
    for photo in photos:
        # Both the path in its folder and the place on disk, which are one for an absolute path.
        for path in {photo.path, photo.file.as_posix()} if whole else {photo.path}:
            parts = _parts(path, form, bare)
            for first in range(1 if whole else len(parts)):
                index[parts[first:]].add(photo.id)
    return index


def _photo(
    name: str, base: Path, form: Callable[[str], str], index: Index, whole: bool, bare: bool
) -> str | None:
    """The one photo that has the name; None where none has, or several do."""
    if bare and _suffix(name):
        return None
    parts = _parts(name, form, False)
    if not parts:
        return None
    if not whole:
        for first in range(len(parts)):
            if hits := index.get(parts[first:]):
                return next(iter(hits)) if len(hits) == 1 else None
        return None
    plain = tuple(part for part in parts if part != "images")
    inside = Path(os.path.normpath(base.absolute())).as_posix()
    here = _parts(inside, form, False)
    ways = dict.fromkeys((parts, plain, here + parts, here + plain))
    return next((_one(index[way]) for way in ways if way in index), None)


def _one(hits: set[str]) -> str | None:
    return next(iter(hits)) if len(hits) == 1 else None


def _parts(path: str, form: Callable[[str], str], bare: bool) -> tuple[str, ...]:
    """The path's parts in one form; `bare`: without the picture's suffix."""
    plain = form(path.replace("\\", "/"))
    parts = tuple(p for p in os.path.normpath(plain).split("/") if p not in ("", "."))
    if bare and parts and (suffix := _suffix(parts[-1])):
        return (*parts[:-1], parts[-1][: -len(suffix)])
    return parts


def _suffix(name: str) -> str:
    """The suffix of a picture that the name ends with; ``""`` where it has none."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122
    return suffix if suffix.lower() in photo_suffixes() else ""
