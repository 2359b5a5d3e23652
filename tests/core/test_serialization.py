"""Dataclasses as JSON and back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field

from closeup.core.serialization import from_json, to_json


class Kind(StrEnum):
    good = "good"


@dataclass(frozen=True, slots=True)
class Inner:
    value: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner | None
    kind: Kind
    rows: tuple[tuple[str, int], ...] = ()
    renamed: Annotated[int, Field(alias="old")] = 0


def test_it_comes_back_as_it_was() -> None:
    value = Outer(Inner(0.1 + 0.2, ("a", "b")), Kind.good, (("x", 1),), renamed=3)
    written = to_json(value)
    assert written == {
        "inner": {"value": 0.1 + 0.2, "names": ["a", "b"]},
        "kind": "good",
        "rows": [["x", 1]],
        "old": 3,
    }
    assert from_json(Outer, written) == value


def test_numbers_of_numpy_and_nothing() -> None:
    assert to_json(Inner(float(np.float32(0.5)))) == {"value": 0.5, "names": []}
    assert np.isnan(to_json(Inner(float("nan")))["value"])
    assert from_json(Outer, {"inner": None, "kind": "good"}) == Outer(None, Kind.good)


@pytest.mark.parametrize("broken", [None, {}, {"value": "much"}, {"value": 1, "names": 3}])
def test_damaged_values_are_refused(broken: object) -> None:
    with pytest.raises(ValueError, match="validation error"):
        from_json(Inner, broken)
