"""A detector's class names: the user's, those in a file's metadata, or well known ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from closeup.core.errors import UsageError
from closeup.detect.forms import Form
from closeup.networks.coco import LISTS, class_list

_BACKGROUND = ("", "background", "__background__")


def class_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """A detector's class names, in its own order.

    `classes` is one of :data:`closeup.networks.coco.LISTS`, a text file with a name per line, or
    names separated by commas; a single name may stand alone. An empty line, or nothing between two
    commas, is an unused number. Raises UsageError where there is no name, or one appears twice.
    """
    if not isinstance(classes, str):
        names = tuple(classes)
    elif classes in LISTS:
        names = class_list(classes)
    elif "," in classes:
        names = tuple(part.strip() for part in classes.split(","))
    elif Path(classes).is_file():
        try:
            lines = Path(classes).read_text(encoding="utf8").rstrip().splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise UsageError(f"the class names in {classes} cannot be read: {err}") from err
        names = tuple(line.strip() for line in lines)
    elif classes.strip() and not any(mark in classes for mark in "./\\"):
        names = (classes.strip(),)
    else:
        raise UsageError(
            f"classes {classes!r}: expected {', '.join(LISTS)}, a text file with a name per line, "
            "or names separated by commas"
        )
    used = [name for name in names if name]
    if not used:
        raise UsageError("a detector needs at least one class name")
    if twice := {name for name in used if used.count(name) > 1}:
        raise UsageError(f"class names must be unique; repeated: {', '.join(sorted(twice))}")
    return names


def named_in(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names in an export's metadata, as Ultralytics writes them; None without any."""
    named = literal(metadata.get("names", ""))
    if isinstance(named, list | tuple):
        named = dict(enumerate(named))
    if not isinstance(named, dict) or not named or not all(isinstance(n, int) for n in named):
        return None
    if min(named) < 0 or max(named) > 10 * len(named) + 1000:
        return None
    places = range(max(named) + 1)
    try:
        return class_names([str(named.get(place, "")).strip() for place in places])
    except UsageError:
        return None


def literal(text: str) -> Any:
    """A Python literal as metadata has it; None where the text is none."""
    try:
        return ast.literal_eval(text) if len(text) < 1_000_000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def lists_for(form: Form, names: tuple[str, ...] | None) -> Iterator[tuple[str, ...]]:
    """The class lists that a form may have, the most likely first."""
    if names is None:
        lists = [class_list(one) for one in LISTS]
        if form.scored is None:
            lists = [lists[0], ("", *lists[0]), lists[1], *lists[2:]]
        yield from (one for one in lists if form.scored in (None, len(one)))
    elif form.scored is None:
        shifted = ("", *names)
        if names[0].casefold() in _BACKGROUND:
            yield names
        else:
            yield from (shifted, names) if form.first else (names, shifted)
    elif form.scored == len(names):
        yield names
    elif form.scored == len(names) + 1 and form.family == "detr-logits":
        yield (*names, "")
