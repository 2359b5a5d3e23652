"""Photos that are given as a data frame: the table of them that a project keeps."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from closeup.core.config import PhotosConfig, RunConfig
from closeup.core.project import Project, write_atomically
from closeup.photos.frames import Frame, as_csv
from closeup.photos.listing import collect

FOLDER = "given"


def keep(frame: Frame, out: Path) -> Path:
    """The frame as a table in the project `out`, named by its content.

    A frame that cannot be used is not kept. Raises PhotosError for such a one, and ProjectError
    where `out` is no project and holds files.
    """
    with as_table(frame) as file:
        collect(PhotosConfig(source=str(file)))
        data = file.read_bytes()
    project = Project(out)
    name = f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:16]}.csv"
    place = project.place(name).absolute()
    with project.held():
        if not project.config_file.exists():  # a folder without it would be taken for the user's
            project.write_config(RunConfig(photos=PhotosConfig(source=str(place))))
        project.write_bytes(name, data)
    return place


@contextmanager
def as_table(frame: Frame) -> Iterator[Path]:
    """The frame as a table that is there until the block ends."""
    data = as_csv(frame)
    with tempfile.TemporaryDirectory(prefix="closeup-") as folder:
        file = Path(folder, "photos.csv")
        write_atomically(file, data, durable=False)
        yield file
