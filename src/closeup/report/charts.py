"""Line charts as SVG; the colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from closeup.evaluate.bootstrap import Interval

WIDTH, HEIGHT = 580, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 90, 30, 46
SIDE = 400  # the height of a square chart, whose axes are as long as each other
LEAST_SPAN = 0.1  # of what is possible, or of the value: how much a vertical axis shows at least


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, CSS class, ``(x, y)`` points, and an interval for each or none.

    The intervals are bars on marked points, or a `band` behind the line.
    """

    name: str
    css: str
    points: Sequence[tuple[float, float]]
    ranges: Sequence[tuple[float, float]] = ()
    band: bool = False

    @classmethod
    def of(
        cls, name: str, css: str, points: Sequence[tuple[float, Interval]], *, band: bool = False
    ) -> Line:
        """The line of scores with their intervals."""
        values, ranges = [(x, y.value) for x, y in points], [(y.low, y.high) for _, y in points]
        return cls(name, css, values, ranges, band)


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes say.

    - `ticks`: ``(x, text)`` below the horizontal axis
    - `mark`: the chosen x, drawn as a vertical line
    - `limits`: the least and the most that y can be; the axis ends there, and so do intervals
    - `square`: both axes show 0 to 1
    """

    ticks: Sequence[tuple[float, str]]
    x_title: str
    y_title: str
    mark: float
    limits: tuple[float, float] = (0.0, 1.0)
    square: bool = False


def line_chart(lines: Sequence[Line], axes: Axes, label: str) -> Markup:
    """Lines over a common x axis, each named at its end.

    - `lines`: of finite numbers; at least one with at least one point
    - `label`: what the chart says, for screen readers
    """
    height = SIDE if axes.square else HEIGHT
    bottom = height - BOTTOM
    right = LEFT + 8 + bottom - TOP if axes.square else WIDTH - RIGHT
    xs = [0.0, 1.0] if axes.square else [x for line in lines for x, _ in line.points]
    steps = _steps(_bounds(lines, axes), axes.limits)
    x_of = _scale(min(xs), max(xs), LEFT + 8, right)
    y_of = _scale(steps[0], steps[-1], bottom, TOP)
    parts = [
        _text(LEFT - 6, y_of(step) + 4, f"{step:g}", "end")
        + Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
            LEFT, right + 8, y=round(y_of(step), 1)
        )
        for step in steps
    ]
    parts.append(_text(0, TOP - 16, axes.y_title, "start"))
    parts += [_text(x_of(x), bottom + 18, text, "middle") for x, text in axes.ticks]
    parts.append(_text((LEFT + right) / 2, height - 6, axes.x_title, "middle"))
    parts.append(
        Markup('<line class="mark" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
            TOP - 6, bottom, x=round(x_of(axes.mark), 1)
        )
    )
    names = _apart([y_of(line.points[-1][1]) + 4 for line in lines])
    for line, place in zip(lines, names, strict=True):
        parts += _drawn(line, x_of, y_of, axes.limits)
        parts.append(_text(right + 12, place, line.name, "start", line.css))
    return Markup(
        '<svg class="chart{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(" square" if axes.square else "", right + RIGHT, height, label, Markup("").join(parts))


def _drawn(
    line: Line,
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
    limits: tuple[float, float],
) -> list[Markup]:
    """The line, its points, and their intervals as far as they are possible."""

    def path(points: Iterable[tuple[float, float]]) -> str:
        shown = ((x_of(x), y_of(min(max(y, limits[0]), limits[1]))) for x, y in points)
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in shown)

    drawn = Markup('<polyline class="{}" points="{}"/>').format(line.css, path(line.points))
    ranges = [(x, low, high) for (x, _), (low, high) in zip(line.points, line.ranges, strict=False)]
    if line.band:
        there, back = [(x, low) for x, low, _ in ranges], [(x, high) for x, _, high in ranges]
        edge = path([*there, *reversed(back)])
        return [Markup('<polygon class="{}" points="{}"/>').format(line.css, edge), drawn]
    parts = [drawn]
    for x, low, high in ranges:
        bar = path([(x, low), (x, high)])
        parts.append(Markup('<polyline class="{} bar" points="{}"/>').format(line.css, bar))
    for x, y in line.points if ranges else ():
        place = round(x_of(x), 1), round(y_of(y), 1)
        parts.append(
            Markup('<circle class="{}" cx="{}" cy="{}" r="2.5"/>').format(line.css, *place)
        )
    return parts


def _bounds(lines: Sequence[Line], axes: Axes) -> tuple[float, float]:
    """The least and the most to show: all points, and so much that a flat line looks flat."""
    least, most = axes.limits
    if axes.square:
        return 0.0, 1.0
    shown = [y for line in lines for _, y in line.points]
    shown += [min(max(end, least), most) for line in lines for ends in line.ranges for end in ends]
    low, high = min(shown), max(shown)
    whole = most - least if math.isfinite(most - least) else max(abs(low), abs(high), 1e-3)
    missing = max(LEAST_SPAN * whole - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    # What lies beyond a limit is shown on the other side.
    below, above = max(least - low, 0.0), max(high - most, 0.0)
    return max(low - above, least), min(high + below, most)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A linear map from ``[low, high]`` to ``[start, end]``; to the middle where low is high."""
    if high <= low:
        return lambda _: (start + end) / 2
    return lambda value: start + (value - low) * (end - start) / (high - low)


def _steps(bounds: tuple[float, float], limits: tuple[float, float]) -> list[float]:
    """Three to seven round numbers that enclose the bounds, none beyond the limits."""
    low, high = bounds
    unit = 10.0 ** math.floor(math.log10(high - low))
    step = next(unit * m for m in (0.2, 0.5, 1, 2) if (high - low) / (unit * m) <= 5)
    # A bound that was computed may miss a round number by a rounding error.
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    steps = (round(i * step, 10) for i in range(first, last + 1))
    return [value for value in steps if limits[0] <= value <= limits[1]]


def _apart(heights: Sequence[float], gap: float = 14) -> list[float]:
    """The same heights, moved down where two names would overlap."""
    moved = dict.fromkeys(range(len(heights)), 0.0)
    last = -math.inf
    for place in sorted(moved, key=lambda i: heights[i]):
        last = moved[place] = max(heights[place], last + gap)
    return list(moved.values())


def _text(x: float, y: float, text: str, anchor: str, css: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        round(x, 1), round(y, 1), anchor, css, text
    )
