"""A new folder, whole or not at all, and the page of credits in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from closeup.core.errors import ProjectError, UsageError
from closeup.core.lock import work_folder
from closeup.core.types import Rights
from closeup.photos.rights import NOTHING
from closeup.report.attribution import ATTRIBUTION_FILE, attribution


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `out` when the block ends without an error.

    Raises
    ------
    UsageError
        Where `out` exists and is not an empty folder.
    ProjectError
        Where something cannot be read or written; there is no `out` then.
    """
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; name a new folder for the export")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a new folder for the export")
    try:
        with work_folder(out.absolute().parent, ".making-") as work:
            folder = work / "export"
            folder.mkdir()
            yield folder
            if out.is_dir():
                out.rmdir()
            os.replace(folder, out)  # noqa: PTH105 (a folder)
    except OSError as err:
        raise ProjectError(f"the export to {out} failed: {err}; nothing was written") from err


def write_credits(folder: Path, photos: Iterable[tuple[str, Rights | None]], about: str) -> None:
    """Credit those of `photos`, given by name, whose rights are known; `about` is for all."""
    known = [(name, rights) for name, rights in photos if rights and rights != NOTHING]
    if known:
        page = attribution(known, about)
        (folder / ATTRIBUTION_FILE).write_text(page, encoding="utf8", newline="")


def files_in(folder: Path) -> dict[str, int]:
    """The files below a folder by name, with their sizes in bytes; not the hidden ones."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    named = {file.relative_to(folder): file.stat().st_size for file in files}
    return {name.as_posix(): size for name, size in named.items()
            if not any(part.startswith(".") for part in name.parts)}  # fmt: skip
