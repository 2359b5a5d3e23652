"""What bf16 does to embeddings and boxes: ``python -m bench.precision PROJECT --backbones A B``.

PROJECT is a finished project folder. Its close-ups are embedded in fp32 and in bf16; the least and
the mean cosine between the two are printed, and the cross-validated macro-F1 of a ridge head on
either, with what ``--precision auto`` chooses. bf16 is meant to be taken only where no close-up's
cosine falls below 0.999 and macro-F1 stays within 0.003.

With ``--detectors A B`` the project's photos are looked at in fp32 and in bf16: how far the best
boxes of the project's parent category are from each other, and in how many photos one of the two
reaches the project's threshold and the other does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from closeup.core.config import EngineConfig
from closeup.core.parallel import ordered_map
from closeup.core.project import Project
from closeup.core.types import Crop, Example, Photo, PhotoState
from closeup.dataset.folds import grouped_folds
from closeup.detect import Detector
from closeup.detect.detector import Found
from closeup.learn import heads
from closeup.learn.embed import Embedder
from closeup.learn.heads.problem import macro_f1
from closeup.networks import find
from closeup.networks.engine import precision_for
from closeup.photos.reading import read_photo, read_picture_again


def boxes(project: Project, name: str) -> str:
    """A row of the second table."""
    detect, photos = project.config().detect, project.read("photos", Photo)
    readable = [p for p in (photos.rows if photos else ()) if p.state is PhotoState.READABLE]
    network = find(name, "detector")
    best: dict[str, list[Found | None]] = {}
    for precision in ("fp32", "bf16"):
        detector = Detector(network, EngineConfig(precision=precision))
        wanted = detector.resolve(detect.parent)
        seen = detector.detect(ordered_map(read_picture_again, readable))
        best[precision] = [next((f for f in found if f.category in wanted), None) for found in seen]
    pairs = list(zip(best["fp32"], best["bf16"], strict=True))
    sure = [[f is not None and f.score >= detect.threshold for f in pair] for pair in pairs]
    flips = sum(one != other for one, other in sure)
    both = [(a, b) for (a, b), known in zip(pairs, sure, strict=True) if all(known) and a and b]
    if not both:
        return f"| {name} | 0 of {len(pairs)} | | | | | {flips} |"
    least, low, middle = np.quantile([a.box.iou(b.box) for a, b in both], [0, 0.01, 0.5])
    moved = np.median([abs(a.score - b.score) for a, b in both])
    return (f"| {name} | {len(both)} of {len(pairs)} | {middle:.3f} | {low:.3f} | {least:.3f} | "
            f"{moved:.4f} | {flips} |")  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--backbones", nargs="*", default=[])
    parser.add_argument("--detectors", nargs="*", default=[])
    given = parser.parse_args()
    project = Project(given.project)
    print(describe(), end="\n\n")
    if given.backbones:
        embeddings(given.project, given.backbones)
    if given.detectors:
        print("\n| detector | found in both | IoU, median | 1 % | least | score moves by, median | "
              "found in one |\n| --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
        for name in given.detectors:
            print(boxes(project, name), flush=True)


def embeddings(folder: Path, backbones: Sequence[str]) -> None:
    """Print the first table."""
    project = Project(folder)
    crops, examples = project.read("crops", Crop), project.read("dataset", Example)
    if crops is None or examples is None:
        raise SystemExit(f"{folder} is not finished; run `closeup run --out` on it first")
    file_of = {crop.id: folder / crop.file for crop in crops.rows if crop.file}
    rows = [row for row in examples.rows if row.split and row.crop_id in file_of]
    labels, groups = [row.label for row in rows], [row.group for row in rows]
    folds = grouped_folds(labels, groups, 5, 0)
    _, truth = np.unique(np.array(labels), return_inverse=True)
    print("| backbone | least cosine | mean cosine | macro-F1 fp32 | bf16 | auto |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in backbones:
        network = find(name, "backbone")
        vectors: dict[str, NDArray[np.float32]] = {}
        scores = {}
        for precision in ("fp32", "bf16"):
            embedder = Embedder(network, EngineConfig(precision=precision))
            pictures = ordered_map(lambda row: read_photo(file_of[row.crop_id]), rows)
            vectors[precision] = np.stack(list(embedder.embed(pictures)))
            fitted = heads.fit("ridge", vectors[precision], labels, folds, 0,
                               network.card.blocks or (network.card.dim,))  # fmt: skip
            assert fitted.out_of_fold is not None
            scores[precision] = macro_f1(truth, fitted.out_of_fold.argmax(axis=1))
        plain, quick = vectors["fp32"], vectors["bf16"]
        lengths = np.linalg.norm(plain, axis=1) * np.linalg.norm(quick, axis=1)
        cosines = (plain * quick).sum(axis=1) / lengths
        chosen = precision_for(network.file, EngineConfig(), network.card.input)
        print(f"| {name} | {cosines.min():.5f} | {cosines.mean():.5f} | {scores['fp32']:.3f} | "
              f"{scores['bf16']:.3f} | {chosen} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
