"""A photo in the making: the camera, the light, and how objects come to lie in it."""

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops

from . import backgrounds
from .camera import Camera, Matrix, cast_shadow, glow, lay, placed, project, shallow_focus, warp
from .designs import Design, Finish
from .distractors import Thing, draw_thing
from .paint import Colour
from .watch import HEAD_HALF, Pose, Sprite, draw_watch

BoxTuple = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(slots=True)
class Stage:
    """An unfinished photo. ``light`` points towards the light in the table's frame (radians)."""

    photo: Image.Image
    camera: Camera
    light: float
    softness: float
    taken: list[tuple[float, float, float]] = field(default_factory=list)

    def cover(self, rng: np.random.Generator) -> None:
        """Cover the whole photo with a surface lying in the table's plane."""
        width, height = self.photo.size
        back = np.linalg.inv(self.camera.plane())
        corners = project(
            back, np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
        )
        low, high = corners.min(axis=0) - 0.05, corners.max(axis=0) + 0.05
        half = (high - low) / 2
        density = min(self.camera.scale, 0.8 * max(width, height) / (2 * float(half.max())))
        raster = (max(32, round(2 * half[0] * density)), max(32, round(2 * half[1] * density)))
        picture = backgrounds.surface(rng, raster)
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.ROTATE_180)
        middle = (low + high) / 2
        matrix = self.camera.plane() @ placed(float(middle[0]), float(middle[1]), 0.0)
        part = warp(picture, (float(half[0]), float(half[1])), matrix, self.photo.size)
        if part is not None:
            self.photo.paste(part[0], part[1])

    def _raise(
        self, picture: Image.Image, half: tuple[float, float], pose: Matrix, z: tuple[float, float]
    ) -> None:
        """Show the side of an object between two heights: slices of its outline, dark to light."""
        lift = (z[1] - z[0]) * self.camera.scale * math.sin(self.camera.tilt)
        count = min(8, int(lift / 2.0))
        alpha = picture.getchannel("A")
        if count and min(alpha.size) > 160:
            alpha = alpha.reduce(2)
        small = picture.resize((1, 1), Image.Resampling.BOX)
        red, green, blue = small.convert("RGB").getpixel((0, 0)) or (90, 90, 90)  # type: ignore[misc]
        for i in range(count):
            at = z[0] + (z[1] - z[0]) * i / count
            part = warp(alpha, half, self.camera.plane(at) @ pose, self.photo.size)
            if part is not None:
                gain = 0.25 + 0.4 * i / count
                colour = (int(red * gain), int(green * gain), int(blue * gain))
                x, y = part[1]
                self.photo.paste(colour, (x, y, x + part[0].width, y + part[0].height), part[0])

    def shade(
        self, alpha: Image.Image, half: tuple[float, float], pose: Matrix, height: float
    ) -> None:
        """Cast an object's shadows on the table: a tight one where it stands, a soft one beside."""
        away = 0.75 * height
        shift = placed(-away * math.cos(self.light), -away * math.sin(self.light), 0.0)
        ground = self.camera.plane()
        scale = self.camera.scale
        cast_shadow(self.photo, alpha, half, ground @ shift @ pose,
                    max(1.5, (0.1 + self.softness * height) * scale), 0.6)  # fmt: skip
        cast_shadow(self.photo, alpha, half, ground @ pose, max(1.0, 0.05 * scale), 0.55)

    def put_thing(self, thing: Thing, pose: Matrix, base: float = 0.0) -> None:
        """Lay an object on the table (or at height ``base``) with its shadow and side."""
        alpha = thing.picture.getchannel("A")
        self.shade(alpha, thing.half, pose, base + thing.height)
        self._raise(thing.picture, thing.half, pose, (base, base + thing.height))
        top = self.camera.plane(base + thing.height) @ pose
        lay(self.photo, thing.picture, thing.half, top)

    def scatter(self, rng: np.random.Generator, count: int, clear: float) -> None:
        """Lay up to ``count`` objects, none nearer than ``clear`` to the middle of the scene."""
        width, height = self.photo.size
        back = np.linalg.inv(self.camera.plane())
        self.taken.append((0.0, 0.0, clear))
        for _ in range(count):
            angle = float(rng.uniform(0, 2 * math.pi))
            size = float(rng.uniform(0.75, 1.35))
            thing = draw_thing(rng, max(18.0, self.camera.scale * size), self.light - angle)
            reach = size * max(thing.half)
            for _ in range(6):
                pixel = np.asarray(rng.uniform(-0.05, 1.05, 2) * (width, height), float)
                x, y = (float(v) for v in project(back, pixel[None])[0])
                if all(math.hypot(x - a, y - b) > reach + r for a, b, r in self.taken):
                    self.taken.append((x, y, reach))
                    self.put_thing(thing, placed(x, y, angle, size))
                    break

    def put_watch(
        self, rng: np.random.Generator, design: Design, finish: Finish, how: "Lie"
    ) -> BoxTuple:
        """Lay a watch into the scene; return its head's true box, which may leave the photo."""
        scale = self.camera.scale * how.size
        pose = Pose(
            scale=float(np.clip(1.2 * scale, 40, max(140.0, min(scale, 240.0)))),
            light=self.light - how.angle,
            wrap=how.wrap,
            strap_length=how.strap_length,
            glare=how.glare,
        )
        sprite = draw_watch(rng, design, finish, pose)
        place = placed(*how.at, how.angle, how.size)
        self._lay_strap(sprite, place, how)
        base = how.base + 0.04
        top = base + sprite.thickness * how.size
        half = (HEAD_HALF, HEAD_HALF)
        alpha = sprite.head.getchannel("A")
        if how.wrap == 0 or not how.worn:
            self.shade(alpha, half, place, how.base + sprite.thickness)
        self._raise(sprite.head, half, place, (base, top))
        lay(self.photo, sprite.head, half, self.camera.plane(top) @ place, sharp=True)
        edge = np.concatenate(
            [project(self.camera.plane(z) @ place, sprite.rim) for z in (base, top)]
        )
        x1, y1 = edge.min(axis=0)
        x2, y2 = edge.max(axis=0)
        return float(x1), float(y1), float(x2), float(y2)

    def _lay_strap(self, sprite: Sprite, place: Matrix, how: "Lie") -> None:
        if sprite.strap is None:
            return
        alpha = sprite.strap.getchannel("A")
        self.shade(alpha, sprite.strap_half, place, how.base + 0.14)
        self._raise(sprite.strap, sprite.strap_half, place, (how.base, how.base + 0.1))
        lay(self.photo, sprite.strap, sprite.strap_half, self.camera.plane(how.base + 0.1) @ place)

    def focus(self, radius: float) -> None:
        """Blur what is far from the watch's distance by up to ``radius`` pixels."""
        if radius > 0.4:
            line = self.camera.centre[1] / self.photo.height
            self.photo = shallow_focus(self.photo, line, radius)

    def light_up(self, rng: np.random.Generator) -> None:
        """Lay the room's uneven light over the scene."""
        self.photo = glow(self.photo, self.light, float(rng.uniform(0.08, 0.34)))
        if rng.random() < 0.35:
            mask = backgrounds.patches_of_light(rng, self.photo.size)
            self.photo = ImageChops.multiply(self.photo, Image.merge("RGB", [mask] * 3))


@dataclass(frozen=True, slots=True)
class Lie:
    """How a watch lies: where, turned by what (radians), its strap's course, height of its back.

    Lengths are in case radii of the scene's main watch; ``size`` is relative to it too.
    """

    angle: float
    wrap: float
    strap_length: float
    glare: float
    base: float = 0.0
    at: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0
    worn: bool = False


def empty_stage(
    rng: np.random.Generator, size: tuple[int, int], scale: float, tilt: float
) -> Stage:
    """Set up a camera over an empty table such that the scene's middle falls well inside."""
    margin = [min(0.48, 1.5 * scale / s) for s in size]
    centre = tuple(float(rng.uniform(m, 1 - m)) * s for m, s in zip(margin, size, strict=True))
    extent = max(size) / scale / 2
    camera = Camera(
        size=size,
        scale=scale,
        centre=(centre[0], centre[1]),
        tilt=tilt,
        roll=float(rng.normal(0, 0.12)),
        distance=extent * float(rng.uniform(2.3, 4.0)),
    )
    colour: Colour = (128, 128, 128)
    light = float(-math.pi / 2 + rng.normal(0, 0.9))
    return Stage(Image.new("RGB", size, colour), camera, light, float(rng.uniform(0.15, 0.6)))
