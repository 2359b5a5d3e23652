"""A watch as two flat pictures, strap and head, ready to be laid into a scene."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .case import draw_case, draw_crystal, outline
from .designs import Design, Finish
from .dial import draw_dial
from .hands import draw_hands
from .paint import Board, Points
from .strap import START_WIDTH, draw_strap

HEAD_HALF = 1.42
"""Half the side of the head's square picture, in case radii."""


@dataclass(frozen=True, slots=True)
class Pose:
    """How a watch is drawn: pixels per case radius, light, strap, reflections.

    ``light`` is the direction towards the light in the watch's own frame (radians from +x towards
    +y); ``wrap`` and ``strap_length`` are in case radii (wrap 0: the strap lies flat;
    strap_length 0: none); ``glare`` is 0 to 1.
    """

    scale: float
    light: float
    wrap: float
    strap_length: float
    glare: float


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn watch: RGBA pictures of head and strap with their half sizes, in case radii.

    ``rim`` is the outline of the head (case, lugs, crown), Nx2 units, for the true box.
    """

    head: Image.Image
    strap: Image.Image | None
    strap_half: tuple[float, float]
    rim: Points
    thickness: float


def _rim(head: Image.Image, scale: float) -> Points:
    """Return the outermost opaque points of the head's picture, Nx2 units."""
    opaque = np.asarray(head.getchannel("A")) >= 128
    rows = np.flatnonzero(opaque.any(axis=1))
    left = opaque[rows].argmax(axis=1)
    right = opaque.shape[1] - opaque[rows, ::-1].argmax(axis=1)
    tops = np.concatenate([rows, rows + 1, rows, rows + 1])
    sides = np.concatenate([left, left, right, right])
    return np.stack([sides, tops], axis=1) / scale - HEAD_HALF


def draw_watch(rng: np.random.Generator, design: Design, finish: Finish, pose: Pose) -> Sprite:
    """Draw a watch; equal draws of ``rng`` give equal pictures."""
    board = Board((HEAD_HALF, HEAD_HALF), pose.scale, pose.light, finish.metal)
    draw_case(board, rng, design, finish)
    draw_dial(board, rng, design, finish, outline(finish.shape) * finish.dial_radius)
    draw_hands(board, design, finish, sweep=design.subdials not in ("six", "moon"))
    draw_crystal(board, rng, finish, pose.glare)
    head = board.finished()
    strap, strap_half = None, (START_WIDTH + 0.06, max(1.3, pose.strap_length))
    if pose.strap_length > 0 and not finish.clock:
        band = Board(strap_half, 0.8 * pose.scale, pose.light, finish.strap_colour)
        draw_strap(band, rng, finish, pose.wrap)
        strap = band.finished()
    return Sprite(head, strap, strap_half, _rim(head, pose.scale), finish.thickness)
