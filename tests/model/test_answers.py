from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from closeup.core.types import Answer, Box
from closeup.model.answers import COLUMNS, annotate, write_csv, write_parquet
from closeup.model.prediction import Prediction

ONE = Answer(Box(1, 2, 30, 40), "clock", 0.5, "omega", 0.75, (("omega", 0.75), ("rolex", 0.25)))
GOOD = Prediction("a.jpg", True, (ONE,))
NOTHING = Prediction("b.jpg", False, ())
BROKEN = Prediction("c\udcff.jpg", False, (), "truncated", "its end is missing")


def test_json_has_the_promised_shape() -> None:
    assert GOOD.to_dict() == {
        "photo": "a.jpg",
        "found": True,
        "objects": [
            {"box": [1, 2, 30, 40], "parent": "clock", "parent_score": 0.5, "label": "omega",
             "confidence": 0.75, "reason": "", "top": [["omega", 0.75], ["rolex", 0.25]],
             "likely": []}
        ],
        "error": None,
    }  # fmt: skip
    assert BROKEN.to_dict()["error"] == {"code": "truncated", "message": "its end is missing"}


@pytest.mark.parametrize("answers", [[], [BROKEN], [GOOD, NOTHING, BROKEN]])
def test_tables_hold_a_row_for_each(tmp_path: Path, answers: list[Prediction]) -> None:
    write_csv(answers, tmp_path / "a.csv")
    write_parquet(answers, tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open(newline="", encoding="utf8", errors="replace") as stream:
        rows = list(csv.reader(stream))
    table = pq.read_table(tmp_path / "a.parquet")
    assert tuple(rows[0]) == COLUMNS == tuple(table.column_names)
    assert len(rows) - 1 == table.num_rows == len(answers)


@pytest.mark.parametrize("size", [(1, 1), (40, 3), (50, 60)])
def test_drawing_leaves_the_photo_as_it_is(size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    picture = annotate(pixels, [ONE])
    assert picture.size == (size[1], size[0])
    assert not pixels.any()
    assert np.asarray(picture).any() == (size != (1, 1))  # there the box lies outside
