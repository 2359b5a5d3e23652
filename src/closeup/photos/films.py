"""Films and cameras by their names, and which film the frames in a folder come from."""

from __future__ import annotations

import re
from pathlib import Path

from closeup.core.errors import PhotosError
from closeup.photos.kinds import FILM_SUFFIXES, photo_suffixes
from closeup.photos.tables import read_table

FRAMES_TABLE = "frames.csv"
"""The table that ``closeup frames`` writes beside the frames."""
FRAMES_COLUMNS = ("path", "label", "group", "film", "seconds")
_STREAM = re.compile(r"(rtsps?|rtmps?|srt|udp|rtp|https?)://", re.IGNORECASE)
_CAMERA = re.compile(r"/dev/video\d+")


def is_stream(name: str) -> bool:
    """Whether a name is that of a camera or of a stream in the network, not of a file."""
    if _CAMERA.fullmatch(name):
        return True
    return bool(_STREAM.match(name)) and Path(name).suffix.lower() not in photo_suffixes()


def is_film(name: str) -> bool:
    """Whether a name is that of a film, a camera or a stream.

    >>> is_film("a.MP4"), is_film("rtsp://camera/1"), is_film("/dev/video0"), is_film("a.jpg")
    (True, True, True, False)
    """
    return is_stream(name) or Path(name).suffix.lower() in FILM_SUFFIXES


def recordings(folder: Path) -> dict[str, str]:
    """For each frame that ``closeup frames`` wrote into a folder its film, by the file's name.

    The names are unique, so that frames stay known when they are moved to another label. Empty
    where there is no table of frames. Raises PhotosError where that is malformed or cannot be read.
    """
    table = folder / FRAMES_TABLE
    try:
        with table.open("rb") as stream:
            begins = stream.readline(1000)
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise PhotosError(f"{table} cannot be read: {err.strerror}; check the file") from err
    if begins.strip() != ",".join(FRAMES_COLUMNS).encode():
        return {}  # a table of somebody else's
    rows = read_table(table, FRAMES_COLUMNS[:3])
    return {Path(row.cells["path"]).name: row.cells["group"] for row in rows}
