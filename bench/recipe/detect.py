"""The recipe's first half: find the object in each photo and save its close-up.

    python -m bench.recipe.detect PHOTOS --out DIR [--limit 20] [--weights auto|coco|random]

The recipe: torchvision's ``fasterrcnn_resnet50_fpn`` run eagerly on one photo after another at
1024 pixels, the best box of the parent category cut out of the photo and saved. Filled in here:
1024 pixels is taken as the longer side, the cheaper reading; a photo where nothing is found is
saved whole; the close-up keeps its own size, since Keras resizes it. Nothing is slower than it
need be: inference mode, all processors (or ``OMP_NUM_THREADS``).

Where the COCO weights cannot be had the network is the same, layer for layer, with the random
weights that torchvision gives it. The convolutions then take as long as ever, but what comes after
them depends on what is found: random boxes overlap more or less than a trained network's, so
suppression and the second stage may take longer or shorter. `stages` says how much that is, and
`proposals` how many boxes reached the second stage (at most 1000).

JSON: `seconds` is everything from the first photo read to the last close-up written, `first_photo`
includes warming up, `per_photo` is the mean of the others, and `stages` splits `per_photo`.
`processors_used` is how many processors worked on average; on a shared machine it is far below
`threads`, and the times are then too long.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.recipe.timing import after_first, machine, rounded

if TYPE_CHECKING:
    from torch import nn

NETWORK = "fasterrcnn_resnet50_fpn"
SEED = 1
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
STAGES = ("transform", "backbone", "rpn", "roi_heads")
RANDOM = (
    "random weights: the same layers, but random boxes; suppression and the second stage may take "
    "longer or shorter than with trained weights"
)


@dataclass
class Watch:
    """What the network did on each photo, seen from outside through hooks."""

    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    proposals: list[int] = field(default_factory=list)

    def on(self, network: nn.Module) -> Watch:
        """Start watching."""
        for name in STAGES:
            begin, end = self._pair(name)
            part = network.get_submodule(name)
            part.register_forward_pre_hook(begin)
            part.register_forward_hook(end)
        return self

    def _pair(self, name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        start = 0.0

        def begin(*_: object) -> None:
            nonlocal start
            start = time.perf_counter()

        def end(_module: object, _given: object, result: Any) -> None:
            self.stages[name].append(time.perf_counter() - start)
            if name == "rpn":
                self.proposals.append(len(result[0][0]))

        return begin, end


def photos_in(folder: Path, limit: int = 0) -> list[Path]:
    """Photos anywhere under `folder`, in order; with a limit, so many spread evenly over them.

    Raises ``SystemExit`` where there are none.
    """
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise SystemExit(f"{folder} holds no photo; expected {', '.join(sorted(SUFFIXES))}")
    if 0 < limit < len(files):
        return [files[number * len(files) // limit] for number in range(limit)]
    return files


def build(size: int, weights: str = "auto") -> tuple[nn.Module, str]:
    """The network in evaluation mode, for photos of `size` pixels on the longer side.

    Parameters
    ----------
    weights
        ``"coco"`` fetches torchvision's own through PyTorch's cache; ``"random"`` does not try;
        ``"auto"`` takes COCO's where they can be had.

    Returns
    -------
    The network, and ``"coco"`` or ``"random"``.
    """
    from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    sizes = dict(min_size=size, max_size=size)
    if weights != "random":
        try:
            return fasterrcnn_resnet50_fpn(weights="DEFAULT", **sizes).eval(), "coco"
        except OSError as error:
            if weights == "coco":
                raise SystemExit(
                    f"the COCO weights of {NETWORK} cannot be fetched ({error}); "
                    "put them into PyTorch's cache or use --weights random"
                ) from error
    # fasterrcnn_resnet50_fpn(weights=None) would have other batch norms than with COCO's weights.
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None)
    return FasterRCNN(backbone, num_classes=91, **sizes).eval(), "random"


def category(name: str) -> int:
    """The number of a COCO category in torchvision's list; ``SystemExit`` where it has none."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names: list[str] = FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    if name not in names:
        raise SystemExit(f"COCO has no category {name!r}; it has {', '.join(names)}")
    return names.index(name)


def best(found: dict[str, Any], wanted: int) -> tuple[float, float, float, float] | None:
    """The best box of one category, XYXY photo pixels; boxes come best first. None without any."""
    for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True):
        if label == wanted:
            x0, y0, x1, y1 = box
            return x0, y0, x1, y1
    return None


def close_up(network: nn.Module, file: Path, target: Path, wanted: int) -> tuple[int, bool]:
    """Find, cut and save one photo; how many boxes there were, and whether one was wanted."""
    from PIL import Image, ImageOps
    from torchvision.transforms.functional import to_tensor

    with Image.open(file) as opened:
        photo = ImageOps.exif_transpose(opened).convert("RGB")
    found = network([to_tensor(photo)])[0]
    box = best(found, wanted)
    if box is not None:
        x0, y0 = math.floor(box[0]), math.floor(box[1])
        right, bottom = min(photo.width, math.ceil(box[2])), min(photo.height, math.ceil(box[3]))
        photo = photo.crop((x0, y0, right, bottom))
    target.parent.mkdir(parents=True, exist_ok=True)
    photo.save(target, quality=95)
    return len(found["boxes"]), box is not None


def detect(given: argparse.Namespace) -> dict[str, Any]:
    """Run the recipe on a folder of photos; what `main` prints."""
    import torch

    files = photos_in(given.photos, given.limit)
    wanted = category(given.parent)
    torch.manual_seed(SEED)  # the same random boxes each time
    network, weights = build(given.size, given.weights)
    watch = Watch().on(network)
    taken: list[float] = []
    boxes = found = unreadable = 0
    began = time.process_time()
    with torch.inference_mode():
        for file in files:
            start = time.perf_counter()
            # a.png beside a.jpg must not overwrite it
            name = file.name if file.suffix == ".jpg" else f"{file.name}.jpg"
            target = given.out / file.relative_to(given.photos).with_name(name)
            try:
                count, hit = close_up(network, file, target, wanted)
            except OSError as error:
                print(f"{file}: {error}", file=sys.stderr)
                unreadable += 1
                continue
            taken.append(time.perf_counter() - start)
            boxes, found = boxes + count, found + hit
    worked = time.process_time() - began
    if not taken:
        raise SystemExit(f"none of the {len(files)} photos in {given.photos} can be read")
    return {
        "photos": len(taken),
        "unreadable": unreadable,
        "found": found,
        "seconds": rounded(sum(taken)),
        "first_photo": rounded(taken[0]),
        "per_photo": rounded(after_first(taken)),
        "stages": {name: rounded(after_first(watch.stages[name])) for name in STAGES},
        "proposals": round(sum(watch.proposals) / len(taken)),
        "boxes": round(boxes / len(taken), 1),
        "network": NETWORK,
        "pixels": given.size,
        "weights": weights,
        "note": RANDOM if weights == "random" else "",
        "threads": torch.get_num_threads(),
        "processors_used": rounded(worked / sum(taken), 1),
        "machine": machine("torch", "torchvision"),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, run, print JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the close-ups go")
    parser.add_argument("--parent", default="clock", help="the COCO category to cut out")
    parser.add_argument("--limit", type=int, default=0, help="photos, evenly spread; 0: all")
    parser.add_argument("--size", type=int, default=1024, help="longer side in pixels")
    parser.add_argument("--weights", choices=["auto", "coco", "random"], default="auto")
    given = parser.parse_args(words)
    with contextlib.redirect_stdout(sys.stderr):  # PyTorch tells there what it fetches
        result = detect(given)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
