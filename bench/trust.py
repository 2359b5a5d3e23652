"""How reliable the answers are on your own photos: ``python -m bench.trust PHOTOS --parent …``.

Everything is embedded once. Then, for every split seed, a fifth of the photos is held out, a head
fitted on the rest, and calibration, withheld answers, label sets, photos of other things, and
labels changed on purpose are measured. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from bench.pictures import Networks, Pictures, look, others
from bench.planted import Planted, measure_planted, plant
from closeup.core.types import Floats
from closeup.dataset.folds import grouped_folds
from closeup.evaluate.calibration import (
    Calibration,
    calibrate,
    fit_temperature,
    measure_calibration,
)
from closeup.evaluate.conformal import SetScore, fit_conformal, measure_sets
from closeup.evaluate.label_issues import confident_errors, find_label_issues
from closeup.evaluate.learning_curve import LearningTask, learning_curve
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import macro_f1_interval
from closeup.evaluate.selective import AccuracyRule, Selective, fit_accuracy, measure_selective
from closeup.evaluate.unknown import OUT_OF_DISTRIBUTION, fit_unknown
from closeup.learn import heads

HELD = 5
"""One in so many photos is the test part."""
WANTED = (0.8, 0.9, 0.95)
"""The accuracies asked for."""
NOISE = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Standard deviations of the noise that weakens features."""
LABEL_FOLDS = 10
"""More folds than for choosing a head: finding wrong labels needs the best possible heads."""


@dataclass(frozen=True)
class Rows:
    """Embeddings, labels and groups of some of the photos, which `which` marks."""

    features: Floats
    blocks: list[int]
    labels: list[str]
    groups: list[str]
    which: NDArray[np.bool_]

    @classmethod
    def of(cls, pictures: Pictures, views: Sequence[str], which: NDArray[np.bool_]) -> Rows:
        features, blocks = pictures.features(views)
        labels, groups = (
            [value for value, use in zip(values, which, strict=True) if use]
            for values in (pictures.labels, pictures.groups)
        )
        return cls(features[which], blocks, labels, groups, which)

    def folds(self, number: int, seed: int) -> NDArray[np.int64]:
        return grouped_folds(self.labels, self.groups, number, seed)

    def predictions(self, probabilities: NDArray[np.float64], labels: Sequence[str]) -> Predictions:
        return Predictions(probabilities, labels, self.labels, self.groups)


@dataclass(frozen=True)
class Outcome:
    """What one split gave."""

    test: Predictions
    temperature: float
    calibration: Calibration
    selective: Selective
    sets: SetScore
    answered: float
    right: float
    elsewhere: dict[str, tuple[float, float, float]]
    accurate: tuple[AccuracyRule, ...]


def one_split(
    pictures: Pictures, strange: dict[str, Pictures], backbone: str, seed: int, kind: str
) -> Outcome:
    """Fit and measure with one split."""
    held = grouped_folds(pictures.labels, pictures.groups, HELD, seed) == 0
    views = [f"{backbone}/closeup"]
    train, test = (Rows.of(pictures, views, which) for which in (~held, held))
    folds = train.folds(5, seed)
    head = heads.fit(kind, train.features, train.labels, folds, seed).head
    own = train.predictions(
        heads.cross_probabilities(head, train.features, train.labels, folds, seed), head.labels
    )
    temperature = fit_temperature(own).value
    own = train.predictions(calibrate(own.probabilities, temperature), head.labels)

    def answers(features: Floats) -> NDArray[np.float64]:
        return calibrate(head.probabilities(features), temperature)

    rule = fit_unknown(train.features, own, folds)
    predictions = test.predictions(answers(test.features), head.labels)
    given = np.array([not r for r in rule.reasons(predictions.probabilities, test.features)])
    elsewhere = {}
    for name, other in strange.items():
        features = other.closeup[backbone]
        why = rule.reasons(answers(features), features)
        withheld = np.array([bool(reason) for reason in why])
        unlike = np.array([reason == OUT_OF_DISTRIBUTION for reason in why])
        either = withheld | ~other.found
        elsewhere[name] = (
            1 - float(other.found.mean()), float(unlike.mean()), float(either.mean())
        )  # fmt: skip
    return Outcome(
        predictions, temperature, measure_calibration(predictions), measure_selective(predictions),
        measure_sets(predictions, fit_conformal(own)), float(given.mean()),
        float(predictions.right[given].mean()), elsewhere,
        tuple(fit_accuracy(own, wanted) for wanted in WANTED),
    )  # fmt: skip


def pooled(outcomes: Sequence[Outcome]) -> Predictions:
    """The test parts of all splits; a photo that is in several is drawn with its group."""
    tests = [outcome.test for outcome in outcomes]
    return Predictions(
        np.concatenate([test.probabilities for test in tests]),
        tests[0].labels,
        [label for test in tests for label in test.truth],
        [group for test in tests for group in test.groups],
    )


def print_splits(backbone: str, outcomes: Sequence[Outcome]) -> None:
    """One line a split, and one for all of them together."""
    print(f"\n{backbone}: calibration error beside that of perfect calibration; gain where the "
          "least certain 30 % are withheld; label sets for 90 %; the rule for unknown photos at "
          "coverage 0.95.\n")  # fmt: skip
    print("| seed | T | accuracy | calibration error | perfect | gain at 70 % | sets hold the "
          "label | labels a set | answered | right of these |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for seed, one in enumerate(outcomes):
        print(f"| {seed} | {one.temperature:.2f} | {one.calibration.accuracy:.3f} | "
              f"{one.calibration.ece} | {one.calibration.floor:.3f} | {one.selective.gain_70} | "
              f"{one.sets.coverage} | {one.sets.size.value:.2f} | {one.answered:.3f} | "
              f"{one.right:.3f} |")  # fmt: skip
    together = pooled(outcomes)
    calibration, selective = measure_calibration(together), measure_selective(together)
    print(f"| all | | {calibration.accuracy:.3f} | {calibration.ece} | {calibration.floor:.3f} | "
          f"{selective.gain_70} | {np.mean([o.sets.coverage.value for o in outcomes]):.3f} | "
          f"{np.mean([o.sets.size.value for o in outcomes]):.2f} | "
          f"{np.mean([o.answered for o in outcomes]):.3f} | "
          f"{np.mean([o.right for o in outcomes]):.3f} |", flush=True)  # fmt: skip


def print_accurate(backbone: str, outcomes: Sequence[Outcome]) -> None:
    """What a wanted accuracy gave on the test parts, by confidences chosen out of fold."""
    print(f"\n{backbone}: answers as accurate as wanted\n")
    print("| wanted | answered out of fold | right of these | answered in the test part | right of "
          "these | by split |\n| --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for place, wanted in enumerate(WANTED):
        rules = [one.accurate[place] for one in outcomes]
        given = [one.test.confidence >= rule.min_confidence
                 for one, rule in zip(outcomes, rules, strict=True)]  # fmt: skip
        right = [one.test.right[g].mean() for one, g in zip(outcomes, given, strict=True)]
        shares = [
            np.mean([r.coverage for r in rules]), np.mean([r.accuracy for r in rules]),
            np.mean([g.mean() for g in given]), np.mean(right),
        ]  # fmt: skip
        print(f"| {wanted} | {' | '.join(f'{share:.3f}' for share in shares)} | "
              f"{', '.join(f'{one:.3f}' for one in right)} |", flush=True)  # fmt: skip


def print_strange(backbone: str, strange: dict[str, Pictures], outcomes: Sequence[Outcome]) -> None:
    """How photos of other things were answered, mean over the splits."""
    print(f"\n{backbone}: photos of other things\n")
    print("| photos | number | object not found | unlike anything trained on | not found or "
          "withheld |\n| --- | --- | --- | --- | --- |")  # fmt: skip
    for name, other in strange.items():
        missed, unlike, either = np.mean([o.elsewhere[name] for o in outcomes], axis=0)
        print(f"| {name} | {len(other.labels)} | {missed:.3f} | {unlike:.3f} | {either:.3f} |",
              flush=True)  # fmt: skip


def with_changed_labels(
    rows: Rows, kind: str, seed: int, share: float
) -> tuple[Predictions, NDArray[np.bool_]]:
    """Out-of-fold probabilities after a share of the labels was changed, and which were."""
    labels, changed = rows.labels, np.zeros(len(rows.labels), np.bool_)
    if share:
        labels, changed = plant(rows.labels, share, seed)
    choose = grouped_folds(labels, rows.groups, 5, seed)
    head = heads.fit(kind, rows.features, labels, choose, seed, rows.blocks).head
    folds = grouped_folds(labels, rows.groups, LABEL_FOLDS, seed)
    said = heads.cross_probabilities(head, rows.features, labels, folds, seed, rows.blocks)
    return Predictions(said, head.labels, labels, rows.groups), changed


def print_planted(pictures: Pictures, backbones: Sequence[str], kind: str, seeds: int) -> None:
    """How many labels changed on purpose are found, by the features that the heads see."""
    print("\nOne label in twenty changed at random\n")
    print("| features | label issues as they are | label issues | precision | recall | recall at "
          "half precision | confident learning: precision, recall |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    both = [[f"{name}/closeup", f"{name}/photo"] for name in backbones]
    everything = [view for views in both for view in views]
    sets = [[f"{name}/closeup"] for name in backbones] + both
    for views in sets + ([everything] if len(backbones) > 1 else []):
        rows = Rows.of(pictures, views, np.ones(len(pictures.labels), np.bool_))
        before = find_label_issues(with_changed_labels(rows, kind, 0, 0.0)[0])
        found: list[Planted] = []
        confident = []
        for seed in range(seeds):
            predictions, changed = with_changed_labels(rows, kind, seed, 0.05)
            found.append(measure_planted(predictions, changed))
            flagged = confident_errors(predictions)
            confident.append((changed[flagged].mean(), flagged[changed].mean()))
        mean = np.mean([(p.flagged, p.precision, p.recall, p.recall_at_half) for p in found], 0)
        precise, recalled = np.mean(confident, axis=0)
        print(f"| {' + '.join(views)} | {len(before.rows)} | {mean[0]:.0f} | {mean[1]:.2f} | "
              f"{mean[2]:.2f} | {mean[3]:.2f} | {precise:.2f}, {recalled:.2f} |",
              flush=True)  # fmt: skip


def print_weak(pictures: Pictures, backbone: str, kind: str, seeds: int) -> None:
    """How far label issues can be believed when noise weakens the features."""
    print(f"\n{backbone}: one label in twenty changed, features weakened by noise\n")
    print("| noise | macro-F1 out of fold | share of the labels in doubt | precision | recall |\n"
          "| --- | --- | --- | --- | --- |")  # fmt: skip
    everyone = np.ones(len(pictures.labels), np.bool_)
    rows = Rows.of(pictures, [f"{backbone}/closeup"], everyone)
    for noise in NOISE:
        found = []
        for seed in range(seeds):
            drawn = np.random.default_rng(seed).standard_normal(rows.features.shape)
            weak = rows.features + noise * rows.features.std(axis=0) * drawn
            weakened = replace(rows, features=weak.astype(np.float32))
            predictions, changed = with_changed_labels(weakened, kind, seed, 0.05)
            one = measure_planted(predictions, changed)
            score = macro_f1_interval(predictions).value
            found.append((score, one.flagged / one.n, one.precision, one.recall))
        print(f"| {noise:g} | {' | '.join(f'{mean:.2f}' for mean in np.mean(found, axis=0))} |",
              flush=True)  # fmt: skip


def print_learning(pictures: Pictures, backbones: Sequence[str], kind: str) -> None:
    """The curve of half the photos, beside what all of them then gave."""
    print("\nThe learning curve of two fifths of the photos, and of all but a fifth\n")
    print("| features | photos a class | macro-F1 said by the smaller | measured | the curve "
          "of all says |\n| --- | --- | --- | --- | --- |")  # fmt: skip
    parts = grouped_folds(pictures.labels, pictures.groups, HELD, 0)
    for name in backbones:
        curves = []
        for which in (np.isin(parts, (1, 2)), parts > 0):
            rows = Rows.of(pictures, [f"{name}/closeup"], which)
            head = heads.fit(kind, rows.features, rows.labels, rows.folds(5, 0), 0).head
            curves.append(
                learning_curve(LearningTask(head, rows.features, rows.labels, rows.groups))
            )
        small, full = curves
        last = full.measured[-1]
        said = small.a - small.b * last.photos**-small.c
        print(f"| {name}/closeup | {last.photos:.0f} | {said:.3f} | {last.score} | "
              f"{full.sentence} |", flush=True)  # fmt: skip


def main() -> None:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--backbones", nargs="+", required=True)
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=FOLDER|ZIP:PART",
                        help="photos of other things, which should not be answered")  # fmt: skip
    parser.add_argument("--most", type=int, default=100, help="photos of each of these")
    parser.add_argument("--head", default="ridge")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    networks = Networks(given.detector, tuple(given.parent.split(",")), tuple(given.backbones))
    print(describe())
    pictures = look(given.photos, networks)
    strange = others(given.others, networks, given.most)
    print(f"\n{len(pictures.labels)} close-ups of {len(set(pictures.labels))} classes, head "
          f"{given.head}, {given.seeds} splits.", flush=True)  # fmt: skip
    for backbone in given.backbones:
        outcomes = [
            one_split(pictures, strange, backbone, seed, given.head) for seed in range(given.seeds)
        ]
        print_splits(backbone, outcomes)
        print_accurate(backbone, outcomes)
        print_strange(backbone, strange, outcomes)
    print_planted(pictures, given.backbones, given.head, min(given.seeds, 3))
    print_weak(pictures, given.backbones[0], given.head, min(given.seeds, 3))
    print_learning(pictures, given.backbones, given.head)


if __name__ == "__main__":
    main()
