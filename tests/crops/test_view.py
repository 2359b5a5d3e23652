"""What a network is shown of a photo."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from closeup.core.config import CropConfig, DetectConfig
from closeup.core.types import Box, Detection
from closeup.crops.cut import closeups_of, cut_covered, cut_out
from closeup.crops.view import View, views_of
from closeup.networks.preprocess import InputSpec, prepare
from closeup.photos.picture import SMALL, Picture


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (View(), "closeup"),
        (View("photo"), "photo"),
        (View(covered=True), "closeup-covered"),
        (View(number=2), "closeup-augmented1-2"),
        (View(pad=0.25), "closeup-pad0.25"),
    ],
)
def test_files_of_embeddings_keep_their_names(view: View, name: str) -> None:
    assert str(view) == name


def test_both_is_the_close_up_beside_the_photo() -> None:
    assert views_of("both") == (View("closeup"), View("photo"))
    assert views_of("photo") == (View("photo"),)


def test_a_close_up_is_cut_plain_or_covered() -> None:
    picture = Picture.of(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    found = [Detection("a", 0, "clock", 0.9, Box(10, 10, 20, 20))]
    (crop,) = closeups_of(("a", "x"), picture.size, found, CropConfig(), DetectConfig())
    spec = InputSpec(width=64, height=64, scale="byte")
    plain = np.asarray(View().show(picture, crop, spec))
    assert np.array_equal(plain, np.asarray(cut_out(picture, crop.window, crop.side)))
    covered = np.asarray(View(covered=True).show(picture, crop, spec))
    expected = cut_covered(picture, crop.box, crop.window, crop.side)
    assert np.array_equal(covered, np.asarray(expected))


@pytest.mark.parametrize("size", [(30, 20), (2 * SMALL + 1, 2 * SMALL + 2)])
def test_all_of_a_photo_is_shown_on_a_square(size: tuple[int, int]) -> None:
    """Of a large one its smaller copy, which a small network cannot tell from it."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (9, 6, 3), np.uint8)
    photo = Picture(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    spec = InputSpec(width=64, height=64, scale="byte")
    (crop,) = closeups_of(("a", "x"), size, [], CropConfig(), DetectConfig())
    seen = View("photo").show(photo, crop, spec)
    assert seen.size == (max(photo.small[0].size),) * 2
    expected = cut_out(photo, Box(0, 0, width, height), max(width, height))
    off = np.abs(prepare(seen, spec)[0] - prepare(expected, spec)[0])
    assert off.mean() < 0.3
    hidden = View("photo", covered=True).show(photo, crop, spec)
    assert len(np.unique(np.asarray(hidden).reshape(-1, 3), axis=0)) <= 2  # and the grey
    large = InputSpec(width=SMALL + 100, height=64)
    assert View("photo").show(photo, crop, large).size == (max(size),) * 2
