"""Damaged files, from valid ones: a reader reads them or refuses them in its own words.

With ``CLOSEUP_TORTURE=long`` in the environment fifty times as many are tried.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from closeup.core.errors import CloseupError
from tests.fuzz.readers import Reader, readers

LONG = os.environ.get("CLOSEUP_TORTURE") == "long"
EXAMPLES = 10_000 if LONG else 80

_TOKENS = (
    b"null", b"[]", b"{}", b'""', b"-1", b"0", b"1e999", b"NaN", b"true", b"9" * 400, b"[" * 5000,
    b'{"a":' * 5000, b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\n",
    b",", b"\"", b"../",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x80" * 11, b"&a [*a]",
)  # fmt: skip


@st.composite
def damage(draw: st.DrawFn, reader: Reader) -> bytes:
    """One of the seeds, changed in a few places."""
    data = reader.seeds[draw(st.integers(0, len(reader.seeds) - 1))]
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from([1, 1, 2, 4, 8, 64, 10**9])))
        kind = draw(st.sampled_from(["flip", "put", "cut", "twice", "token", "insert"]))
        if kind == "flip" and at < len(data):
            bit = 1 << draw(st.integers(0, 7))
            data = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
        elif kind == "put":
            new = draw(st.binary(min_size=1, max_size=8))
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "cut":
            data = data[:at] + data[end:]
        elif kind == "twice":
            data = data[:end] + data[at:]
        elif kind == "token":
            data = data[:at] + draw(st.sampled_from(_TOKENS)) + data[end:]
        else:
            data = data[:at] + draw(st.binary(max_size=64)) + data[at:]
    return data


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
def test_the_seeds_are_read(reader: Reader, tmp_path: Path) -> None:
    for number, seed in enumerate(reader.seeds):
        folder = tmp_path / str(number)
        folder.mkdir()
        reader.read(folder, seed)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
def test_nothing_but_our_own_errors_comes_out(reader: Reader) -> None:
    @given(st.one_of(damage(reader), st.binary(max_size=64)))
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(CloseupError):
            reader.read(Path(folder), data)

    check()
