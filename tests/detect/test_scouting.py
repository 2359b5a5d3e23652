from __future__ import annotations

import json

import numpy as np
import pytest

from closeup.core.types import Box, Detection, Photo, PhotoState
from closeup.detect.scouting import THRESHOLDS, scout

LEFT, RIGHT = Box(0, 0, 50, 50), Box(50, 50, 100, 100)


def photo(name: str, label: str, state: PhotoState = PhotoState.READABLE) -> Photo:
    return Photo(name, "/r", name, label, "", "", state, "", "", 100, 100, 1, 1, "h")


def some(**counts: int) -> list[Photo]:
    return [photo(f"{label}{i}", label) for label, n in counts.items() for i in range(n)]


def seen(photos: list[Photo], category: str, score: float, box: Box = LEFT) -> list[Detection]:
    return [Detection(p.id, 0, category, score, box) for p in photos]


def test_no_photos() -> None:
    result = scout([], [])
    assert result.recommended == result.categories == result.choices == ()
    assert "no photo could be read" in result.warnings[0]
    assert result.to_json()["coverage"] == 0
    assert "0 photos" in result.to_text()


def test_nothing_seen() -> None:
    photos = some(a=3)
    result = scout(photos, seen(photos, "clock", 0.1))
    assert result.recommended == ()
    assert "no category was detected" in result.warnings[0]
    assert result.threshold == THRESHOLDS[0]


def test_single_photo() -> None:
    photos = some(a=1)
    result = scout(photos, [*seen(photos, "clock", 0.9), *seen(photos, "clock", 0.3, RIGHT)])
    (category,) = result.categories
    assert (category.name, category.hit_rate, category.per_label) == ("clock", 1.0, {"a": 1.0})
    assert category.median_area == 0.25
    assert (result.recommended, result.coverage, result.threshold) == (("clock",), 1.0, 0.5)
    assert result.to_text().endswith("Recommended: parent clock")


def test_text_begins_with_what_was_seen_most_and_explains_its_terms() -> None:
    photos = some(a=20)
    long = "Cosmetics Brush/Eyeliner Pencil"
    found = [*seen(photos, "person", 0.9), *seen(photos[:15], long, 0.8, RIGHT)]
    result = scout(photos, found)
    assert [c.name for c in result.categories] == [long, "person"]  # by strength
    lines = result.to_text().splitlines()
    assert lines[2].startswith("category")
    assert lines[3].startswith("person  ")
    assert lines[4].startswith(f"{long}  ")
    assert [line.index("%") for line in lines[3:5]] == [lines[2].index("seen in") + 6] * 2
    text = result.to_text()
    for term in ("seen in: ", "area: ", "fewest, most: ", ">= 0.05: "):
        assert f"\n{term}" in text
    assert "seen in: " not in scout(photos, []).to_text()


def test_json() -> None:
    photos = [*some(a=2, b=1), photo("bad", "b", PhotoState.UNREADABLE)]
    found = [*seen(photos[:2], "clock", 0.9), *seen(photos[3:], "clock", 0.9)]
    found += seen([photo("stranger", "a")], "cup", 0.9)
    result = scout(photos, found).to_json()
    assert json.loads(json.dumps(result)) == result
    assert (result["photos"], result["unreadable"]) == (4, 1)
    assert result["categories"] == [
        {
            "name": "clock",
            "hit_rate": 0.6667,
            "per_label": {"a": 1.0, "b": 0.0},
            "median_area": 0.25,
        }
    ]
    assert result["recommended"] == ["clock"]
    assert result["coverage"] == 0.6667
    assert [choice["parent"] for choice in result["choices"]] == [["clock"], ["any"]]


def test_the_best_score_of_a_photo_counts() -> None:
    photos = some(a=4)
    found = seen(photos, "clock", 0.2) + seen(photos, "clock", 0.4) + seen(photos, "clock", 0.1)
    assert scout(photos, found).categories[0].hit_rate == 1.0


def test_a_category_common_to_all_labels_beats_a_stronger_one_of_a_single_label() -> None:
    photos = some(a=10, b=10)
    found = seen(photos, "clock", 0.4) + seen(photos[:10], "cup", 0.99, RIGHT)
    assert scout(photos, found).recommended == ("clock",)


def test_a_large_label_does_not_outvote_the_small_ones() -> None:
    photos = some(a=90, b=10, c=10)
    found = seen(photos, "clock", 0.5) + seen(photos[:90], "cup", 0.9, RIGHT)
    assert scout(photos, found).recommended == ("clock",)


def test_the_hand_that_holds_it_is_not_the_object() -> None:
    photos = some(a=20, b=20)
    found = seen(photos, "apple", 0.6) + seen(photos, "person", 0.9, RIGHT)
    assert scout(photos, found).recommended == ("apple",)
    assert scout(photos, seen(photos, "person", 0.9)).recommended == ("person",)


def test_a_second_name_is_added_where_it_helps() -> None:
    photos = some(a=50, b=50)
    clocks = [p for i, p in enumerate(photos) if i % 5]
    others = [p for i, p in enumerate(photos) if not i % 5 or i % 5 == 1]
    found = seen(clocks, "clock", 0.8)
    same = scout(photos, found + seen(others, "cell phone", 0.6, LEFT))
    assert same.recommended == ("clock", "cell phone")
    assert same.coverage == 1.0
    assert [choice.categories for choice in same.choices] == [
        ("clock", "cell phone"),
        ("clock",),
        ("cell phone",),
        ("any",),
    ]
    # The same photos, but where both fire they lie apart: another object.
    apart = scout(photos, found + seen(others, "cell phone", 0.6, RIGHT))
    assert apart.recommended == ("clock",)
    assert apart.coverage == pytest.approx(0.8)


def test_a_second_name_that_adds_little_is_not_added() -> None:
    photos = some(a=100, b=100)
    found = seen(photos[:196], "clock", 0.8) + seen(photos[190:], "cell phone", 0.6)
    assert scout(photos, found).recommended == ("clock",)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.9] * 100, 0.5), ([0.9] * 98 + [0.06] * 2, 0.5), ([0.9] * 90 + [0.15] * 10, 0.1),
     ([0.9] * 90 + [0.06] * 10, 0.05), ([0.3] * 100, 0.25)],
)  # fmt: skip
def test_threshold(scores: list[float], expected: float) -> None:
    photos = some(a=50, b=50)
    found = [d for p, score in zip(photos, scores, strict=True) for d in seen([p], "clock", score)]
    assert scout(photos, found).threshold == expected


def test_a_label_found_less_often_is_named() -> None:
    photos = some(a=50, b=50, c=50)
    missed = {f"b{i}" for i in range(20)}
    found = seen([p for p in photos if p.id not in missed], "clock", 0.9)
    (warning,) = scout(photos, found).warnings
    assert "60% of the photos of b but in 100% of the others" in warning


def test_no_alarm_for_chance_or_trifles() -> None:
    few = some(a=4, b=4)
    assert scout(few, seen(few[1:], "clock", 0.9)).warnings == ()
    many = some(a=1000, b=1000)
    found = seen([p for p in many if p.id not in {f"a{i}" for i in range(60)}], "clock", 0.9)
    assert scout(many, found).warnings == ()


def test_a_parent_that_is_hardly_ever_found_is_warned_of() -> None:
    photos = some(a=50, b=50)
    result = scout(photos, seen(photos[::4], "clock", 0.06) + seen(photos[::20], "clock", 0.3))
    assert (result.recommended, result.threshold) == (("clock",), 0.05)
    (warning,) = result.warnings
    assert warning.startswith("clock is found in only 25% of the photos (score >= 0.05)")
    assert "--parent any" in warning
    assert f"Warning: {warning}" in result.to_text()
    assert scout(photos, seen(photos[::2], "clock", 0.9)).warnings == ()


def test_a_rival_is_named() -> None:
    photos = some(a=20)
    found = seen(photos, "bowl", 0.8) + seen(photos, "spoon", 0.7, RIGHT)
    assert "spoon is nearly as frequent as bowl" in scout(photos, found).warnings[0]


def test_order_does_not_matter() -> None:
    photos = some(a=30, b=30)
    random = np.random.default_rng(0)
    found = [
        Detection(p.id, 0, name, float(random.random()), LEFT)
        for p in photos
        for name in ("clock", "cup", "bowl")
    ]
    expected = scout(photos, found).to_json()
    shuffled = [found[i] for i in random.permutation(len(found))]
    assert scout(photos[::-1], shuffled).to_json() == expected
