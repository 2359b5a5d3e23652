"""Labels that may be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.planted import plant
from closeup.core.errors import UsageError
from closeup.core.serialization import from_json, to_json
from closeup.evaluate.label_issues import (
    LabelIssues,
    Noise,
    confident_errors,
    find_label_issues,
    fit_noise,
    issue_scores,
)
from closeup.evaluate.predictions import Predictions
from closeup.learn.heads.head import softmax

LABELS = ("apple", "pear", "plum")


def predictions(rows: list[list[float]], truth: list[str]) -> Predictions:
    return Predictions(np.array(rows), LABELS, truth, [f"g{i}" for i in range(len(truth))])


def noisy(
    n: int, sharp: float, seed: int = 0, share: float = 0.05, temperature: float = 1.0
) -> tuple[Predictions, NDArray[np.bool_]]:
    """Labels with a share of them changed, and what a head says that is right but for that."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharp, (n, 6))
    clean = softmax(logits)
    names = [f"label{i}" for i in range(6)]
    true = (clean.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    given, changed = [names[i] for i in true], np.zeros(n, np.bool_)
    if share:
        given, changed = plant(given, share, seed)
    said = softmax(logits / temperature)
    return Predictions(said, names, given, [f"g{i}" for i in range(n)]), changed


def test_one_photo() -> None:
    found = find_label_issues(predictions([[0.9, 0.1, 0.0]], ["apple"]))
    assert (found.n, found.share, found.rows) == (1, 0.0, ())


def test_one_label_and_a_score_out_of_range() -> None:
    one = Predictions(np.ones((1, 1)), ["apple"], ["apple"], ["g"])
    with pytest.raises(UsageError, match="one label"):
        find_label_issues(one)
    for least in (0.0, -1.0, np.nan):
        with pytest.raises(UsageError, match="above 0"):
            find_label_issues(predictions([[0.9, 0.1, 0.0]], ["apple"]), least=least)


def test_a_class_that_the_fold_had_not_seen_is_no_issue() -> None:
    unseen = predictions([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], ["apple", "quince"])
    assert fit_noise(unseen) == Noise(0.0, 1.0)
    assert issue_scores(unseen, Noise(0.5, 1.0)).tolist() == [0.0, 0.0]
    assert find_label_issues(unseen).rows == ()


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_share_of_wrong_labels_is_found(share: float, temperature: float) -> None:
    found, changed = noisy(5000, 5.0, share=share, temperature=temperature)
    noise = fit_noise(found)
    assert noise.share == pytest.approx(share, rel=0.2)
    assert noise.temperature == pytest.approx(1 / temperature, rel=0.1)
    assert issue_scores(found, noise).mean() == pytest.approx(noise.share, rel=0.05)
    assert changed[[row.index for row in find_label_issues(found).rows]].mean() > 0.5


def test_right_labels_are_no_issues() -> None:
    found, _ = noisy(2000, 5.0, share=0.0)
    assert fit_noise(found).share < 0.002
    assert len(find_label_issues(found).rows) < 10
    certain = predictions([[1.0, 0.0, 0.0]] * 5, ["apple"] * 5)
    assert find_label_issues(certain, least=1e-9).rows == ()


def test_the_score_is_how_often_the_label_is_wrong() -> None:
    found, changed = noisy(40_000, 3.0)
    scores = issue_scores(found, fit_noise(found))
    for low, high in ((0.05, 0.2), (0.2, 0.6), (0.6, 1.0)):
        inside = (scores >= low) & (scores <= high)
        assert inside.sum() > 300
        assert changed[inside].mean() == pytest.approx(scores[inside].mean(), abs=0.06)


def test_the_likeliest_comes_first() -> None:
    found, _ = noisy(500, 3.0)
    rows = find_label_issues(found, least=0.1).rows
    scores = [row.score for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.1
    first = rows[0]
    place = list(found.labels)
    given = found.probabilities[first.index]
    assert first.given == found.truth[first.index] != first.suggested
    assert first.p_given == given[place.index(first.given)]
    assert first.p_suggested == given[place.index(first.suggested)] == max(given)
    assert len(find_label_issues(found, least=0.6).rows) < len(rows)


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
    assert confident_errors(predictions(rows, truth)).tolist() == [False, False, True, *[False] * 3]


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


def test_json_there_and_back() -> None:
    found, _ = noisy(200, 2.0)
    issues = find_label_issues(found)
    assert issues.rows
    assert from_json(LabelIssues, json.loads(json.dumps(to_json(issues)))) == issues
    with pytest.raises(ValueError, match="Field required"):
        from_json(LabelIssues, {"n": 3})
