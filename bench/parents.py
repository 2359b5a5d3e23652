"""What a run without ``--parent`` chooses, how that depends on the sample, and what it changes.

    python -m bench.parents PHOTOS --detectors picodet_s,yolox_nano --backbone efflite0 --out DIR

For each detector two projects on the same photos and splits, with ``--preset quick``: ``--parent
any`` and no ``--parent``. *others* is the share of the close-ups of ``any`` that show another
category than the one chosen; *missed* the share of photos without it, of which the
whole photo is used. The gain of the choice over ``any``, by seed of the split: macro-F1 end to
end, where a missed object counts as wrong, and on close-ups with the whole photo in its place.

Then how often random samples, evenly from every label, lead to the choice that all photos lead to.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import closeup
from bench.machine import describe
from closeup.core.project import Project
from closeup.core.types import Crop, Detection, Photo
from closeup.detect.scouting import scout
from closeup.pipeline.stages import by_photo_id

SIZES = (20, 50, 100, 200, 300, 500)
DRAWS = 40


def scores(
    args: argparse.Namespace, detector: str, parent: str | None, out: Path
) -> tuple[np.ndarray, closeup.RunResult]:
    """Macro-F1 on the test part and end to end, a row for each seed, and the last run."""
    rows = []
    for seed in range(args.seeds):
        given = {} if parent is None else {"parent": parent}
        result = closeup.run(args.photos, out=out, detector=detector, backbone=args.backbone,
                             preset="quick", seed=seed, **given)  # fmt: skip
        if result.scores is None:
            raise SystemExit("there are too few photos to hold any out")
        rows.append((result.scores.macro_f1.value, result.scores.macro_f1_end_to_end.value))
    return np.array(rows), result


def span(values: np.ndarray) -> str:
    """Mean, least and most of some gains."""
    return f"{values.mean():+.3f} ({values.min():+.3f} to {values.max():+.3f})"


def compare(args: argparse.Namespace, detector: str) -> str:
    """A row of the first table."""
    folder = args.out / detector
    before, _ = scores(args, detector, "any", folder / "any")
    after, last = scores(args, detector, None, folder / "chosen")
    crops = Project(folder / "any").read("crops", Crop)
    if crops is None or last.scouted is None:
        raise SystemExit(f"{folder} is not as it was written")
    found = [crop.category for crop in crops.rows if crop.category]
    others = np.mean([category not in last.parent for category in found])
    missed = last.counts.not_found / (last.counts.cropped + last.counts.not_found)
    gain = after - before
    return (
        f"| {detector} | {','.join(last.parent)} | {others:.1%} | {missed:.1%} "
        f"| {before[:, 0].mean():.3f} | {after[:, 0].mean():.3f} | {span(gain[:, 0])} "
        f"| {span(gain[:, 1])} |"
    )


def draw(by_label: dict[str, list[Photo]], size: int, seed: int) -> list[Photo]:
    """A random sample, evenly from every label."""
    rng, chosen = random.Random(seed), list[Photo]()
    for rest, mine in enumerate(by_label.values()):
        share = (size - len(chosen)) // (len(by_label) - rest)
        chosen += rng.sample(mine, min(share, len(mine)))
    return chosen


def stability(args: argparse.Namespace, detector: str) -> list[str]:
    """A row of the second table for each size."""
    project = Project(args.out / detector / "any")
    photos, rows = project.read("photos", Photo), project.read("detections", Detection)
    if photos is None or rows is None:
        raise SystemExit(f"{project.folder} is not as it was written")
    by_photo, by_label = by_photo_id(rows.rows), dict[str, list[Photo]]()
    for photo in photos.rows:
        by_label.setdefault(photo.label, []).append(photo)

    def choice(some: Sequence[Photo]) -> tuple[tuple[str, ...], float]:
        found = scout(some, [row for p in some for row in by_photo.get(p.id, ())])
        return found.recommended, found.threshold

    wanted = choice(photos.rows)
    lines = []
    for size in SIZES:
        if size < len(photos.rows):
            drawn = [choice(draw(by_label, size, seed)) for seed in range(DRAWS)]
            first = sum(parent[:1] == wanted[0][:1] for parent, _ in drawn)
            same = sum(parent == wanted[0] for parent, _ in drawn)
            both = drawn.count(wanted)
            lines.append(
                f"| {detector} | {size} | {first}/{DRAWS} | {same}/{DRAWS} | {both}/{DRAWS} |"
            )
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="What a run without --parent chooses.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--detectors", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    detectors = args.detectors.split(",")
    print(f"{describe()}\n")
    print("| detector | chosen | others | missed | macro-F1, any | chosen | gain | end to end |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for detector in detectors:
        print(compare(args, detector), flush=True)
    print("\n| detector | sample | same first category | same parent | and threshold |\n"
          "| --- | --- | --- | --- | --- |")  # fmt: skip
    for detector in detectors:
        print(*stability(args, detector), sep="\n", flush=True)


if __name__ == "__main__":
    main()
