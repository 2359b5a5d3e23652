"""Films made for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

RATE = 10


def write_film(
    file: Path, pictures: Sequence[Image.Image | None], seconds: float = 2, turn: int = 0
) -> Path:
    """A film of still pictures, each for some seconds; None is black. Needs PyAV."""
    import av

    file.parent.mkdir(parents=True, exist_ok=True)
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        place = 0
        for picture in pictures:
            image = picture or Image.new("RGB", (8, 8))
            array = np.asarray(image.convert("RGB").resize((128, 96)))
            for _ in range(round(seconds * RATE)):
                frame = av.VideoFrame.from_ndarray(array, format="rgb24")
                frame.pts, frame.time_base = place, Fraction(1, RATE)
                container.mux(stream.encode(frame))
                place += 1
        container.mux(stream.encode(None))
    return file
