"""Make the pictures of README and docs from a run of the demo.

    python -m tools.pictures

Runs ``closeup demo`` in a temporary folder and writes into ``docs/images``: ``demo.jpg`` (photos
with the boxes that were found, and the close-ups), ``terminal.svg`` (what the command printed), and
``report.webp``, ``review.webp`` and ``serve.webp``, which Chromium takes of the report and of the
two pages.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

from closeup.core.project import Project
from closeup.core.types import Crop, CropState, Photo, Pixels
from closeup.crops.cut import cut
from closeup.photos.reading import read_photo

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDTH, HEIGHT, GAP = 260, 195, 10
CHOSEN = (3, 3, 3, 4, 3)  # which of a label's photos are shown
DESK = {"width": 1200, "height": 800}
MOST_BYTES = 150_000
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
    """A column for each label: a photo with its box, and below it the close-up."""
    photos, crops = (Project(project).read(name, row) for name, row in
                     (("photos", Photo), ("crops", Crop)))  # fmt: skip
    if photos is None or crops is None:
        raise SystemExit(f"{project} holds no finished run")
    file_of = {p.id: p.file for p in photos.rows if p.width > p.height}
    labels = sorted({crop.label for crop in crops.rows})
    page = Image.new(
        "RGB", (len(labels) * (WIDTH + GAP) + GAP, HEIGHT + WIDTH + 3 * GAP + 30), GROUND
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=20)
    for column, label in enumerate(labels):
        mine = [c for c in crops.rows if c.label == label and c.state is CropState.CROPPED
                and c.photo_id in file_of and 0.10 < c.box.height / 480 < 0.62]  # fmt: skip
        crop = mine[CHOSEN[column]]
        pixels = read_photo(file_of[crop.photo_id])
        x = GAP + column * (WIDTH + GAP)
        page.paste(tile(boxed(pixels, crop), WIDTH, HEIGHT), (x, GAP))
        page.paste(tile(cut(pixels, crop.window, crop.side), WIDTH, WIDTH), (x, HEIGHT + 2 * GAP))
        draw.text((x, HEIGHT + WIDTH + 2 * GAP + 4), label, INK, font=font)
    return page


def terminal(printed: str) -> str:
    """What a command printed, as the SVG of a terminal."""
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(Text(printed.rstrip()))
    # Without web fonts: no page of ours asks another host for anything.
    return re.sub(r"@font-face\s*\{[^}]*\}", "", console.export_svg(title="closeup demo"))


@contextmanager
def listening(*words: str) -> Iterator[str]:
    """A command that serves pages until it is left; the address that it prints."""
    command = [sys.executable, "-m", "closeup", *words, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr
            for line in running.stderr:
                if found := re.search(r"http://127[.\d]+:\d+", line):
                    yield found[0]
                    break
            else:
                raise SystemExit(f"`closeup {' '.join(words)}` ended without an address")
        finally:
            running.send_signal(signal.SIGINT)


@contextmanager
def browsing() -> Iterator[Page]:
    """A page of a browser at desk width, in light colours."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("no browser: install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program,
                                       args=["--no-sandbox", "--disable-gpu"])  # fmt: skip
        context = browser.new_context(viewport=DESK, color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
        yield context.new_page()
        browser.close()


def keep(page: Page, name: str) -> None:
    """What the browser shows, as a small file."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)  # what a click has asked for
    shot = Image.open(io.BytesIO(page.screenshot()))
    file = IMAGES / f"{name}.webp"
    shot.save(file, quality=80, method=6)
    if file.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{file} has {file.stat().st_size} bytes, expected {MOST_BYTES} at most")


def pages(demo: Path) -> None:
    """Report, review and serve, as somebody sees them who has just run the demo."""
    project = demo / "watches"
    with browsing() as page:
        page.goto((project / "report.html").as_uri())
        keep(page, "report")
        with listening("review", str(project)) as url:
            page.goto(url)
            page.wait_for_load_state("networkidle")
            page.goto(f"{page.url.partition('?')[0]}?sort=photo")  # all, not the one mistake
            page.wait_for_load_state("networkidle")
            keep(page, "review")
        with listening("serve", str(project / "model")) as url:
            page.goto(url)
            page.wait_for_load_state()  # its script is there, too
            page.set_input_files("#file", demo / "fresh.jpg")
            page.locator(".answer .label").filter(has_text=re.compile(r"\w")).wait_for()
            keep(page, "serve")


def main() -> None:
    """Run the demo and write all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "closeup", "demo"],
            cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        demo = Path(folder) / "closeup-demo"
        sheet(demo / "watches").save(IMAGES / "demo.jpg", quality=80, optimize=True)
        pages(demo)
    svg = terminal("$ closeup demo\n" + done.stdout)
    (IMAGES / "terminal.svg").write_text(svg, encoding="utf8")


if __name__ == "__main__":
    main()
