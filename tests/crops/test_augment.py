"""Augmented views: repeatable, alike, never the same twice, at any edge."""

from __future__ import annotations

import numpy as np
import pytest

from closeup.core.types import Box, Crop, CropState
from closeup.crops.augment import augmented
from closeup.photos.picture import Picture


def crop(window: Box, name: str = "a") -> Crop:
    side = int(max(window.width, window.height))
    return Crop(name, name, "x", CropState.CROPPED, "", False, window, window, side, "t", 1.0, "")


@pytest.fixture
def photo() -> Picture:
    ramp = np.linspace(40, 200, 120).astype(np.uint8)
    return Picture.of(np.stack([np.tile(ramp, (90, 1)), np.tile(ramp[:90, None], (1, 120)),
                                np.full((90, 120), 90, np.uint8)], axis=2))  # fmt: skip


@pytest.mark.parametrize("window", [Box(0, 0, 1, 1), Box(0, 0, 120, 90), Box(119, 89, 120, 90)])
def test_any_window_gives_a_square_view(photo: Picture, window: Box) -> None:
    for number in range(5):
        view = augmented(photo, crop(window), number)
        assert view.dtype == np.uint8
        assert view.shape == (view.shape[0], view.shape[0], 3)
        assert view.shape[0] >= 1


def test_one_pixel_is_enough() -> None:
    view = augmented(Picture.of(np.full((1, 1, 3), 77, np.uint8)), crop(Box(0, 0, 1, 1)), 0)
    assert view.shape == (1, 1, 3)


def test_a_view_is_the_same_every_time_and_unlike_the_others(photo: Picture) -> None:
    window = Box(20, 20, 80, 80)
    views = [augmented(photo, crop(window), n) for n in range(4)]
    assert np.array_equal(augmented(photo, crop(window), 2), views[2])
    assert len({view.tobytes() for view in views}) == 4
    assert not np.array_equal(augmented(photo, crop(window, "b"), 0), views[0])


def test_a_view_shows_about_the_same(photo: Picture) -> None:
    window = Box(30, 20, 90, 80)
    plain = photo.pixels()[20:80, 30:90].reshape(-1, 3).mean(axis=0)
    seen = np.mean([augmented(photo, crop(window), n).mean(axis=(0, 1)) for n in range(40)], axis=0)
    assert np.abs(seen - plain).max() < 12


def test_the_photo_is_not_touched(photo: Picture) -> None:
    before = photo.pixels().copy()
    augmented(photo, crop(Box(0, 0, 50, 50)), 0)
    assert np.array_equal(photo.pixels(), before)
