"""Ways to detect photos out of the distribution: ``python -m bench.distances PHOTOS --parent …``.

For each backbone and way: how well it separates held-out photos of the collection from photos of
other things (area under the ROC curve over those in which an object was found), and the share of
the others beyond the distance that 97.5 % of the training part keep, out of fold.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from bench.pictures import Networks, look, others
from closeup.core.types import Floats
from closeup.dataset.folds import grouped_folds
from closeup.learn.heads.head import single_threaded

Way = Callable[[Floats, NDArray[np.int64], Floats], Floats]
"""(training embeddings, their classes, new embeddings) -> distances."""

NEAR = 5
KEPT = 256
"""Principal components for the ways that need an invertible covariance."""


def roots(rows: Floats) -> Floats:
    """The signed square root of every number."""
    return np.sign(rows) * np.sqrt(np.abs(rows))


def cosine(train: Floats, _: NDArray[np.int64], new: Floats) -> Floats:
    """One less the mean cosine to the nearest training embeddings."""
    train, new = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, new))
    cosines = new @ train.T
    nearest: Floats = 1 - np.partition(cosines, -NEAR, axis=1)[:, -NEAR:].mean(axis=1)
    return nearest


def of_roots(train: Floats, classes: NDArray[np.int64], new: Floats) -> Floats:
    """The same of square roots: what Closeup uses."""
    return cosine(roots(train), classes, roots(new))


def centred(train: Floats, classes: NDArray[np.int64], new: Floats) -> Floats:
    """The same about the mean of the training embeddings."""
    mean = train.mean(axis=0)
    return cosine(train - mean, classes, new - mean)


def mahalanobis(train: Floats, classes: NDArray[np.int64], new: Floats) -> Floats:
    """To the nearest class mean, one covariance for all (Lee et al. 2018)."""
    return _mahalanobis(train, classes, new, relative=False)


def relative_mahalanobis(train: Floats, classes: NDArray[np.int64], new: Floats) -> Floats:
    """Less the distance to the mean of all (Ren et al. 2021)."""
    return _mahalanobis(train, classes, new, relative=True)


def _mahalanobis(
    train: Floats, classes: NDArray[np.int64], new: Floats, *, relative: bool
) -> Floats:
    mean = train.mean(axis=0)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2][:KEPT]
    rows, others_ = (train - mean) @ directions.T, (new - mean) @ directions.T
    means = np.stack([rows[classes == number].mean(axis=0) for number in np.unique(classes)])
    within = rows - means[np.searchsorted(np.unique(classes), classes)]
    distances = np.min([_squared(within, others_ - one) for one in means], axis=0)
    return distances - _squared(rows, others_) if relative else distances


def _squared(spread: Floats, rows: Floats) -> Floats:
    from sklearn.covariance import LedoitWolf

    precision = LedoitWolf(assume_centered=True).fit(spread).precision_
    squared: Floats = np.einsum("ij,jk,ik->i", rows, precision, rows)
    return squared


WAYS: dict[str, Way] = {
    "cosine of square roots": of_roots,
    "cosine": cosine,
    "cosine about the mean": centred,
    "Mahalanobis": mahalanobis,
    "relative Mahalanobis": relative_mahalanobis,
}


def main() -> None:
    """Compare all ways and print the table."""
    from sklearn.metrics import roc_auc_score

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--backbones", nargs="+", required=True)
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=FOLDER|ZIP:PART")
    parser.add_argument("--most", type=int, default=100)
    given = parser.parse_args()
    networks = Networks(given.detector, tuple(given.parent.split(",")), tuple(given.backbones))
    pictures = look(given.photos, networks)
    strange = others(given.others, networks, given.most)
    classes = np.unique(pictures.labels, return_inverse=True)[1]
    held = grouped_folds(pictures.labels, pictures.groups, 5, 0)
    print(describe(), end="\n\n")
    print("| backbone | distance | area under ROC | others beyond | held-out beyond |")
    print("| --- | --- | --- | --- | --- |")
    for backbone in given.backbones:
        rows, test = pictures.closeup[backbone], held == 0
        seen = [other.closeup[backbone][other.found] for other in strange.values()]
        alien = np.concatenate(seen)
        for name, way in WAYS.items():
            own = np.empty(len(rows), np.float32)
            with single_threaded():
                for fold in range(1, 5):
                    part = held == fold
                    rest = ~part & ~test
                    own[part] = way(rows[rest], classes[rest], rows[part])
                near = way(rows[~test], classes[~test], rows[test])
                far = way(rows[~test], classes[~test], alien)
            limit = np.quantile(own[~test], 0.975)
            area = roc_auc_score(np.repeat([0, 1], [len(near), len(far)]), np.append(near, far))
            print(f"| {backbone} | {name} | {area:.3f} | {np.mean(far > limit):.3f} | "
                  f"{np.mean(near > limit):.3f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
