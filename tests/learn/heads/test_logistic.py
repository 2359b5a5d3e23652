"""The linear head: what C is chosen, and that the solution is scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from closeup.learn import heads
from closeup.learn.heads import logistic
from closeup.learn.heads.head import Standardiser
from tests.learn.heads.test_heads import clouds


def test_equal_scores_choose_the_smallest_c() -> None:
    log = heads.fit("logistic", *clouds(spread=0.01), seed=0).log
    assert log["c"] == logistic.GRID[0]
    assert [row["c"] for row in log["table"]] == list(logistic.GRID)
    assert all(row["macro_f1"] == 1 and row["error"] == 0 for row in log["table"])


def test_c_is_where_the_table_is_best() -> None:
    log = heads.fit("logistic", *clouds(200, 40, spread=9), seed=0).log
    best = max(log["table"], key=lambda row: row["macro_f1"])
    assert log["c"] == best["c"]
    assert best["macro_f1"] > log["table"][0]["macro_f1"]
    assert all(row["error"] > 0 for row in log["table"])


def test_a_score_of_the_table_is_the_one_of_its_folds() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    rows, labels, folds = clouds(120, 10, spread=6)
    names = np.array(labels)
    scores = []
    for fold in range(5):
        inside = folds != fold
        scale = Standardiser.of(rows[inside])
        model = LogisticRegression(C=logistic.GRID[0]).fit(scale(rows[inside]), names[inside])
        answers = model.predict(scale(rows[~inside]))
        scores.append(f1_score(names[~inside], answers, average="macro"))
    row = heads.fit("logistic", rows, labels, folds, seed=0).log["table"][0]
    assert row["macro_f1"] == pytest.approx(np.mean(scores))
    assert row["error"] == pytest.approx(np.std(scores, ddof=1) / np.sqrt(5))


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_probabilities_are_those_of_scikit_learn(names: tuple[str, ...]) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, labels, folds = clouds(60, 8, names, spread=6)
    fitted = heads.fit("logistic", rows, labels, folds, seed=0)
    scaled = Standardiser.of(rows)(rows)
    model = LogisticRegression(C=fitted.log["c"], max_iter=1000).fit(scaled, labels)
    assert np.allclose(fitted.head.probabilities(rows), model.predict_proba(scaled), atol=1e-3)


def test_a_fit_stopped_early_is_used_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "MAX_ITERATIONS", 1)
    filters = list(warnings.filters)
    log = heads.fit("logistic", *clouds(spread=6), seed=0).log
    assert log["converged"] is False
    assert warnings.filters == filters


def test_the_number_of_threads_is_given_back() -> None:
    import scipy.linalg  # noqa: F401  (so that its library is counted before as well as after)
    from threadpoolctl import threadpool_info

    before = threadpool_info()
    heads.fit("logistic", *clouds(), seed=0)
    after = {info["filepath"]: info["num_threads"] for info in threadpool_info()}
    assert all(after[info["filepath"]] == info["num_threads"] for info in before)
