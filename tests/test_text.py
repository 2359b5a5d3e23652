from __future__ import annotations

import json
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closeup.text import visible, visible_json


@pytest.mark.parametrize("text", ["", "a", "Granny Smith", "é ü 🍎 漢字", "back\\slash", "👩‍👩‍👧"])
def test_plain_names_stay(text: str) -> None:
    assert visible(text) == text


def test_what_a_terminal_acts_on_is_written_out() -> None:
    assert visible("a\nb\r\x1b[2J\x9b31m\u202e\u2028") == ("a\\nb\\r\\x1b[2J\\x9b31m\\u202e\\u2028")
    assert visible(os.fsdecode(b"\xff")) == "\\udcff"


@given(st.text(st.characters()) | st.text(st.sampled_from("\n\x1b\x9b\u202e\udcffa\\")))
def test_nothing_shown_acts_on_a_terminal(text: str) -> None:
    for shown in (visible(text), visible_json(json.dumps(text, ensure_ascii=False))):
        assert shown.encode("utf8").decode("utf8") == shown
        assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
        assert "\u202e" not in shown
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text
