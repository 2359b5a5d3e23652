"""Charts that show nothing impossible."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.calibration import Bin
from closeup.report import curves
from closeup.report.charts import Axes, Line, line_chart

ANY = (-math.inf, math.inf)


def axes(limits: tuple[float, float] = (0.0, 1.0), mark: float = 0.0) -> Axes:
    return Axes([(mark, "0")], "x", "y", mark, limits)


def heights(svg: str) -> dict[str, float]:
    """The numbers of the vertical axis, and where they stand."""
    found = re.findall(r'y="([\d.-]+)" text-anchor="end" class="">([^<]+)<', svg)
    return {text: float(y) for y, text in found}


def all_numbers(svg: str) -> list[float]:
    tree = ET.fromstring(svg)
    texts = [value for node in tree.iter() for name, value in node.attrib.items()
             if name in {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "points"}]  # fmt: skip
    return [float(number) for text in texts for number in re.split("[ ,]", text)]


@pytest.mark.parametrize(
    "points",
    [[(0.0, 0.5)], [(0.0, 0.5), (1.0, 0.5)], [(0.0, 0.0), (1.0, 1e-9)], [(1.0, 3.0), (9.0, 1e6)]],
)
def test_charts_of_few_or_flat_points_stay_inside(points: list[tuple[float, float]]) -> None:
    svg = line_chart([Line("x", "one", points)], axes(ANY, points[0][0]), "x")
    assert all(math.isfinite(v) and -1 <= v <= 700 for v in all_numbers(svg))


def test_names_at_the_ends_of_lines_do_not_overlap() -> None:
    lines = [Line(name, name, [(0.0, 1.0), (1.0, 0.5)]) for name in ("one", "two", "three")]
    svg = line_chart(lines, axes(), "x")
    places = sorted(float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="start" class="[a-z]',
                                                 svg))  # fmt: skip
    assert len(places) == 3
    assert min(np.diff(places)) >= 14


@pytest.mark.parametrize("band", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.02, 0.5, 0.97, 1.0])
def test_a_share_is_never_shown_beyond_what_is_possible(value: float, band: bool) -> None:
    points = [(x, Interval(value, value - 0.3, value + 0.3)) for x in (0.0, 1.0)]
    svg = line_chart([Line.of("x", "one", points, band=band)], axes(), "x")
    shown = [float(text) for text in heights(svg)]
    assert min(shown) >= 0
    assert max(shown) <= 1
    top, bottom = min(heights(svg).values()) - 4, max(heights(svg).values()) - 4
    drawn = re.findall(r'points="([^"]+)"', svg)
    ys = [float(pair.split(",")[1]) for path in drawn for pair in path.split()]
    assert min(ys) >= top - 0.1
    assert max(ys) <= bottom + 0.1


@pytest.mark.parametrize("value", [0.0, 0.3, 0.999, 1.0])
def test_a_constant_share_looks_flat(value: float) -> None:
    svg = line_chart([Line("x", "one", [(0.0, value), (1.0, value)])], axes(), "x")
    shown = [float(text) for text in heights(svg)]
    assert max(shown) - min(shown) >= 0.1 - 1e-9
    assert min(shown) <= value <= max(shown)


def test_a_loss_has_no_axis_below_0() -> None:
    for lowest in (0.0, 1e-4):
        line = Line("x", "one", [(1, 0.01), (2, lowest)])
        svg = line_chart([line], axes((0, math.inf), 1), "x")
        assert min(map(float, heights(svg))) == 0


def test_an_interval_keeps_its_two_sides() -> None:
    line = Line.of("x", "one", [(0.5, Interval(0.9, 0.5, 0.95))])
    svg = line_chart([line], axes(mark=0.5), "x")
    (bar,) = re.findall(r'class="one bar" points="([^"]+)"', svg)
    low, high = (float(pair.split(",")[1]) for pair in bar.split())
    (middle,) = (float(y) for y in re.findall(r'cy="([\d.]+)"', svg))
    assert low - middle == pytest.approx(8 * (middle - high), abs=1)


class _Trust:
    """What the chart of calibration reads."""

    class calibration:
        bins = (Bin(0.0, 0.5, 3, 0.4, 0.0), Bin(0.5, 1.0, 40, 0.99, 1.0), Bin(1.0, 1.0, 0, 0, 0))
        confidence = 0.9


def test_calibration_is_square_and_from_0_to_1() -> None:
    svg = str(curves.reliability_chart(_Trust))  # type: ignore[arg-type]
    up = heights(svg)
    across = {text: float(x) for x, text in
              re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle" class="">([\d.]+)<',
                         svg)}  # fmt: skip
    assert set(up) == set(across) == {"0", "0.2", "0.4", "0.6", "0.8", "1"}
    assert up["0"] - up["1"] == pytest.approx(across["1"] - across["0"], abs=0.2)
    assert svg.count("<circle") == 2
