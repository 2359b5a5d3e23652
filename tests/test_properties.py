"""What holds whatever the photos: no row is lost, no pixel moves, no group is parted."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import tempfile
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from closeup.core.config import CropConfig, DetectConfig, SplitConfig
from closeup.core.errors import DatasetError
from closeup.core.project import encode_table, read_table
from closeup.core.types import Box, Crop, CropState, Detection, Example, Photo, PhotoState, Result
from closeup.crops.cut import cut, find_crops, window
from closeup.dataset.duplicates import Pair
from closeup.dataset.groups import group_photos
from closeup.dataset.split import make_dataset
from closeup.model.model import ModelCard
from closeup.photos.reading import read_photo
from tests.corpus.encode import exif
from tests.detect.reading import read_boxes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


# Rows


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Photo], dict[str, list[Detection]]]:
    """Photos of any state, label and group, and boxes of some."""
    photos, boxes = [], {}
    for number in range(draw(st.integers(0, 14))):
        readable = draw(st.booleans()) or draw(st.booleans())
        size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        photo = Photo(
            id=f"p-{number}", root="/r", path=f"{number}.jpg",
            label=draw(st.sampled_from(["a", "b", "c", ""])),
            group=draw(st.sampled_from(["", "", "g", "h"])),
            split=draw(st.sampled_from(["", "", "", "test"])),
            state=PhotoState.READABLE if readable else PhotoState.UNREADABLE,
            code="" if readable else "damaged", reason="" if readable else "broken",
            width=size[0] if readable else 0, height=size[1] if readable else 0, bytes=1,
            mtime_ns=1, sha256=draw(st.sampled_from(["x", f"s{number}"])) if readable else "",
        )  # fmt: skip
        photos.append(photo)
        corners = st.floats(-10, 60)
        boxes[photo.id] = [
            Detection(photo.id, rank, draw(st.sampled_from(["clock", "person"])),
                      draw(st.floats(0, 1)), Box(*draw(st.tuples(*[corners] * 4))))
            for rank in range(draw(st.integers(0, 3)))
        ]  # fmt: skip
    return photos, boxes


CROPS = st.builds(
    CropConfig, which=st.sampled_from(["best", "largest", "all"]),
    on_miss=st.sampled_from(["photo", "drop"]), pad=st.sampled_from([0.0, 0.1, 4.0]),
)  # fmt: skip


@given(collections(), CROPS, st.sampled_from([("clock",), ("any",)]))
def test_every_photo_has_its_rows_among_the_crops(
    case: tuple[list[Photo], dict[str, list[Detection]]],
    config: CropConfig,
    parent: tuple[str, ...],
) -> None:
    photos, boxes = case
    crops = find_crops(photos, boxes, config, DetectConfig(parent=parent))
    order = list(dict.fromkeys(crop.photo_id for crop in crops))
    assert order == [photo.id for photo in photos]
    assert len({crop.id for crop in crops}) == len(crops)
    rows = Counter(crop.photo_id for crop in crops)
    for photo in photos:
        mine = [crop for crop in crops if crop.photo_id == photo.id]
        states = {crop.state for crop in mine}
        assert len(states) == 1
        assert (states == {CropState.UNREADABLE}) == (photo.state is PhotoState.UNREADABLE)
        assert rows[photo.id] == 1 or states == {CropState.CROPPED}
    for crop in crops:
        assert (crop.reason == "") == (crop.state is CropState.CROPPED)
        assert bool(crop.file) == (crop.side > 0) == (crop.window.area > 0)


@settings(deadline=None)
@given(collections(), CROPS, st.floats(0.01, 0.99), st.integers(0, 3))
def test_every_crop_has_its_row_in_the_dataset_and_no_group_is_parted(
    case: tuple[list[Photo], dict[str, list[Detection]]],
    config: CropConfig,
    share: float,
    seed: int,
) -> None:
    photos, boxes = case
    plain = Photo("", "/r", "", "", "", "", PhotoState.READABLE, "", "", 9, 9, 1, 1, "")
    photos += [
        dataclasses.replace(
            plain, id=f"{label}{n}", path=f"{label}{n}", label=label, sha256=f"{label}{n}"
        )
        for label in "ab"
        for n in range(3)
    ]
    boxes |= {p.id: [Detection(p.id, 0, "clock", 1.0, Box(1, 1, 8, 8))] for p in photos[-6:]}
    crops = find_crops(photos, boxes, config, DetectConfig())
    grouping = group_photos(photos)
    try:
        rows = make_dataset(
            photos, crops, SplitConfig(test_fraction=share, seed=seed), grouping.group_of
        ).rows
    except DatasetError:
        assume(False)
    assert [row.crop_id for row in rows] == [crop.id for crop in crops]
    placed = {(row.group, row.split) for row in rows if row.split}
    assert len(placed) == len({group for group, _ in placed})
    own_test = any(photo.split for photo in photos)
    for row, crop in zip(rows, crops, strict=True):
        assert row.photo_id == crop.photo_id
        assert row.split in ("", "train", "test")
        assert row.split or row.reason
        if crop.state is CropState.UNREADABLE:
            assert not row.split
    if not own_test:
        plain = [row for row in rows if row.split]
        labels_of: dict[str, set[str]] = {}
        for row in plain:
            labels_of.setdefault(row.group, set()).add(row.label)
        for label in {row.label for row in plain}:
            mine = {row.group for row in plain if row.label == label}
            sides = {row.split for row in plain if row.label == label}
            if len(mine) > 1 and all(labels_of[group] == {label} for group in mine):
                assert sides == {"train", "test"}
            assert "train" in sides or len(mine) > 1 or labels_of[next(iter(mine))] != {label}


# Pixels


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What EXIF says a viewer must see, in NumPy's words."""
    return {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.swapaxes(0, 1), 6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).swapaxes(0, 1),
        8: np.rot90(pixels),
    }.get(orientation, pixels)  # fmt: skip


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 9),
    st.sampled_from(["PNG", "WEBP"]), st.tuples(*[st.floats(-5, 45)] * 4),
)  # fmt: skip
@settings(deadline=None)
def test_a_close_up_has_the_exact_pixels_that_a_viewer_sees(
    size: tuple[int, int], orientation: int, kind: str, corners: tuple[float, ...]
) -> None:
    stored = np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, kind, lossless=True, exif=exif(orientation))
    seen = read_photo(stream.getvalue())
    assert np.array_equal(seen, turned(stored, orientation))
    height, width = seen.shape[:2]
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    around, side = window(Box(x1, y1, x2, y2), width, height, 0.1)
    square = cut(seen, around, side)
    left, top = (side - around.width) // 2, (side - around.height) // 2
    inside = square[top : top + around.height, left : left + around.width]
    a, b, c, d = (int(v) for v in around)
    assert np.array_equal(inside, turned(stored, orientation)[b:d, a:c])


# Formats


def anything(row: type) -> st.SearchStrategy[Any]:
    """Rows of a dataclass with any value in every field."""
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT, int: st.integers(-(2**63), 2**63 - 1), float: FINITE, bool: st.booleans(),
        Box: st.builds(Box, FINITE, FINITE, FINITE, FINITE),
    }  # fmt: skip
    hints = get_type_hints(row)
    fields = {
        field.name: st.sampled_from(list(kind)) if issubclass(kind, StrEnum) else kinds[kind]
        for field in dataclasses.fields(row)
        for kind in [hints[field.name]]
    }
    return st.builds(row, **fields)


@pytest.mark.parametrize("row", [Photo, Detection, Crop, Example, Result, Pair])
def test_any_rows_come_back_from_a_table(row: type) -> None:
    @given(st.lists(anything(row), max_size=4), TEXT, st.dictionaries(TEXT, TEXT, max_size=2))
    @settings(max_examples=30, deadline=None)
    def check(rows: list[Any], key: str, meta: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "t.parquet"
            file.write_bytes(encode_table(row, rows, key, meta))
            table = read_table(file, row)
        assert table.rows == tuple(rows)
        assert (table.key, table.meta) == (key, meta)

    check()


@given(
    st.lists(TEXT, max_size=4), st.dictionaries(TEXT, st.integers(0, 99), max_size=3),
    st.dictionaries(TEXT, FINITE, max_size=3),
    st.none() | st.dictionaries(TEXT, FINITE, max_size=3),
)  # fmt: skip
def test_any_card_comes_back(
    labels: list[str], counts: dict[str, int], scores: dict[str, float], rule: dict[str, float]
) -> None:
    card = ModelCard(
        closeup="0", key="k", labels=tuple(labels), detect=DetectConfig(), crop=CropConfig(),
        detector="", backbone="b", head="ridge", head_settings={"a": labels}, unknown=rule,
        scores=scores, counts=counts, files=dict.fromkeys(labels, "0"),
    )  # fmt: skip
    assert ModelCard.model_validate(json.loads(card.model_dump_json())) == card


PHOTOS = [
    Photo(f"p-{n}", "/photos", f"{label}/{n}.jpg", label, "", "", PhotoState.READABLE, "", "", 200,
          100 + n, 1, 1, f"s{n}")
    for n, label in enumerate(["a", "b", "é 🍎"])
]  # fmt: skip
EIGHTHS = st.integers(0, 8 * 90).map(lambda n: n / 8)


@st.composite
def given_boxes(draw: st.DrawFn) -> list[Detection]:
    """Boxes in the photos, wider than a pixel, in eighths of pixels, which no format rounds."""
    found = []
    for photo in PHOTOS:
        scores = draw(st.lists(st.integers(0, 64), max_size=3, unique=True))
        for rank, score in enumerate(sorted(scores, reverse=True)):
            x1, y1 = draw(EIGHTHS), draw(EIGHTHS)
            box = Box(x1, y1, x1 + draw(EIGHTHS) + 2, y1 + 1 + draw(EIGHTHS) / 16)
            found.append(Detection(photo.id, rank, "wall clock", score / 64, box))
    return found


def as_table(boxes: list[Detection]) -> dict[str, list[Any]]:
    paths = {photo.id: photo.path for photo in PHOTOS}
    columns: dict[str, list[Any]] = {"path": [paths[d.photo_id] for d in boxes]}
    for place, corner in enumerate(("x1", "y1", "x2", "y2")):
        columns[corner] = [d.box[place] for d in boxes]
    return columns | {
        "category": [d.category for d in boxes],
        "score": [d.score for d in boxes],
    }


def write_csv(folder: Path, boxes: list[Detection]) -> Path:
    columns = as_table(boxes)
    with (folder / "b.csv").open("w", encoding="utf8", newline="") as stream:
        csv.writer(stream).writerows([columns, *zip(*columns.values(), strict=True)])
    return folder / "b.csv"


def write_parquet(folder: Path, boxes: list[Detection]) -> Path:
    pq.write_table(pa.table(as_table(boxes)), folder / "b.parquet")
    return folder / "b.parquet"


def write_coco(folder: Path, boxes: list[Detection]) -> Path:
    numbers = {photo.id: n for n, photo in enumerate(PHOTOS)}
    content = {
        "images": [{"id": n, "file_name": p.path, "width": p.width, "height": p.height}
                   for n, p in enumerate(PHOTOS)],
        "annotations": [{"image_id": numbers[d.photo_id], "category_id": 7, "score": d.score,
                         "bbox": [d.box.x1, d.box.y1, d.box.width, d.box.height]} for d in boxes],
        "categories": [{"id": 7, "name": "wall clock"}],
    }  # fmt: skip
    (folder / "b.json").write_text(json.dumps(content), encoding="utf8")
    return folder / "b.json"


def write_yolo(folder: Path, boxes: list[Detection]) -> Path:
    for photo in PHOTOS:
        lines = []
        for d in boxes:
            if d.photo_id == photo.id:
                x, y = (d.box.x1 + d.box.x2) / 2, (d.box.y1 + d.box.y2) / 2
                shares = (x / photo.width, y / photo.height,
                          d.box.width / photo.width, d.box.height / photo.height)  # fmt: skip
                lines.append(" ".join(map(repr, (0, *shares, d.score))))
        file = (folder / "yolo" / photo.path).with_suffix(".txt")
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(lines), encoding="utf8")
    (folder / "yolo" / "classes.txt").write_text("wall clock\n")
    return folder / "yolo"


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_coco, write_yolo])
def test_any_boxes_come_back_from_every_format(write: Any) -> None:
    @given(given_boxes().filter(bool))
    @settings(max_examples=30, deadline=None)
    def check(boxes: list[Detection]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = read_boxes(write(Path(folder), boxes), PHOTOS)
        assert found.notes == ()
        assert len(found.detections) == len(boxes)
        for mine, its in zip(found.detections, boxes, strict=True):
            assert dataclasses.replace(mine, box=its.box) == its
            assert mine.box == pytest.approx(its.box, abs=1e-9)

    check()
