"""Labels that may be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from closeup.errors import UsageError
from closeup.judged import Judged
from closeup.suspects import (
    Planted,
    Suspects,
    confident_errors,
    disputed,
    find_suspects,
    measure_planted,
    plant,
    suspicion,
)

LABELS = ("apple", "pear", "plum")


def judged(rows: list[list[float]], truth: list[str]) -> Judged:
    return Judged(np.array(rows), LABELS, truth, [f"g{i}" for i in range(len(truth))])


def noisy(n: int, sharp: float, seed: int = 0, k: int = 6) -> tuple[Judged, NDArray[np.bool_]]:
    """Labels with one in twenty changed, and what an ideal head trained on them would say."""
    rng = np.random.default_rng(seed)
    powers = np.exp(rng.normal(0, sharp, (n, k)))
    clean = powers / powers.sum(axis=1, keepdims=True)
    names = [f"label{i}" for i in range(k)]
    true = (clean.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    given, changed = plant([names[i] for i in true], 0.05, seed)
    learned = 0.95 * clean + 0.05 / (k - 1) * (1 - clean)
    return Judged(learned, names, given, [f"g{i}" for i in range(n)]), changed


def test_one_photo() -> None:
    fine = find_suspects(judged([[0.9, 0.1, 0.0]], ["apple"]))
    assert (fine.n, fine.rows) == (1, ())
    doubtful = find_suspects(judged([[0.001, 0.899, 0.1]], ["apple"]))
    (row,) = doubtful.rows
    assert (row.index, row.given, row.suggested) == (0, "apple", "pear")
    assert (row.p_given, row.p_suggested, row.score) == (0.001, 0.899, 1.0)


def test_one_label_and_shares_out_of_range() -> None:
    one = Judged(np.ones((1, 1)), ["apple"], ["apple"], ["g"])
    with pytest.raises(UsageError, match="one label"):
        find_suspects(one)
    for share in (0.0, 0.67, 1.0, np.nan):
        with pytest.raises(UsageError, match=r"between 0 and 0\.67 for 3"):
            find_suspects(judged([[0.9, 0.1, 0.0]], ["apple"]), assumed=share)


def test_a_class_that_the_fold_had_not_seen_is_no_suspect() -> None:
    unseen = judged([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], ["apple", "quince"])
    assert suspicion(unseen).tolist() == [0.0, 0.0]
    assert find_suspects(unseen).rows == ()


def test_the_score_is_bayes_rule() -> None:
    """Among many simulated labels the mean score is the share that was changed."""
    found, changed = noisy(40_000, 3.0)
    scores = suspicion(found)
    assert scores.mean() == pytest.approx(0.05, abs=0.004)
    for low, high in ((0.05, 0.2), (0.2, 0.6), (0.6, 1.0)):
        inside = (scores >= low) & (scores <= high)
        assert inside.sum() > 300
        assert changed[inside].mean() == pytest.approx(scores[inside].mean(), abs=0.06)


def test_the_list_is_as_precise_as_asked_for() -> None:
    found, changed = noisy(20_000, 3.0)
    for precision in (0.4, 0.8):
        rows = [row.index for row in find_suspects(found, precision=precision).rows]
        assert changed[rows].mean() == pytest.approx(precision, abs=0.06)
    assert len(find_suspects(found, precision=0.0).rows) == 20_000


def test_the_likeliest_comes_first() -> None:
    rows = [[0.3, 0.4, 0.3], [0.001, 0.1, 0.899], [0.01, 0.98, 0.01], [0.98, 0.01, 0.01]]
    found = find_suspects(judged(rows, ["apple"] * 4), precision=0.1)
    assert [row.index for row in found.rows] == [1, 2, 0, 3]
    scores = [row.score for row in found.rows]
    assert scores == sorted(scores, reverse=True)
    assert np.mean(scores) >= 0.1


def test_confident_learning_by_hand() -> None:
    rows = [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.1, 0.8, 0.1],  # labelled apple: pear reaches its threshold of 0.6
        [0.2, 0.7, 0.1],
        [0.3, 0.5, 0.2],
        [0.3, 0.3, 0.4],  # labelled plum, the only one
    ]
    truth = ["apple", "apple", "apple", "pear", "pear", "plum"]
    assert confident_errors(judged(rows, truth)).tolist() == [False, False, True, *[False] * 3]


def test_confident_learning_agrees_with_cleanlab() -> None:
    filters = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
    for seed in range(4):
        found, _ = noisy(400, 2.0, seed)
        theirs = filters.find_label_issues(
            found.true, found.probabilities, filter_by="confident_learning", n_jobs=1
        )
        mine = confident_errors(found)
        assert mine.sum() > 5
        # cleanlab takes the most probable of all classes, the paper one that reaches its threshold
        reached = found.probabilities >= [
            found.probabilities[found.true == j, j].mean() - 1e-6 for j in range(6)
        ]
        same = reached[np.arange(400), found.answer] | (reached.sum(axis=1) < 2)
        assert same.mean() > 0.9
        assert np.array_equal(mine[same], theirs[same])


def test_copies_under_different_labels() -> None:
    assert disputed([], []) == []
    labels = ["a", "b", "a", "a", "b", "b"]
    assert disputed(labels, ["x", "y", "x", "y", "z", "z"]) == [(1, 3)]


def test_planting() -> None:
    truth = ["a", "b", "c", "d"] * 25
    labels, changed = plant(truth, 0.1, seed=3)
    assert changed.sum() == 10
    assert [a != b for a, b in zip(labels, truth, strict=True)] == changed.tolist()
    assert plant(truth, 0.1, seed=3)[0] == labels
    assert plant(truth, 0.1, seed=4)[0] != labels
    assert plant(["a", "b"], 0.01)[1].sum() == 1
    for wrong in (["a", "a"], []):
        with pytest.raises(UsageError, match="at least 2 labels"):
            plant(wrong)
    with pytest.raises(UsageError, match="share between 0 and 1"):
        plant(truth, 1.0)


def test_what_was_planted_is_found_by_a_good_head() -> None:
    sharp, weak = (measure_planted(*noisy(3000, sharpness)) for sharpness in (12.0, 1.0))
    assert sharp.changed == weak.changed == 150
    assert sharp.recall_at_half > 0.9
    assert sharp.recall > 0.9
    assert sharp.precision == pytest.approx(0.5, abs=0.1)
    assert weak.recall_at_half < 0.5
    found, _ = noisy(50, 1.0)
    with pytest.raises(UsageError, match="0 changed"):
        measure_planted(found, np.zeros(50, bool))


def test_json_there_and_back() -> None:
    found, changed = noisy(200, 2.0)
    suspects = find_suspects(found)
    assert suspects.rows
    assert Suspects.from_json(json.loads(json.dumps(suspects.to_json()))) == suspects
    planted = measure_planted(found, changed)
    assert Planted.from_json(json.loads(json.dumps(planted.to_json()))) == planted
    with pytest.raises((KeyError, TypeError)):
        Suspects.from_json({"n": 3})
