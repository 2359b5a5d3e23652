"""Close-ups for training: kept small, judged as they are, changed at random."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from closeup.core.types import Pixels
from closeup.learn.finetune import FinetuneConfig
from closeup.learn.finetune.pictures import SPARE, Pictures, augment
from closeup.networks.preprocess import InputSpec, prepare

SPEC = InputSpec(width=40, height=40, anchor="centre", interpolation="bicubic")
STILL = FinetuneConfig(least_area=1, rotation=0, colour=0, flip=False)


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def load(*pictures: Pixels, held: bool = False, kept_bytes: int = 1 << 30) -> Pictures:
    closeups = [partial(np.copy, p) for p in pictures]
    return Pictures.load(closeups, SPEC, [held] * len(closeups), kept_bytes=kept_bytes)


def test_none_at_all() -> None:
    assert load().canvases == ()


@pytest.mark.parametrize("shape", [(1, 1), (8, 31), (40, 40), (300, 90)])
@pytest.mark.parametrize(("held", "kept_bytes"), [(True, 1 << 30), (True, 0), (False, 0)])
def test_a_picture_as_it_is_fits_the_network(
    shape: tuple[int, int], held: bool, kept_bytes: int
) -> None:
    pixels = picture(*shape)
    pictures = load(pixels, held=held, kept_bytes=kept_bytes)
    assert pictures.plain(0).shape == (40, 40, 3)
    if held:
        raw = SPEC.model_copy(update={"scale": "byte"})
        expected = prepare(pixels, raw)[0].transpose(1, 2, 0)
        np.testing.assert_array_equal(pictures.plain(0), expected)


def test_what_is_trained_on_keeps_its_pixels_or_a_little_more_than_needed() -> None:
    small, large = picture(30, 30), picture(200, 200)
    pictures = load(small, large)
    np.testing.assert_array_equal(pictures.canvas(0), small)
    assert pictures.canvas(1).shape == (round(40 * SPARE), round(40 * SPARE), 3)


def test_pictures_beyond_the_bound_are_made_again() -> None:
    both = picture(30, 30), picture(30, 30, 1)
    pictures = load(*both, kept_bytes=30 * 30 * 3)
    assert [canvas is None for canvas in pictures.canvases] == [False, True]
    np.testing.assert_array_equal(pictures.canvas(1), both[1])
    assert pictures.digest == load(*both).digest


def test_the_digest_tells_other_pixels_apart() -> None:
    pixels = picture(30, 30)
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    assert load(pixels).digest != load(changed).digest
    assert load(pixels, changed).digest != load(changed, pixels).digest


def test_without_augmentation_nothing_changes() -> None:
    pixels = picture(40, 40)
    np.testing.assert_array_equal(augment(pixels, SPEC, np.random.default_rng(0), STILL), pixels)


def test_about_half_are_mirrored() -> None:
    pixels = picture(40, 40)
    config = STILL.model_copy(update={"flip": True})
    found = [augment(pixels, SPEC, np.random.default_rng(n), config) for n in range(40)]
    mirrored = sum(np.array_equal(p, pixels[:, ::-1]) for p in found)
    assert sum(np.array_equal(p, pixels) for p in found) == 40 - mirrored
    assert 10 < mirrored < 30


def test_a_cut_lies_inside_the_picture() -> None:
    # A picture of its own coordinates: what is seen tells where it was cut.
    y, x = np.mgrid[0:100, 0:100].astype(np.uint8)
    pixels = np.stack([x, y, x], axis=2) + 50
    config = STILL.model_copy(update={"least_area": 0.25})
    spans = []
    for n in range(30):
        found = augment(pixels, SPEC, np.random.default_rng(n), config)[..., :2].astype(int)
        assert found.min() >= 50
        assert found.max() <= 149
        spans.append(np.ptp(found[20, :, 0]))
    assert min(spans) < 60
    assert max(spans) > 85


def test_grey_stays_grey_and_colour_changes() -> None:
    config = STILL.model_copy(update={"colour": 0.3})
    grey = np.repeat(picture(40, 40)[..., :1], 3, axis=2)
    found = augment(grey, SPEC, np.random.default_rng(0), config).astype(int)
    assert np.ptp(found, axis=2).max() <= 1
    assert np.abs(found - grey).max() > 5


def test_a_rectangle_is_blanked() -> None:
    config = STILL.model_copy(update={"erase": 1.0})
    pixels = np.zeros((40, 40, 3), np.uint8)
    for n in range(20):
        found = augment(pixels, SPEC, np.random.default_rng(n), config)
        blank = (found == SPEC.pad).all(axis=2)
        assert 0.01 < blank.mean() < 0.25
        assert (found[~blank] == 0).all()


def test_the_same_chance_gives_the_same_picture() -> None:
    pixels, config = picture(70, 70), FinetuneConfig(erase=0.5)
    first, again, other = (
        augment(pixels, SPEC, np.random.default_rng(n), config) for n in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
