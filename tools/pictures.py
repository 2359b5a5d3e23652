"""Make the pictures of README and docs from a run of the demo.

    python tools/pictures.py

Runs ``closeup demo`` in a temporary folder and writes ``docs/images/demo.jpg`` (photos with the
boxes that were found, and the close-ups) and ``docs/images/terminal.svg`` (what the command
printed).
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.text import Text

from closeup.core.project import Project
from closeup.core.types import Crop, CropState, Photo, Pixels
from closeup.crops.cut import cut
from closeup.photos.reading import read_photo

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDTH, HEIGHT, CLOSE, GAP = 300, 225, 225, 10
GROUND, INK = (250, 249, 246), (40, 44, 52)


def tile(pixels: Pixels, width: int, height: int) -> Image.Image:
    """The middle of a picture, filling ``width`` x ``height``."""
    picture = Image.fromarray(pixels)
    scale = max(width / picture.width, height / picture.height)
    picture = picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
    )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def boxed(pixels: Pixels, crop: Crop) -> Pixels:
    """The photo with the found box drawn on a copy."""
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(crop.box, outline=(20, 32, 43), width=7)
    draw.rectangle(tuple(np.add(crop.box, (1, 1, -1, -1))), outline=(255, 190, 40), width=4)
    return np.asarray(picture)


def sheet(project: Path) -> Image.Image:
    """A row for each label: two photos with their boxes, each beside its close-up."""
    photos, crops = (Project(project).read(name, row) for name, row in
                     (("photos", Photo), ("crops", Crop)))  # fmt: skip
    if photos is None or crops is None:
        raise SystemExit(f"{project} holds no finished run")
    file_of = {p.id: p.file for p in photos.rows if p.width > p.height}
    labels = sorted({crop.label for crop in crops.rows})
    step_x, step_y = WIDTH + CLOSE + 3 * GAP, HEIGHT + 3 * GAP + 14
    page = Image.new("RGB", (2 * step_x + GAP, len(labels) * step_y + GAP), GROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=18)
    for row, label in enumerate(labels):
        mine = [c for c in crops.rows if c.label == label and c.state is CropState.CROPPED
                and c.photo_id in file_of and 0.10 < c.box.height / 480 < 0.62]  # fmt: skip
        for column, crop in enumerate(mine[3:5]):
            pixels = read_photo(file_of[crop.photo_id])
            x, y = GAP + column * step_x, GAP + row * step_y
            draw.text((x, y), label, INK, font=font)
            page.paste(tile(boxed(pixels, crop), WIDTH, HEIGHT), (x, y + 26))
            close = cut(pixels, crop.window, crop.side)
            page.paste(tile(close, CLOSE, CLOSE), (x + WIDTH + GAP, y + 26))
    return page


def terminal(printed: str) -> str:
    """What a command printed, as the SVG of a terminal."""
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(Text(printed.rstrip()))
    # Without web fonts: no page of ours asks another host for anything.
    return re.sub(r"@font-face\s*\{[^}]*\}", "", console.export_svg(title="closeup demo"))


def main() -> None:
    """Run the demo and write both pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "closeup", "demo"],
            cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        page = sheet(Path(folder) / "closeup-demo" / "watches")
        page.save(IMAGES / "demo.jpg", quality=86)
    svg = terminal("$ closeup demo\n" + done.stdout)
    (IMAGES / "terminal.svg").write_text(svg, encoding="utf8")


if __name__ == "__main__":
    main()
