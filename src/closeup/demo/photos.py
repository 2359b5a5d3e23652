"""Copy the demo's photos to a folder of the user's: a sub-folder per maker, as for any run."""

from __future__ import annotations

from pathlib import Path

from closeup.core.errors import UsageError

MAKERS = ("Averlund", "Brisandt", "Corvelle", "Dornwick", "Estrame")
PER_MAKER = 40
"""How many photos of each maker ship with the package."""
BOXES = "boxes.csv"

_DATA = Path(__file__).parent / "data"


def copy_fresh_photo(maker: str, to: Path) -> None:
    """Write a photo of a maker, one that is not among those to learn from, to the file `to`."""
    from closeup.core.project import write_atomically

    data = (_DATA / "fresh" / f"{maker}.jpg").read_bytes()
    write_atomically(to, data, durable=False)


def is_fresh_photo(file: Path) -> bool:
    """Whether an existing file is what :func:`copy_fresh_photo` writes, of any maker."""
    data = file.read_bytes()
    return any((_DATA / "fresh" / f"{maker}.jpg").read_bytes() == data for maker in MAKERS)


def copy_photos(to: Path, *, per_maker: int = PER_MAKER) -> None:
    """Copy the first photos of each maker to ``to/MAKER/0001.webp`` … and their true boxes.

    ``to/boxes.csv`` has the columns path, x1, y1, x2, y2 and label, with boxes in pixels of the
    upright photo; it names all photos that ship, copied or not. A file that is there already is
    left untouched, and so is whatever else the folder holds; only the demo's own photos beyond
    `per_maker`, 1 to :data:`PER_MAKER`, are removed.

    Raises
    ------
    UsageError
        `per_maker` is out of range; `to` holds a file that differs from the demo's of that name,
        or other files and none of the demo's.
    """
    from closeup.core.project import write_atomically

    if not 1 <= per_maker <= PER_MAKER:
        raise UsageError(f"the demo has {PER_MAKER} photos of each maker; asked for {per_maker}")
    source = _DATA / "photos"
    numbers = {
        f"{maker}/{number:04d}.webp": number
        for maker in MAKERS
        for number in range(1, PER_MAKER + 1)
    } | {BOXES: 0}
    there = {name for name in numbers if (to / name).is_file()}
    strange = [name for name in there if (to / name).read_bytes() != (source / name).read_bytes()]
    if not there and to.is_dir():
        strange = [file.name for file in to.rglob("[!.]*") if file.is_file()]
    if strange:
        raise UsageError(
            f"{to} holds files that are not the demo's, such as {min(strange)}; give a new folder "
            "to --out"
        )
    for name, number in numbers.items():
        if number > per_maker:
            (to / name).unlink(missing_ok=True)
        elif name not in there:
            write_atomically(to / name, (source / name).read_bytes(), durable=False)
