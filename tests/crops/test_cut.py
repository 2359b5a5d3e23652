from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from closeup.core.config import CropConfig, DetectConfig
from closeup.core.text import folder_name
from closeup.core.types import Box, CropState, Detection, Photo, PhotoState, Pixels
from closeup.crops.cut import (
    FILL,
    WIDEST,
    bounded,
    choose,
    cut,
    cut_covered,
    encode_crop,
    find_crops,
    too_small,
    window,
)
from closeup.photos.picture import SMALL, Picture

SOMEWHERE = Box(10, 10, 20, 20)


def detection(
    score: float, box: Box = SOMEWHERE, category: str = "clock", rank: int = 0
) -> Detection:
    return Detection("p-1", rank, category, score, box)


def photo(name: str = "p-1", label: str = "rolex", size: tuple[int, int] = (100, 80)) -> Photo:
    state, code = (PhotoState.READABLE, "") if size[0] else (PhotoState.UNREADABLE, "empty")
    reason = "" if size[0] else "the file is empty"
    return Photo(name, "/r", f"{name}.jpg", label, "", "", state, code, reason, *size, 1, 1, "h")


# choose


@pytest.mark.parametrize("which", ["best", "largest", "all"])
def test_nothing_to_choose_from(which: str) -> None:
    assert choose([], ("any",), 0.0, which) == []
    assert choose([detection(0.04)], ("clock",), 0.05, which) == []
    assert choose([detection(0.9, category="cup")], ("clock",), 0.05, which) == []


def test_threshold_is_inclusive() -> None:
    assert len(choose([detection(0.05)], ("clock",), 0.05, "best")) == 1


def test_a_weak_box_of_the_right_category_beats_a_strong_one_of_another() -> None:
    weak, strong = detection(0.06), detection(0.99, category="person")
    assert choose([strong, weak], ("clock",), 0.05, "best") == [weak]
    assert choose([weak, strong], ("any",), 0.05, "best") == [strong]
    assert choose([weak, strong], ("clock", "person"), 0.05, "best") == [strong]


def test_own_boxes_without_a_category_suit_every_parent() -> None:
    assert len(choose([detection(1.0, category="")], ("clock",), 0.05, "best")) == 1


def test_best_and_largest() -> None:
    small, large = detection(0.9), detection(0.3, Box(0, 0, 50, 50), rank=1)
    assert choose([large, small], ("clock",), 0.05, "best") == [small]
    assert choose([large, small], ("clock",), 0.05, "largest") == [large]


def test_ties_go_by_rank() -> None:
    first, second = detection(0.5, rank=0), detection(0.5, Box(5, 5, 15, 15), rank=1)
    for which in ("best", "largest"):
        assert choose([second, first], ("clock",), 0.05, which) == [first]


def test_all_keeps_one_box_of_an_object_that_has_two_names() -> None:
    clock = detection(0.9, Box(0, 0, 10, 10))
    phone = detection(0.5, Box(0, 0, 10, 9), "cell phone", 1)  # IoU 0.9
    beside = detection(0.4, Box(0, 4, 10, 14), rank=2)  # IoU 0.43
    assert choose([phone, beside, clock], ("any",), 0.05, "all") == [clock, beside]


# window


@st.composite
def photos_with_boxes(draw: st.DrawFn) -> tuple[Box, int, int, float]:
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    xs = sorted(draw(st.tuples(*[st.floats(-50, width + 50)] * 2)))
    ys = sorted(draw(st.tuples(*[st.floats(-50, height + 50)] * 2)))
    pad = draw(st.sampled_from([0.0, 0.1, 0.25, 1.0, 4.0]))
    return Box(xs[0], ys[0], xs[1], ys[1]), width, height, pad


@given(photos_with_boxes())
def test_window_properties(case: tuple[Box, int, int, float]) -> None:
    box, width, height, pad = case
    win, side = window(box, width, height, pad)
    assert all(isinstance(v, int) for v in (*win, side))
    assert 0 <= win.x1 < win.x2 <= width
    assert 0 <= win.y1 < win.y2 <= height
    clipped = box.clip(width, height)
    assert win.x1 <= clipped.x1 <= clipped.x2 <= win.x2
    assert win.y1 <= clipped.y1 <= clipped.y2 <= win.y2
    # Squared by extending: a window is narrower than the close-up only where the photo is.
    assert max(win.width, win.height) <= side <= max(width, height)
    assert win.width == min(side, width)
    assert win.height == min(side, height)
    # Never larger than needed.
    outer = max(
        np.ceil(clipped.x2) - np.floor(clipped.x1), np.ceil(clipped.y2) - np.floor(clipped.y1), 1
    )
    assert side <= outer * (1 + 2 * pad) + 0.5


@given(photos_with_boxes())
def test_cut_keeps_the_original_pixels(case: tuple[Box, int, int, float]) -> None:
    box, width, height, pad = case
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    win, side = window(box, width, height, pad)
    crop = cut(pixels, win, side)
    assert crop.shape == (side, side, 3)
    left, top = (side - win.width) // 2, (side - win.height) // 2
    inside = (slice(top, top + win.height), slice(left, left + win.width))
    assert np.array_equal(crop[inside], pixels[win.y1 : win.y2, win.x1 : win.x2])
    crop[inside] = FILL
    assert (crop == FILL).all()


def test_window_by_hand() -> None:
    assert window(Box(40, 30, 60, 40), 100, 100, 0.1) == (Box(38, 23, 62, 47), 24)
    # At the corner the square is shifted inwards, not cut off.
    assert window(Box(0, 0, 20, 10), 100, 100, 0.1) == (Box(0, 0, 24, 24), 24)
    assert window(Box(90, 95, 100, 100), 100, 100, 0.0) == (Box(90, 90, 100, 100), 10)


@pytest.mark.parametrize("pad", [0.0, 0.1, 4.0])
def test_a_close_up_is_not_harmed(pad: float) -> None:
    assert window(Box(3, 2, 207, 209), 210, 210, max(pad, 0.1)) == (Box(0, 0, 210, 210), 210)
    assert window(Box(0, 0, 400, 100), 400, 100, pad) == (Box(0, 0, 400, 100), 400)


def test_letterbox_is_centred() -> None:
    crop = cut(np.zeros((2, 6, 3), np.uint8), *window(Box(0, 0, 6, 2), 6, 2, 0.0))
    assert (crop[:2] == FILL).all()
    assert (crop[2:4] == 0).all()
    assert (crop[4:] == FILL).all()


def test_box_outside_the_photo() -> None:
    assert window(Box(500, 500, 600, 600), 100, 80, 0.0) == (Box(99, 79, 100, 80), 1)


@given(st.integers(1, 200_000), st.integers(1, 2_000), st.booleans())
def test_no_shape_of_photo_makes_an_enormous_close_up(longer: int, shorter: int, up: bool) -> None:
    shape = (shorter, longer) if up else (longer, shorter)
    win, side = window(Box(0, 0, *shape), *shape, 0.1)
    assert side <= WIDEST
    assert side**2 <= max(4096**2, 16 * longer * shorter)
    assert side == max(shape) or side < max(shape) > 4096
    assert 0 < bounded(win, side) == side


def test_a_strip_is_shrunk_into_its_close_up() -> None:
    strip = np.zeros((20, 30_000, 3), np.uint8)
    strip[:, 15_000:] = 200
    whole = Box(0, 0, 30_000, 20)
    side = bounded(whole, 30_000)
    for pixels in (strip, Picture.of(strip)):
        crop = cut(pixels, whole, side)
        assert crop.shape == (4096, 4096, 3)
        (rows,) = np.nonzero((crop != FILL).all(axis=(1, 2)))
        assert rows.tolist() == [2046, 2047, 2048]
        assert (crop[2047, :2000] == 0).all()
        assert (crop[2047, 2100:] == 200).all()


# find_crops


def find(photos: list[Photo], found: dict[str, list[Detection]], **config: object):
    return find_crops(photos, found, CropConfig(**config), DetectConfig(parent=("clock",)))


def test_no_photos() -> None:
    assert find([], {}) == []


def test_every_photo_has_a_row() -> None:
    photos = [photo("a-1"), photo("b-1", size=(0, 0)), photo("c-1"), photo("d-1")]
    found = {"a-1": [detection(0.9)], "c-1": [detection(0.9, category="cup")]}
    rows = find(photos, found)
    assert [(row.photo_id, row.state) for row in rows] == [
        ("a-1", CropState.CROPPED),
        ("b-1", CropState.UNREADABLE),
        ("c-1", CropState.NOT_FOUND),
        ("d-1", CropState.NOT_FOUND),
    ]
    cropped, unreadable, missed, _ = rows
    assert (cropped.box, cropped.window, cropped.side) == (
        Box(10, 10, 20, 20),
        Box(9, 9, 21, 21),
        12,
    )
    assert (cropped.score, cropped.category, cropped.stand_in) == (0.9, "clock", False)
    assert cropped.file == "crops/rolex/a-1.jpg"
    assert (unreadable.reason, unreadable.file, unreadable.side) == ("the file is empty", "", 0)
    assert missed.stand_in
    assert (missed.window, missed.side) == (Box(0, 0, 100, 80), 100)
    assert (missed.score, missed.category) == (0.0, "")
    assert missed.file == "crops/rolex/c-1.jpg"
    assert "no clock" in missed.reason


def test_dropped_misses_keep_their_row() -> None:
    (row,) = find([photo()], {"p-1": [detection(0.01)]}, on_miss="drop")
    assert (row.state, row.stand_in, row.file, row.side) == (CropState.NOT_FOUND, False, "", 0)
    assert "the best scores 0.01" in row.reason


def test_a_box_below_the_smallest_size_counts_as_not_found() -> None:
    small, large = Box(0, 0, 30, 9.5), Box(10, 10, 60, 20)
    weak = detection(0.3, large, rank=1)
    both = {"p-1": [detection(0.9, small), weak]}
    assert find([photo()], both)[0].box == small
    (crop,) = find([photo()], both, min_size=10)
    assert (crop.state, crop.box) == (CropState.CROPPED, large)
    (missed,) = find([photo()], both, min_size=11)
    assert (missed.state, missed.stand_in) == (CropState.NOT_FOUND, True)
    assert missed.reason == (
        "too small: the clock measures 30 x 10 pixels, and --min-size asks for 11 on the shorter "
        "side"
    )
    (dropped,) = find([photo()], both, min_size=11, on_miss="drop")
    assert dropped.file == ""
    assert too_small([missed, dropped, *find([photo("p-2")], {}, min_size=11)]) == 1


def test_several_objects_have_their_own_ids_and_files() -> None:
    boxes = [Box(i * 30, 0, i * 30 + 20, 20) for i in range(3)]
    found = [detection(0.9 - i / 10, box, rank=i) for i, box in enumerate(boxes)]
    rows = find([photo()], {"p-1": found}, which="all")
    assert [row.id for row in rows] == ["p-1", "p-1-2", "p-1-3"]
    assert len({row.file for row in rows}) == 3


def test_boxes_are_clipped_and_empty_ones_ignored() -> None:
    outside = detection(0.9, Box(200, 200, 300, 300))
    partly = detection(0.5, Box(90, 70, 130, 130), rank=1)
    (row,) = find([photo()], {"p-1": [outside, partly]})
    assert row.box == Box(90, 70, 100, 80)


def test_files_stay_apart_and_inside() -> None:
    labels = ["a/b", "a%2Fb", "a\\b", "..", ".", "", "%unlabelled", "a.", "a", " a", "x\n", "é"]
    labels += ["y" * 300, "y" * 299 + "z", "/etc", "CON:"]
    names = [folder_name(label) for label in labels]
    assert len(set(names)) == len(labels)
    for name in names:
        assert not set(name) & set('/\\:*?"<>|\n')
        assert name not in ("", ".", "..")
        assert not name.startswith((".", " "))
        assert not name.endswith((".", " "))
        assert len(name.encode()) <= 120
    assert folder_name("Granny Smith") == "Granny Smith"
    assert folder_name("Müller & Söhne") == "Müller & Söhne"


@given(st.lists(st.text(max_size=5), unique=True, max_size=8))
def test_folder_names_are_unique(labels: list[str]) -> None:
    for one, other in itertools.combinations(labels, 2):
        assert folder_name(one) != folder_name(other)


def test_encode_crop() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, ::2] = (255, 0, 0)  # stripes that halved colour resolution would blur
    with Image.open(io.BytesIO(encode_crop(Image.fromarray(pixels), 95))) as image:
        decoded = np.asarray(image)
    assert decoded.shape == pixels.shape
    assert np.abs(decoded.astype(int) - pixels).max() < 30


def covered(photo: Picture, box: Box, around: Box | None = None) -> Pixels:
    around = around or Box(0, 0, *photo.size)
    return np.asarray(cut_covered(photo, box, around, int(max(around.width, around.height))))


def test_a_covered_object_is_gone_and_the_rest_untouched() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    hidden = np.zeros((40, 40), bool)
    hidden[5:15, 10:20] = True
    expected = photo.copy()
    expected[hidden] = photo[~hidden].mean(axis=0).round()
    picture, box = Picture.of(photo), Box(10.4, 5, 20, 14.2)
    assert np.array_equal(covered(picture, box), expected)
    for part in (Box(0, 0, 12, 12), Box(12, 7, 16, 11), Box(30, 30, 40, 40)):
        x1, y1, x2, y2 = map(int, part)
        assert np.array_equal(covered(picture, box, part), expected[y1:y2, x1:x2])
    assert np.array_equal(picture.pixels(), photo)


def test_windows_and_sides_of_a_strangers_table_do_no_harm() -> None:
    photo = Picture.of(np.full((20, 30, 3), 7, np.uint8))
    assert cut(photo, Box(9, 5, 3, 2), 4).tolist() == [[[FILL] * 3] * 4] * 4
    assert cut(photo, Box(0, 0, 1, 1), 10**9).shape == (WIDEST, WIDEST, 3)
    assert cut(photo, Box(0, 0, 1, 1), -3).tolist() == [[[7] * 3]]
    pixels = np.full((20, 20, 3), 200, np.uint8)
    pixels[5:15, 5:15] = 10
    seen = covered(Picture.of(pixels), Box(5, 5, 15, 15), Box(-4, -4, 16, 16))
    assert not (seen == 10).any()


def test_a_thin_rim_of_a_large_photo_gives_the_colour() -> None:
    pixels = np.full((2 * SMALL, 2 * SMALL, 3), 10, np.uint8)
    pixels[:, 0] = 250
    seen = covered(Picture.of(pixels), Box(1, 0, 2 * SMALL, 2 * SMALL))
    assert (seen == 250).all()


def test_of_a_large_photo_the_colour_is_that_of_its_smaller_copy() -> None:
    photo = np.full((2 * SMALL, 2 * SMALL, 3), 200, np.uint8)
    photo[101:301, 100:300] = 10
    seen = covered(Picture.of(photo), Box(100, 101, 300, 301))
    assert (seen == 200).all()


@pytest.mark.parametrize("box", [Box(0, 0, 4, 3), Box(-5, -5, 50, 50), Box(1, 1, 1, 1)])
def test_any_box_can_be_covered(box: Box) -> None:
    seen = covered(Picture.of(np.full((3, 4, 3), 9, np.uint8)), box)
    assert seen[:3].tolist() == [[[9] * 3] * 4] * 3
    assert seen[3:].tolist() == [[[FILL] * 3] * 4]
