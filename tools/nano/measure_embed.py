"""How well a linear head tells things apart by a frozen backbone's embeddings of close-ups."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from closeup.core.config import EngineConfig
from closeup.core.types import Box, Pixels
from closeup.crops.cut import cut, window
from closeup.learn.embed import Embedder
from closeup.learn.heads.head import single_threaded
from closeup.networks import Network

from ..render.scenes import MAKERS, render
from .measure_clock import TEST_SERIES
from .pseudo_boxes import clocks, teacher

PAD = 0.1
STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Values of C among which each training part chooses by cross-validation within itself."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Photos, their close-ups, labels, and groups that no split may separate."""

    photos: list[Pixels]
    closeups: list[Pixels]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]


def closeup(pixels: Pixels, box: Box) -> Pixels:
    """The square close-up of a box, padded by a tenth, as the package cuts it."""
    around, side = window(box, pixels.shape[1], pixels.shape[0], PAD)
    return cut(pixels, around, side)


def real_watches(shared: Path) -> Labelled:
    """Real watches in the clocks that PicoDet-S sees; where it sees none, the whole photo."""
    files = sorted((shared / "photos" / "watches").glob("*/*.jpg"))
    photos = []
    for file in files:
        with Image.open(file) as photo:
            photos.append(np.asarray(photo.convert("RGB")))
    found = clocks(teacher(shared / "weights", "picodet_s_416.coco.onnx"), photos, 0.05)
    whole = [Box(0, 0, p.shape[1], p.shape[0]) for p in photos]
    boxes = [each[0].box if each else all_ for each, all_ in zip(found, whole, strict=True)]
    return Labelled(
        photos,
        [closeup(p, b) for p, b in zip(photos, boxes, strict=True)],
        np.array([file.parent.name for file in files]),
        np.array([hashlib.sha256(file.read_bytes()).hexdigest() for file in files]),
    )


def _made(size: int, item: tuple[str, int]) -> tuple[Pixels, Pixels]:
    maker, index = item
    scene = render(TEST_SERIES, index, maker, size)
    return scene.pixels, closeup(scene.pixels, Box(*scene.boxes[0]))


def made_watches(each: int, size: int) -> Labelled:
    """`each` generated photos of every one of the five invented makers, in true boxes."""
    items = [(maker, number * each + i) for number, maker in enumerate(MAKERS) for i in range(each)]
    with ProcessPoolExecutor() as pool:
        pairs = list(pool.map(partial(_made, size), items, chunksize=4))
    labels = np.array([maker for maker, _ in items])
    numbers = np.array([str(i) for i in range(len(items))])
    return Labelled([p for p, _ in pairs], [c for _, c in pairs], labels, numbers)


def embed(network: Network, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """``(n, dim)`` embeddings, prepared as the network's card says."""
    return np.stack(list(Embedder(network, EngineConfig()).embed(pictures)))


def cross_validated(
    rows: NDArray[np.float32], labels: NDArray[np.str_], groups: NDArray[np.str_], seed: int = 0
) -> float:
    """Macro-F1 of a logistic head over five folds, pooled; its C is chosen inside each fold."""
    answers = np.empty_like(labels)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for inside, held in folds.split(rows, labels, groups):
        answers[held] = _fitted(rows[inside], labels[inside]).predict(rows[held])
    return float(f1_score(labels, answers, average="macro"))


def held_out(rows: NDArray[np.float32], labels: NDArray[np.str_], seeds: int = 5) -> float:
    """Macro-F1 on a fifth of the rows that the head has not seen, mean over `seeds` splits."""
    scores = []
    for seed in range(seeds):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        inside, held = next(iter(folds.split(rows, labels)))
        answers = _fitted(rows[inside], labels[inside]).predict(rows[held])
        scores.append(float(f1_score(labels[held], answers, average="macro")))
    return float(np.mean(scores))


def _fitted(rows: NDArray[np.float32], labels: NDArray[np.str_]):  # type: ignore[no-untyped-def]
    inner = StratifiedKFold(3, shuffle=True, random_state=0)
    best, chosen = -1.0, STRENGTHS[0]
    with single_threaded():
        for strength in STRENGTHS:
            found = []
            for inside, held in inner.split(rows, labels):
                head = _head(strength).fit(rows[inside], labels[inside])
                found.append(f1_score(labels[held], head.predict(rows[held]), average="macro"))
            if np.mean(found) > best:
                best, chosen = float(np.mean(found)), strength
        return _head(chosen).fit(rows, labels)


def _head(strength: float):  # type: ignore[no-untyped-def]
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
