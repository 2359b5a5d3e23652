"""Three watches a photo, labelled by COCO categories: what the benchmark promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.objects import measured, straddling


@pytest.mark.slow
def test_makers_are_learned_from_boxes(tmp_path: Path) -> None:
    result, _ = measured(tmp_path, 60, 0)
    assert result.counts.cropped == 60
    assert sum(result.counts.objects.values()) == 180
    assert result.scores is not None
    assert result.scores.n == len(result.results) >= 30
    assert result.scores.macro_f1.value >= 0.9
    assert straddling(tmp_path / "out") == 0
