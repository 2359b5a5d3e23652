"""What a project knows of each photo, as every export needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.text import folder_name
from closeup.core.types import Box, Crop, CropState, Example, Photo, PhotoState, Result, Rights
from closeup.photos.rights import NOTHING, read_rights

PARTS = ("train", "test")
CREDITS = ("licence", "licence_url", "creator", "landing_page", "title", "attribution", "source")
"""What is written of a photo's rights, by names that a table of photos may have for them."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a photo.

    `box` is in pixels of the upright photo, None where the whole photo stands in for an object that
    was not found. `category` and `score` are the detector's; `answer` and `confidence` the model's,
    given for the test part alone (``""`` and 0 elsewhere).
    """

    id: str
    box: Box | None
    category: str
    score: float
    label: str
    answer: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Item:
    """One photo: its unique `name` in the export (a relative path), its part and its objects.

    `part` is ``"train"``, ``"test"``, or ``""`` for one that is in neither. `rights` is None where
    nothing is known of any photo's.
    """

    photo: Photo
    name: str
    label: str
    part: str
    group: str
    fold: int
    objects: tuple[Object, ...]
    rights: Rights | None = None

    @property
    def credits(self) -> dict[str, str]:
        """Its rights by the names in :data:`CREDITS`; none where no photo has any."""
        if self.rights is None:
            return {}
        found = {name: getattr(self.rights, name) for name in CREDITS}
        return {**found, "landing_page": self.rights.landing_page or self.rights.url}


@dataclass(frozen=True, slots=True)
class Items:
    """A project's photos by name, its labels, and how many photos were left out why."""

    items: tuple[Item, ...]
    labels: tuple[str, ...]
    left_out: dict[str, int]

    def of(self, part: str) -> tuple[Item, ...]:
        """The photos of one part."""
        return tuple(item for item in self.items if item.part == part)


def read_items(project: Project) -> Items:
    """All that a finished project knows.

    Raises
    ------
    ProjectError
        Where the project has no tables of photos and close-ups yet, or they are damaged.
    """
    project.config()
    photos, crops = project.read("photos", Photo), project.read("crops", Crop)
    if photos is None or crops is None:
        raise ProjectError(
            f"{project.folder} has no close-ups yet; run `closeup run --out {project.folder}` first"
        )
    examples, results = project.read("dataset", Example), project.read("results", Result)
    example_of = {row.crop_id: row for row in examples.rows} if examples else {}
    result_of = {row.crop_id: row for row in results.rows} if results else {}
    rights = read_rights(project)
    crops_of: dict[str, list[Crop]] = {}
    for crop in crops.rows:
        crops_of.setdefault(crop.photo_id, []).append(crop)
    left_out: Counter[str] = Counter()
    items = []
    readable = [photo for photo in photos.rows if photo.state is PhotoState.READABLE]
    left_out["unreadable"] = len(photos.rows) - len(readable)
    for photo, name in zip(readable, _names(readable), strict=True):
        mine = crops_of.get(photo.id, [])
        kept = [crop for crop in mine if crop.state is not CropState.REJECTED]
        if mine and not kept:
            left_out["rejected in review"] += 1
            continue
        rows = [example_of[crop.id] for crop in kept if crop.id in example_of]
        used = next((row for row in rows if row.split), None)
        shown = [crop for crop in kept if crop.side]
        items.append(Item(
            photo, name, kept[0].label if kept else photo.label, used.split if used else "",
            used.group if used else photo.group, used.fold if used else -1,
            tuple(_object(crop, result_of.get(crop.id)) for crop in shown),
            rights.get(photo.id, NOTHING if rights else None),
        ))  # fmt: skip
    items.sort(key=lambda item: item.name)
    labels = {one.label for item in items for one in item.objects} | {i.label for i in items}
    return Items(tuple(items), tuple(sorted(labels - {""})),
                 {why: n for why, n in left_out.items() if n})  # fmt: skip


def _object(crop: Crop, result: Result | None) -> Object:
    box = None if crop.stand_in else crop.box
    answer = (result.answer, result.confidence) if result else ("", 0.0)
    return Object(crop.id, box, crop.category, crop.score, crop.label, *answer)


def _names(photos: Iterable[Photo]) -> list[str]:
    """A relative path for each photo: its own in its folder, else one made from label and id."""
    taken: set[str] = set()
    names = []
    for photo in photos:
        path = PurePosixPath(photo.path)
        name = path.as_posix()
        outside = path.is_absolute() or ".." in path.parts or Path(photo.path).is_absolute()
        if outside or name.casefold() in taken:
            name = f"{folder_name(photo.label)}/{photo.id}{path.suffix.lower()}"
        taken.add(name.casefold())
        names.append(name)
    return names
