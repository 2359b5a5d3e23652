"""What distinguishes one watch from another: the five makers' details and everything else.

A :class:`Design` holds the details that tell makers apart. A :class:`Finish` holds what varies
freely within every maker by the same distribution: colours, strap, proportions, time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .paint import Colour

T = TypeVar("T")

HANDS = (
    "dauphine", "sword", "breguet", "syringe", "lollipop", "baton", "leaf", "arrow", "skeleton",
)  # fmt: skip
INDICES = (
    "baton", "dots", "roman", "arabic", "wedge", "double", "diamond", "ticks", "quarters", "blocks",
)  # fmt: skip
SUBDIALS = ("none", "six", "three_nine", "three_six_nine", "moon", "twelve_six")
BEZELS = ("smooth", "fluted", "diver", "tachymeter", "stepped", "coin", "screws", "gems")
CROWNS = ("plain", "guarded", "onion", "slim", "cabochon", "none")
GLYPHS = (
    "star", "shield", "lozenge", "wing", "crescent", "trident", "target", "cross", "none",
)  # fmt: skip

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "hands": HANDS,
    "indices": INDICES,
    "subdials": SUBDIALS,
    "bezel": BEZELS,
    "crown": CROWNS,
    "glyph": GLYPHS,
}
"""The names behind the categorical ids of ``Scene.attributes``."""

SHAPES = ("round", "cushion", "square", "tonneau", "octagon", "rectangle")
STRAPS = ("leather", "three_link", "five_link", "mesh", "rubber", "nato")
DIALS = ("sunburst", "matte", "fume", "guilloche", "grain")


@dataclass(frozen=True, slots=True)
class Design:
    """The details of one watch; each is a name from :data:`ATTRIBUTES`."""

    hands: str
    indices: str
    subdials: str
    bezel: str
    crown: str
    glyph: str
    name: str

    def ids(self) -> dict[str, int]:
        """Return the categorical ids of the details, keyed as :data:`ATTRIBUTES`."""
        return {key: names.index(getattr(self, key)) for key, names in ATTRIBUTES.items()}


@dataclass(frozen=True, slots=True)
class Finish:
    """All that says nothing about the maker. Lengths in case radii, angles in radians."""

    shape: str
    strap: str
    dial: str
    metal: Colour
    trim: Colour
    lume: Colour
    dial_colour: Colour
    insert: Colour
    strap_colour: Colour
    print_colour: Colour
    dial_radius: float
    thickness: float
    date: bool
    seconds_colour: Colour
    times: tuple[float, float, float]
    clock: bool = False


@dataclass(frozen=True, slots=True)
class _Signature:
    hands: str
    indices: str
    crown: str
    glyph: str
    subdials: tuple[str, ...]
    bezels: tuple[str, ...]


# Sub-dials and bezels show from afar, so neighbours share them: only the small parts decide.
_SIGNATURES: dict[str, _Signature] = {
    "Averlund": _Signature(
        "dauphine", "baton", "plain", "star",
        ("none", "six", "three_nine"), ("smooth", "fluted", "stepped", "tachymeter"),
    ),
    "Brisandt": _Signature(
        "sword", "dots", "guarded", "shield",
        ("none", "three_nine", "three_six_nine"), ("diver", "smooth", "tachymeter", "fluted"),
    ),
    "Corvelle": _Signature(
        "breguet", "roman", "onion", "lozenge",
        ("moon", "six", "none"), ("fluted", "smooth", "stepped", "diver"),
    ),
    "Dornwick": _Signature(
        "syringe", "arabic", "slim", "wing",
        ("three_six_nine", "six", "moon"), ("tachymeter", "stepped", "diver", "smooth"),
    ),
    "Estrame": _Signature(
        "lollipop", "wedge", "cabochon", "crescent",
        ("three_nine", "moon", "three_six_nine"), ("stepped", "diver", "fluted", "tachymeter"),
    ),
}  # fmt: skip

MAKERS: tuple[str, ...] = tuple(_SIGNATURES)
"""The five invented makers, in alphabetical order."""

_METALS: tuple[Colour, ...] = (
    (206, 209, 214), (206, 209, 214), (188, 190, 193), (226, 188, 112), (222, 168, 134),
    (74, 76, 82), (160, 156, 150),
)  # fmt: skip
_DIALS: tuple[Colour, ...] = (
    (22, 23, 26), (22, 23, 26), (28, 52, 104), (24, 62, 88), (20, 70, 52), (104, 26, 36),
    (214, 214, 210), (232, 229, 220), (206, 180, 130), (120, 122, 126), (84, 56, 40),
    (148, 186, 200), (216, 164, 140), (60, 64, 70),
)  # fmt: skip
_LEATHERS: tuple[Colour, ...] = (
    (26, 24, 24), (84, 48, 28), (128, 78, 42), (162, 110, 66), (34, 44, 66), (96, 28, 30),
    (58, 66, 52), (120, 116, 110), (196, 178, 150), (54, 36, 28),
)  # fmt: skip
_LUMES: tuple[Colour, ...] = ((232, 238, 220), (222, 206, 160), (200, 232, 210), (240, 240, 238))
_ACCENTS: tuple[Colour, ...] = ((200, 40, 36), (230, 120, 30), (240, 240, 236), (40, 90, 190))


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of ``options``, all equally likely."""
    return options[int(rng.integers(len(options)))]


def maker_design(rng: np.random.Generator, maker: str) -> Design:
    """Draw one of a maker's watches; ``maker`` is one of :data:`MAKERS` (else KeyError)."""
    signature = _SIGNATURES[maker]
    return Design(
        hands=signature.hands,
        indices=signature.indices,
        subdials=pick(rng, signature.subdials),
        bezel=pick(rng, signature.bezels),
        crown=signature.crown,
        glyph=signature.glyph,
        name=maker.upper(),
    )


def random_design(rng: np.random.Generator) -> Design:
    """Draw every detail freely and on its own: a watch of nobody."""
    letters = "ABCDEFGHIKLMNOPRSTUVXZ"
    name = "".join(pick(rng, letters) for _ in range(int(rng.integers(4, 10))))
    return Design(**{key: pick(rng, names) for key, names in ATTRIBUTES.items()}, name=name)


def _time(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the angles of the hour, minute and seconds hand, consistent with one another."""
    minutes = float(rng.uniform(0, 720))
    return (
        2 * np.pi * minutes / 720,
        2 * np.pi * (minutes % 60) / 60,
        float(rng.uniform(0, 2 * np.pi)),
    )


def draw_finish(rng: np.random.Generator, *, wild: bool = False) -> Finish:
    """Draw colours, strap and proportions; ``wild`` adds other shapes, colours and wall clocks."""
    metal = pick(rng, _METALS)
    dial = pick(rng, _DIALS)
    clock = wild and rng.random() < 0.08
    if wild and rng.random() < 0.15:
        metal = _any_colour(rng)
    if wild and rng.random() < 0.25:
        dial = _any_colour(rng)
    bright = sum(dial) > 380
    if bright:
        trim = pick(rng, ((38, 40, 46), (30, 44, 92), (150, 104, 40), (86, 88, 94)))
        ink: Colour = (40, 40, 46)
    else:
        trim = pick(rng, ((222, 224, 228), (222, 224, 228), (230, 194, 122), (228, 178, 146)))
        ink = (226, 226, 222)
    strap = pick(rng, STRAPS if rng.random() < 0.4 else ("leather", "three_link", "five_link"))
    shapes = SHAPES if wild and rng.random() < 0.45 else SHAPES[:1]
    return Finish(
        shape="round" if clock else pick(rng, shapes),
        strap=strap,
        dial=pick(rng, DIALS),
        metal=metal,
        trim=trim,
        lume=pick(rng, _LUMES),
        dial_colour=dial,
        insert=pick(rng, (*_DIALS[:6], (120, 122, 126), (206, 209, 214))),
        strap_colour=pick(rng, _LEATHERS),
        print_colour=ink,
        dial_radius=float(rng.uniform(0.74, 0.82) if not wild else rng.uniform(0.68, 0.9)),
        thickness=float(rng.uniform(0.26, 0.42)),
        date=bool(rng.random() < 0.35),
        seconds_colour=pick(rng, (*_ACCENTS, trim, trim)),
        times=_time(rng),
        clock=clock,
    )


def _any_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(c) for c in rng.integers(10, 246, 3))
    return red, green, blue
