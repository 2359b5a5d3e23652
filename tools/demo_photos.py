"""Render the demo's photos that ship with the package: ``python tools/demo_photos.py``.

Writes ``src/closeup/demo/data``: 40 photos of each maker (seed 0) with their true boxes, and one
fresh photo of each (seeds 0 to 4). Takes about 20 seconds. The same versions of NumPy and Pillow
give the same bytes; another libwebp may encode the same pixels a little differently.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.render.photos import write_fresh_photo, write_photos
from tools.render.scenes import MAKERS

DATA = Path(__file__).resolve().parent.parent / "src" / "closeup" / "demo" / "data"
PER_MAKER = 40


def make(folder: Path, *, per_maker: int = PER_MAKER) -> None:
    """Write ``folder/photos`` and ``folder/fresh``, over what is there."""
    with tempfile.TemporaryDirectory() as work:
        made = write_photos(Path(work) / "photos", per_maker=per_maker, suffix=".webp")
        (made / "demo.json").unlink()
        shutil.rmtree(folder / "photos", ignore_errors=True)
        shutil.copytree(made, folder / "photos")
    for seed, maker in enumerate(MAKERS):
        write_fresh_photo(folder / "fresh" / f"{maker}.jpg", maker=maker, seed=seed)


if __name__ == "__main__":
    make(DATA)
