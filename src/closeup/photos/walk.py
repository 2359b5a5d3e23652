"""Everything below a folder, sorted into photos, side files and what could not be looked into."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from closeup.core.config import CONFIG_FILE
from closeup.core.errors import PhotosError
from closeup.core.text import first_of, visible
from closeup.photos.kinds import (
    begins_like_a_photo,
    is_side_file,
    is_system_file,
    is_system_folder,
    photo_suffixes,
)

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".jsonl"})


@dataclass(slots=True)
class Found:
    """What lies below a folder, each file and folder once.

    - `photos`: what is called like a photo or begins like one
    - `odd`: neither that nor a known kind of side file
    - `side`: files that often lie beside photos
    - `hidden`: how many files are hidden or the system's
    - `skipped`: folders of the system and Closeup projects, which are not looked into
    - `closed`: folders that cannot be listed, with the reason
    - `folders`: all that were looked into
    """

    photos: list[Path] = field(default_factory=list)
    odd: list[Path] = field(default_factory=list)
    side: list[Path] = field(default_factory=list)
    hidden: int = 0
    skipped: list[Path] = field(default_factory=list)
    closed: list[tuple[Path, str]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def notes(self, root: Path, depth: int) -> Iterator[str]:
        """Sentences on what is no photo.

        Folders without a photo are named down to `depth` levels below the root.
        """

        def named(folders: Iterable[Path]) -> str:
            return first_of(f"{visible(one.relative_to(root).as_posix())}/" for one in folders)

        holders = {file.parent for file in self.photos}
        full = {root}.union(*((folder, *folder.parents) for folder in holders))
        empty = {folder for folder in self.folders if folder not in full}
        tops = [folder for folder in empty if folder.parent not in empty
                and len(folder.relative_to(root).parts) <= depth]  # fmt: skip
        if tops:
            yield f"without a photo, and so no label: {named(tops)}"
        if self.closed:
            yield f"folders that cannot be listed: {named(folder for folder, _ in self.closed)}"
        if self.skipped:
            yield f"not looked into: {named(self.skipped)}"
        hidden = [f"{self.hidden} hidden"] if self.hidden else []
        if beside := ", ".join([*filter(None, [tally(self.side)]), *hidden]):
            yield f"beside the photos, not used: {beside}"

    def annotations(self, root: Path) -> str:
        """What to do with the tables or boxes that lie beside the photos; ``""`` if none do."""
        tables, boxes = [], []
        for file in self.side:
            name = file.name.lower()
            inside = file.relative_to(root)
            if name == "data.yaml" or name.endswith(".coco.json") or file.suffix == ".xml":
                boxes.append(inside)
            elif file.suffix == ".txt" and "labels" in inside.parts[:-1]:
                boxes.append(inside.parents[len(inside.parts) - 2 - inside.parts.index("labels")])
            elif file.suffix in TABLE_SUFFIXES and len(inside.parts) <= 2:
                tables.append(inside)
        if boxes:
            one = boxes[0]
            what = one.as_posix() if one.suffix != ".xml" else f"{one.parent.as_posix()}/*.xml"
            return (
                f"{visible(what)} looks like the boxes of a detection set: give it as --boxes, and "
                "the labels as folders or as a table with path,label"
            )
        if tables:
            return f"if {visible(tables[0].as_posix())} holds the labels, give it as PHOTOS"
        return ""


def tally(files: Iterable[Path]) -> str:
    """How many files there are of each suffix: ``"1 x .pdf, 2 x .txt"``."""
    counts = Counter(file.suffix.lower() or "no suffix" for file in files)
    return ", ".join(f"{count} x {visible(suffix)}" for suffix, count in sorted(counts.items()))


def walk(root: Path, skip: Collection[Path] = ()) -> Found:
    """What lies below `root`, except in the folders to `skip`.

    Links are followed, but not into a parent.

    Raises
    ------
    PhotosError
        Where `root` itself cannot be listed.
    """
    found = Found()
    waiting = [(root, frozenset[tuple[int, int]]())]
    while waiting:
        folder, above = waiting.pop()
        waiting += reversed(_look_into(folder, skip, above, found))
    for folder, reason in found.closed:
        if folder == root:
            raise PhotosError(f"{root} cannot be listed: {reason}; check its permissions")
    found.photos.sort()
    return found


def _look_into(
    folder: Path, skip: Collection[Path], above: frozenset[tuple[int, int]], found: Found
) -> list[tuple[Path, frozenset[tuple[int, int]]]]:
    """Sort in what lies in one folder; its folders, with all above them."""
    try:
        status = folder.stat()
        with os.scandir(folder) as listed:
            children = sorted(listed, key=lambda child: child.name)
    except OSError as err:
        found.closed.append((folder, err.strerror or str(err)))
        return []
    here = (status.st_dev, status.st_ino)
    if here in above:
        return []
    found.folders.append(folder)
    folders = []
    for child in children:
        path = Path(child.path)
        if not _is_folder(child):
            _sort_in(path, child.name, found)
        elif is_system_folder(child.name) or (path / CONFIG_FILE).is_file():
            found.skipped.append(path)
        elif not (skip and path.resolve() in skip):
            folders.append((path, above | {here}))
    return folders


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link to itself, or to a name that is too long: its row will say so
        return False


def _sort_in(file: Path, name: str, found: Found) -> None:
    if is_system_file(name):
        found.hidden += 1
    elif file.suffix.lower() in photo_suffixes():
        found.photos.append(file)
    elif is_side_file(file):
        found.side.append(file)
    elif _begins_like_a_photo(file):
        found.photos.append(file)
    else:
        found.odd.append(file)


def _begins_like_a_photo(file: Path) -> bool:
    try:
        if not file.is_file():  # opening a pipe would wait forever
            return False
        with file.open("rb") as stream:
            return begins_like_a_photo(stream.read(64))
    except (OSError, ValueError):  # its row will say so
        return False
