"""One box as a file gives it, or the reason why it cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from closeup.core.types import Box

T = TypeVar("T")


class Unusable(ValueError):
    """Why an annotation cannot be used, as the end of "annotations that …"."""


@dataclass(frozen=True, slots=True)
class Given:
    """One box as it stands at `place` in a file, for the photo named `name`.

    Attributes
    ----------
    also
        Another name that the photo may have, ``""`` for none.
    category, label
        What a detector would call the object, and the class to learn where the file tells the two
        apart; ``""`` where it does not say.
    box
        In pixels of the picture that it was drawn on, or, where `relative`, in fractions of it.
    size
        Width and height of that picture as the file gives them, (0, 0) where it does not.
    """

    place: str
    name: str
    box: Box
    category: str = ""
    label: str = ""
    score: float = 1.0
    relative: bool = False
    size: tuple[int, int] = (0, 0)
    also: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """An annotation that cannot be used: where it stands, and why.

    One that is `used` all the same is only told of.
    """

    place: str
    why: str
    used: bool = False


Row = Given | Fault


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file or folder holds: its `dialect`, for people, and its rows in their order.

    Names are relative to `base`, if they are not names alone.
    """

    dialect: str
    base: Path
    rows: list[Row]


def each(
    items: Iterable[T], place: Callable[[int, T], str], read: Callable[[T], Iterable[Row]]
) -> Iterator[Row]:
    """The rows of each item, numbered from 0; one that cannot be used is a fault at its place."""
    for number, item in enumerate(items):
        where = f"entry {number + 1}"
        try:
            where = place(number, item)
            yield from [replace(row, place=row.place or where) for row in read(item)]
        except Unusable as err:
            yield Fault(where, str(err))
        except (TypeError, AttributeError, LookupError, ValueError, OverflowError):
            yield Fault(where, "are not laid out as expected")


def numbers(cells: Any, count: int) -> list[float]:
    """Exactly `count` finite numbers, or Unusable."""
    if cells is None or (isinstance(cells, Sequence) and not len(cells)):
        raise Unusable("have no box")
    try:
        found = [float(cell) for cell in cells]
    except (TypeError, ValueError, OverflowError) as err:
        raise Unusable("have something else than numbers for a box") from err
    if len(found) != count:
        raise Unusable(f"have a box of {len(found)} numbers rather than {count}")
    if not all(map(math.isfinite, found)):
        raise Unusable("have a number that is not finite")
    return found


def corners(x1: float, y1: float, x2: float, y2: float) -> Box:
    """The box with these corners, or Unusable where it is inverted or has no area."""
    if x2 < x1 or y2 < y1:
        raise Unusable("have a negative width or height")
    if x2 == x1 or y2 == y1:
        raise Unusable("have a box without area")
    return Box(x1, y1, x2, y2)


def sized(x: float, y: float, width: float, height: float) -> Box:
    """The box from its top left corner and its size."""
    return corners(x, y, x + width, y + height)


def around(points: Sequence[float]) -> Box:
    """The bounds of a polygon, from x and y in turn."""
    if len(points) < 6 or len(points) % 2:
        raise Unusable("have a polygon of fewer than 3 points")
    return corners(min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2]))


def score_of(value: object) -> float:
    """A score between 0 and 1; 1 where there is none."""
    if value is None or value == "":
        return 1.0
    try:
        score = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as err:
        raise Unusable("have a score that is no number") from err
    if not 0 <= score <= 1:
        raise Unusable("have a score that is not between 0 and 1")
    return score


def size_of(width: object, height: object) -> tuple[int, int]:
    """A picture's size; (0, 0) where it is not known."""
    try:
        found = round(float(width or 0)), round(float(height or 0))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0, 0
    return found if min(found) > 0 else (0, 0)


def text(value: object) -> str:
    """A name from a file: text or a number; Unusable where it is a list or an object."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    if value is None:
        return ""
    raise Unusable("have a name that is not text")
