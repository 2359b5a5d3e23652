"""Close-ups that a person has moved from one label's folder to another's, with a file manager.

The folders are for looking: labels come from the photos and from decisions. A move is therefore
reported, offered as a decision to relabel, and never undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from closeup.core.text import first_of
from closeup.core.types import Crop
from closeup.decisions.fold import NOTHING, Current
from closeup.decisions.kinds import Decision, Kind

MOST_NAMED = 3


@dataclass(frozen=True)
class Moved:
    """The saved close-ups that were moved, and of each its new label.

    `copied` are the names of those that lie in several labels' folders.
    """

    crops: tuple[Crop, ...] = ()
    labels: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()

    @cached_property
    def files(self) -> frozenset[str]:
        """Where the moved ones lay before."""
        return frozenset(crop.file for crop in self.crops)

    def decisions(self) -> list[Decision]:
        """The moves as relabellings."""
        pairs = zip(self.crops, self.labels, strict=True)
        return [Decision(Kind.RELABEL, crop.photo_id, crop.id, label=label)
                for crop, label in pairs]  # fmt: skip

    def notes(self, folder: Path) -> list[str]:
        """What to tell of them."""
        notes = []
        if self.crops:
            pairs = zip(self.crops, self.labels, strict=True)
            shown = first_of([f"{PurePosixPath(crop.file).name} from {crop.label} to {label}"
                              for crop, label in pairs], MOST_NAMED)  # fmt: skip
            notes.append(
                f"{_closeups(len(self.crops))} moved to another label's folder: {shown}; the "
                f"labels are unchanged until you run `closeup review {folder} --from-crops`"
            )
        if self.copied:
            notes.append(
                f"{_closeups(len(self.copied))} found in the folders of several labels: "
                f"{first_of(self.copied, MOST_NAMED)}; delete the copies that are wrong"
            )
        return notes


def _closeups(n: int) -> str:
    return "1 close-up was" if n == 1 else f"{n} close-ups were"


def find_moved(folder: Path, crops: Sequence[Crop], current: Current = NOTHING) -> Moved:
    """Compare the saved close-ups of the project in `folder` with where they lie now.

    A folder that no close-up belongs to stands for a label of its own name. Moves that `current`
    has taken over already are left out.
    """
    saved = {crop.file: crop for crop in crops if crop.file}
    label_of = {PurePosixPath(name).parent: crop.label for name, crop in saved.items()}
    by_name: dict[str, list[PurePosixPath]] = {}
    for file in sorted(folder.glob("crops/*/*.jpg")):
        if file.parent.is_symlink() or file.is_symlink():
            continue
        place = PurePosixPath(file.relative_to(folder).as_posix())
        by_name.setdefault(place.name, []).append(place)
    moved, labels, copied = [], [], []
    for name, crop in saved.items():
        places = by_name.get(PurePosixPath(name).name, [])
        if len(places) > 1:
            copied.append(PurePosixPath(name).name)
        elif places and places[0].as_posix() != name:
            label = label_of.get(places[0].parent, places[0].parent.name)
            if current.verdict(crop.photo_id, crop.id).label != label:
                moved.append(crop)
                labels.append(label)
    return Moved(tuple(moved), tuple(labels), tuple(copied))
