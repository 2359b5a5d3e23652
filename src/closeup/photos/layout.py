"""What the levels of a folder of photos mean: labels, parts of a split, or nothing.

Only names and counts are looked at, so a layout that can be read in two ways is refused before any
photo is opened, with what was understood.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from closeup.core.errors import PhotosError
from closeup.core.text import first_of, visible

TRAIN, VAL, TEST, NO_PART = "train", "val", "test", "none"
_PARTS = {
    TRAIN: ("train", "training", "trainset"),
    VAL: ("val", "valid", "validate", "validation", "valset", "dev"),
    TEST: ("test", "testing", "tests", "testset", "eval", "evaluation", "holdout"),
    NO_PART: ("pred", "predict", "prediction", "unlabeled", "unlabelled"),
}
_PART_OF = {word: part for part, words in _PARTS.items() for word in words}
_THINGS = "images?|imgs?|photos?|pictures?|pics?|data|datasets?|files?|set|split|folder|dir"
_STRUCTURAL = re.compile(
    rf"""(?: (?:{_THINGS}|labels|annotations?|classes|crops?|raw|originals?|uploads?|downloads?)
    | (?:jpe?g|png|webp|tiff?)(?:images|s)? | dcim | \d{{3}}[a-z_]{{5}}
    | untitled.* | new[ ]folder.*
    | (?:batch|part|fold|folder|set|session|day|week|chunk|shard|subset|dir|group|disk|card|camera)
      [ _.-]?(?:no)?[ _.-]?\d+
    | (?:19|20)\d\d (?:[ _.-]?[01]\d (?:[ _.-]?[0-3]\d)?)?
    | [0-3]?\d[ _.-][01]?\d[ _.-](?:19|20)\d\d
    )(?:[ _-]?\(?\d{{1,3}}\)?)?""",
    re.VERBOSE | re.IGNORECASE,
)
_MOST_CHILDREN = 12
_NO_LEVEL = 1_000  # deeper than any folder

Folders = Mapping[tuple[str, ...], int]
"""The folders that hold photos, by their names below the collection's, with the number of each."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the folders of a collection are read.

    - `level`: which level names the labels, counted from 0
    - `parts_level`: which level names the parts of a split, -1 where none does
    - `parts`: the names on that level, each with its part: ``train``, ``val``, ``test``, ``none``
    - `used`: whether the split is used
    - `wrappers`: folders above all others, which mean nothing
    - `notes`: sentences on what is not obvious
    """

    level: int = 0
    parts_level: int = -1
    parts: Mapping[str, str] = field(default_factory=dict)
    used: bool = False
    wrappers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def label(self, folders: Sequence[str]) -> str:
        """The label of a photo in these folders, ``""`` where they name none."""
        nowhere = self.part(folders) == NO_PART
        return "" if len(folders) <= self.level or nowhere else folders[self.level]

    def split(self, folders: Sequence[str]) -> str:
        """``"test"`` where the split is used and the photo is in its test part, else ``""``."""
        return TEST if self.used and self.part(folders) == TEST else ""

    def part(self, folders: Sequence[str]) -> str:
        """The part of the folders' split that a photo is in, ``""`` where it is in none."""
        is_there = 0 <= self.parts_level < len(folders)
        return self.parts.get(folders[self.parts_level], "") if is_there else ""


def part_of(name: str) -> str:
    """The part of a split that a name stands for, ``""`` if none.

    >>> part_of("Valid"), part_of("test_set"), part_of("rolex")
    ('val', 'test', '')
    """
    words = re.sub(rf"[ _-]?(?:{_THINGS})$", "", name.strip().lower())
    return _PART_OF.get(words, "") or _PART_OF.get(name.strip().lower(), "")


def is_structural(name: str) -> bool:
    """Whether a name says where photos were put rather than what they show.

    >>> is_structural("batch_2"), is_structural("2021-05-01"), is_structural("omega")
    (True, True, False)
    """
    return bool(_STRUCTURAL.fullmatch(name.strip()))


def understand(
    folders: Folders,
    where: str,
    *,
    label_level: int = 0,
    use_split: bool = True,
    needed: bool = True,
    hint: str = "",
) -> Layout:
    """How to read the folders.

    Parameters
    ----------
    where
        The collection's folder, for messages.
    label_level
        The level that names the labels, counted from 1; 0: find out.
    use_split
        Whether folders called ``train``, ``val``, ``test`` decide the split.
    needed
        Whether the folders must name labels, because nothing else does.
    hint
        What lies beside the photos, such as annotations, for the message of a refusal.

    Raises
    ------
    PhotosError
        Where no level names labels, or it is not clear which one does; the message ends with a
        tree of what was understood.
    """
    try:
        given = label_level - 1
        found = _given(folders, given, where) if label_level else _found(folders, where, hint)
    except PhotosError:
        if needed:
            raise
        level, wrappers = _below_wrappers(folders, 0)
        found = Layout(_NO_LEVEL, level, parts_among(_names(folders, level)), wrappers=wrappers)
    if not found.parts:
        return found
    sides = Counter[str]()
    for names, count in folders.items():
        if found.label(names) or found.level == _NO_LEVEL:
            sides[found.part(names)] += count
    used = use_split and bool(sides[TEST] and (sides[TRAIN] or sides[VAL]))
    return replace(
        found, used=used, notes=(*found.notes, *_on_parts(found, sides, use_split, used))
    )


def _on_parts(
    found: Layout, sides: Mapping[str, int], use_split: bool, used: bool
) -> Iterable[str]:
    """What is made of the parts of a split."""

    def named(*parts: str) -> str:
        names = [f"{name}/" for name, part in found.parts.items() if part in parts]
        return " and ".join(sorted(names, key=lambda name: (part_of(name[:-1]) != TRAIN, name)))

    trained = sides[TRAIN] + sides[VAL]
    if used:
        yield (
            f"the split is that of your folders: {named(TRAIN, VAL)} ({trained} photos) for "
            f"training, {named(TEST)} ({sides[TEST]}) for testing; --ignore-split draws another one"
        )
    elif not use_split:
        yield f"{named(TRAIN, VAL, TEST)} are put together, and the split is drawn anew"
    elif trained and sides[VAL] and sides[TRAIN]:
        yield (
            f"{named(TRAIN, VAL)} are put together, and a part is held out for testing; to test on "
            f"{named(VAL)} instead, name it with --test"
        )
    elif trained or sides[TEST]:
        yield f"all photos are in {named(TRAIN, VAL, TEST)}; a part of them is held out for testing"
    if named(NO_PART):
        yield f"the photos in {named(NO_PART)} have no label and are not used"


def _names(folders: Folders, level: int) -> Counter[str]:
    """The names on a level, with the photos in and below each."""
    names = Counter[str]()
    for path, count in folders.items():
        if len(path) > level:
            names[path[level]] += count
    return names


def parts_among(names: Collection[str]) -> dict[str, str]:
    """The part of each name, where all stand for one; else none.

    Names with a common beginning, such as ``seg_train`` and ``seg_test``, count where there is
    more than one.
    """
    parts = {name: part_of(name) for name in names}
    if not all(parts.values()) and len(names) > 1:
        begins = {re.split(r"[_ -]", name)[0] for name in names}
        cut = len(min(begins)) + 1 if len(begins) == 1 else 0
        parts = {name: part_of(name[cut:]) for name in names} if cut else parts
    return parts if names and all(parts.values()) else {}


def _given(folders: Folders, level: int, where: str) -> Layout:
    """The layout with the labels on the level that was asked for."""
    names = _names(folders, level)
    if not names:
        raise PhotosError(f"no photo of {where} lies in a folder of level {level + 1}; "
                          "give a smaller --label-level", tree(folders, where))  # fmt: skip
    for other in (*range(level), level + 1):
        if parts := parts_among(_names(folders, other)):
            return Layout(level, other, parts)
    return Layout(level)


def _found(folders: Folders, where: str, hint: str) -> Layout:
    """The layout as the names suggest."""
    level, wrappers = _below_wrappers(folders, 0)
    notes = [f"{'/'.join(wrappers)}/ lies around all photos and is no label"] if wrappers else []
    names = _names(folders, level)
    parts = parts_among(names)
    parts_level = level if parts else -1
    if parts:
        level = _below_parts(folders, level, parts)
        if not _names(folders, level):
            raise PhotosError(
                f"{where} is divided into {_listed(parts)}, but there are no label folders below; "
                + (hint or "sort the photos into one folder per label, or give a table with "
                   "path,label,split"),
                tree(folders, where),
            )  # fmt: skip
    else:
        _refuse_half_a_split(folders, level, where, hint)
        below = parts_among(_names(folders, level + 1))
        if below:
            parts, parts_level = below, level + 1
    layout = Layout(level, parts_level, parts, wrappers=wrappers, notes=tuple(notes))
    _refuse_two_readings(folders, layout, where, hint)
    return layout


def _below_wrappers(folders: Folders, level: int) -> tuple[int, tuple[str, ...]]:
    """The first level with several names or photos of its own, where there is one."""
    wrappers: list[str] = []
    for here in range(level, max(map(len, folders), default=0)):
        names = _names(folders, here)
        if len(names) > 1 or parts_among(names):
            return here, tuple(wrappers)
        wrappers += names
        if any(len(path) == here + 1 for path in folders):
            break
    return level, ()


def _below_parts(folders: Folders, level: int, parts: Mapping[str, str]) -> int:
    """The level of the labels below the parts, past one folder in each that repeats or is named
    like ``images``."""
    children: dict[str, Counter[str]] = {name: Counter() for name in parts}
    for path, count in folders.items():
        if len(path) > level + 1:
            children[path[level]][path[level + 1]] += count
    mute = {name for mine in children.values() for name in mine}
    single = all(len(mine) <= 1 for mine in children.values())
    named = all(is_structural(name) or parts_among([name]) or name in parts for name in mute)
    deeper = any(len(path) > level + 2 for path in folders)
    return level + 2 if mute and single and named and deeper else level + 1


def _refuse_half_a_split(folders: Folders, level: int, where: str, hint: str) -> None:
    """Where only some names stand for parts; one class may be called ``train``, though."""
    names = _names(folders, level)
    parts = sorted(name for name in names if part_of(name))
    others = sorted(names.keys() - set(parts))
    if not parts or not others:
        return
    alone = len(parts) == 1 and part_of(parts[0]) == TRAIN
    if alone and not any(path[level : level + 1] == (parts[0],) and len(path) > level + 1
                         for path in folders):  # fmt: skip
        return
    raise PhotosError(
        f"{where} has {_listed(parts)}, which are parts of a split, beside {_listed(others)}; "
        + (hint or "move what does not belong there away, name your test photos with --test, or "
           f"say --label-level {level + 1} if all of them are labels"),
        tree(folders, where),
    )  # fmt: skip


def _refuse_two_readings(folders: Folders, layout: Layout, where: str, hint: str) -> None:
    """Where the names on the level are of no labels, or those below are as well."""
    level = layout.level
    names = _names(folders, level)
    below = level + 1 if layout.parts_level != level + 1 else level + 2
    inner = _names(folders, below)
    if names and all(map(is_structural, names)):
        deeper = len(inner) > 1 and not all(map(is_structural, inner))
        levels = [level, below] if deeper else [level] if len(names) > 1 else []
        raise PhotosError(
            f"{_listed(names)} in {where} {'are' if len(names) > 1 else 'is'} not named like labels"
            + (f"; {hint or _choices(folders, levels)}"),
            tree(folders, where),
        )
    parents: dict[str, set[str]] = {}
    repeated = Counter[str]()
    for path, count in folders.items():
        if len(path) > below:
            parents.setdefault(path[below], set()).add(path[level])
            repeated[path[below]] += count
    again = {name for name, mine in parents.items() if len(mine) > 1 and not is_structural(name)}
    if len(again) < 2 or 2 * sum(repeated[name] for name in again) < sum(folders.values()):
        return
    raise PhotosError(
        f"the labels of {where} may be {_listed(names)}, or {_listed(again)}, which lie below "
        f"several of them; {hint or _choices(folders, [level, below])}",
        tree(folders, where),
    )


def _listed(names: Collection[str]) -> str:
    return first_of([f"{visible(name)}/" for name in names], 4)


def _choices(folders: Folders, levels: Sequence[int]) -> str:
    """What to say on the command line for each reading."""
    if not levels:
        return "put the photos into one folder per label, or give a table with path,label"
    ways = [f"--label-level {level + 1} if the labels are {_listed(_names(folders, level))}"
            for level in levels]  # fmt: skip
    return f"say {', or '.join(ways)}"


def tree(folders: Folders, where: str, about: Callable[[tuple[str, ...]], str] = lambda _: "",
         depth: int = 3) -> list[str]:  # fmt: skip
    """The folders with the photos in and below each, as lines; `about` says what one means.

    Of each folder the largest sub-folders are shown, at most a dozen.
    """
    total = Counter[tuple[str, ...]]()
    for path, count in folders.items():
        for end in range(len(path) + 1):
            total[path[:end]] += count
    children: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in total:
        if path:
            children.setdefault(path[:-1], []).append(path)
    lines = [f"{visible(where)}  {total[()]} photo{'s' if total[()] != 1 else ''}"]

    def add(parent: tuple[str, ...]) -> None:
        mine = sorted(children.get(parent, ()), key=lambda path: (-total[path], path))
        for path in sorted(mine[:_MOST_CHILDREN]):
            meaning = about(path)
            lines.append(f"{'  ' * len(path)}{visible(path[-1])}/  {total[path]}"
                         f"{f'  {meaning}' if meaning else ''}")  # fmt: skip
            if len(path) < depth:
                add(path)
        if len(mine) > _MOST_CHILDREN:
            rest = sum(total[path] for path in mine[_MOST_CHILDREN:])
            lines.append(f"{'  ' * (len(parent) + 1)}… {len(mine) - _MOST_CHILDREN} more  {rest}")

    add(())
    return lines
