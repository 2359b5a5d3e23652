"""A folder or table of labelled photos -> one row per photo, readable or not."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from closeup.core.config import CONFIG_FILE, PhotosConfig
from closeup.core.errors import PhotoError, PhotosError
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.types import Photo, PhotoState, Rights
from closeup.photos.attributes import settled
from closeup.photos.films import recordings
from closeup.photos.kinds import photo_suffixes
from closeup.photos.labels import notes_on_spelling, one_spelling
from closeup.photos.layout import TEST, Layout, tree, understand
from closeup.photos.origins import COLLECTED_FILE, Origins
from closeup.photos.picture import Picture
from closeup.photos.reading import open_photo, read_and_hash
from closeup.photos.tables import listed_photos
from closeup.photos.walk import TABLE_SUFFIXES, Found, tally, walk

_LAYOUT = "use a folder with one sub-folder per label (PHOTOS/rolex/1.jpg, PHOTOS/omega/2.jpg)"


def list_photos(
    config: PhotosConfig, *, previous: Sequence[Photo] = (), progress: Progress = silent
) -> list[Photo]:
    """Every photo of the collection, each decoded once to check that it can be read.

    The files are those of :func:`collect`. A file that cannot be read has the ``state`` unreadable,
    with a `code` and a `reason`. Of `previous`, the rows of an earlier call, those are kept whose
    file has the same size and modification time, without reading it again. `progress` is called
    for the stage ``"photos"``. Raises PhotosError as :func:`collect`.
    """
    entries = collect(config).entries
    known = known_photos(previous)

    def one(entry: Entry) -> Photo:
        return look(entry, known, config.max_pixels)[0]

    return list(track(ordered_map(one, entries), "photos", len(entries), progress))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the collection before it is read: the first fields of its row, see `Photo`.

    `code` and `reason` say why it cannot be read, and `rights` (without the photo's id) whose it
    is, where that is known already.
    """

    id: str
    root: str
    path: str
    label: str
    group: str
    split: str
    code: str = ""
    reason: str = ""
    attributes: str = ""
    rights: Rights | None = None

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.root, self.path)


@dataclass(frozen=True, slots=True)
class Collection:
    """What a folder or table holds, before any photo is read.

    - `entries`: the files, sorted by split, then path
    - `notes`: sentences on how it was understood, and on what lies beside the photos
    - `tree`: lines that show the labels and parts with their number of photos
    """

    entries: list[Entry]
    notes: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The labels, sorted."""
        return sorted({entry.label for entry in self.entries} - {""})


def collect(config: PhotosConfig, *, labels_elsewhere: bool = False) -> Collection:
    """The files of the collection, and how their folders or table were understood.

    `config.source` and `config.test` are each a folder with one sub-folder per label (at any depth
    below it), or a table (CSV, TSV, Parquet, JSON lines) with the columns
    ``path,label[,group][,split]``, paths relative to the table's folder or absolute. Folders called
    ``train``, ``val`` and ``test`` above or below the labels are parts of a split, and so are the
    words of the column. In a folder, every file is an entry, or a side file that the notes count;
    hidden files, folders of the system and Closeup's own project folders are passed over. Collected
    photos have the group and the rights that ``collected.parquet`` beside them says.

    Photos of the test part, and all of ``config.test``, have ``split="test"``; ids are unique.
    Labels that look alike are one, see :mod:`closeup.photos.labels`.

    Parameters
    ----------
    labels_elsewhere
        Whether something else gives the labels, so that photos without any will do.

    Raises
    ------
    PhotosError
        Where a folder or table is missing or malformed, holds no photo, can be understood in two
        ways, or has no label at all.
    """
    source, test = _absolute(config.source), _absolute(config.test) if config.test else None
    found = _collected(source, config, [test] if test else [], labels_elsewhere)
    entries, notes, lines = found.entries, found.notes, found.tree
    if test is not None:
        if test == source:
            raise PhotosError(
                f"the test photos are the training photos ({source}); "
                "name another folder, or leave it out to hold out a part of the training photos"
            )
        plain = config.model_copy(update={"ignore_split": True})
        own = _collected(test, plain, [source], labels_elsewhere)
        entries = entries + [replace(entry, split=TEST) for entry in own.entries]
        lines = (*lines, *own.tree)
    spelling = one_spelling(entry.label for entry in entries)
    entries = [replace(entry, label=spelling.get(entry.label, "")) for entry in entries]
    entries = settled(entries, config.attributes, str(source))
    entries.sort(key=lambda entry: (entry.split, entry.path))
    return Collection(_with_ids(entries), (*notes, *notes_on_spelling(spelling)), lines)


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


def pool_entries(paths: Iterable[str | Path]) -> list[Entry]:
    """The photos without labels that `paths` refer to, see :func:`list_paths`.

    Their paths are absolute and their ids are long, so they can join any collection; they are only
    ever trained on (``split="train"``). Raises PhotosError as :func:`list_paths`.
    """
    files = dict.fromkeys(_absolute(str(path)).as_posix() for path in list_paths(paths))
    bare = [Entry("", "", path, "", "", "train") for path in files]
    return [replace(entry, id=_id_of(entry, 16)) for entry in bare]


def _photos_below(folder: Path) -> list[Path]:
    return sorted(walk(folder).photos, key=lambda file: file.as_posix())


def _absolute(given: str) -> Path:
    # Unlike Path's own methods, these two accept paths that lead nowhere.
    return Path(os.path.realpath(os.path.expanduser(given)))  # noqa: PTH111


def _collected(
    source: Path, config: PhotosConfig, skip: Some[Path], labels_elsewhere: bool
) -> Collection:
    if str(source) != _printable(str(source)):
        raise PhotosError(f"the path {_printable(str(source))} is not valid UTF-8; rename it")
    if source.is_dir():
        found = _from_folder(source, config, skip, labels_elsewhere)
    elif source.suffix.lower() in TABLE_SUFFIXES:
        found = _from_table(source, config)
    elif source.exists():
        raise PhotosError(
            f"{source} is neither a folder nor a table ({', '.join(sorted(TABLE_SUFFIXES))}); "
            f"{_LAYOUT}"
        )
    else:
        raise PhotosError(f"there is no folder or file {source}; check the path")
    if not (found.labels or labels_elsewhere):
        raise PhotosError(f"{source} contains {len(found.entries)} photos but no label; {_LAYOUT}",
                          found.tree)  # fmt: skip
    return found


def _from_folder(
    root: Path, config: PhotosConfig, skip: Some[Path], labels_elsewhere: bool
) -> Collection:
    if (root / CONFIG_FILE).is_file():
        raise PhotosError(
            f"{root} is a Closeup project folder (it contains {CONFIG_FILE}), not a folder of "
            f"photos; {_LAYOUT}, and keep the project elsewhere"
        )
    found = walk(root, skip)
    origins = Origins.beside(found.side)
    found.side = [file for file in found.side if file not in origins.files]
    if not found.photos:
        others = tally([*found.side, *found.odd])
        what = f"only other files ({others})" if others else "no files at all"
        raise PhotosError(f"{root} contains no photo, {what}; {_LAYOUT}")
    folders = Counter(_folders_of(file, root) for file in found.photos)
    hint, where = found.annotations(root), str(root)
    if max(map(len, folders)) == 0 and not labels_elsewhere:
        raise PhotosError(f"{where} contains {len(found.photos)} photos but no label; "
                          f"{hint or _LAYOUT}")  # fmt: skip
    layout = understand(
        folders, where, label_level=config.label_level, use_split=not config.ignore_split,
        needed=not labels_elsewhere, hint=hint,
    )  # fmt: skip
    labels = {layout.label(names) for names in folders}
    films = recordings(root)

    def entry(file: Path, code: str = "", reason: str = "") -> Entry:
        path = file.relative_to(root).as_posix()
        names = _folders_of(file, root)
        label = layout.label(names)
        return Entry("", str(root), path, label if label in labels else "",
                     films.get(file.name, ""), layout.split(names), code, reason)  # fmt: skip

    entries = [origins.completed(entry(file)) for file in (*found.photos, *found.odd)] + [
        entry(folder, "no_permission", f"the folder cannot be listed: {why}; check its permissions")
        for folder, why in found.closed
    ]
    lines = tree(folders, where, lambda names: _meaning(names, layout), _depth(layout))
    notes = [*layout.notes, *_beside(found, folders, layout, root)]
    if grouped := [entry.group for entry in entries if entry.group]:
        notes.append(f"{len(grouped)} photos are frames of {len(set(grouped))} films; those of one "
                     "film are never on both sides of a split")  # fmt: skip
    return Collection(entries, tuple(notes), tuple(lines))


def _folders_of(file: Path, root: Path) -> tuple[str, ...]:
    return file.relative_to(root).parts[:-1]


def _depth(layout: Layout) -> int:
    return max(layout.level if layout.level < 10 else 0, layout.parts_level, 1) + 1


def _meaning(names: Sequence[str], layout: Layout) -> str:
    """What a folder of the tree stands for."""
    last = len(names) - 1
    if last == layout.parts_level:
        part = layout.part(names)
        if not layout.used:
            return ""
        return {TEST: "testing", "none": "not used"}.get(part, "training")
    return "label" if last == layout.level and layout.label(names) else ""


def _beside(
    found: Found, folders: Mapping[tuple[str, ...], int], layout: Layout, root: Path
) -> Iterable[str]:
    """Sentences on what lies in the folder and is no labelled photo."""
    loose = sum(count for names, count in folders.items()
                if not layout.label(names) and not layout.part(names))  # fmt: skip
    if loose:
        yield f"{loose} photo{'s' if loose > 1 else ''} in no label folder have no label"
    yield from found.notes(root, layout.level + 1)


def _from_table(file: Path, config: PhotosConfig) -> Collection:
    rows, notes = listed_photos(file, config.attributes)
    sides = Counter(row.part for row in rows if row.label)
    used = not config.ignore_split and bool(sides[TEST] and sides.total() > sides[TEST])
    if used:
        notes = [
            f"the split is that of your table: {sides.total() - sides[TEST]} photos for training, "
            f"{sides[TEST]} for testing; --ignore-split draws another one", *notes
        ]  # fmt: skip
    origins = Origins.beside([file.parent / COLLECTED_FILE])
    entries = [origins.completed(Entry(
        "", str(file.parent), row.path, row.label, row.group,
        TEST if used and row.part == TEST else "", row.code, row.reason, row.attributes, row.rights,
    )) for row in rows]  # fmt: skip
    counts = Counter(((TEST if e.split else "training",) if used else ()) + (e.label or "no label",)
                     for e in entries)  # fmt: skip
    return Collection(entries, tuple(notes), tuple(tree(counts, str(file))))


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
        split=entry.split, state=PhotoState.UNREADABLE, code=entry.code, reason=entry.reason,
        width=0, height=0, bytes=0, mtime_ns=0, sha256="", attributes=entry.attributes,
    )  # fmt: skip
    try:
        entry.path.encode(), entry.label.encode(), entry.attributes.encode()
    except UnicodeEncodeError:
        return replace(
            photo,
            path=_printable(entry.path),
            label=_printable(entry.label),
            attributes="",
            code="bad_name",
            reason="the file's or folder's name is not valid UTF-8; rename it",
        ), None
    if entry.code:
        return photo, None
    try:
        with open_photo(photo.file) as stream:
            status = os.fstat(stream.fileno())
            photo = replace(photo, bytes=status.st_size, mtime_ns=status.st_mtime_ns)
            old = known.get(_key(photo))
            if old is not None and old.width * old.height <= max_pixels:
                return replace(old, id=entry.id, attributes=entry.attributes), None
            picture, sha256 = read_and_hash(photo.file, stream, max_pixels)
    except PhotoError as err:
        return replace(photo, code=err.code, reason=err.message), None
    width, height = picture.size
    row = replace(photo, state=PhotoState.READABLE, width=width, height=height, sha256=sha256)
    return row, picture


def unchanged(entry: Entry, known: Mapping[_Key, Photo]) -> Photo | None:
    """The `known` row of a file with the same size and modification time; else None."""
    try:
        status = entry.file.stat()
    except (OSError, ValueError):
        return None
    key = (entry.root, entry.path, entry.label, entry.group, entry.split,
           status.st_size, status.st_mtime_ns)  # fmt: skip
    found = known.get(key)
    return replace(found, attributes=entry.attributes) if found else None


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
