"""Progress as plain lines."""

from __future__ import annotations

import pytest

from closeup.cli import output


def test_time_left_is_told_in_words_and_does_not_count_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 20.0, 40.0, 100.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    tell = output._PlainLines()
    for done in (500, 520, 780, 1000):
        tell("finetune", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fine-tuning: 520 of 1000, about 8 min left",
        "fine-tuning: 780 of 1000, about 31 s left",
        "fine-tuning: 1000 of 1000 in 100.0 s 5/s",
    ]
