"""Label Studio's JSON and JSON-MIN: regions in percent of the picture, possibly rotated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from closeup.core.types import Box
from closeup.detect.given.box import (
    Fault,
    Given,
    Row,
    Unusable,
    around,
    corners,
    each,
    numbers,
    size_of,
    text,
)

_IMAGE = ("image", "img", "photo", "picture", "url")


def is_label_studio(content: object) -> bool:
    """Whether a file's JSON is a list of tasks, in either of the two forms."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) for task in content)
        and any(isinstance(task.get("data"), dict) or _lists(task) for task in content)
    )


def label_studio(tasks: list[Any]) -> Iterator[Row]:
    """The regions of each task's first annotation that was not cancelled."""
    yield from each(tasks, lambda n, task: f"task {task.get('id', n + 1)}", _task)


def _task(task: Mapping[str, Any]) -> Iterator[Row]:
    data = task.get("data")
    if not isinstance(data, dict):
        regions = [r | {"value": r} for found in _lists(task) for r in found]
        yield from _regions(regions, _name(task), "")
        return
    drawn = task.get("annotations", task.get("completions"))
    drawn = [d for d in drawn or () if isinstance(d, dict) and not d.get("was_cancelled")]
    if not drawn:
        raise Unusable("have not been annotated")
    best = next((d for d in drawn if d.get("ground_truth")), drawn[0])
    if len(drawn) > 1:
        yield Fault("", "were annotated more than once, of which one annotation is used", used=True)
    upload = task.get("file_upload")
    yield from _regions(
        best.get("result") or [], _name(data), upload if isinstance(upload, str) else ""
    )


def _regions(results: list[Any], name: str, also: str) -> Iterator[Row]:
    """Results with one id are one region: its shape, its category, a class chosen for it."""
    if not name and not also:
        raise Unusable("name no picture")
    shapes: dict[str, Mapping[str, Any]] = {}
    words: dict[str, dict[str, str]] = {}
    for number, result in enumerate(results):
        value = result.get("value")
        if not isinstance(value, dict):
            continue
        key = str(result.get("id", number))
        if "width" in value or "points" in value or "radiusX" in value:
            shapes.setdefault(key, result)
        elif "rle" in value:
            yield Fault("", "are painted with a brush rather than boxes")
        mine = words.setdefault(key, {})
        for kind, said in value.items():
            if isinstance(said, list) and said and isinstance(said[0], str):
                mine["label" if kind == "choices" else "category"] = said[0].strip()
    for key, result in shapes.items():
        try:
            size = size_of(result.get("original_width"), result.get("original_height"))
            if result.get("image_rotation"):
                raise Unusable("were drawn on a picture that was turned in Label Studio")
            box = _bounds(result["value"], size)
            said = words[key]
            yield Given("", name or also, box, said.get("category", ""), said.get("label", ""),
                        relative=True, size=size, also=also)  # fmt: skip
        except Unusable as err:
            yield Fault("", str(err))


def _bounds(value: Mapping[str, Any], size: tuple[int, int]) -> Box:
    """In fractions of the picture; a rotated shape's bounds."""
    if "points" in value:
        flat = [number for point in value["points"] for number in numbers(point, 2)]
        return Box(*(side / 100 for side in around(flat)))
    if "radiusX" in value:
        names = ("x", "y", "radiusX", "radiusY")
        cx, cy, rx, ry = numbers([value.get(name) for name in names], 4)
        if rx <= 0 or ry <= 0:
            raise Unusable("have a box without area")
        value = {**value, "x": cx - rx, "y": cy - ry, "width": 2 * rx, "height": 2 * ry}
        if value.get("rotation"):
            raise Unusable("are rotated ellipses")
    x, y, width, height = numbers([value.get(n) for n in ("x", "y", "width", "height")], 4)
    (angle,) = numbers([value.get("rotation") or 0], 1)
    plain = corners(x, y, x + width, y + height)
    if angle % 360 == 0:
        return Box(*(side / 100 for side in plain))
    if size == (0, 0):
        raise Unusable("are rotated, without the size of the picture")
    # Clockwise about the top left corner, in pixels: percent of the two sides differ.
    across, down = size[0] / 100, size[1] / 100
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    xs, ys = [], []
    for dx, dy in ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)):
        right, below = dx * across, dy * down
        xs.append(x * across + right * cos - below * sin)
        ys.append(y * down + right * sin + below * cos)
    return Box(min(xs) / size[0], min(ys) / size[1], max(xs) / size[0], max(ys) / size[1])


def _lists(task: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The lists of regions of a task in the minimal form."""
    return [
        value
        for value in task.values()
        if isinstance(value, list) and value
        and all(isinstance(v, dict) and ("x" in v or "points" in v) for v in value)
    ]  # fmt: skip


def _name(data: Mapping[str, Any]) -> str:
    """The picture of a task, without the way to Label Studio's store."""
    named = [data.get(key) for key in _IMAGE] + list(data.values())
    found = next((name for name in named if isinstance(name, str) and ("." in name)), "")
    try:
        link = urlsplit(found)
        inside = parse_qs(link.query).get("d")
    except ValueError:
        return text(found)
    if inside:
        return inside[0]
    return link.path.lstrip("/") if link.scheme or found.startswith("/data/") else found
