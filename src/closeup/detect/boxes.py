"""The user's own boxes, from COCO JSON, YOLO text files or CSV -> detections.

Boxes are taken to be drawn on the EXIF-upright photo, as every annotation tool shows it.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from closeup.core.errors import PhotosError
from closeup.core.text import first_of
from closeup.core.types import Box, Detection, Photo, PhotoState
from closeup.photos.listing import Entry
from closeup.photos.tables import read_table


@dataclass(frozen=True, slots=True)
class _Given:
    """One box as it stands at `place` in `file`, for the photo named `name`.

    A `box` is in pixels, or, where `relative`, in fractions of the photo's size. `size` is the
    photo's width and height as the file gives them, (0, 0) where it does not.
    """

    file: Path
    place: str
    name: str
    category: str
    score: float
    box: Box
    relative: bool = False
    size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        at = f"{self.file}, {self.place}"
        if not 0 <= self.score <= 1:
            raise PhotosError(f"{at}: the score {self.score:g} is not between 0 and 1")
        if self.box.width < 0 or self.box.height < 0:
            corners = ", ".join(f"{value:g}" for value in self.box)
            raise PhotosError(
                f"{at}: the box ends before it begins ({corners}); "
                "give x1,y1 of the top left and x2,y2 of the bottom right corner"
            )

    def on(self, photo: Photo) -> Box:
        """The box in pixels of the photo, clipped to it."""
        x1, y1, x2, y2 = self.box
        across, down = (photo.width, photo.height) if self.relative else (1, 1)
        box = Box(x1 * across, y1 * down, x2 * across, y2 * down)
        return box.clip(photo.width, photo.height)


class GivenBoxes:
    """Boxes of the user's own, matched to the photos by name before any photo is read.

    These formats are read:

    - COCO JSON (``.json``): ``images``, ``annotations`` with ``bbox = [x, y, width, height]`` in
      pixels, ``categories``; an annotation may have a ``score``.
    - YOLO: a folder of ``.txt`` files that mirrors the photos' folders, with one line
      ``class cx cy width height [score]`` or ``class x1 y1 x2 y2 x3 y3 …`` (a polygon, of which
      the bounds are used) per box, in fractions of the photo's size; names from ``classes.txt``
      or ``data.yaml`` in it.
    - CSV, TSV or Parquet: ``path,x1,y1,x2,y2[,category][,score]`` in pixels.

    A name is matched by the photo's path relative to its folder (or its absolute path), and by
    the file name alone only where exactly one photo and one name in the file have it. A box
    without a score counts as certain (1); one without a category matches every parent. Boxes are
    clipped to the photo. `photos` are all those of the collection.

    Raises
    ------
    PhotosError
        Where the file cannot be read or is malformed (the place is named), or matches no photo.
    """

    def __init__(self, file: Path, photos: Sequence[Entry | Photo]) -> None:
        if file.is_dir():
            given = list(_yolo(file))
        elif not file.exists():
            raise PhotosError(f"there is no boxes file {file}; check the path")
        else:
            given = list(_coco(file) if file.suffix.lower() == ".json" else _table(file))
        if not given:
            raise PhotosError(
                f"{file} holds no boxes; give COCO JSON, a YOLO folder or a CSV table"
            )
        matches, self._unmatched = _match({one.name for one in given}, photos, file)
        if not matches:
            raise PhotosError(
                f"no name in {file} matches a photo: it has {first_of(self._unmatched)}, the "
                f"photos are {first_of(photo.path for photo in photos)}; use paths relative to "
                "the photos' folder"
            )
        self._file = file
        self._resized: set[str] = set()
        self._outside: set[str] = set()
        self._of: dict[str, list[_Given]] = defaultdict(list)
        for one in given:
            if one.name in matches:
                self._of[matches[one.name]].append(one)

    def of(self, photo: Photo) -> list[Detection]:
        """The boxes of one photo in its pixels, ranked by falling score; none of an unreadable one.

        Not used are boxes for which the file gives another size of the photo: they were drawn on
        another or a rotated picture.
        """
        rows = []
        for one in self._of.get(photo.id, ()) if photo.state is PhotoState.READABLE else ():
            if one.size not in ((0, 0), (photo.width, photo.height)):
                self._resized.add(f"{photo.path} ({one.size[0]} x {one.size[1]} there, "
                                  f"{photo.width} x {photo.height} here)")  # fmt: skip
            elif (box := one.on(photo)).area > 0:
                rows.append(Detection(photo.id, 0, one.category, one.score, box))
            else:
                in_file = one.place if one.file == self._file else f"{one.file.name}, {one.place}"
                self._outside.add(in_file)
        ordered = sorted(rows, key=lambda row: -row.score)
        return [replace(row, rank=rank) for rank, row in enumerate(ordered)]

    @property
    def notes(self) -> list[str]:
        """What could not be used of the file, as far as photos have been asked for."""
        problems = {
            f"{self._file} has boxes for names that match no photo, or more than one":
                self._unmatched,
            "boxes drawn on a picture of another size are not used": self._resized,
            "boxes without area inside the photo are not used": self._outside,
        }  # fmt: skip
        return [f"{what}: {first_of(names)}" for what, names in problems.items() if names]


def _match(
    names: set[str], photos: Sequence[Entry | Photo], file: Path
) -> tuple[dict[str, str], list[str]]:
    """The photo's id of each name, and the names that have none or more than one.

    A name without a suffix (YOLO's) stands for the photo without its suffix.
    """
    by_path: dict[str, list[Entry | Photo]] = defaultdict(list)
    by_file_name: dict[str, list[Entry | Photo]] = defaultdict(list)
    strip = file.is_dir()
    for photo in photos:
        # Both the path in its folder and the place on disk, which are one for an absolute path.
        for path in {photo.path, photo.file.as_posix()}:
            by_path[_key(path, strip)].append(photo)
        by_file_name[_key(Path(photo.path).name, strip)].append(photo)
    same_name = Counter(PurePosixPath(name).name for name in names)
    matches, unmatched = {}, []
    for name in names:
        last = PurePosixPath(name).name
        on_disk = Path(os.path.normpath(file.absolute().parent / name)).as_posix()
        found = by_path.get(name) or by_path.get(on_disk)
        if not found and same_name[last] == 1:
            found = by_file_name.get(last)
        if found and len(found) == 1:
            matches[name] = found[0].id
        else:
            unmatched.append(name)
    return matches, unmatched


def _key(path: str, strip: bool) -> str:
    """A path in the form in which names are compared."""
    plain = PurePosixPath(os.path.normpath(path.replace("\\", "/")))
    return (plain.with_suffix("") if strip and plain.name else plain).as_posix()


def _coco(file: Path) -> Iterator[_Given]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as err:
        raise PhotosError(f"{file} is not readable JSON: {err}; export it again") from err
    if not isinstance(content, dict):
        raise PhotosError(
            f"{file} is not a COCO file: expected an object with images and annotations"
        )
    try:
        images = {image["id"]: image for image in content["images"]}
        categories = {c["id"]: str(c["name"]) for c in content.get("categories", ())}
        for number, annotation in enumerate(content["annotations"]):
            place = f"annotation {annotation.get('id', number)}"
            image = images[annotation["image_id"]]
            x, y, width, height = _numbers(annotation["bbox"], 4, file, place)
            (score,) = _numbers([annotation.get("score", 1.0)], 1, file, place)
            yield _Given(
                file,
                place,
                name=_key(str(image["file_name"]), strip=False),
                category=categories.get(annotation.get("category_id"), ""),
                score=score,
                box=Box(x, y, x + width, y + height),
                size=(int(image.get("width") or 0), int(image.get("height") or 0)),
            )
    except KeyError as err:
        raise PhotosError(f"{file} lacks {err}, which COCO JSON requires; export it again") from err
    except (TypeError, AttributeError, ValueError) as err:
        raise PhotosError(f"{file} is not laid out as COCO JSON ({err}); export it again") from err


def _yolo(folder: Path) -> Iterator[_Given]:
    root = folder / "labels" if (folder / "labels").is_dir() else folder
    categories = _yolo_categories([folder, root])
    for file in sorted(root.rglob("*.txt")):
        if file.name == "classes.txt":
            continue
        name = _key(file.relative_to(root).as_posix(), strip=True)
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise PhotosError(f"{file} cannot be read: {err}; export it again") from err
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _yolo_box(line.split(), name, categories, (file, f"line {number}"))


def _yolo_box(
    cells: Sequence[str], name: str, categories: dict[int, str], at: tuple[Path, str]
) -> _Given:
    file, place = at
    count = len(cells)
    if count not in (5, 6) and (count < 7 or count % 2 == 0):
        raise PhotosError(
            f"{file}, {place}: {count} numbers, expected `class cx cy width height [score]` or a "
            "polygon; fix this line"
        )
    number, *values = _numbers(cells, count, file, place)
    score = values.pop() if count == 6 else 1.0
    if not all(-0.5 <= value <= 1.5 for value in values):
        raise PhotosError(
            f"{file}, {place}: YOLO boxes are fractions of the photo's size, 0 to 1; these look "
            "like pixels; give them as CSV"
        )
    if len(values) == 4:
        cx, cy, width, height = values
        box = Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    else:
        xs, ys = values[::2], values[1::2]
        box = Box(min(xs), min(ys), max(xs), max(ys))
    return _Given(file, place, name, categories.get(int(number), ""), score, box, relative=True)


def _yolo_categories(folders: Iterable[Path]) -> dict[int, str]:
    """Category names by number; empty where no file names them."""
    import yaml

    for folder in folders:
        plain, described = folder / "classes.txt", folder / "data.yaml"
        try:
            if plain.is_file():
                lines = plain.read_text(encoding="utf-8-sig").splitlines()
                return {number: line.strip() for number, line in enumerate(lines)}
            if described.is_file():
                content = yaml.safe_load(described.read_text(encoding="utf-8-sig"))
                names = content["names"]
                pairs = list(names.items() if isinstance(names, dict) else enumerate(names))
                # A name that is a list may, through aliases, be endless when written out.
                if not all(isinstance(name, str | int | float) for _, name in pairs):
                    raise ValueError("a name is not text")
                return {int(number): str(name) for number, name in pairs}
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            ArithmeticError,
            AttributeError,
            RecursionError,
            yaml.YAMLError,
        ) as err:
            raise PhotosError(
                f"the category names for {folder} cannot be read ({type(err).__name__}: {err}); "
                "fix or delete classes.txt or data.yaml"
            ) from err
    return {}


def _table(file: Path) -> Iterator[_Given]:
    for row in read_table(file, ("path", "x1", "y1", "x2", "y2")):
        place = f"line {row.line}"
        corners = [row.cells[name] for name in ("x1", "y1", "x2", "y2")]
        if not any(corners):
            continue  # a photo without a box
        box = Box(*_numbers(corners, 4, file, place))
        (score,) = _numbers([row.cells.get("score") or 1.0], 1, file, place)
        name, category = _key(row.cells["path"], strip=False), row.cells.get("category", "")
        yield _Given(file, place, name, category, score, box)


def _numbers(cells: Any, count: int, file: Path, place: str) -> list[float]:
    try:
        numbers = [float(cell) for cell in cells]
    except (TypeError, ValueError) as err:
        raise PhotosError(f"{file}, {place}: {err}; expected a number") from err
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise PhotosError(f"{file}, {place}: expected {count} finite numbers, found {cells}")
    return numbers
