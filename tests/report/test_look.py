"""The colours and type of every page: one source, and enough contrast to read."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

TOKENS = files("closeup.report").joinpath("static/tokens.css").read_text("utf-8")
LIGHT, DARK = TOKENS.split("@media (prefers-color-scheme: dark)")
TEXT = [
    *[(ink, ground) for ink in ("ink", "quiet", "blue", "green", "amber", "rust")
      for ground in ("paper", "card", "soft")],
    *[(ink, f"{hue}-soft") for hue in ("blue", "green", "amber", "rust") for ink in ("ink", hue)],
    ("on-blue", "blue"),
]  # fmt: skip
"""Which colour may be text on which ground."""


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css))


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("css", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), TEXT)
def test_text_has_the_contrast_of_wcag_aa(css: str, ink: str, ground: str) -> None:
    named = colours(css)
    dark, light = sorted(luminance(named[name]) for name in (ink, ground))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_light_and_dark_have_the_same_colours() -> None:
    assert colours(LIGHT).keys() == colours(DARK).keys()


@pytest.mark.parametrize(
    "path", ["report/page.css", "web/static/base.css", "web/review/static/review.css",
             "web/serve/static/serve.css"],
)  # fmt: skip
def test_every_page_takes_type_and_colours_from_the_tokens(path: str) -> None:
    css = files("closeup").joinpath(path).read_text("utf-8")
    used = set(re.findall(r"var\((--[\w-]+)[,)]", css))
    named = set(re.findall(r"(--[\w-]+):", TOKENS + css))
    assert used - named <= {"--l", "--h", "--v", "--ratio", "--most", "--shape"}  # set on elements
    plain = re.sub(r"var\([^)]*\)", "", css)
    assert not re.findall(r"\b(?:sans-serif|serif|system-ui|monospace)\b", plain)
