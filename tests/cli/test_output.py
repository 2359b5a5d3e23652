"""Progress as plain lines, and tables."""

from __future__ import annotations

import logging

import pytest

from closeup.cli import output


def test_time_left_is_told_in_words_and_does_not_count_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 20.0, 40.0, 20_000.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    tell = output._PlainLines()
    for done in (500, 501, 780, 1000):
        tell("finetune", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fine-tuning: 501 of 1000, about 2 h 46 min left",
        "fine-tuning: 780 of 1000, about 31 s left",
        "fine-tuning: 1000 of 1000 in 5 h 33 min",
    ]


def test_a_rate_is_only_told_of_several_pieces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.2, 1.0, 3.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    tell = output._PlainLines()
    for done, total in ((0, 1), (1, 1), (0, 9), (9, 9)):
        tell("predict", done, total)
    assert capsys.readouterr().err.splitlines() == [
        "predicting: done in 0.20 s",
        "predicting: 9 of 9 in 2.0 s 4/s",
    ]


def test_a_long_piece_of_work_is_told_as_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 24.0, 24.0, 25.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    tell = output._PlainLines()
    tell("compare", 0, 2)
    assert capsys.readouterr().err == "training heads 0 of 2\n"
    tell("compare", 2, 2)
    tell("duplicates", 0, 1)
    tell("duplicates", 1, 1)
    assert capsys.readouterr().err.splitlines() == [
        "training heads: 2 of 2 in 24.0 s",
        "finding duplicates",
        "finding duplicates: done in 1.0 s",
    ]


def test_what_the_library_logs_is_printed_meanwhile_and_only_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("closeup.learn.finetune.loop")
    with output.progress_on_stderr():
        logger.info("epoch %d of %d\x1b[2J", 1, 14)
        logger.debug("more than anybody wants to know")
    logger.info("afterwards")
    assert capsys.readouterr().err == "epoch 1 of 14\\x1b[2J\n"


def test_columns_are_aligned_as_they_are_seen_and_nothing_is_cut() -> None:
    name = f"/photos/{'deep/' * 30}one.jpg"
    rows = [["label", "photo"], ["腕時計", name], ["a\nb", "two.jpg"]]
    assert output.columns(rows) == ["label   photo", f"腕時計  {name}", "a\\nb    two.jpg"]
