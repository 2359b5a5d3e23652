"""The table that ``closeup predict`` prints: photos with several objects are counted by object."""

from __future__ import annotations

import pytest

from closeup.cli.predict import _print_table
from closeup.core.types import Answer, Box
from closeup.model.prediction import Prediction


def prediction(photo: str, *labels: str) -> Prediction:
    found = tuple(Answer(Box(0, 0, 9, 9), "clock", 0.9, label, 0.8, ((label, 0.8),))
                  for label in labels)  # fmt: skip
    return Prediction(photo, True, found)


def test_objects_are_counted_where_a_photo_has_several(capsys: pytest.CaptureFixture[str]) -> None:
    _print_table([prediction("a.jpg", "omega", "seiko", "omega"), prediction("b.jpg", "seiko")])
    assert capsys.readouterr().out.splitlines()[-1] == "2 photos, 4 objects: omega 2, seiko 2"
    _print_table([prediction("a.jpg", "omega"), prediction("b.jpg", "seiko")])
    assert "objects" not in capsys.readouterr().out
