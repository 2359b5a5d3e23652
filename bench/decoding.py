"""What large photos cost before any network: ``python -m bench.decoding PHOTOS``.

Medians over some of the JPEG files below PHOTOS, on one thread: decoding at full size and at
fractions (which skip arithmetic, but read the same code), turning upright, making an array, and
the smaller copy that detectors look at. Printed as Markdown.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from bench.machine import describe
from closeup.photos.picture import Picture

FRACTIONS = (1, 2, 4, 8)


def decode(data: bytes, fraction: int) -> Image.Image:
    """The picture, decoded to that fraction of its size."""
    image = Image.open(io.BytesIO(data))
    if fraction > 1:
        image.draft("RGB", (image.width // fraction, image.height // fraction))
    return image.convert("RGB")


def milliseconds(work: Callable[[], object], times: int = 5) -> float:
    """The median of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken) * 1000


def costs(file: Path) -> dict[str, float]:
    """Milliseconds of each step for one photo, and its size."""
    data = file.read_bytes()
    full = decode(data, 1)
    found = {"MB": len(data) / 1e6, "megapixels": full.width * full.height / 1e6}
    for fraction in FRACTIONS:
        name = f"decode at 1/{fraction}, ms" if fraction > 1 else "decode, ms"
        found[name] = milliseconds(lambda part=fraction: decode(data, part))  # type: ignore[misc]
    found["turn, ms"] = milliseconds(lambda: full.transpose(Image.Transpose.ROTATE_270))
    found["array, ms"] = milliseconds(lambda: np.asarray(full))
    found["smaller copy, ms"] = milliseconds(lambda: Picture(full).small)
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=12, help="photos of each folder")
    given = parser.parse_args()
    print(describe(), end="\n\n")
    for number, folder in enumerate(given.photos):
        files = sorted(folder.rglob("*.jpg"))[: given.limit]
        if not files:
            raise SystemExit(f"{folder} holds no .jpg")
        rows = [costs(file) for file in files]
        if number == 0:
            print(f"| photos | {' | '.join(rows[0])} |\n|{' --- |' * (1 + len(rows[0]))}")
        cells = [f"{median(row[name] for row in rows):.1f}" for name in rows[0]]
        print(f"| {folder.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
