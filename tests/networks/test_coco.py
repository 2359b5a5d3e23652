"""COCO's two numberings, and those of Objects365."""

from __future__ import annotations

from closeup.detect.class_lists import class_names
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


def test_objects365() -> None:
    names = class_names("objects365")
    assert (len(names), len(set(names))) == (365, 365)
    assert [names[n] for n in (0, 37, 42, 82, 94, 98, 364)] == [
        *("Person", "Monitor/TV", "Watch", "Apple", "Clock", "Dinning Table", "Table Tennis")
    ]
    assert class_names("objects366") == ("", *names)
