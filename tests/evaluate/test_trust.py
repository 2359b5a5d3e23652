"""What a wanted accuracy does to the rule, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.evaluate.predictions import Predictions
from closeup.evaluate.trust import Trust, UncertaintyRule, fit_uncertainty, measure_trust


def part(n: int, seed: int, least: float) -> tuple[np.ndarray, Predictions]:  # type: ignore[type-arg]
    """Embeddings and answers that are right as often as their confidence says."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(least, 1, n)
    truth = np.where(rng.random(n) < sure, "a", "b").tolist()
    rows = np.column_stack([sure, 1 - sure])
    features = rng.gamma(2, 1, (n, 20)).astype(np.float32)
    return features, Predictions(rows, ("a", "b"), truth, [f"{seed}-{i}" for i in range(n)])


def trust(accuracy: float, least: float = 0.5) -> tuple[UncertaintyRule, Trust]:
    rows, known = part(600, 0, least)
    rule = fit_uncertainty(rows, known, np.arange(600) % 5, 0.95, 0.1, accuracy)
    rows, new = part(400, 1, least)
    return rule, measure_trust(rule, rows, new, 0)


def test_what_is_said_without_it_is_what_it_does() -> None:
    (before, plain), (rule, asked) = trust(0.0), trust(0.95)
    assert plain.at_accuracy is not None
    assert asked.at_accuracy is not None
    assert (plain.at_accuracy.asked, asked.at_accuracy.asked) == (False, True)
    assert rule.rule.min_confidence == before.accurate.min_confidence
    assert rule.rule.max_distance == before.rule.max_distance
    assert (asked.answered, asked.accuracy_answered) == (
        plain.at_accuracy.answered, plain.at_accuracy.accuracy,
    )  # fmt: skip
    assert asked.accuracy_answered.value > plain.accuracy_answered.value
    assert plain.sentence().startswith("Answers 9")
    assert " With --accuracy 0.95 it would answer " in plain.sentence()
    assert asked.sentence("close-ups").startswith(f"Answers {100 * asked.answered.value:.0f} % (")
    assert asked.sentence("close-ups").endswith("of them; calls the rest unknown.")
    assert rule.note == before.note == ""


def test_an_accuracy_out_of_reach_is_said() -> None:
    rng = np.random.default_rng(0)
    rows, known = part(300, 0, 0.5)
    blind = Predictions(known.probabilities, known.labels, rng.choice(["a", "b"], 300).tolist(),
                        known.groups)  # fmt: skip
    rule = fit_uncertainty(rows, blind, np.arange(300) % 5, 0.95, 0.1, 0.95)
    assert rule.note.startswith("--accuracy 0.95 cannot be promised: the best in cross-validation")
    assert rule.note.endswith("ask for less, or add photos")
    assert "--accuracy 0.95 is out of reach" in measure_trust(rule, rows, blind, 0).sentence()
    assert rule.rule.answered >= 0.05


def test_too_few_photos_to_promise_it() -> None:
    rows, known = part(30, 0, 0.999)
    rule = fit_uncertainty(rows, known, np.arange(30) % 5, 0.95, 0.1)
    assert rule.note == ""
    said = measure_trust(rule, rows, known, 0).sentence()
    assert said.endswith("There are too few training photos to promise --accuracy 0.95.")


@pytest.mark.parametrize("coverage", [0.5, 1.0])
def test_coverage_still_decides_about_distance(coverage: float) -> None:
    rows, known = part(200, 0, 0.5)
    plain, asked = (
        fit_uncertainty(rows, known, np.arange(200) % 5, coverage, 0.1, accuracy).rule
        for accuracy in (0.0, 0.9)
    )
    assert plain.max_distance == asked.max_distance
    assert plain.min_confidence != asked.min_confidence
