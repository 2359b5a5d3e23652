"""Line charts as SVG; the colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 580, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 90, 14, 46


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, CSS class, ``(x, y)`` points, and a half interval for each or none."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]
    errors: Sequence[float] = ()


def line_chart(
    lines: Sequence[Line], ticks: Sequence[tuple[float, str]], x_title: str, mark: float, label: str
) -> Markup:
    """Lines over a common x axis, each named at its end.

    - `lines`: of finite numbers; at least one with at least one point
    - `ticks`: ``(x, text)`` below the axis
    - `mark`: the chosen x, drawn as a vertical line
    - `label`: what the chart says, for screen readers
    """
    xs = [x for line in lines for x, _ in line.points]
    ys = [bound for line in lines
          for (_, y), e in zip(line.points, line.errors or [0.0] * len(line.points), strict=True)
          for bound in (y - e, y + e)]  # fmt: skip
    steps = _steps(min(ys), max(ys))
    x_of = _scale(min(xs), max(xs), LEFT + 8, WIDTH - RIGHT)
    y_of = _scale(steps[0], steps[-1], HEIGHT - BOTTOM, TOP)
    parts = [
        _text(LEFT - 6, y_of(step) + 4, f"{step:g}", "end")
        + Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
            LEFT, WIDTH - RIGHT + 8, y=round(y_of(step), 1)
        )
        for step in steps
    ]
    parts += [_text(x_of(x), HEIGHT - BOTTOM + 18, text, "middle") for x, text in ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title, "middle"))
    parts.append(
        Markup('<line class="mark" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
            TOP - 6, HEIGHT - BOTTOM, x=round(x_of(mark), 1)
        )
    )
    heights = _apart([y_of(line.points[-1][1]) + 4 for line in lines])
    for line, height in zip(lines, heights, strict=True):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.points)
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(line.css, path))
        for (x, y), error in zip(line.points, line.errors, strict=False):
            parts.append(
                Markup('<line class="{} whisker" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
                    line.css, round(y_of(y - error), 1), round(y_of(y + error), 1),
                    x=round(x_of(x), 1),
                )
            )  # fmt: skip
        parts.append(_text(WIDTH - RIGHT + 12, height, line.name, "start", line.css))
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, label, Markup("").join(parts))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A linear map from ``[low, high]`` to ``[start, end]``; to the middle where low is high."""
    if high <= low:
        return lambda _: (start + end) / 2
    return lambda value: start + (value - low) * (end - start) / (high - low)


def _steps(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose ``[low, high]``."""
    span = max(high - low, 1e-3)
    unit = 10.0 ** math.floor(math.log10(span))
    step = next(unit * m for m in (0.2, 0.5, 1, 2) if span / (unit * m) <= 5)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return [round(i * step, 10) for i in range(first, last + 1)]


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
