"""Films as training photos: frames in label folders, and a table that groups them by film."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from closeup.core.errors import PhotosError, ProjectError, UsageError
from closeup.core.lock import work_folder
from closeup.core.progress import Progress, silent, track
from closeup.model.video import Film
from closeup.photos.films import FRAMES_COLUMNS, FRAMES_TABLE
from closeup.photos.kinds import FILM_SUFFIXES
from closeup.photos.walk import walk


@dataclass(slots=True)
class Frames:
    """What was written to `folder`.

    - `labels`: label -> number of frames
    - `films`: number of films they are from
    - `failed`: the films that could not be read, with the reason
    """

    folder: Path
    labels: dict[str, int]
    films: int
    failed: dict[str, str] = field(default_factory=dict)


def films_below(places: Iterable[Path], label: str = "") -> list[tuple[Path, str]]:
    """The films that files and folders stand for, each with its label.

    That is `label`, or the first folder below the one that was named.

    Raises
    ------
    UsageError
        Where a film has no label.
    PhotosError
        Where there is no film.
    """
    found: dict[Path, str] = {}
    for place in places:
        if place.is_dir():
            below = walk(place)
            files = sorted(file for file in (*below.side, *below.odd)
                           if file.suffix.lower() in FILM_SUFFIXES)  # fmt: skip
            found |= {f: label or (f.relative_to(place).parts[:-1] or ("",))[0] for f in files}
        else:
            found[place] = label
    if not found:
        raise PhotosError("no film in the folders named; name films, or folders of them")
    if bare := [file for file, name in found.items() if not name]:
        raise UsageError(
            f"{bare[0]} has no label: give --label, or a folder with one sub-folder of films per "
            "label (FILMS/rolex/1.mp4)"
        )
    return list(found.items())


def write_frames(
    films: Sequence[tuple[Path, str]],
    out: Path,
    *,
    every: float,
    progress: Progress = silent,
) -> Frames:
    """Write a frame every so many seconds of each film as ``OUT/LABEL/FILM-HASH-MS.jpg``.

    ``OUT/frames.csv`` lists them with their film as the group; a run on the folder reads it, so
    that the frames of one film are never on both sides of a split.

    Parameters
    ----------
    films
        Files with their labels, as :func:`films_below` gives them.
    out
        A folder that does not exist yet, or is empty. Nothing appears in it before all is written.

    Raises
    ------
    UsageError
        Where `out` exists and is not an empty folder.
    PhotosError
        Where no film can be read.
    ProjectError
        Where a frame cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; name a new one for the frames")
    if any("/" in label or label in (".", "..") for _, label in films):
        raise UsageError("a label is the name of a folder; it cannot hold a slash")
    rows: list[tuple[str, str, str, str, str]] = []
    failed: dict[str, str] = {}
    try:
        with work_folder(out.absolute().parent, ".making-") as work:
            for film, label in track(films, "frames", len(films), progress):
                try:
                    rows += _frames_of(film, label, work / "frames", every)
                except PhotosError as err:
                    failed[str(film)] = str(err)
            if not rows:
                raise PhotosError(f"no film can be read: {next(iter(failed.values()))}")
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows([FRAMES_COLUMNS, *rows])
            (work / "frames" / FRAMES_TABLE).write_bytes(
                text.getvalue().encode("utf8", "surrogateescape")
            )
            if out.is_dir():
                out.rmdir()
            os.replace(work / "frames", out)  # noqa: PTH105 (a folder)
    except OSError as err:
        raise ProjectError(f"writing to {out} failed: {err}; nothing was written") from err
    labels = Counter(row[1] for row in rows)
    return Frames(out, dict(sorted(labels.items())), len({row[2] for row in rows}), failed)


def _frames_of(
    file: Path, label: str, folder: Path, every: float
) -> list[tuple[str, str, str, str, str]]:
    """Write the frames of one film; the rows of the table for them."""
    group = f"{file.stem}-{sha256(os.fsencode(file.absolute())).hexdigest()[:8]}"
    (folder / label).mkdir(parents=True, exist_ok=True)
    rows = []
    with Film(str(file)) as film:
        for still in film.stills(1 / every):
            name = f"{group}-{round(still.time * 1000):08d}.jpg"
            still.picture.upright.save(folder / label / name, "JPEG", quality=95, subsampling=0)
            rows.append((f"{label}/{name}", label, group, str(file), f"{still.time:.3f}"))
    return rows
