"""COCO's two numberings."""

from __future__ import annotations

from closeup.networks import COCO80, COCO91


def test_known_numbers() -> None:
    assert (len(COCO80), len(set(COCO80)), len(COCO91)) == (80, 80, 91)
    assert [COCO80[n] for n in (0, 14, 15, 41, 47, 74, 79)] == [
        *("person", "bird", "cat", "cup", "apple", "clock", "toothbrush")
    ]
    assert [COCO91[n] for n in (0, 1, 12, 17, 47, 53, 85, 90)] == [
        *("", "person", "", "cat", "cup", "apple", "clock", "toothbrush")
    ]


def test_the_two_agree_on_order() -> None:
    assert tuple(name for name in COCO91 if name) == COCO80
