"""Rendered scenes: the same everywhere, with true boxes."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tools.render.designs import draw_finish, maker_design
from tools.render.scenes import ATTRIBUTES, MAKERS, Scene, render, render_negative
from tools.render.stage import Lie, empty_stage

SIZE = 224


def digest(scene: Scene) -> str:
    """One hash of everything in a scene."""
    whole = scene.pixels.tobytes() + repr((scene.boxes, scene.maker, scene.attributes)).encode()
    return hashlib.sha256(whole).hexdigest()


def test_equal_numbers_give_equal_bytes_in_another_process() -> None:
    here = [digest(render(3, i, size=SIZE, style=s)) for i in (0, 5) for s in ("maker", "random")]
    code = (
        "from tests.tools.render.test_scenes import digest\n"
        "from tools.render.scenes import render\n"
        "order = [(i, s) for i in (5, 0) for s in ('random', 'maker')]\n"
        f"print(*[digest(render(3, i, size={SIZE}, style=s)) for i, s in order])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == here[::-1]


@pytest.mark.parametrize("maker", MAKERS)
def test_every_maker_has_its_photos(maker: str) -> None:
    scene = render(1, 4, maker, size=SIZE)
    assert scene.maker == maker
    assert scene.pixels.dtype == np.uint8
    assert max(scene.pixels.shape[:2]) == SIZE
    assert scene.attributes.keys() == ATTRIBUTES.keys()
    assert all(0 <= i < len(ATTRIBUTES[key]) for key, i in scene.attributes.items())


def test_makers_are_drawn_when_none_is_named() -> None:
    assert {render(2, i, size=64).maker for i in range(30)} == set(MAKERS)


def test_makers_never_share_hands_markers_crown_and_emblem() -> None:
    rng = np.random.default_rng(0)
    designs = [maker_design(rng, maker) for maker in MAKERS]
    for detail in ("hands", "indices", "crown", "glyph"):
        assert len({getattr(design, detail) for design in designs}) == len(MAKERS)


def test_surroundings_do_not_depend_on_the_maker() -> None:
    first, second = (render(8, 2, maker, size=SIZE) for maker in MAKERS[:2])
    assert first.pixels.shape == second.pixels.shape
    x1, y1, x2, y2 = (round(v) for v in first.boxes[0])
    differs = np.abs(first.pixels.astype(int) - second.pixels).max(axis=2) > 40
    inside = differs[y1:y2, x1:x2].sum()
    assert inside > 20
    assert differs.sum() - inside < 0.1 * inside


@pytest.mark.parametrize("style", ["maker", "random"])
def test_boxes_lie_in_the_photo(style: str) -> None:
    for index in range(25):
        scene = render(11, index, size=96, style=style)
        height, width = scene.pixels.shape[:2]
        assert scene.boxes
        for x1, y1, x2, y2 in scene.boxes:
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            if style == "maker":
                assert 0.12 < max(x2 - x1, y2 - y1) / max(width, height) < 0.62


@pytest.mark.parametrize("tilt", [0.0, 0.6])
def test_the_box_is_where_the_head_is(tilt: float) -> None:
    """With and without the watch: what changes is the head (no strap, shadows barely)."""
    rng = np.random.default_rng(5)
    stage = empty_stage(rng, (320, 240), 40.0, tilt)
    stage.photo.paste((255, 255, 255), (0, 0, 320, 240))
    before = np.asarray(stage.photo, dtype=int)
    lie = Lie(angle=0.4, wrap=2.0, strap_length=0.0, glare=0.0, worn=True)
    finish = draw_finish(rng)
    box = stage.put_watch(rng, maker_design(rng, MAKERS[0]), finish, lie)
    changed = np.abs(np.asarray(stage.photo, dtype=int) - before).max(axis=2) > 24
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(box, seen)).max() < 3.0


def test_scenes_without_a_watch_have_no_box() -> None:
    scene = render_negative(4, 1, size=SIZE)
    assert scene.boxes == ()
    assert scene.maker == ""
    assert scene.attributes == {}
    assert scene.pixels.std() > 1
    assert digest(scene) == digest(render_negative(4, 1, size=SIZE))


def test_random_designs_are_nobodys_and_vary() -> None:
    scenes = [render(6, i, size=64, style="random") for i in range(30)]
    assert {scene.maker for scene in scenes} == {""}
    assert len({tuple(scene.attributes.values()) for scene in scenes}) == len(scenes)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="Averlund"):
        render(0, 0, "Nobody")
    with pytest.raises(ValueError, match="random"):
        render(0, 0, style="wild")
