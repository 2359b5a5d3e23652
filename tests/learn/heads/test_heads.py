"""Fitting, storing and asking a head."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from closeup.core.config import HeadKind
from closeup.core.errors import DatasetError, ModelError, UsageError
from closeup.core.types import Floats
from closeup.learn import heads
from closeup.learn.heads.fitting import KINDS as FITTERS
from closeup.learn.heads.head import LAYERS, Dense, Head, Standardiser, softmax
from closeup.learn.heads.problem import Problem

KINDS = sorted(LAYERS)


def test_a_head_is_registered_everywhere() -> None:
    assert set(FITTERS) == set(LAYERS) == set(get_args(HeadKind))


def clouds(
    n: int = 90, dim: int = 12, names: tuple[str, ...] = ("a", "b", "c"), spread: float = 1.0
) -> tuple[Floats, list[str], NDArray[np.int64]]:
    """Embeddings around one centre per label, far from the origin; labels; 5 folds."""
    rng = np.random.default_rng(0)
    labels = [names[i % len(names)] for i in range(n)]
    centres = {name: 3 * rng.standard_normal(dim) + 100 for name in names}
    rows = np.stack([centres[name] + spread * rng.standard_normal(dim) for name in labels])
    return rows.astype(np.float32), labels, np.arange(n) // len(names) % 5


@pytest.fixture(scope="module", params=KINDS)
def fitted(request: pytest.FixtureRequest) -> heads.Fitted:
    return heads.fit(request.param, *clouds(), seed=0)


def test_no_rows_give_no_probabilities(fitted: heads.Fitted) -> None:
    assert fitted.head.probabilities(np.zeros((0, 12), np.float32)).shape == (0, 3)


def test_one_row_is_answered_as_among_many(fitted: heads.Fitted) -> None:
    rows = clouds()[0]
    together = fitted.head.probabilities(rows)
    assert together.dtype == np.float64
    assert np.allclose(together.sum(axis=1), 1, atol=1e-12)
    assert np.allclose(fitted.head.probabilities(rows[7:8])[0], together[7], atol=1e-12)


def test_clouds_are_told_apart(fitted: heads.Fitted) -> None:
    rows, labels, _ = clouds()
    answers = fitted.head.probabilities(rows).argmax(axis=1)
    assert [fitted.head.labels[i] for i in answers] == labels


@pytest.mark.parametrize("shape", [(4,), (4, 11), (1, 4, 12)])
def test_embeddings_of_another_backbone_are_refused(
    fitted: heads.Fitted, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"expects embeddings of shape \(n, 12\)"):
        fitted.head.probabilities(np.zeros(shape, np.float32))


def test_a_head_survives_storing_exactly(fitted: heads.Fitted) -> None:
    from safetensors.numpy import load, save

    head = fitted.head
    settings = json.loads(json.dumps(head.settings()))
    again = heads.restore(head.kind, head.labels, load(save(head.arrays())), settings)
    rows = clouds()[0]
    assert again.settings() == head.settings()
    assert np.array_equal(again.probabilities(rows), head.probabilities(rows))


def test_the_log_is_json(fitted: heads.Fitted) -> None:
    assert json.loads(json.dumps(fitted.log)) == fitted.log
    assert fitted.log["kind"] == fitted.head.kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_input_gives_the_same_head(kind: str) -> None:
    rows, labels, folds = clouds(spread=4)
    first, second = (heads.fit(kind, rows, labels, folds, seed=5) for _ in range(2))
    assert first.log == second.log
    for name, array in first.head.arrays().items():
        assert np.array_equal(array, second.head.arrays()[name])


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_offset_of_the_embeddings_do_not_matter(kind: str) -> None:
    rows, labels, folds = clouds(spread=4)
    plain = heads.fit(kind, rows, labels, folds, seed=0).head
    moved = heads.fit(kind, rows * 64 + 1, labels, folds, seed=0).head
    assert np.allclose(plain.probabilities(rows), moved.probabilities(rows * 64 + 1), atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [("yes", "no"), ("b", "a")])
def test_two_labels(kind: str, names: tuple[str, ...]) -> None:
    rows, labels, folds = clouds(40, 6, names)
    head = heads.fit(kind, rows, labels, folds, seed=0).head
    assert head.labels == tuple(sorted(names))
    assert [head.labels[i] for i in head.probabilities(rows).argmax(axis=1)] == labels


@pytest.mark.parametrize("kind", KINDS)
def test_equal_embeddings_give_the_most_frequent_label(kind: str) -> None:
    rows = np.full((40, 3), 7, np.float32)
    labels = ["often"] * 30 + ["rare"] * 10
    probabilities = heads.fit(kind, rows, labels, np.arange(40) % 4, seed=0).head.probabilities(
        rows[:1]
    )
    if kind == "prototype":  # a class mean knows nothing of how many photos it is made of
        assert probabilities[0, 0] == pytest.approx(0.5)
    else:
        assert 0.5 < probabilities[0, 0] < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_differences_too_small_for_float32_count_as_none(kind: str) -> None:
    rows, labels, folds = clouds(40, 6, ("a", "b"))
    tiny = (rows - 100) * np.float32(1e-41)
    probabilities = heads.fit(kind, tiny, labels, folds, seed=0).head.probabilities(tiny)
    assert np.allclose(probabilities, 0.5, atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_dimension_tells_nothing(kind: str) -> None:
    rows, labels, folds = clouds(spread=4)
    wider = np.concatenate([rows, np.full((len(rows), 1), 1e4, np.float32)], axis=1)
    head = heads.fit(kind, wider, labels, folds, seed=0).head
    right = [head.labels[i] for i in head.probabilities(wider).argmax(axis=1)] == np.array(labels)
    assert right.mean() > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_per_label(kind: str) -> None:
    names = tuple("abcdef")
    rows, labels, _ = clouds(6, 8, names)
    head = heads.fit(kind, rows, labels, np.array([0, 1] * 3), seed=0).head
    assert head.labels == names
    assert np.isfinite(head.probabilities(rows)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_does_not_depend_on_the_number_of_threads(kind: str) -> None:
    from threadpoolctl import threadpool_limits

    rows, labels, folds = clouds(600, 256, spread=9)
    arrays = []
    for threads in (1, 4):
        with threadpool_limits(threads, user_api="blas"):
            arrays.append(heads.fit(kind, rows, labels, folds, seed=0).head.arrays())
    assert all(np.array_equal(array, arrays[1][name]) for name, array in arrays[0].items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_may_be_missing_from_folds(kind: str) -> None:
    rows, labels, _ = clouds(12, 4, ("a", "b"))
    # In turn, one label or the other is all that is left to train on.
    head = heads.fit(kind, rows, labels, np.array([0, 1] * 6), seed=0).head
    assert head.labels == ("a", "b")
    assert np.isfinite(head.probabilities(rows)).all()


def test_more_dimensions_than_rows() -> None:
    rows, labels, folds = clouds(10, 64, ("a", "b"))
    head = heads.fit("logistic", rows, labels, folds, seed=0).head
    assert [head.labels[i] for i in head.probabilities(rows).argmax(axis=1)] == labels


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "forest"}, UsageError, "unknown head 'forest'"),
        ({"labels": ["a"] * 89}, UsageError, "89 labels do not match embeddings"),
        ({"folds": np.zeros(3, np.int64)}, UsageError, r"folds \(3,\)"),
        ({"embeddings": np.zeros((90, 0), np.float32)}, UsageError, r"embeddings \(90, 0\)"),
        ({"labels": ["a"] * 90}, DatasetError, "at least 2 labels"),
        ({"blocks": (5, 6)}, UsageError, r"blocks \[5, 6\] do not add up to 12"),
        ({"embeddings": np.full((90, 12), np.nan, np.float32)}, DatasetError, "90 of 90"),
    ],
)
def test_what_cannot_be_fitted(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    rows, labels, folds = clouds()
    given = {"kind": "logistic", "embeddings": rows, "labels": labels, "folds": folds, "seed": 0}
    with pytest.raises(error, match=message):
        heads.fit(**(given | change))


@pytest.mark.parametrize("kind", KINDS)
def test_without_folds_nothing_is_chosen_and_it_still_answers(kind: str) -> None:
    rows, labels, _ = clouds(6, 8, ("a", "b", "c"))
    fitted = heads.fit(kind, rows, labels, np.zeros(6, np.int64), seed=0)
    assert fitted.log["table"] == []
    answers = fitted.head.probabilities(rows).argmax(axis=1)
    assert [fitted.head.labels[i] for i in answers] == labels


@pytest.mark.parametrize("kind", ["logistic", "prototype", "ridge"])
def test_one_photo_a_class_is_enough_to_tell_clouds_apart(kind: str) -> None:
    rows, labels, _ = clouds(90, 12)
    head = heads.fit(kind, rows[:3], labels[:3], np.zeros(3, np.int64), seed=0).head
    answers = head.probabilities(rows[3:]).argmax(axis=1)
    right = np.mean([head.labels[i] == label for i, label in zip(answers, labels[3:], strict=True)])
    assert right > 0.95


def test_a_rare_class_is_weighted_where_that_helps() -> None:
    rng = np.random.default_rng(0)
    labels = ["often"] * 180 + ["rare"] * 20
    rows = rng.standard_normal((200, 5)).astype(np.float32)
    rows[180:, 0] += 1.0
    fitted = heads.fit("ridge", rows, labels, np.arange(200) % 5, seed=0)
    assert fitted.log["class_weight"] == "balanced"
    even = heads.fit("ridge", rows[:40], ["a", "b"] * 20, np.arange(40) % 5, seed=0)
    assert even.log["class_weight"] == "none"


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_weighting_finds_more_of_a_rare_class(kind: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 5)).astype(np.float32)
    rows[180:, 0] += 1.0
    classes = np.array([0] * 180 + [1] * 20)
    problem = Problem(rows, ("often", "rare"), classes, np.arange(200) % 5, (), 0)
    chosen = {"c": 0.1, "penalty": 0.1, "temperature": 5.0}
    found = [
        (FITTERS[kind].refit(problem, {**chosen, "class_weight": how}).probabilities(rows)[180:]
         .argmax(axis=1) == 1).sum()
        for how in ("none", "balanced")
    ]  # fmt: skip
    assert found[1] > found[0] + 5


@pytest.mark.parametrize("kind", ["logistic", "prototype", "ridge"])
def test_a_short_block_says_as_much_as_a_long_one(kind: str) -> None:
    rows, labels, folds = clouds(90, 4, spread=0.5)
    noise = np.random.default_rng(3).standard_normal((90, 400)).astype(np.float32)
    both = np.concatenate([rows / 1000, noise], axis=1)
    head = heads.fit(kind, both, labels, folds, seed=0, blocks=(4, 400)).head
    fresh = np.concatenate([rows / 1000, noise[::-1]], axis=1)
    answers = head.probabilities(fresh).argmax(axis=1)
    right = np.mean([head.labels[i] == label for i, label in zip(answers, labels, strict=True)])
    assert right > 0.9


@pytest.mark.parametrize("kind", ["logistic", "prototype", "ridge"])
def test_out_of_fold_answers_do_not_know_the_row(kind: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 200)).astype(np.float32)  # nothing to learn, all to remember
    labels = [("a", "b")[i] for i in rng.integers(0, 2, 60)]
    folds = np.arange(60) % 5
    head = heads.fit(kind, rows, labels, folds, seed=0).head
    probabilities = heads.cross_probabilities(head, rows, labels, folds, seed=0)
    assert np.allclose(probabilities.sum(axis=1), 1)
    truth = np.array([head.labels.index(label) for label in labels])
    assert (probabilities.argmax(axis=1) == truth).mean() < 0.75
    assert (head.probabilities(rows).argmax(axis=1) == truth).mean() > 0.9


def test_out_of_fold_answers_need_folds() -> None:
    rows, labels, folds = clouds()
    head = heads.fit("ridge", rows, labels, folds, seed=0).head
    with pytest.raises(UsageError, match="at least 2 folds"):
        heads.cross_probabilities(head, rows, labels, np.zeros(90, np.int64), seed=0)


def test_out_of_fold_answers_are_those_of_a_head_without_the_fold() -> None:
    rows, labels, folds = clouds(spread=5)
    head = heads.fit("ridge", rows, labels, folds, seed=0).head
    probabilities = heads.cross_probabilities(head, rows, labels, folds, seed=0)
    held = folds == 2
    # By the normal equations, step by step.
    standardise = Standardiser.of(rows[~held])
    x = standardise(rows[~held]).astype(np.float64)
    y = np.eye(3)[[head.labels.index(label) for label in np.array(labels)[~held]]]
    centred = x - x.mean(axis=0)
    penalty = head.settings()["penalty"] * (centred**2).sum() / len(x)
    weights = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean(axis=0))
    )
    scores = (standardise(rows[held]) - x.mean(axis=0)) @ weights + y.mean(axis=0)
    expected = softmax(head.settings()["temperature"] * scores)
    assert np.allclose(probabilities[held], expected, atol=1e-4)


def stored() -> tuple[str, tuple[str, ...], dict[str, NDArray[Any]], dict[str, Any]]:
    layer = Dense(np.ones((2, 5), np.float32), np.zeros(2, np.float32))
    head = Head("logistic", ("a", "b"), (layer,), {"c": 1.0})
    return head.kind, head.labels, head.arrays(), head.settings()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"layer0.bias": None}, "has the arrays"),
        ({"extra": np.zeros(1, np.float32)}, "has the arrays"),
        ({"layer0.bias": np.zeros(3, np.float32)}, "do not match"),
        ({"layer0.weights": np.ones(5, np.float32)}, "do not match"),
        ({"layer0.weights": np.ones((2, 0), np.float32)}, "do not match"),
        ({"layer0.weights": np.ones((2, 5), np.float64)}, "do not match"),
        ({"layer0.weights": np.full((2, 5), np.inf, np.float32)}, "not finite"),
        ({"layer0.bias": np.array([0, np.nan], np.float32)}, "not finite"),
    ],
)
def test_damaged_arrays_are_refused(arrays: dict[str, Any], message: str) -> None:
    kind, labels, good, settings = stored()
    given = {name: a for name, a in (good | arrays).items() if a is not None}
    with pytest.raises(ModelError, match=message):
        heads.restore(kind, labels, given, settings)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("forest", ("a", "b"), "unknown kind of head 'forest'"),
        ("mlp", ("a", "b"), "has the arrays"),
        ("logistic", ("a",), "at least 2 labels"),
        ("logistic", ("a", "a"), "all different"),
        ("logistic", ("a", "b", "c"), "2 outputs for 3 labels"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    kind: str, labels: tuple[str, ...], message: str
) -> None:
    _, _, arrays, settings = stored()
    with pytest.raises(ModelError, match=message):
        heads.restore(kind, labels, arrays, settings)


def test_layers_that_do_not_fit_each_other_are_refused() -> None:
    arrays = {
        "layer0.weights": np.ones((4, 5), np.float32), "layer0.bias": np.ones(4, np.float32),
        "layer1.weights": np.ones((2, 3), np.float32), "layer1.bias": np.ones(2, np.float32),
    }  # fmt: skip
    with pytest.raises(ModelError, match="layer 1"):
        heads.restore("mlp", ("a", "b"), arrays, {})


def test_answers_are_those_of_the_formula() -> None:
    one = Dense(np.array([[1, 0], [0, -1]], np.float32), np.array([0, 1], np.float32))
    two = Dense(np.array([[2, 0], [0, 1]], np.float32), np.array([0, 0.5], np.float32))
    head = Head("mlp", ("a", "b"), (one, two), {})
    # (3, 5) -> hidden (3, -4), rectified (3, 0) -> logits (6, 0.5)
    expected = 1 / (1 + np.exp(-5.5))
    assert head.probabilities(np.array([[3, 5]], np.float32))[0, 0] == pytest.approx(expected)


def test_softmax_of_huge_logits_is_finite() -> None:
    assert softmax(np.array([[1e30, 0.0, -1e30]])).tolist() == [[1.0, 0.0, 0.0]]


def test_folding_changes_nothing() -> None:
    rows = clouds()[0]
    rng = np.random.default_rng(1)
    weights, bias = rng.standard_normal((4, 12)), rng.standard_normal(4)
    standardise = Standardiser.of(rows)
    assert standardise(rows).std() == pytest.approx(1, abs=1e-3)
    assert np.allclose(standardise(rows).mean(axis=0), 0, atol=1e-3)
    layer = standardise.fold_into(weights, bias)
    raw = rows @ layer.weights.T + layer.bias
    assert np.allclose(raw, standardise(rows) @ weights.T + bias, atol=1e-3)


def test_rounded_weights_are_not_multiplied_by_the_mean() -> None:
    rng = np.random.default_rng(1)
    weights, bias = rng.standard_normal((4, 500)), rng.standard_normal(4)
    weights -= weights.mean(axis=1, keepdims=True)  # so that the bias stays small
    rows = (rng.standard_normal((60, 500)) + 1000).astype(np.float32)
    standardise = Standardiser.of(rows)
    layer = standardise.fold_into(weights, bias)
    raw = rows.astype(np.float64) @ layer.weights.T.astype(np.float64) + layer.bias
    expected = (rows - standardise.mean) / standardise.scale @ weights.T + bias
    assert np.abs(raw - expected).max() < 1e-5


def test_answering_needs_numpy_only() -> None:
    code = (
        "import sys, numpy as np\n"
        "from closeup.learn import heads\n"
        "a = {'layer0.weights': np.eye(2, dtype=np.float32), 'layer0.bias': np.zeros(2, 'f4')}\n"
        "head = heads.restore('logistic', ('a', 'b'), a, {})\n"
        "head.probabilities(np.ones((3, 2), np.float32))\n"
        "heavy = {'sklearn', 'scipy', 'torch', 'threadpoolctl'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_out_of_fold_answers_that_ridge_gives_for_nothing_are_the_real_ones() -> None:
    rows, labels, folds = clouds(spread=5)
    fitted = heads.fit("ridge", rows, labels, folds, seed=0)
    assert fitted.out_of_fold is not None
    probabilities = heads.cross_probabilities(fitted.head, rows, labels, folds, seed=0)
    # Scales and the unit of the penalty are those of all rows, not of the fold's rest.
    assert np.allclose(fitted.out_of_fold, probabilities, atol=0.01)
