"""Classify photos with the networks in this folder: ``python run.py PHOTO…``.

Prints one JSON object per photo, as ``closeup predict --json`` does. Needs NumPy, Pillow, and
ONNX Runtime or OpenVINO, whichever the networks beside it are for.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

GREY = (114, 114, 114)


def opened(file: Path) -> Any:
    """A network as a function from arrays by name to arrays by name."""
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file)
        names = [one.name for one in session.get_outputs()]
        return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))
    import openvino

    compiled = openvino.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda feeds: {out.any_name: found for out, found in compiled(feeds).items()}


def read(file: str) -> Image.Image:
    """A photo: upright, 8-bit RGB, transparency on white."""
    with Image.open(file) as stored:
        image: Image.Image = ImageOps.exif_transpose(stored)
    if image.mode[0] in "IF":
        image = Image.fromarray(grey(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def grey(values: Any) -> Any:
    """Greys of 16 or 32 bits as 8 bits."""
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    found = np.nan_to_num(values.astype(float), posinf=0, neginf=0).clip(0)
    top = found.max()
    scale = 1.0 if top <= 255 else 1 / 256 if top <= 65535 else 255 / top
    if values.dtype.kind == "f":
        scale = 255.0 if top <= 1 else min(1.0, 255 / top)
    return (found * scale).astype(np.uint8)


def smaller(photo: Image.Image) -> tuple[Image.Image, int]:
    """The photo averaged down while its shorter side keeps 640 pixels, and by how much."""
    factor = 1
    while min(photo.size) >= 2 * factor * 640:
        factor *= 2
    return (photo.reduce(factor) if factor > 1 else photo), factor


def fit(photo: Image.Image, spec: Any, *, reduce: bool = False) -> tuple[Any, Any, Any]:
    """A picture at a network's size ``(1, h, w, 3)``, and scale and offset of boxes in it."""
    wide, high = spec["width"], spec["height"]
    ratio = min(wide / photo.width, high / photo.height)
    size = (min(wide, max(1, round(photo.width * ratio))),
            min(high, max(1, round(photo.height * ratio))))  # fmt: skip
    if spec["resize"] == "stretch":
        size = wide, high
    box, source = None, photo
    small, factor = smaller(photo) if reduce else (photo, 1)
    if factor > 1 and small.width >= size[0] and small.height >= size[1]:
        source, box = small, (0, 0, photo.width / factor, photo.height / factor)
    way = Image.Resampling[spec["interpolation"].upper()]
    source = source.resize(size, way, box, reducing_gap=2.0)
    corner = ((wide - size[0]) // 2, (high - size[1]) // 2)
    corner = corner if spec["anchor"] == "centre" else (0, 0)
    canvas = Image.new("RGB", (wide, high), tuple(spec["pad"]))
    canvas.paste(source, corner)
    scale = np.array([size[0] / photo.width, size[1] / photo.height] * 2)
    return np.asarray(canvas)[None], scale, np.array(corner * 2)


def cut(photo: Image.Image, window: Any, side: int) -> Image.Image:
    """The pixels of a window in the middle of a grey square."""
    inside = photo.crop(window)
    # A square around a narrow strip would be mostly grey.
    room = max(4096, math.isqrt(16 * inside.width * inside.height))
    side = min(side, 16384, room)
    if max(inside.size) > side:
        shorter = [max(1, round(length * side / max(inside.size))) for length in inside.size]
        inside = inside.resize(shorter, Image.Resampling.BOX)
    square = Image.new("RGB", (side, side), GREY)
    square.paste(inside, ((side - inside.width) // 2, (side - inside.height) // 2))
    return square


def around(box: Any, size: tuple[int, int], pad: float) -> tuple[Any, int]:
    """The window of a close-up, padded and squared within the photo, and the square's side."""
    spans = []
    for low, high, most in zip(box[:2], box[2:], size, strict=True):
        first = min(math.floor(low), most - 1)
        spans.append((first, min(max(math.ceil(high), first + 1), most)))
    longer = max(high - low for low, high in spans)
    wanted = max(longer, round(longer * (1 + 2 * pad)))
    starts = [min(max((low + high - min(wanted, most)) // 2, 0), most - min(wanted, most))
              for (low, high), most in zip(spans, size, strict=True)]  # fmt: skip
    ends = [start + min(wanted, most) for start, most in zip(starts, size, strict=True)]
    return (*starts, *ends), min(wanted, max(size))


def overlap(a: Any, b: Any) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = np.prod(sides.clip(0))
    return float(common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common))


class Classifier:
    """The networks of a folder: ``Classifier(folder)("photo.jpg")``."""

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        self.about = json.loads((folder / "labels.json").read_text(encoding="utf8"))
        self.classify = opened(folder / self.about["classifier"]["file"])
        found = self.about["detector"]
        self.detect: Any = opened(folder / found["file"]) if found else None

    def found(self, photo: Image.Image) -> list[tuple[Any, str, float]]:
        """Everything that the detector finds, best first: box, category, score."""
        if self.detect is None:
            return []
        about = self.about["detector"]
        pixels, scale, offset = fit(photo, about["input"], reduce=True)
        out = self.detect({"image": pixels})
        boxes = ((out["boxes"] - offset) / scale).reshape(-1, 4)
        sound = np.isfinite(boxes).all(1) & np.isfinite(out["scores"])
        boxes = np.nan_to_num(boxes).clip(0, [*photo.size, *photo.size])
        sound &= (boxes[:, 2:] > boxes[:, :2]).all(1)
        names = dict(enumerate(about["classes"]))
        rows = [(boxes[i], names.get(int(out["labels"][i]), ""), float(out["scores"][i]))
                for i in np.argsort(-out["scores"], kind="stable") if sound[i]]  # fmt: skip
        return [row for row in rows if row[1]][:100]

    def objects(self, photo: Image.Image) -> list[tuple[Any, str, float]]:
        """The objects to classify, best first."""
        rule = self.about["detect"]
        suited = [
            (box, name, score)
            for box, name, score in self.found(photo)
            if score >= rule["threshold"]
            and min(box[2:] - box[:2]) >= rule["min_size"]
            and (not rule["parent"] or name in rule["parent"])
        ]
        if rule["which"] == "largest":
            suited.sort(key=lambda one: -np.prod(one[0][2:] - one[0][:2]))
        if rule["which"] != "all":
            return suited[:1]
        kept: list[tuple[Any, str, float]] = []
        for one in suited:
            if all(overlap(one[0], other[0]) <= 0.6 for other in kept):
                kept.append(one)
        return kept

    def __call__(self, file: str) -> dict[str, Any]:
        """What ``closeup predict --json`` says of a photo."""
        photo, crop = read(file), self.about["crop"]
        found = self.objects(photo)
        whole = np.array([0.0, 0.0, *photo.size])
        wanted = [(*one, crop["pad"]) for one in found]
        if not found and crop["on_miss"] == "photo":
            wanted = [(whole, "", 0.0, 0.0)]
        objects = [self.answer(photo, *one) for one in wanted]
        return {"photo": file, "found": bool(found), "objects": objects, "error": None}

    def answer(self, photo: Image.Image, box: Any, name: str, score: float, pad: float) -> Any:
        """The answer for one object of a photo."""
        spec, feeds = self.about["classifier"]["input"], {}
        for view in self.about["classifier"]["views"]:
            seen, (window, side) = photo, around(box, photo.size, pad)
            if view == "photo":
                small, _ = smaller(photo)
                seen = small if max(small.size) >= max(spec["width"], spec["height"]) else photo
                window, side = (0, 0, *seen.size), max(seen.size)
            feeds[view] = fit(cut(seen, window, side), spec)[0]
        out, labels = self.classify(feeds), self.about["labels"]
        shares = out["probabilities"][0]
        order, reason = np.argsort(-shares, kind="stable"), ""
        if unknown := self.about["unknown"]:
            if out["distance"][0] > unknown["max_distance"]:
                reason = "unlike anything trained on"
            elif shares.max() < unknown["min_confidence"]:
                reason = "not confident"
        top = [[labels[i], round(float(shares[i]), 6)] for i in order[:5]]
        if top[0][0] == self.about["none"]:
            reason = "none of the classes"
        likely = self.about["likely"]
        among = [] if likely is None else [labels[i] for n, i in enumerate(order)
                                           if not n or shares[i] >= likely]  # fmt: skip
        return {"box": [round(float(value), 2) for value in box], "parent": name,
                "parent_score": round(score, 6), "label": "unknown" if reason else top[0][0],
                "confidence": top[0][1], "reason": reason, "top": top, "likely": among}  # fmt: skip


def main() -> int:
    """Answer for the photos on the command line; 1 where none can be answered."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    classifier, answered = Classifier(Path(__file__).parent), 0
    for file in sys.argv[1:]:
        try:
            print(json.dumps(classifier(file), ensure_ascii=False))
            answered += 1
        except (OSError, ValueError, SyntaxError) as err:
            error = {"code": "unreadable", "message": str(err)}
            row = {"photo": file, "found": False, "objects": [], "error": error}
            print(json.dumps(row, ensure_ascii=False))
    return 0 if answered else 1


if __name__ == "__main__":
    sys.exit(main())
