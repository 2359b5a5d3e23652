"""Straps and bracelets, computed pixel by pixel from distance along and across."""

import math

import numpy as np
from PIL import Image, ImageFilter

from . import noise
from .designs import Finish
from .noise import Field
from .paint import Board, enamel_ramp, metal_ramp, toned

START_WIDTH = 0.56
"""Half the width of a strap between the lugs, in case radii."""


def _half_width(along: Field, taper: float) -> Field:
    """Half the strap's width at the distance ``along`` from the watch's middle (units), HxW."""
    half: Field = START_WIDTH - taper * np.clip((along - 1.0) / 3.0, 0, 1)
    return half


def _links(x: Field, along: Field, half: Field, kind: str, light: float) -> Field:
    """Tones of a metal bracelet: ``three_link``, ``five_link`` or ``mesh``, HxW."""
    across = x / half
    if kind == "mesh":
        pitch = 2 * np.pi / 0.075
        weave = np.sin(pitch * x) * np.sin(pitch * along)
        diagonal = np.sin(pitch * (x + along))
        mesh: Field = 0.52 + 0.22 * weave + 0.14 * diagonal
        return mesh
    edges = (-1.0, -0.4, 0.4, 1.0) if kind == "three_link" else (-1.0, -0.5, -0.2, 0.2, 0.5, 1.0)
    pitch = 0.3 if kind == "three_link" else 0.2
    tone = np.zeros_like(x)
    for i in range(len(edges) - 1):
        inside = (across >= edges[i]) & (across < edges[i + 1])
        centre, width = (edges[i] + edges[i + 1]) / 2, (edges[i + 1] - edges[i]) / 2
        u = (across - centre) / width
        v = ((along / pitch + 0.5 * (i % 2)) % 1.0) * 2 - 1
        polished = i % 2 == 1
        dome = 0.66 + (0.26 if polished else 0.14) * (math.cos(light) * u + math.sin(light) * v)
        if polished:
            dome = dome + 0.16 * np.cos(2.6 * u)
        gap = np.minimum((1 - np.abs(u)) * width * half, (1 - np.abs(v)) * pitch / 2)
        dome = dome - 0.5 * np.clip(1 - gap / 0.02, 0, 1)
        tone = np.where(inside, dome, tone)
    return tone.astype(np.float32)


def _hide(
    board: Board, rng: np.random.Generator, along: Field, half: Field, kind: str
) -> tuple[Field, Field]:
    """Return tones of leather, rubber or nato cloth and the mask of its stitches, HxW each."""
    x, _ = board.grid
    shape = x.shape
    across = x / half
    cells = (board.size[1] / 3.0, board.size[0] / 3.0)
    tone = (
        0.5 + 0.035 * noise.smooth(rng, shape, cells) + 0.03 * noise.fractal(rng, shape, (9, 4), 3)
    )
    tone += 0.06 * math.cos(board.light) * across - 0.26 * np.abs(across) ** 6
    stitches = np.zeros_like(x)
    if kind == "leather":
        if rng.random() < 0.4:
            scale = np.abs(np.sin(along * 15)) ** 0.25 * np.abs(np.sin(across * 5.5 + 0.8)) ** 0.25
            tone += 0.22 * (scale - 0.8)
        seam = np.abs(np.abs(across) - 0.82) * half
        stitches = np.clip(1.6 - seam / 0.012, 0, 1) * (np.sin(along * 52) > -0.2)
        tone -= 0.12 * np.clip(1 - seam / 0.035, 0, 1)
    elif kind == "nato":
        tone += 0.07 * np.sin(along * 90) * np.sin(x * 90)
        if rng.random() < 0.6:
            tone += np.where(np.abs(across) < 0.36, 0.3, 0.0)
    elif rng.random() < 0.5:
        tone -= 0.14 * (np.abs(np.sin(along * 9)) < 0.25) * (np.abs(across) < 0.7)
    return tone.astype(np.float32), stitches.astype(np.float32)


def draw_strap(board: Board, rng: np.random.Generator, finish: Finish, wrap: float) -> None:
    """Draw both halves of the strap along y.

    ``wrap`` is the radius (units) of what it is wound around, 0 for a strap that lies flat: wound
    straps foreshorten and darken towards the ends of the board.
    """
    x, y = board.grid
    along = np.abs(y)
    shade = np.zeros_like(y)
    if wrap > 0:
        bend = np.clip(y / wrap, -0.999, 0.999)
        along = np.abs(np.arcsin(bend)) * wrap
        lit = np.sqrt(1 - bend**2)
        shade = 0.42 * (lit - 1) + 0.16 * bend * math.sin(board.light)
    metal = finish.strap in ("three_link", "five_link", "mesh")
    half = _half_width(along.astype(np.float32), 0.0 if finish.strap == "nato" else 0.12)
    stitches = None
    if metal:
        tone = _links(x, along.astype(np.float32), half, finish.strap, board.light)
        tones = metal_ramp(finish.metal)
    else:
        tone, stitches = _hide(board, rng, along.astype(np.float32), half, finish.strap)
        tones = enamel_ramp(finish.strap_colour)
    cover = np.clip((half - np.abs(x)) * board.scale + 0.5, 0, 1)
    if wrap == 0:
        end = board.half[1] - 0.08 - 0.5 * (x / START_WIDTH) ** 4 * 0.3
        cover *= np.clip((end - np.abs(y)) * board.scale + 0.5, 0, 1)
    mask = Image.fromarray((cover * 255).astype(np.uint8))
    board.paint(mask, toned(tone + shade, tones), solid=True)
    if stitches is not None:
        thread = Image.fromarray((stitches * cover * 210).astype(np.uint8))
        board.paint(thread, (214, 204, 184) if sum(finish.strap_colour) < 300 else (90, 74, 58))
    board.edges(mask, 0.03, 0.25, 0.45)
    # The case's own shade on the strap next to it.
    near = board.stencil([np.array([(-0.6, -1.22), (0.6, -1.22), (0.6, 1.22), (-0.6, 1.22)])])
    board.paint(
        near.filter(ImageFilter.BoxBlur(max(1.0, 0.06 * board.scale))).point(
            [round(0.5 * value) for value in range(256)]
        ),
        (8, 8, 10),
    )
