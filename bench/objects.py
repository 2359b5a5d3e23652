"""Several objects a photo, labelled by their boxes: ``python -m bench.objects [--photos 100]``.

Photos of three watches of different makers each, rendered for it, with a COCO file whose categories
are the makers, and no folders of labels. A model is trained from these boxes with the networks that
ship (offline), three times with other photos; then it is asked about fresh photos, in which its
detector has to find the watches by itself. Printed as Markdown: the macro-F1 by object with its
interval, in how many test photos every answer is right, how many photos stand on two sides of the
split (none may), and for the fresh photos the share of watches that were found, and that were found
and named rightly (an answer of "unknown" is not right).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import closeup
from bench.machine import describe
from closeup.core.project import Project
from closeup.core.types import Example
from closeup.model.model import load_model
from tools.render.several import write_groups

NETWORKS = {"detector": "nano-clock", "parent": "clock", "backbone": "nano-embed"}
FRESH = 20


def straddling(project: Path) -> int:
    """How many photos are in several parts of the split, or in several folds."""
    table = Project(project).read("dataset", Example)
    places: dict[str, set[tuple[str, int]]] = {}
    for row in table.rows if table else ():
        places.setdefault(row.photo_id, set()).add((row.split, row.fold))
    return sum(len(found) > 1 for found in places.values())


def on_fresh_photos(model: Path, folder: Path) -> tuple[int, int, int]:
    """Of the watches of a set: how many there are, are found, and are named rightly."""
    content = json.loads((folder / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    loaded, found, right = load_model(model), 0, 0
    for image in content["images"]:
        answers = loaded.predict(folder / "photos" / image["file_name"]).objects
        for annotation in content["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, width, height = annotation["bbox"]
                middle = (x + width / 2, y + height / 2)
                mine = [a for a in answers if a.parent and a.box.x1 < middle[0] < a.box.x2
                        and a.box.y1 < middle[1] < a.box.y2]  # fmt: skip
                found += bool(mine)
                right += any(a.label == names[annotation["category_id"]] for a in mine)
    return len(content["annotations"]), found, right


def measured(folder: Path, photos: int, seed: int) -> tuple[closeup.RunResult, str]:
    """One run and its row of the table."""
    data = write_groups(folder / "train", photos, seed=seed)
    fresh = write_groups(folder / "fresh", FRESH, seed=1000 + seed)
    result = closeup.run(
        data / "photos", out=folder / "out", boxes=data / "coco.json", seed=seed, **NETWORKS
    )
    assert result.scores is not None
    total, found, right = on_fresh_photos(result.model, fresh)
    rights, tested = result.by_photo
    return result, (
        f"| {seed} | {sum(result.counts.objects.values())} in {photos} | {result.scores.macro_f1} "
        f"| {rights} of {tested} | {straddling(folder / 'out')} | {found} of {total} "
        f"| {right} of {total} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    print(describe(), end="\n\n")
    print("| seed | objects | macro-F1 by object | test photos all right | photos on two sides "
          "| fresh watches found | and named |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            print(measured(Path(folder), asked.photos, seed)[1], flush=True)


if __name__ == "__main__":
    main()
