from __future__ import annotations

import json
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from closeup.core.text import first_of, readable, visible, visible_json


@pytest.mark.parametrize("text", ["", "a", "Granny Smith", "é ü 🍎 漢字", "back\\slash", "👩‍👩‍👧"])
def test_plain_names_stay(text: str) -> None:
    assert visible(text) == text


def test_what_a_terminal_acts_on_is_written_out() -> None:
    assert visible("a\nb\r\x1b[2J\x9b31m\u202e\u2028") == ("a\\nb\\r\\x1b[2J\\x9b31m\\u202e\\u2028")
    assert visible(os.fsdecode(b"\xff")) == "\\udcff"


def test_pages_keep_their_line_ends_and_what_is_no_text() -> None:
    assert readable("a\n\tb\x1b[2J\u202e") == "a\n\tb\\x1b[2J\\u202e"
    assert readable(3) == 3
    assert readable(None) is None
    made = readable(Markup("<b>é\x1b</b>"))
    assert isinstance(made, Markup)
    assert made == "<b>é\\x1b</b>"


@given(st.text(st.characters()) | st.text(st.sampled_from("\n\x1b\x9b\u202e\udcffa\\")))
def test_nothing_shown_acts_on_a_terminal(text: str) -> None:
    for shown in (visible(text), visible_json(json.dumps(text, ensure_ascii=False))):
        assert shown.encode("utf8").decode("utf8") == shown
        assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
        assert "\u202e" not in shown
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text


def test_long_lists_of_names_are_shortened() -> None:
    assert first_of([]) == ""
    assert first_of("edcba") == "a, b, c, d, e"
    assert first_of("fedcba") == "a, b, c, d, e and 1 more"
