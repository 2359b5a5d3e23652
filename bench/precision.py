"""What bf16 does to embeddings and scores: ``python -m bench.precision PROJECT --backbones A B``.

PROJECT is a finished project folder. Its close-ups are embedded in fp32 and in bf16; the least and
the mean cosine between the two are printed, and the cross-validated macro-F1 of a ridge head on
either, with what ``--precision auto`` chooses. bf16 is meant to be taken only where no close-up's
cosine falls below 0.999 and macro-F1 stays within 0.003.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from closeup import heads
from closeup.config import EngineConfig
from closeup.embed import Embedder
from closeup.engine import precision_for
from closeup.folding import grouped_folds
from closeup.heads.problem import macro_f1
from closeup.images import read_photo
from closeup.parallel import ordered_map
from closeup.project import Project
from closeup.types import Crop, Example
from closeup.zoo import find


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--backbones", nargs="+", required=True)
    given = parser.parse_args()
    project = Project(given.project)
    crops, examples = project.read("crops", Crop), project.read("dataset", Example)
    if crops is None or examples is None:
        raise SystemExit(f"{given.project} is not finished; run `closeup run --out` on it first")
    file_of = {crop.id: given.project / crop.file for crop in crops.rows if crop.file}
    rows = [row for row in examples.rows if row.split and row.crop_id in file_of]
    labels, groups = [row.label for row in rows], [row.group for row in rows]
    folds = grouped_folds(labels, groups, 5, 0)
    _, truth = np.unique(np.array(labels), return_inverse=True)
    print(describe(), end="\n\n")
    print("| backbone | least cosine | mean cosine | macro-F1 fp32 | bf16 | auto |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in given.backbones:
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
