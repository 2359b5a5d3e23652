"""YOLO text: a file a photo, one line a box, in fractions of the photo's size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from closeup.core.errors import PhotosError
from closeup.core.types import Box
from closeup.detect.given.box import (
    Fault,
    Given,
    Row,
    Unusable,
    around,
    corners,
    each,
    numbers,
    score_of,
)

_LISTS = frozenset({"train", "val", "valid", "test"})
_ABOVE = frozenset({"labels", "train", "val", "valid", "test", "obj_train_data"})
_DESCRIBED = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NOT_BOXES = re.compile(r"(classes|readme.*|notes|license|requirements)\.txt", re.IGNORECASE)


def may_hold_boxes(file: Path) -> bool:
    """Whether it is a text file, and by its name no list of classes and no README."""
    is_text = file.name.endswith(".txt") and file.is_file()
    return is_text and not _NOT_BOXES.fullmatch(file.name)


def yolo(folder: Path, files: Sequence[Path]) -> Iterator[Row]:
    """The boxes of the files below a folder.

    Lines are ``class cx cy width height [score]`` or a polygon, ``class x1 y1 x2 y2 x3 y3 …``, of
    which the bounds are used. A class without a name is called by its number.

    Raises PhotosError where a file cannot be read, or the names of the classes are malformed.
    """
    names, keypoints = read_names(folder)
    for file in files:
        path = file.relative_to(folder)
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise PhotosError(f"{file} cannot be read: {err}; export it again") from err
        filled = [(n, line.split()) for n, line in enumerate(lines, start=1) if line.strip()]
        if filled and not any(_is_number(cells[0]) for _, cells in filled):
            if file.stem.lower() not in _LISTS:
                yield Fault(path.as_posix(), "are text, not boxes")
            continue
        parts = ["images" if part == "labels" else part for part in path.parts]
        name = PurePosixPath(*parts).as_posix().removesuffix(".txt")

        def read(line: tuple[int, list[str]], name: str = name) -> Iterator[Row]:
            yield _line(line[1], name, names, keypoints)

        def place(_: int, line: tuple[int, list[str]], path: Path = path) -> str:
            return f"{path.as_posix()}, line {line[0]}"

        yield from each(filled, place, read)


def _line(cells: list[str], name: str, names: Mapping[int, str], keypoints: bool) -> Given:
    if keypoints and len(cells) > 6:
        cells = cells[:5]
    count = len(cells)
    if count not in (5, 6) and (count < 7 or count % 2 == 0):
        raise Unusable("are not `class cx cy width height [score]` or a polygon")
    number, *values = numbers(cells, count)
    score = score_of(values.pop()) if count == 6 else 1.0
    if not all(-0.5 <= value <= 1.5 for value in values):
        raise Unusable("look like pixels, where YOLO has fractions of the photo's size, 0 to 1")
    box = _centred(*values) if len(values) == 4 else around(values)
    return Given("", name, box, names.get(int(number), f"{number:g}"), score=score, relative=True)


def _centred(cx: float, cy: float, width: float, height: float) -> Box:
    return corners(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)


def read_names(folder: Path) -> tuple[dict[int, str], bool]:
    """The classes' names by number, and whether lines hold keypoints behind the box.

    They lie in the folder, in its ``labels``, or, where the folder is one of a tree, above it;
    there are none where no file names them. Raises PhotosError where such a file is malformed.
    """
    places = [folder, folder / "labels"]
    above = folder.absolute()
    while above.name in _ABOVE and len(places) < 5:
        above = above.parent
        places.append(above)
    for place in places:
        lists = [place / "classes.txt", place / "obj.names", *sorted(place.glob("*.names"))]
        if plain := next((file for file in lists if file.is_file()), None):
            return dict(enumerate(_lines(plain))), False
        if described := next((place / n for n in _DESCRIBED if (place / n).is_file()), None):
            return _yaml(described)
    return {}, False


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as err:
        raise _names_error(file, err) from err


def _yaml(file: Path) -> tuple[dict[int, str], bool]:
    import yaml

    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
        names = content["names"]
        pairs = list(names.items() if isinstance(names, dict) else enumerate(names))
        # A name that is a list may, through aliases, be endless when written out.
        if not all(isinstance(name, str | int | float) for _, name in pairs):
            raise ValueError("a name is not text")
        return {int(number): str(name) for number, name in pairs}, "kpt_shape" in content
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
        raise _names_error(file, err) from err


def _names_error(file: Path, err: Exception) -> PhotosError:
    return PhotosError(
        f"the category names in {file} cannot be read ({type(err).__name__}: {err}); fix or delete "
        "this file"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
