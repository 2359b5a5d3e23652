"""The photos of a folder, a list or a pattern, on a local disk or on a store with a URL."""

from __future__ import annotations

import glob
import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from closeup.batch.files import file_system, is_url, reachable
from closeup.core.errors import PhotosError
from closeup.photos.kinds import is_system_file, is_system_folder, photo_suffixes
from closeup.photos.listing import list_paths
from closeup.photos.tables import places_of, read_table
from closeup.photos.walk import TABLE_SUFFIXES

AT_ONCE = 1000
"""Rows of a list that are looked up together."""
PLACE_BYTES, STATE_BYTES = 10, 6


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo before it is read.

    - `photo`: its name in the answers, as ``closeup predict`` or the list calls it
    - `source`: its absolute path or URL
    - `size`, `mtime_ns`: its size and time of change; -1 and 0 where they cannot be had
    """

    photo: str
    source: str
    size: int
    mtime_ns: int

    @property
    def id(self) -> bytes:
        """16 bytes, of which the first :data:`PLACE_BYTES` stand for where the photo lies.

        The others stand for its size and time, so that a changed photo has another id.
        """
        place = hashlib.blake2b(os.fsencode(self.source), digest_size=PLACE_BYTES).digest()
        state = f"{self.size} {self.mtime_ns}".encode()
        return place + hashlib.blake2b(state, digest_size=STATE_BYTES).digest()


def list_source(source: str) -> Iterator[Listed]:
    """The photos that `source` stands for, with a list's own order, else sorted.

    A local folder, pattern or file stands for what ``closeup predict`` takes it for. A table (CSV,
    TSV, Parquet, JSON lines) lists photos in a column ``path``: URLs, absolute paths, or paths
    relative to its folder. A Parquet list is read piece by piece, however long it is.

    Raises
    ------
    PhotosError
        Where there is no photo, or the list cannot be read.
    ProjectError
        Where a store cannot be reached or denies access.
    """
    suffix = posixpath.splitext(source)[1].lower()
    if is_url(source):
        found = _of_table(source, suffix) if suffix in TABLE_SUFFIXES else _of_store(source)
    elif suffix in TABLE_SUFFIXES and Path(source).expanduser().is_file():
        found = _of_table(str(Path(source).expanduser()), suffix)
    elif not glob.has_magic(source) and not Path(source).expanduser().exists():
        raise PhotosError(f"there is no folder, list or photo {source}; check the path")
    else:
        found = (_local(str(path), path) for path in list_paths([source]))
    first = next(found, None)
    if first is None:
        raise PhotosError(f"no photo in {source}; name a folder, list or pattern of photos")
    yield first
    yield from found


def _local(photo: str, path: Path) -> Listed:
    try:
        status = path.stat()
    except (OSError, ValueError):  # reading it will say why
        return Listed(photo, str(path.absolute()), -1, 0)
    return Listed(photo, str(path.absolute()), status.st_size, status.st_mtime_ns)


def _of_store(url: str) -> Iterator[Listed]:
    """The photos below a URL, or that its pattern matches."""
    from pyarrow import fs

    if glob.has_magic(url):
        fixed = re.split(r"[*?\[]", url)[0].rpartition("/")[0]
        system, top = file_system(fixed)
        _, pattern = file_system(url)
        fits = re.compile(_as_regex(pattern)).fullmatch
    else:
        system, top = file_system(url)
        fits = None
    prefix = f"{url.partition('://')[0]}://"
    with reachable(url):
        if "/" in top and not fits:
            kind = system.get_file_info(top)
            if kind.type == fs.FileType.File:
                yield _remote(url, url, kind)
                return
        for info in _below(system, top):
            if _is_photo(info.base_name) and (fits is None or fits(info.path)):
                yield _remote(prefix + info.path, prefix + info.path, info)


def _below(system: Any, folder: str) -> Iterator[Any]:
    """Every file below a folder, one folder at a time, sorted; the system's own are left out."""
    from pyarrow import fs

    infos = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    for info in sorted(infos, key=lambda info: info.base_name):
        if info.type == fs.FileType.Directory:
            if not is_system_folder(info.base_name):
                yield from _below(system, info.path)
        elif info.type == fs.FileType.File:
            yield info


def _is_photo(name: str) -> bool:
    """By its name alone: opening each object of a store would take too long."""
    return not is_system_file(name) and Path(name).suffix.lower() in photo_suffixes()


def _remote(photo: str, source: str, info: Any) -> Listed:
    time = info.mtime_ns if info.mtime_ns is not None else 0
    return Listed(photo, source, info.size if info.size is not None else -1, time)


def _as_regex(pattern: str) -> str:
    """A regular expression for a pattern in which ``*`` stays within a folder, ``**`` does not."""
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known.get(token) or (token.replace("[!", "[^") if token[:1] == "[" else re.escape(token))
        for token in tokens
    )


def _of_table(file: str, suffix: str) -> Iterator[Listed]:
    """The photos that a table lists, looked up some at a time."""
    folder = file.rpartition("/")[0] if is_url(file) else ""
    names = iter(_names_in(file, suffix))
    while some := list(islice(names, AT_ONCE)):
        pairs = []
        for name in some:
            if not name:
                raise PhotosError(f"{file} has a row without a path; fix or delete the row")
            if is_url(name):
                pairs.append((name, name))
            elif folder:
                pairs.append((name, f"{folder}/{posixpath.normpath(name)}"))
            else:
                pairs.append((name, str(Path(file).parent.absolute() / name)))
        yield from _looked_up(pairs)


def _looked_up(pairs: list[tuple[str, str]]) -> Iterator[Listed]:
    """Names with their sources, in order; those of one store are asked about together."""
    by_store: dict[int, tuple[Any, dict[str, Any]]] = {}
    for _, source in pairs:
        if is_url(source):
            system, path = file_system(source)
            by_store.setdefault(id(system), (system, {}))[1][path] = None
    for system, paths in by_store.values():
        with reachable(pairs[0][1]):
            paths.update(zip(paths, system.get_file_info(list(paths)), strict=True))
    for name, source in pairs:
        if is_url(source):
            system, path = file_system(source)
            yield _remote(name, source, by_store[id(system)][1][path])
        else:
            yield _local(name, Path(source))


def _names_in(file: str, suffix: str) -> Iterable[str]:
    if suffix == ".parquet":
        return _parquet_names(file)
    if not is_url(file):
        return [row.cells["path"] for row in read_table(Path(file), ("path",))]
    import tempfile

    system, path = file_system(file)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, posixpath.basename(path))
        with reachable(file), system.open_input_stream(path) as stream:
            copy.write_bytes(stream.read())
        return [row.cells["path"] for row in read_table(copy, ("path",))]


def _parquet_names(file: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import fs

    system, path = file_system(file) if is_url(file) else (fs.LocalFileSystem(), file)
    try:
        with reachable(file), system.open_input_file(path) as stream:
            table = pq.ParquetFile(stream)
            header = [name.strip().lower() for name in table.schema_arrow.names]
            place = places_of(file, header, ("path",)).get("path")
            if place is None:
                raise PhotosError(f"{file} lacks the column path (it has: {', '.join(header)})")
            column = table.schema_arrow.names[place]
            for batch in table.iter_batches(AT_ONCE, columns=[column], use_threads=False):
                for name in batch.column(0).to_pylist():
                    yield "" if name is None else str(name)
    except pa.ArrowException as err:
        raise PhotosError(f"{file} is not a readable Parquet file: {err}; write it again") from err
