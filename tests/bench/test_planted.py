"""Labels changed on purpose, and how many are found."""

from __future__ import annotations

import numpy as np
import pytest

from bench.planted import measure_planted, plant
from closeup.core.errors import UsageError
from tests.evaluate.test_label_issues import noisy


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
    sharp, weak = (measure_planted(*noisy(3000, sharpness)) for sharpness in (8.0, 1.0))
    assert sharp.changed == weak.changed == 150
    assert sharp.recall_at_half > 0.9
    assert sharp.recall > 0.8
    assert sharp.precision > 0.5
    assert weak.recall_at_half < 0.5
    # With no other label wrong, the order alone finds what the share is too small to flag.
    one, changed = noisy(300, 8.0, share=0.003)
    assert measure_planted(one, changed).recall_at_half == 1.0
    found, _ = noisy(50, 1.0)
    with pytest.raises(UsageError, match="0 changed"):
        measure_planted(found, np.zeros(50, bool))
