from __future__ import annotations

import numpy as np
import pytest

from closeup.core.types import Box, Pixels
from closeup.networks.preprocess import InputSpec, place, prepare


def photo(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (480, 640), (3000, 10), (10, 3000)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("anchor", ["corner", "centre"])
def test_boxes_come_back_where_they_were(size: tuple[int, int], resize: str, anchor: str) -> None:
    spec = InputSpec(width=320, height=256, resize=resize, anchor=anchor)  # type: ignore[arg-type]
    values, placement = prepare(photo(*size), spec)
    assert values.shape == (3, 256, 320)
    whole = place(*size, spec)[1]
    assert np.allclose(placement.to_photo(np.array([whole])), [[0, 0, *size]])


def test_no_boxes_stay_no_boxes() -> None:
    placement = place(10, 10, InputSpec(width=32, height=32))[0]
    assert placement.to_photo(np.zeros((0, 4))).shape == (0, 4)


def test_a_photo_of_the_right_size_is_passed_through_exactly() -> None:
    pixels = photo(32, 32)
    values, _ = prepare(pixels, InputSpec(width=32, height=32, scale="byte"))
    assert np.array_equal(values, pixels.transpose(2, 0, 1))


def test_mean_and_std_follow_the_order_of_color() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 255
    spec = InputSpec(width=8, height=8, color="bgr", mean=(0.1, 0.2, 0.5), std=(1, 1, 0.25))
    assert prepare(pixels, spec)[0][:, 0, 0] == pytest.approx([-0.1, -0.2, 2.0])


def test_letterbox_pads_with_the_given_grey_and_keeps_the_shape() -> None:
    values, _ = prepare(
        np.full((10, 20, 3), 200, np.uint8), InputSpec(width=40, height=40, scale="byte")
    )
    assert np.all(values[:, :20] == 200)
    assert np.all(values[:, 20:] == 114)


def test_stretch_fills_the_input() -> None:
    spec = InputSpec(width=40, height=40, scale="byte", resize="stretch")
    assert np.all(prepare(np.full((10, 20, 3), 200, np.uint8), spec)[0] == 200)
    assert place(20, 10, spec)[1] == Box(0, 0, 40, 40)
