"""Coded checks."""

from __future__ import annotations

import json
import re

import pytest

import closeup.evaluate.checks
from closeup.core.serialization import from_json, to_json
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.calibration import Bin, Calibration
from closeup.evaluate.checks import (
    TITLES,
    Check,
    CheckState,
    check_calibration,
    check_confusions,
    check_labels,
    check_leak,
    check_precision,
    check_shortcut,
    check_sizes,
    skipped,
)
from closeup.evaluate.crop_checks import TINY, check_crop, check_detection, check_tiny
from closeup.evaluate.label_issues import LabelIssue, LabelIssues

ISSUE, PASSED = CheckState.ISSUE, CheckState.PASSED
SKIPPED, NOT_APPLICABLE = CheckState.SKIPPED, CheckState.NOT_APPLICABLE


def test_nothing_to_check() -> None:
    assert check_leak(None).state is NOT_APPLICABLE
    assert check_sizes({}).state is NOT_APPLICABLE
    assert check_sizes({"a": 3}).state is NOT_APPLICABLE
    assert check_detection(None).state is NOT_APPLICABLE
    assert check_detection({"a": (0, 9)}).state is NOT_APPLICABLE
    assert check_shortcut((0, 0), 0.5, 0.5).state is NOT_APPLICABLE
    assert check_confusions(["a", "b"], [[0, 9], [9, 0]]).state is NOT_APPLICABLE
    assert check_shortcut(None, 0.5, 0.5).state is SKIPPED
    assert check_crop(None).state is SKIPPED
    assert "--compare-photo" in check_crop(None).advice
    assert check_calibration(None).state is SKIPPED
    assert check_labels(None).state is SKIPPED
    assert skipped("CU303", "no test part").state is SKIPPED
    with pytest.raises(KeyError):
        skipped("CU999", "")


def test_tiny_boxes_are_named_from_the_smallest_on() -> None:
    sides = {"a/1.jpg": (90.0, 80.0), "a/2.jpg": (15.0, 40.0), "b/3.jpg": (7.0, 22.0)}
    large = {f"c/{i}.jpg": (50.0, 60.0) for i in range(7)}
    found = check_tiny(sides | large)
    assert found.state is ISSUE
    assert found.detail.startswith(f"in 2 of 10 photos, the box has a shorter side below {TINY}")
    assert found.detail.endswith("b/3.jpg (7 x 22), a/2.jpg (15 x 40)")
    assert f"--min-size {TINY}" in found.advice
    # Where most are small, the photos are, and leaving them out is no advice.
    assert "--min-size" not in check_tiny(sides).advice
    passed = check_tiny(large, too_small=3)
    assert passed.state is PASSED
    assert passed.detail == (
        "the shorter side of each box has 50 pixels or more; 3 photos with smaller boxes only, by "
        "--min-size"
    )
    assert check_tiny({}).state is NOT_APPLICABLE


def test_what_is_withheld_says_why() -> None:
    assert check_labels(None, 0, "too few photos").detail == "too few photos"
    assert check_shortcut(None, 0.5, 0.5, "too few photos").detail == "too few photos"
    assert check_labels(None, 1, "too few photos").state is ISSUE


def test_every_code_is_documented_and_titled() -> None:
    documented = re.findall(r"^(CU\d+) ", str(closeup.evaluate.checks.__doc__), flags=re.MULTILINE)
    assert documented == list(TITLES)
    issues, passed, _ = zip(*TITLES.values(), strict=True)
    assert len({*issues, *passed}) == 2 * len(TITLES)


def test_the_title_tells_what_was_found() -> None:
    assert check_precision(Interval(0.7, 0.65, 0.75), {"a": 9}).title == "Too few test photos"
    assert check_precision(Interval(0.7, 0.65, 0.75), {"a": 90}).title == "Enough test photos"
    assert skipped("CU103", "no test part").title == "Number of test photos"
    assert check_leak(None).title == "Copies across the split"


def test_leak() -> None:
    assert check_leak([]).state is PASSED
    found = check_leak([("a/1.jpg", "test/2.jpg"), ("a/3.jpg", "test/2.jpg")])
    assert found.state is ISSUE
    assert found.detail.startswith("1 test photo with a copy")
    assert "test/2.jpg = a/1.jpg" in found.detail
    many = check_leak([(f"a{i}", f"b{i}") for i in range(9)])
    assert many.detail.startswith("9 test photos")
    assert many.detail.endswith("…")
    out = check_leak([], left_out=5)
    assert out.state is ISSUE
    assert "5 photos left out" in out.detail
    assert "with a copy" in check_leak([("a/1.jpg", "test/2.jpg")], left_out=5).detail


def test_sizes() -> None:
    assert check_sizes({"a": 10, "b": 49}).state is PASSED
    found = check_sizes({"a": 10, "b": 50, "c": 20})
    assert found.state is ISSUE
    assert found.detail == "a has 10 different training photos, b 50"
    even = check_sizes({"a": 7, "b": 7})
    assert even.state is PASSED
    assert even.detail == "each of the 2 classes has 7 different training photos"
    assert check_sizes({"a": 1, "b": 2}).detail == "a has 1 different training photo, b 2"
    assert check_sizes({"a": 0, "b": 5}).state is ISSUE


def test_precision() -> None:
    assert check_precision(Interval(0.7, 0.65, 0.75), {"a": 200, "b": 10}).state is PASSED
    wide = check_precision(Interval(0.7, 0.55, 0.85), {"a": 50, "b": 50})
    assert wide.state is ISSUE
    assert "about 400 photos" in wide.advice
    few = check_precision(Interval(0.7, 0.65, 0.75), {"a": 200, "b": 9})
    assert few.state is ISSUE
    assert "b (9)" in few.detail
    assert "narrower" not in few.advice


def label_issues(count: int, share: float) -> LabelIssues:
    row = LabelIssue(0, "a", "b", 0.8, 0.01, 0.9, True)
    return LabelIssues(100, share, 0.1, 0.3, (row,) * count)


def test_labels() -> None:
    assert check_labels(label_issues(0, 0.0)).state is PASSED
    assert check_labels(label_issues(0, 0.05)).state is PASSED
    assert check_labels(label_issues(3, 0.009)).state is PASSED
    found = check_labels(label_issues(3, 0.04))
    assert found.state is ISSUE
    assert found.detail.startswith(
        "3 of 100 labels are worth checking, an estimated 4.0 % are wrong"
    )
    for some in (None, label_issues(0, 0.0)):
        copies = check_labels(some, disputed=1)
        assert copies.state is ISSUE
        assert copies.detail.startswith("1 group of copies with different labels")


def test_detection() -> None:
    even = dict.fromkeys("abcde", (95, 100))
    assert check_detection(even).state is PASSED
    biased = check_detection({**even, "e": (60, 100)})
    assert biased.state is ISSUE
    assert "in 440 of 500 photos" in biased.detail
    assert "for e (60 of 100)" in biased.detail
    # Significant but too small to matter; large but no more than chance; fine in a single test
    # but not among twenty.
    assert check_detection({"a": (9600, 10_000), "b": (9900, 10_000)}).state is PASSED
    assert check_detection({"a": (1, 2), "b": (2, 2)}).state is PASSED
    twenty = {f"c{i}": (99, 100) for i in range(19)}
    assert check_detection({**twenty, "odd": (17, 19)}).state is PASSED
    assert check_detection({"all": (1881, 1900), "odd": (17, 19)}).state is ISSUE
    assert check_detection({"a": (0, 0), "b": (2, 2)}).state is PASSED


def test_crop() -> None:
    assert check_crop(Interval(0.1, 0.01, 0.2)).state is PASSED
    unclear = check_crop(Interval(0.1, -0.01, 0.2))
    assert unclear.state is ISSUE
    assert "--pad" in unclear.advice
    assert unclear.detail == "close-ups change macro-F1 by +0.100 (-0.010 to +0.200)"
    assert "background" in check_crop(Interval(-0.1, -0.2, -0.01)).advice


def calibration(ece: float, chance: float, confidence: float = 0.8) -> Calibration:
    interval = Interval(ece, 0.0, 1.0)
    return Calibration(
        390, interval, interval, 0.06, chance, confidence, 0.7, 1.0, (Bin(0, 1, 390, 0.8, 0.7),)
    )


def test_calibration() -> None:
    assert check_calibration(calibration(0.09, 0.3)).state is PASSED
    assert check_calibration(calibration(0.03, 0.0)).state is PASSED
    found = check_calibration(calibration(0.12, 0.01))
    assert found.state is ISSUE
    assert found.detail.endswith("would show 0.060; the model is overconfident")
    assert "underconfident" in check_calibration(calibration(0.12, 0.01, 0.6)).detail


def test_shortcut() -> None:
    assert check_shortcut((30, 100), 0.25, 0.9).state is PASSED
    found = check_shortcut((45, 100), 0.25, 0.9)
    assert found.state is ISSUE
    assert "0.450 with the object covered (0.900 with it visible, 0.250 by" in found.detail
    assert check_shortcut((4, 5), 0.25, 0.9).state is ISSUE
    assert check_shortcut((2, 2), 0.25, 0.9).state is PASSED  # two right answers prove nothing


def test_confusions() -> None:
    labels = list("abcd")
    even = [[20 if i == j else 4 for j in range(4)] for i in range(4)]
    assert check_confusions(labels, even).state is PASSED
    assert check_confusions(labels, [[9, 0, 0, 0] for _ in range(4)]).state is ISSUE
    one = [row[:] for row in even]
    one[1][2] = one[2][1] = 12
    found = check_confusions(labels, one)
    assert found.state is ISSUE
    assert found.detail == "often confused: b / c (24 photos)"
    few = [[20, 2, 0, 0], [2, 20, 0, 0], [0, 0, 20, 0], [0, 0, 0, 20]]
    assert check_confusions(labels, few).state is PASSED


def test_json_there_and_back() -> None:
    found = check_leak([("a", "b")])
    assert from_json(Check, json.loads(json.dumps(to_json(found)))) == found
    with pytest.raises(ValueError, match="wrong"):
        from_json(Check, {**to_json(found), "state": "wrong"})
    with pytest.raises(ValueError, match="Field required"):
        from_json(Check, {"code": "CU101"})
