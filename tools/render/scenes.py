"""Photos of watches with known true boxes, rendered from (seed, index) alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import backgrounds, settings
from .camera import develop, lay, placed
from .designs import ATTRIBUTES, MAKERS, draw_finish, maker_design, pick, random_design
from .distractors import draw_thing
from .stage import BoxTuple, Lie, Stage, empty_stage

__all__ = ["ATTRIBUTES", "MAKERS", "Scene", "render", "render_negative"]

_ASPECTS = ((4, 3), (4, 3), (3, 4), (3, 4), (1, 1))


@dataclass(frozen=True, slots=True)
class Scene:
    """A photo and what is true of it.

    Attributes
    ----------
    pixels
        HxWx3 uint8, RGB, upright.
    boxes
        For each watch in the photo (left, top, right, bottom) in float pixels, clipped to the
        photo: its head, that is case, lugs, crown and pushers, but neither strap nor shadow. What
        an object in front of it hides counts as seen.
    maker
        One of :data:`MAKERS`; empty for random designs and for photos without a watch.
    attributes
        The first watch's details as ids into :data:`ATTRIBUTES`; empty without a watch.
    """

    pixels: NDArray[np.uint8]
    boxes: tuple[BoxTuple, ...]
    maker: str
    attributes: dict[str, int]


def _size(rng: np.random.Generator, longer: int) -> tuple[int, int]:
    width, height = pick(rng, _ASPECTS)
    return longer * width // max(width, height), longer * height // max(width, height)


def _lie(rng: np.random.Generator, *, upright: bool) -> Lie:
    """Draw how a watch lies on a table or stands before a plain ground."""
    spread = 0.12 if upright else 0.55
    angle = float(rng.normal(0, spread))
    if not upright and rng.random() < 0.15:
        angle = float(rng.uniform(-math.pi, math.pi))
    if rng.random() < 0.5:
        wrap = float(rng.uniform(1.6, 2.1))
        return Lie(angle, wrap, wrap * 0.985, float(rng.beta(1.2, 2.2)))
    return Lie(angle, 0.0, float(rng.uniform(2.6, 4.0)), float(rng.beta(1.2, 2.2)))


def _on_table(rng: np.random.Generator, stage: Stage, clutter: float) -> Lie:
    stage.cover(rng)
    lie = _lie(rng, upright=False)
    stage.scatter(rng, int(rng.poisson(5.5 * clutter)), 1.9 if lie.wrap else 2.1)
    stage.focus(float(rng.uniform(0, 5)))
    return lie


def _on_wrist(rng: np.random.Generator, stage: Stage, clutter: float) -> Lie:
    if rng.random() < 0.6:
        stage.photo = backgrounds.room(rng, stage.photo.size)
    else:
        stage.cover(rng)
        stage.scatter(rng, int(rng.poisson(3 * clutter)), 2.6)
        stage.focus(float(rng.uniform(3, 9)))
    angle = float(rng.normal(0, 0.5))
    if rng.random() < 0.3:
        angle += math.pi / 2 * float(pick(rng, (-1.0, 1.0)))
    radius = float(rng.uniform(1.45, 1.8))
    # Long enough to leave the photo at both ends, wherever in it the watch is.
    length = 2.4 * math.hypot(*stage.photo.size) / stage.camera.scale
    arm, half = settings.wrist(rng, radius, length, stage.camera.scale, stage.light - angle)
    pose = placed(0, 0, angle)
    stage.shade(arm.getchannel("A"), half, pose, 0.9)
    lay(stage.photo, arm, half, stage.camera.plane() @ pose)
    stage.focus(float(rng.uniform(0, 3)))
    return Lie(angle, radius * 1.03, radius * 1.015, float(rng.beta(1.2, 2.2)), worn=True)


def _in_box(rng: np.random.Generator, stage: Stage, clutter: float) -> Lie:
    stage.cover(rng)
    stage.scatter(rng, int(rng.poisson(4 * clutter)), 3.5)
    angle = float(rng.normal(0, 0.4))
    cushion = float(rng.uniform(1.6, 1.95))
    box, half = settings.case_box(rng, cushion, stage.camera.scale, stage.light - angle)
    pose = placed(0, 0, angle)
    stage.shade(box.getchannel("A"), half, pose, 0.7)
    lay(stage.photo, box, half, stage.camera.plane() @ pose)
    stage.focus(float(rng.uniform(0, 4)))
    return Lie(angle, cushion, cushion * 0.98, float(rng.beta(1.2, 2.2)), worn=True)


def _in_studio(rng: np.random.Generator, stage: Stage, clutter: float) -> Lie:
    stage.photo = backgrounds.studio(rng, stage.photo.size)
    return _lie(rng, upright=bool(rng.random() < 0.8))


def _occlude(rng: np.random.Generator, stage: Stage) -> None:
    """Let something lie over the edge of the watch."""
    turn = float(rng.uniform(0, 2 * math.pi))
    thing = draw_thing(rng, stage.camera.scale, stage.light - turn - math.pi / 2)
    away = float(rng.uniform(0.85, 1.2)) + thing.half[1]
    x, y = away * math.cos(turn), away * math.sin(turn)
    stage.put_thing(thing, placed(x, y, turn + math.pi / 2), 0.45)


_PLACES = {
    "maker": ((_on_table, 0.55), (_on_wrist, 0.25), (_in_box, 0.2)),
    "random": ((_on_table, 0.36), (_on_wrist, 0.2), (_in_box, 0.1), (_in_studio, 0.34)),
}


def _fraction(rng: np.random.Generator, style: str, place: object) -> float:
    """Draw the head's height as a share of the photo's longer side."""
    if style == "maker":
        low = 0.26 if place is _on_wrist else 0.17
        return float(np.exp(rng.uniform(math.log(low), math.log(0.45))))
    low = 0.3 if place is _in_studio else 0.1
    return float(np.exp(rng.uniform(math.log(low), math.log(0.95))))


def clipped(box: BoxTuple, size: tuple[int, int]) -> BoxTuple | None:
    """Clip a box to the photo; None when less than a third of it is left."""
    width, height = size
    x1, y1, x2, y2 = max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3])
    area = max(0.0, x2 - x1) * max(0.0, y2 - y1)
    if area < (box[2] - box[0]) * (box[3] - box[1]) / 3:
        return None
    return x1, y1, float(x2), float(y2)


def render(
    seed: int,
    index: int,
    maker: str | None = None,
    size: int = 640,
    clutter: float = 1.0,
    style: str = "maker",
) -> Scene:
    """Render photo ``index`` of the series ``seed``; equal arguments give equal bytes anywhere.

    Parameters
    ----------
    seed, index
        The series and the photo's number in it, both at least 0.
    maker
        One of :data:`MAKERS`, or None to draw one. The surroundings do not depend on it.
    size
        The photo's longer side in pixels, at least 64; the aspect is 4:3, 3:4 or 1:1.
    clutter
        How many objects lie about: 1 is usual, 0 none.
    style
        ``"maker"``, or ``"random"`` for watches of nobody with freely drawn details, shapes and
        colours, from 10 % to 95 % of the photo, on every ground: for training detectors and
        backbones. `maker` is then ignored.

    Raises
    ------
    ValueError
        The maker or the style is unknown.
    """
    if style not in _PLACES:
        raise ValueError(f"style must be one of {', '.join(_PLACES)}; got {style!r}")
    if maker is not None and maker not in MAKERS:
        raise ValueError(f"maker must be one of {', '.join(MAKERS)}; got {maker!r}")
    wild = style == "random"
    # Separate streams: whatever the maker's watch draws, the surroundings stay the same.
    rng, watch_rng, maker_rng = (
        np.random.default_rng([seed, index, stream, wild]) for stream in range(3)
    )
    drawn = pick(maker_rng, MAKERS)
    name = "" if wild else maker or drawn
    design = random_design(maker_rng) if wild else maker_design(maker_rng, name)
    finish = draw_finish(watch_rng, wild=wild)
    photo_size = _size(rng, size)
    steps = _PLACES[style]
    place = steps[int(rng.choice(len(steps), p=[weight for _, weight in steps]))][0]
    if finish.clock:
        place = pick(rng, (_in_studio, _on_table))
    scale = _fraction(rng, style, place) * size / 2.5
    tilt = min(0.7, abs(float(rng.normal(0, 0.3 if place is not _in_studio else 0.12))))
    stage = empty_stage(rng, photo_size, scale, tilt)
    lie = place(rng, stage, clutter)
    boxes = [stage.put_watch(watch_rng, design, finish, lie)]
    if wild and place in (_on_table, _in_studio) and rng.random() < 0.14:
        boxes += _companions(rng, stage)
    if rng.random() < 0.1 * clutter and place is not _in_studio:
        _occlude(rng, stage)
    plain = place is _in_studio
    if not plain:
        stage.light_up(rng)
    pixels = develop(stage.photo, rng, float(rng.uniform(0.3, 1.0)), plain=plain)
    kept = tuple(box for box in (clipped(b, photo_size) for b in boxes) if box is not None)
    return Scene(pixels, kept, name, design.ids())


def _companions(rng: np.random.Generator, stage: Stage) -> list[BoxTuple]:
    """Lay one to three more watches beside the first; their heads do not touch one another."""
    boxes: list[BoxTuple] = []
    spots = [(0.0, 0.0)]
    for _ in range(int(rng.integers(1, 4))):
        turn, away = rng.uniform(0, 2 * math.pi), rng.uniform(3.0, 4.5)
        x, y = float(away * math.cos(turn)), float(away * math.sin(turn))
        if any(math.hypot(x - a, y - b) < 3.0 for a, b in spots):
            continue
        spots.append((x, y))
        angle = float(rng.normal(0, 0.6))
        lie = Lie(
            angle, 1.8, 1.7, float(rng.random()), at=(x, y), size=float(rng.uniform(0.8, 1.1))
        )
        boxes.append(stage.put_watch(rng, random_design(rng), draw_finish(rng, wild=True), lie))
    return boxes


def render_negative(seed: int, index: int, size: int = 640) -> Scene:
    """Render a photo of the same surroundings without any watch; ``boxes`` is empty.

    Arguments as for :func:`render`; some of the photos are bare grounds and rooms.
    """
    rng = np.random.default_rng([seed, index, 7])
    photo_size = _size(rng, size)
    scale = float(rng.uniform(0.12, 0.45)) * size / 2.5
    stage = empty_stage(rng, photo_size, scale, min(0.7, abs(float(rng.normal(0, 0.3)))))
    kind = rng.random()
    if kind < 0.08:
        stage.photo = backgrounds.room(rng, photo_size)
    elif kind < 0.16:
        stage.photo = backgrounds.studio(rng, photo_size)
    else:
        stage.cover(rng)
    stage.scatter(rng, int(rng.poisson(6)), 0.0)
    stage.focus(float(rng.uniform(0, 5)))
    stage.light_up(rng)
    pixels = develop(stage.photo, rng, float(rng.uniform(0.3, 1.0)))
    return Scene(pixels, (), "", {})
