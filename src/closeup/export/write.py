"""Write an export: a new folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from closeup.core.errors import UsageError
from closeup.core.progress import Progress, silent, track
from closeup.core.project import Project
from closeup.export import Format
from closeup.export.folder import new_folder, write_credits
from closeup.export.formats import FORMATS
from closeup.export.items import read_items

_UNCHANGED = (
    "The photos are as they were found. Whoever cuts objects out of them by their boxes changes "
    "them, and many licences ask to say so."
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written to `folder`: photos, objects with a box, photos of each part.

    `left_out` counts the photos that are not in it, by reason.
    """

    folder: Path
    format: Format
    photos: int
    boxes: int
    parts: dict[str, int]
    left_out: dict[str, int]


def export_project(
    project: Path, to: Format, out: Path, *, link: bool = False, progress: Progress = silent
) -> Exported:
    """Write a project's photos, boxes, labels, parts and answers to a new folder.

    Parameters
    ----------
    to
        A format of :data:`closeup.export.formats.FORMATS`.
    out
        A folder that does not exist yet, or is empty. Nothing appears in it before all is written.
    link
        Make symbolic links to the photos instead of copies.

    Raises
    ------
    UsageError
        Where `to` is no format, or `out` exists and is not an empty folder.
    ProjectError
        Where the project is not finished, or a file cannot be read or written.
    """
    if to not in FORMATS:
        raise UsageError(f"format {to!r}: expected one of {', '.join(FORMATS)}")
    known = read_items(Project(project))
    writer, placed = FORMATS[to]
    left_out = Counter(known.left_out)
    with new_folder(out) as folder:
        written = []
        for item in track(known.items, "export", len(known.items), progress):
            if not item.photo.file.is_file():
                left_out["no longer where they were"] += 1
                continue
            written.append(item)
            place = folder / placed(item)
            place.parent.mkdir(parents=True, exist_ok=True)
            if link:
                place.symlink_to(item.photo.file.absolute())
            else:
                shutil.copyfile(item.photo.file, place)
        known = replace(known, items=tuple(written))
        for name, text in writer(known):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf8", newline="")
        write_credits(folder, ((placed(item), item.rights) for item in known.items), _UNCHANGED)
    return Exported(
        out, to, len(known.items),
        sum(one.box is not None for item in known.items for one in item.objects),
        dict(Counter(item.part or "unused" for item in known.items)), dict(left_out),
    )  # fmt: skip
