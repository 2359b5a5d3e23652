"""A photo turned only where it is looked at is to the pixel the photo that is turned first."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from closeup.core.config import EngineConfig
from closeup.core.types import Box, Pixels
from closeup.detect import Detector
from closeup.networks import find
from closeup.networks.preprocess import InputSpec, prepare
from closeup.photos.picture import SMALL, Picture

TURNS = [None, *Image.Transpose]


def pixels(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def turned(stored: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return stored if turn is None else stored.transpose(turn)


@pytest.mark.parametrize("turn", TURNS)
def test_one_pixel(turn: Image.Transpose | None) -> None:
    picture = Picture(Image.new("RGB", (1, 1), (1, 2, 3)), turn)
    assert picture.size == (1, 1)
    assert picture.pixels().tolist() == [[[1, 2, 3]]]
    assert picture.small[1] == 1
    assert picture.crop(Box(0, 0, 1, 1)).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("turn", TURNS)
def test_parts_are_those_of_the_photo_turned_first(turn: Image.Transpose | None) -> None:
    stored = Image.fromarray(pixels(31, 20))
    whole = turned(stored, turn)
    picture = Picture(stored, turn)
    assert picture.size == whole.size
    assert np.array_equal(picture.pixels(), np.asarray(whole))
    rng = np.random.default_rng(1)
    width, height = whole.size
    for _ in range(20):
        x1, y1 = int(rng.integers(width)), int(rng.integers(height))
        x2, y2 = int(rng.integers(x1, width)) + 1, int(rng.integers(y1, height)) + 1
        part = picture.crop(Box(x1, y1, x2, y2))
        assert np.array_equal(np.asarray(part), np.asarray(whole.crop((x1, y1, x2, y2))))


@pytest.mark.parametrize("turn", TURNS)
def test_a_window_that_leads_outside_is_cut_off(turn: Image.Transpose | None) -> None:
    """A stranger's table may hold any: it must not become a picture of a billion pixels."""
    picture = Picture(Image.fromarray(pixels(31, 20)), turn)
    assert picture.crop(Box(-(10**9), -5, 10**9, 10**9)).size == picture.size
    assert picture.crop(Box(10**6, 0, 10**9, 5)).size == (0, 5)
    assert picture.crop(Box(9, 5, 3, 2)).size == (0, 0)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("size", [(4 * SMALL, 2 * SMALL), (2 * SMALL + 3, 2 * SMALL + 1)])
def test_the_smaller_copy_is_that_of_the_photo_turned_first(
    size: tuple[int, int], turn: Image.Transpose | None
) -> None:
    stored = Image.fromarray(pixels(*size))
    small, factor = Picture(stored, turn).small
    assert factor == 2
    assert np.array_equal(np.asarray(small), np.asarray(turned(stored, turn).reduce(2)))


def test_no_copy_is_smaller_than_it_may_be() -> None:
    for side, factor in ((2 * SMALL - 1, 1), (2 * SMALL, 2), (4 * SMALL - 1, 2), (4 * SMALL, 4)):
        small, found = Picture(Image.new("RGB", (side, side + 100))).small
        assert found == factor
        assert min(small.size) >= SMALL or factor == 1


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_a_large_photo_looks_to_a_network_as_its_pixels_do(resize: str) -> None:
    """Made smaller by way of the copy or at once; also where a row and a column are left over."""
    stored = Image.fromarray(pixels(24, 18)).resize((2 * SMALL + 1, 2 * SMALL + 3))
    spec = InputSpec(width=64, height=96, resize=resize, scale="byte")  # type: ignore[arg-type]
    picture = Picture(stored, Image.Transpose.ROTATE_90)
    assert picture.small[1] == 2
    seen, placement = prepare(picture, spec)
    plain, expected = prepare(picture.pixels(), spec)
    assert placement == expected
    assert np.abs(seen - plain).max() <= 3
    assert np.abs(seen - plain).mean() < 0.5


def test_a_network_larger_than_the_copy_sees_the_photo_itself() -> None:
    picture = Picture(Image.fromarray(pixels(2 * SMALL, 2 * SMALL)))
    assert picture.small[1] == 2
    spec = InputSpec(width=SMALL + 1, height=SMALL + 1, scale="byte")
    assert np.array_equal(prepare(picture, spec)[0], prepare(picture.pixels(), spec)[0])


def test_a_detector_is_fed_the_same_by_pixels_and_by_a_picture() -> None:
    """So what it finds does not depend on whether it got a file or an array."""
    stored = Image.fromarray(pixels(40, 30)).resize((2 * SMALL, 2 * SMALL + 64))
    picture = Picture(stored, Image.Transpose.TRANSVERSE)
    detector = Detector(find("nano-clock", "detector"), EngineConfig())
    one, other = detector.feed(picture), detector.feed(picture.pixels())
    assert one[1] == other[1]
    assert all(np.array_equal(one[0][name], other[0][name]) for name in one[0])
