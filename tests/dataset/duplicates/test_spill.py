"""Signatures that wait on the disk."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from closeup.core.errors import ProjectError
from closeup.dataset.duplicates import Signature, Spilled
from closeup.dataset.duplicates.signature import COLOUR, LUMA


def signature(seed: int) -> Signature:
    draw = np.random.default_rng(seed)
    return (draw.integers(0, 256, (LUMA, LUMA), np.uint8),
            draw.integers(0, 256, (COLOUR, COLOUR, 3), np.uint8))  # fmt: skip


def same(one: Signature, other: Signature) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_nothing_kept_writes_nothing(tmp_path: Path) -> None:
    spilled = Spilled(tmp_path / "absent")
    assert len(spilled) == 0
    assert "a" not in spilled
    assert not (tmp_path / "absent").exists()


@given(steps=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 5)), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_it_is_as_a_dictionary(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    spilled, plain = Spilled(tmp_path), dict[str, Signature]()
    for key, seed in steps:
        if seed < 0:
            assert (spilled.pop(key, None) is None) == (plain.pop(key, None) is None)
        else:
            spilled[key] = plain[key] = signature(seed)
    assert list(spilled) == list(plain)
    assert all(same(spilled[key], plain[key]) for key in plain)


def test_no_file_remains_and_none_can_be_seen(tmp_path: Path) -> None:
    spilled = Spilled(tmp_path)
    spilled["a"] = signature(1)
    del spilled
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ProjectError, match="file"):
        Spilled(tmp_path / "file")["a"] = signature(1)
    with pytest.raises(ValueError, match="bytes"):
        Spilled(tmp_path)["a"] = (np.zeros(3, np.uint8),) * 2
