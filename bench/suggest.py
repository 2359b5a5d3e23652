"""Which photos to label next: ``python -m bench.suggest PROJECT --step 65 --most 650``.

The labels of a project's training part are hidden. A head learns from `step` random photos, then
again and again from `step` more: those suggested, random ones, the most uncertain ones, and those
of other methods. Each time it is scored on the project's test part, which is the same for all, or
with ``--folds 5`` on each fifth of all photos in turn. Five seeds: the first photos, and all later
draws.

Prints macro-F1 against the number of labels (mean over the seeds), and the gain over random: the
mean over all numbers of labels after the first, paired, with a 95 % interval from drawing seeds and
whole groups of test photos anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from closeup.core.project import Project
from closeup.core.types import Crop, Example, Floats, Photo
from closeup.crops.view import View
from closeup.dataset.folds import grouped_folds
from closeup.evaluate.acquisition import choose_next, uncertainty
from closeup.evaluate.bootstrap import members
from closeup.learn.embed import Embeddings
from closeup.learn.heads.fitting import fit

RESAMPLES = 2000
SEED = 11  # of the test parts that take turns
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """One side of a project's split."""

    vectors: Floats
    labels: list[str]
    groups: list[str]


@dataclass(frozen=True)
class State:
    """What a method may know: the head's answers, and the embeddings of both."""

    probabilities: NDArray[np.float64]
    vectors: Floats
    known: Floats
    seed: int


def read(folder: Path, folds: int) -> list[tuple[Data, Data]]:
    """Training and test close-ups with pixels, from the project's tables and cached embeddings.

    - `folds`: 0 for the project's split; otherwise each of so many parts is the test part once
    """
    project = Project(folder)
    tables = (project.read("photos", Photo), project.read("crops", Crop),
              project.read("dataset", Example))  # fmt: skip
    photos, crops, examples = tables
    if photos is None or crops is None or examples is None:
        raise SystemExit(f"{folder} is not a trained project")
    files = sorted((folder / "embeddings").glob("closeup-*"))
    cached = [Embeddings.read(file) for file in files if "covered" not in file.name]
    vector_of = {key: row for one in cached if one for key, row in one.as_mapping().items()}
    photo_of, crop_of = {p.id: p for p in photos.rows}, {c.id: c for c in crops.rows}
    used = [e for e in examples.rows if e.split and crop_of[e.crop_id].side]
    keys = [View().key(photo_of[e.photo_id], crop_of[e.crop_id]) for e in used]
    sides = [np.array([e.split == "test" for e in used])]
    if folds:
        numbers = grouped_folds([e.label for e in used], [e.group for e in used], folds, SEED)
        sides = [numbers == number for number in range(folds)]

    def side(mine: NDArray[np.bool_]) -> Data:
        rows = np.flatnonzero(mine)
        return Data(np.stack([vector_of[keys[row]] for row in rows]),
                    [used[row].label for row in rows],
                    [used[row].group for row in rows])  # fmt: skip

    return [(side(~tested), side(tested)) for tested in sides]


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def by_chance(state: State, count: int) -> list[int]:
    """Random photos."""
    n = len(state.vectors)
    return [int(row) for row in np.random.default_rng(state.seed).permutation(n)[:count]]


def by_suggestion(state: State, count: int) -> list[int]:
    """Those that ``closeup suggest`` names."""
    weights = uncertainty(state.probabilities)
    return choose_next(weights, state.vectors, state.known, count)[0]


def by_cover_alone(state: State, count: int) -> list[int]:
    """The same with every photo counting as much."""
    return choose_next(np.ones(len(state.vectors)), state.vectors, state.known, count)[0]


def by_badge(state: State, count: int) -> list[int]:
    """k-means++ on the gradients of the head's last layer (BADGE, Ash et al. 2020)."""
    factors = state.probabilities.copy()
    n = len(factors)
    factors[np.arange(n), factors.argmax(axis=1)] -= 1
    rows, squares = _unit(state.vectors), (factors**2).sum(axis=1)
    rng, nearest, chosen = np.random.default_rng(state.seed), squares, list[int]()
    for _ in range(min(count, n)):
        shares = np.where(np.isin(np.arange(n), chosen), 0, nearest + 1e-12)
        row = int(rng.choice(n, p=shares / shares.sum())) if chosen else int(squares.argmax())
        inner = (factors @ factors[row]) * (rows @ rows[row])
        distances = np.maximum(squares + squares[row] - 2 * inner, 0)
        nearest = np.minimum(nearest, distances) if chosen else distances
        chosen.append(row)
    return chosen


def by_margin(state: State, count: int) -> list[int]:
    """Uncertainty alone: the smallest difference between the two likeliest labels."""
    top = np.sort(state.probabilities, axis=1)
    return [int(row) for row in np.argsort(top[:, -1] - top[:, -2], kind="stable")[:count]]


def by_k_centre(state: State, count: int) -> list[int]:
    """Diversity alone: the farthest from all known and chosen ones (Sener and Savarese 2018)."""
    rows, known = _unit(state.vectors), _unit(state.known)
    far, chosen = 1 - (rows @ known.T).max(axis=1), []
    for _ in range(min(count, len(rows))):
        chosen.append(int(far.argmax()))
        far = np.minimum(far, 1 - rows @ rows[chosen[-1]])
        far[chosen] = -1
    return chosen


def by_typical(state: State, count: int) -> list[int]:
    """The densest photo of each cluster that no labelled photo is in (TypiClust, Hacohen 2022)."""
    rows = _unit(np.concatenate([state.vectors, state.known]))
    n = len(state.vectors)
    rng = np.random.default_rng(state.seed)
    wanted = min(count + len(state.known), len(rows))
    centres = rows[rng.permutation(len(rows))[:wanted]]
    for _ in range(10):
        mine = (rows @ centres.T).argmax(axis=1)
        for c in range(len(centres)):
            if (mine == c).any():
                centres[c] = _unit(rows[mine == c].sum(axis=0)[None])[0]
    mine = (rows @ centres.T).argmax(axis=1)
    cosines = np.sort(rows[:n] @ rows.T, axis=1)[:, -21:-1].mean(axis=1)
    free = [c for c in range(len(centres)) if (mine[:n] == c).any() and not (mine[n:] == c).any()]
    free.sort(key=lambda c: -int((mine == c).sum()))
    chosen = [int(max(np.flatnonzero(mine[:n] == c), key=lambda row: cosines[row])) for c in free]
    rest = [row for row in by_chance(state, n) if row not in set(chosen)]
    return [*chosen, *rest][:count]


METHODS: dict[str, Callable[[State, int], list[int]]] = {
    "random": by_chance, "suggested": by_suggestion, "uncertainty (margin)": by_margin,
    "the same, unweighted": by_cover_alone, "BADGE": by_badge, "TypiClust": by_typical,
    "k-centre": by_k_centre,
}  # fmt: skip


def curve(train: Data, test: Data, method: str, args: argparse.Namespace, seed: int) -> list[Rows]:
    """The answers for the test part after each step."""
    rng = np.random.default_rng(seed)
    while True:  # at least two labels with two groups each: something must be chosen by folds
        known = [int(row) for row in rng.permutation(len(train.labels))[: args.step]]
        if len({train.labels[row] for row in known}) == len(set(train.labels)):
            break
    names = sorted(set(train.labels))
    answers = []
    while True:
        labels, groups = [train.labels[r] for r in known], [train.groups[r] for r in known]
        folds = grouped_folds(labels, groups, 5, seed)
        head = fit("ridge", train.vectors[known], labels, folds, seed).head
        given = head.probabilities(test.vectors).argmax(axis=1)
        answers.append(np.array([names.index(head.labels[one]) for one in given]))
        rest = np.setdiff1d(np.arange(len(train.labels)), known)
        if len(known) + args.step > args.most or not len(rest):
            return answers
        state = State(head.probabilities(train.vectors[rest]), train.vectors[rest],
                      train.vectors[known], 1000 * seed + len(known))  # fmt: skip
        known += [int(rest[row]) for row in METHODS[method](state, args.step)]


def macro_f1(truth: Rows, answers: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of ``(n,)`` answers under each of ``(resamples, n)`` weights of the rows."""
    scores = []
    for label in np.unique(truth):
        hit = weights @ ((truth == label) & (answers == label))
        both = weights @ (truth == label) + weights @ (answers == label)
        scores.append(np.where(both > 0, 2 * hit / np.maximum(both, 1e-12), 0))
    return np.asarray(np.mean(scores, axis=0))


def measured(
    train: Data, test: Data, methods: list[str], args: argparse.Namespace
) -> dict[str, NDArray[np.float64]]:
    """Of each method ``(steps, 1 + resamples)`` macro-F1, the mean over the seeds.

    The first of the last axis is the score; the others are of seeds and test groups drawn anew, the
    same for all methods.
    """
    names = sorted(set(train.labels))
    truth = np.array([names.index(label) for label in test.labels])
    member, count = members(test.groups)
    rng = np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(0, count, count), minlength=count)[member]
             for _ in range(RESAMPLES)]  # fmt: skip
    weights = np.array([np.ones(len(truth)), *drawn])
    even = np.ones(args.seeds) / args.seeds
    seeds = np.array([even, *rng.multinomial(args.seeds, even, RESAMPLES) / args.seeds])
    found = {}
    for method in methods:
        curves = [curve(train, test, method, args, seed) for seed in range(args.seeds)]
        scores = np.array([[macro_f1(truth, one, weights) for one in answers]
                           for answers in curves])  # fmt: skip
        found[method] = np.einsum("abr,ra->br", scores, seeds)
    return found


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--step", type=int, default=65)
    parser.add_argument("--most", type=int, default=650)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=0, help="0: the project's own test part")
    parser.add_argument("--methods", default=";".join(METHODS))
    args = parser.parse_args()
    methods = args.methods.split(";")
    parts = read(args.project, args.folds)
    sizes = " and ".join(str(len(one.labels)) for one in parts[0])
    print(f"{describe()}\n{sizes} photos to choose from and to test ({len(parts)} test parts)\n")
    each = [measured(train, test, methods, args) for train, test in parts]
    found = {method: np.mean([one[method] for one in each], axis=0) for method in methods}
    steps = len(found["random"])
    heads = [str(args.step * (number + 1)) for number in range(steps)]
    print(f"| labels | {' | '.join(heads)} | gain over random (95 %) |\n|{' --- |' * (steps + 2)}")
    for method, scores in found.items():
        gain = (scores - found["random"])[1:].mean(axis=0)
        low, high = np.percentile(gain[1:], [2.5, 97.5])
        shown = f"{gain[0]:+.3f} ({low:+.3f} to {high:+.3f})" if method != "random" else ""
        print(f"| {method} | {' | '.join(f'{v:.3f}' for v in scores[:, 0])} | {shown} |")


if __name__ == "__main__":
    main()
