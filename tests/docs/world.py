"""A folder in which the commands of one page are run, in their order, on the demo's photos."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

import closeup
from closeup.cli.demo import BACKBONE, DETECTOR
from closeup.demo.photos import MAKERS, copy_fresh_photo, copy_photos
from closeup.networks.cache import BUILTIN
from tests.commands import closeup as command
from tests.docs.blocks import words_of
from tests.model.films import write_film

PER_MAKER = 6
OURS = {
    "d-fine-n": DETECTOR, "d-fine-n,d-fine-s-365": DETECTOR, "dinov2-s,mobilenetv2-onnx": BACKBONE,
    "clock,cell-phone": "clock",
}  # fmt: skip
"""Networks that come with the package, and what they know, in place of those on the pages."""


class World:
    """What a reader of the page has: photos, a project, a photo that is new."""

    def __init__(self, folder: Path, photos: Path) -> None:
        self.folder = folder
        self.names = {"PHOTOS": str(photos), "photos": str(photos),
                      "PHOTOS/boxes.csv": str(photos / "boxes.csv"),
                      "…": "a-token-of-the-tests",
                      "FILE.onnx": str(BUILTIN / BACKBONE / "graph.onnx")}  # fmt: skip
        self.program: dict[str, Any] = {"files": ["new.jpg"]}
        for place, name in enumerate(
            ("new.jpg", "one.jpg", "two.jpg", "a.jpg", "b.jpg", "photo.jpg")
        ):
            copy_fresh_photo(MAKERS[place % len(MAKERS)], folder / name)

    def words(self, text: str) -> list[str]:
        """A command's words, with names for what is at hand here."""
        words = [self.names.get(word, OURS.get(word, word)) for word in words_of(text)]
        verb = words[1] if words[0] == "closeup" else ""
        if (
            verb in ("run", "crop", "scout")
            and "--detector" not in words
            and "--boxes" not in words
        ):
            words += ["--detector", DETECTOR]
        if verb == "run" and "--backbone" not in words:
            words += ["--backbone", BACKBONE]
        return words + ["--per-maker", str(PER_MAKER)] * (verb == "demo")

    def run(self, text: str) -> None:
        """Run a command as it stands on the page; it must end well."""
        words = self.words(text)
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], cwd=self.folder, check=True)
            return
        assert words[0] == "closeup", f"{text}: no test knows how to run this"
        with chdir(self.folder), served() as apps:
            done = command(*words[1:])
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        assert len(apps) == (words[1] in ("review", "serve"))

    def execute(self, text: str) -> None:
        """Run a program as it stands on the page."""
        text = text.replace('"photos"', repr(self.names["photos"]))
        text = text.replace('parent="clock"', f'parent="clock", detector="{DETECTOR}", '
                                              f'backbone="{BACKBONE}"')  # fmt: skip
        with chdir(self.folder):
            exec(compile(text, "<page>", "exec"), self.program)


@contextmanager
def served() -> Iterator[list[object]]:
    """Pages are made ready and not served: what would be."""
    apps: list[object] = []
    with (
        mock.patch("closeup.web.run.serve_app", lambda app, *_, **__: apps.append(app)),
        mock.patch.dict(os.environ, CLOSEUP_TOKEN="a-token-of-the-tests"),
    ):
        yield apps


def make_base(base: Path) -> Path:
    """The photos of the demo, few of each maker, and a project on them."""
    copy_photos(base / "photos", per_maker=PER_MAKER)
    closeup.run(base / "photos", out=base / "watches", parent="clock", detector=DETECTOR,
                backbone=BACKBONE)  # fmt: skip
    return base


def make_world(base: Path, folder: Path) -> World:
    """A page's own folder, with a copy of the project."""
    folder.mkdir()
    shutil.copytree(base / "watches", folder / "watches")
    world = World(folder, base / "photos")
    _several(base / "photos", folder)
    _pool(folder / "NEW_PHOTOS")
    _films(folder)
    return world


def _pool(to: Path) -> None:
    """Photos without labels, which the project does not have."""
    copy_photos(to / "all", per_maker=PER_MAKER + 3)
    for file in (to / "all").rglob("*.webp"):
        if int(file.stem) > PER_MAKER:
            file.rename(to / f"{file.parent.name}-{file.name}")
    shutil.rmtree(to / "all")


def _films(folder: Path) -> None:
    """A film, and a film of each of two labels."""
    pictures = [Image.open(folder / name) for name in ("new.jpg", "one.jpg")]
    write_film(folder / "clip.mp4", pictures, 1)
    for picture, label in zip(pictures, ("omega", "rolex"), strict=True):
        for name in ("1.mp4", "2.mp4"):
            write_film(folder / "FILMS" / label / name, [picture], 3)


def _several(photos: Path, folder: Path) -> None:
    """The photos without folders of labels and a COCO file that has them, and one of the photos."""
    (folder / "shelf").mkdir()
    rows = [f"{file},{file.parent.name}" for file in sorted(photos.rglob("*.webp"))]
    (folder / "photos.csv").write_text("\n".join(["path,label", *rows, ""]), encoding="utf8")
    images, boxes = [], []
    with (photos / "boxes.csv").open(newline="", encoding="utf8") as file:
        for row in csv.DictReader(file):
            if not (photos / row["path"]).exists():
                continue
            name, number = row["path"].replace("/", "-"), len(images)
            shutil.copy(photos / row["path"], folder / "shelf" / name)
            with Image.open(photos / row["path"]) as picture:
                size = dict(zip(("width", "height"), picture.size, strict=True))
            x1, y1, x2, y2 = (float(row[corner]) for corner in ("x1", "y1", "x2", "y2"))
            images.append({"id": number, "file_name": row["path"], **size})
            boxes.append({"id": number, "image_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1],
                          "category_id": MAKERS.index(row["label"])})  # fmt: skip
    makers = [{"id": number, "name": name} for number, name in enumerate(MAKERS)]
    flat = [{**image, "file_name": str(image["file_name"]).replace("/", "-")} for image in images]
    one = [{"id": number, "name": "watch"} for number in range(len(MAKERS))]
    for name, pictures, kinds in (("coco.json", flat, makers), ("annotations.json", images, one)):
        held = {"images": pictures, "annotations": boxes, "categories": kinds}
        (folder / name).write_text(json.dumps(held), encoding="utf8")
