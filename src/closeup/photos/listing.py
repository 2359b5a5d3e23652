"""A folder, CSV or Parquet file of labelled photos -> one row per photo, readable or not."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from closeup.core.config import CONFIG_FILE, PhotosConfig
from closeup.core.errors import PhotoError, PhotosError
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.tables import read_parquet
from closeup.core.types import Photo, PhotoState
from closeup.photos.picture import Picture
from closeup.photos.reading import open_photo, photo_suffixes, read_and_hash

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})

_LAYOUT = "use a folder with one sub-folder per label (PHOTOS/rolex/1.jpg, PHOTOS/omega/2.jpg)"


def list_photos(
    config: PhotosConfig, *, previous: Sequence[Photo] = (), progress: Progress = silent
) -> list[Photo]:
    """Every photo of the collection, each decoded once to check that it can be read.

    `config.source` and `config.test` are each a folder with one sub-folder per label (at any
    depth below it), or a table (CSV, TSV, Parquet) with the columns ``path,label[,group]``, paths
    relative to the table's folder or absolute. In a folder, hidden files and Closeup's own project
    folders are skipped, and photos directly in it have the label ``""``.

    Rows are sorted by split (those of ``config.test`` have ``split="test"``), then path; ids are
    unique. A file that cannot be read has the ``state`` unreadable, with a `code` and a `reason`.
    Of `previous`, the rows of an earlier call, those are kept whose file has the same size and
    modification time, without reading it again. `progress` is called for the stage ``"photos"``.

    Raises
    ------
    PhotosError
        Where a folder or table is missing or malformed, holds no photo, or has no label at all.
    """
    entries = list_entries(config)
    known = known_photos(previous)

    def one(entry: Entry) -> Photo:
        return look(entry, known, config.max_pixels)[0]

    return list(track(ordered_map(one, entries), "photos", len(entries), progress))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the collection before it is read: the first fields of its row, see `Photo`."""

    id: str
    root: str
    path: str
    label: str
    group: str
    split: str

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.root, self.path)


def list_entries(config: PhotosConfig) -> list[Entry]:
    """The files of the collection, sorted by split, then path; see :func:`list_photos`."""
    source = _absolute(config.source)
    entries = _entries(source, "", skip=[_absolute(config.test)] if config.test else [])
    if config.test:
        test = _absolute(config.test)
        if test == source:
            raise PhotosError(
                f"the test photos are the training photos ({source}); "
                "name another folder, or leave it out to hold out a part of the training photos"
            )
        entries += _entries(test, "test", skip=[source])
    return _with_ids(entries)


def list_paths(paths: Iterable[str | Path]) -> list[Path]:
    """The photos that files, folders and globs refer to, in the order given, each once.

    A folder stands for all photos below it, sorted; a pattern (``*``, ``?``, ``[…]``, ``**``) for
    the photos and folders it matches. A file is kept whatever it is, even if it does not exist, so
    that it gets its own answer or error.

    Raises
    ------
    PhotosError
        Where a folder or pattern yields no photo, or nothing was given.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given).expanduser()
        if not str(given):
            raise PhotosError("the name of a photo is empty; name photos, folders or patterns")
        if path.is_dir():
            files = _photos_below(path)
        elif glob.has_magic(str(given)) and not os.path.lexists(path):
            # Path.glob takes no absolute pattern.
            matches = [Path(m) for m in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            files = [f for m in matches for f in (_photos_below(m) if m.is_dir() else [m])]
            files = [f for f in files if f.suffix.lower() in photo_suffixes()]
        else:
            files = [path]
        if not files:
            raise PhotosError(f"no photo in {given}; name photos, folders or patterns of photos")
        found.update(dict.fromkeys(files))
    if not found:
        raise PhotosError("no photos were given; name files, folders or patterns such as '*.jpg'")
    return list(found)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a CSV, TSV or Parquet file: its line (counted from 1) and its cells as text."""

    line: int
    cells: dict[str, str]


def read_table(file: Path, required: Sequence[str]) -> list[TableRow]:
    """The rows of a CSV (comma, semicolon), TSV or Parquet file with named columns.

    Names are compared ignoring case and surrounding spaces; blank lines are skipped; empty and null
    cells are ``""``.

    Raises
    ------
    PhotosError
        Where the file cannot be read or a required column is missing (named), or a line has more
        or fewer cells than the header (numbered).
    """
    try:
        header, rows = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    except OSError as err:
        raise PhotosError(f"{file} cannot be read: {err.strerror}; check the path") from err
    missing = [name for name in required if name not in header]
    if missing:
        raise PhotosError(
            f"{file} lacks the column {', '.join(missing)} (it has: {', '.join(header) or 'none'});"
            f" line 1 must name the columns, including {','.join(required)}"
        )
    return rows


def _parquet(file: Path) -> tuple[list[str], list[TableRow]]:
    import pyarrow as pa

    try:
        table = read_parquet(file)
        header = [str(name).strip().lower() for name in table.column_names]
        columns = [
            ["" if v is None else str(v).strip() for v in column.to_pylist()]
            for column in table.columns
        ]
    except (pa.ArrowException, ValueError, LookupError, TypeError, RuntimeError) as err:
        raise PhotosError(f"{file} is not a readable Parquet file: {err}; write it again") from err
    return header, [
        TableRow(number, dict(zip(header, cells, strict=True)))
        for number, cells in enumerate(zip(*columns, strict=True), start=1)
    ]


def _csv(file: Path) -> tuple[list[str], list[TableRow]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise PhotosError(f"{file} is not UTF-8 text ({err}); save it as CSV UTF-8") from err
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip().lower() for cell in cells]
                continue
            if len(cells) != len(header):
                raise PhotosError(
                    f"{file}, line {reader.line_num}: {len(cells)} cells where the header has "
                    f"{len(header)}; put names that contain {delimiter!r} in double quotes"
                )
            named = zip(header, (cell.strip() for cell in cells), strict=True)
            rows.append(TableRow(reader.line_num, dict(named)))
    except csv.Error as err:
        raise PhotosError(f"{file}, line {reader.line_num}: {err}; fix this line") from err
    return header, rows


def _absolute(given: str) -> Path:
    # Unlike Path's own methods, these two accept paths that lead nowhere.
    return Path(os.path.realpath(os.path.expanduser(given)))  # noqa: PTH111


def _entries(source: Path, split: str, skip: Collection[Path]) -> list[Entry]:
    if str(source) != _printable(str(source)):
        raise PhotosError(f"the path {_printable(str(source))} is not valid UTF-8; rename it")
    if source.is_dir():
        entries = _from_folder(source, split, skip)
    elif source.suffix.lower() in TABLE_SUFFIXES:
        entries = _from_table(source, split)
    elif source.exists():
        raise PhotosError(
            f"{source} is neither a folder nor a table ({', '.join(sorted(TABLE_SUFFIXES))}); "
            f"{_LAYOUT}"
        )
    else:
        raise PhotosError(f"there is no folder or file {source}; check the path")
    if not any(entry.label for entry in entries):
        raise PhotosError(f"{source} contains {len(entries)} photos but no label; {_LAYOUT}")
    return entries


def _from_folder(root: Path, split: str, skip: Collection[Path]) -> list[Entry]:
    if (root / CONFIG_FILE).is_file():
        raise PhotosError(
            f"{root} is a Closeup project folder (it contains {CONFIG_FILE}), not a folder of "
            f"photos; {_LAYOUT}, and keep the project elsewhere"
        )
    entries, others = [], []
    for file in _walk(root, skip):
        if file.suffix.lower() not in photo_suffixes():
            others.append(file.suffix.lower() or "no suffix")
            continue
        parts = file.relative_to(root).parts
        label = parts[0] if len(parts) > 1 else ""
        entries.append(Entry("", str(root), "/".join(parts), label, "", split))
    if not entries:
        others = [f"{n} x {suffix}" for suffix, n in sorted(Counter(others).items())]
        found = f"only other files ({', '.join(others)})" if others else "no files at all"
        raise PhotosError(f"{root} contains no photo, {found}; {_LAYOUT}")
    return sorted(entries, key=lambda entry: entry.path)


def _photos_below(folder: Path) -> list[Path]:
    files = [f for f in _walk(folder, ()) if f.suffix.lower() in photo_suffixes()]
    return sorted(files, key=lambda file: file.as_posix())


def _walk(
    folder: Path, skip: Collection[Path], above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Path]:
    """Files below `folder` that are not hidden; links are followed, but not into a parent."""
    try:
        status = folder.stat()
        with os.scandir(folder) as found:
            children = sorted(found, key=lambda child: child.name)
    except OSError as err:
        raise PhotosError(
            f"{folder} cannot be listed: {err.strerror}; check its permissions"
        ) from err
    here = above | {(status.st_dev, status.st_ino)}
    for child in children:
        path = Path(child.path)
        if child.name.startswith(".") or child.name.lower() in ("thumbs.db", "desktop.ini"):
            continue
        if not _is_folder(child):
            yield path
        elif not ((path / CONFIG_FILE).is_file() or (skip and path.resolve() in skip)):
            inner = path.stat()
            if (inner.st_dev, inner.st_ino) not in here:
                yield from _walk(path, skip, here)


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link to itself, or to a name that is too long: its row will say so
        return False


def _from_table(file: Path, split: str) -> list[Entry]:
    entries: dict[str, tuple[int, Entry]] = {}
    for row in read_table(file, ("path", "label")):
        given = row.cells["path"]
        if not given:
            raise PhotosError(f"{file}, line {row.line}: the path is empty; fix or delete the line")
        path = Path(os.path.normpath(given)).as_posix()
        entry = Entry(
            "", str(file.parent), path, row.cells["label"], row.cells.get("group", ""), split
        )
        line, first = entries.setdefault(path, (row.line, entry))
        if first != entry:
            raise PhotosError(
                f"{file}, lines {line} and {row.line} give {path} different labels or groups; "
                "keep one of them"
            )
    if not entries:
        raise PhotosError(f"{file} has a header but no rows; list one photo per line")
    return sorted((entry for _, entry in entries.values()), key=lambda entry: entry.path)


_Key = tuple[str, str, str, str, str, int, int]


def _key(p: Photo) -> _Key:
    return (p.root, p.path, p.label, p.group, p.split, p.bytes, p.mtime_ns)


def known_photos(previous: Iterable[Photo]) -> dict[_Key, Photo]:
    """The readable rows of an earlier call, for :func:`look`."""
    return {_key(photo): photo for photo in previous if photo.state is PhotoState.READABLE}


def look(
    entry: Entry, known: Mapping[_Key, Photo], max_pixels: int
) -> tuple[Photo, Picture | None]:
    """The row of one file, and its picture if it had to be decoded for that.

    A file with the size and modification time of a `known` row is not read again.
    """
    photo = Photo(
        id=entry.id, root=entry.root, path=entry.path, label=entry.label, group=entry.group,
        split=entry.split, state=PhotoState.UNREADABLE, code="", reason="", width=0, height=0,
        bytes=0, mtime_ns=0, sha256="",
    )  # fmt: skip
    try:
        entry.path.encode(), entry.label.encode()
    except UnicodeEncodeError:
        return replace(
            photo,
            path=_printable(entry.path),
            label=_printable(entry.label),
            code="bad_name",
            reason="the file's or folder's name is not valid UTF-8; rename it",
        ), None
    try:
        with open_photo(photo.file) as stream:
            status = os.fstat(stream.fileno())
            photo = replace(photo, bytes=status.st_size, mtime_ns=status.st_mtime_ns)
            old = known.get(_key(photo))
            if old is not None and old.width * old.height <= max_pixels:
                return replace(old, id=entry.id), None
            picture, sha256 = read_and_hash(photo.file, stream, max_pixels)
    except PhotoError as err:
        return replace(photo, code=err.code, reason=err.message), None
    width, height = picture.size
    row = replace(photo, state=PhotoState.READABLE, width=width, height=height, sha256=sha256)
    return row, picture


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf8", "backslashreplace")


def _with_ids(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their ids; where two would be equal, both get a longer hash."""
    short = [_id_of(entry, 4) for entry in entries]
    seen = Counter(short)
    return [
        replace(entry, id=name if seen[name] == 1 else _id_of(entry, 16))
        for entry, name in zip(entries, short, strict=True)
    ]


def _id_of(entry: Entry, digest_size: int) -> str:
    path = _printable(entry.path)
    ascii_stem = unicodedata.normalize("NFKD", Path(path).stem).encode("ascii", "ignore")
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", ascii_stem.decode())[:40].strip("-") or "photo"
    place = f"{entry.split}/{path}".encode()
    return f"{slug}-{hashlib.blake2b(place, digest_size=digest_size).hexdigest()}"
