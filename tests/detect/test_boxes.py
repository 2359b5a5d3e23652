from __future__ import annotations

import json
from pathlib import Path

import pytest

from closeup.core.errors import PhotosError
from closeup.core.types import Box, Photo, PhotoState
from tests.detect.reading import read_boxes


def photo(path: str, size: tuple[int, int] = (100, 80)) -> Photo:
    state = PhotoState.READABLE if size[0] else PhotoState.UNREADABLE
    return Photo(path, "/photos", path, "x", "", "", state, "", "", *size, 1, 1, "h")


def coco(file: Path, names: dict[str, list[float]], **image: int) -> Path:
    content = {
        "images": [{"id": i, "file_name": name, **image} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 7, "bbox": box}
            for i, box in enumerate(names.values())
        ],
        "categories": [{"id": 7, "name": "watch"}],
    }
    file.write_text(json.dumps(content))
    return file


def csv(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines))
    return file


def yolo(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder


# What cannot be read


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="there is no boxes file"):
        read_boxes(tmp_path / "none.json", [])


def test_no_boxes(tmp_path: Path) -> None:
    for file in (
        tmp_path,
        csv(tmp_path / "b.csv", "path,x1,y1,x2,y2"),
        coco(tmp_path / "c.json", {}),
    ):
        with pytest.raises(PhotosError, match="holds no boxes"):
            read_boxes(file, [photo("a.jpg")])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"images": []}', '{"images": 3, "annotations": []}', "\xff"]
)
def test_what_is_not_coco(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text, encoding="latin1")
    with pytest.raises(PhotosError, match=r"b\.json"):
        read_boxes(tmp_path / "b.json", [photo("a.jpg")])


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, "x"], [1, 2, -3, 4], [1, 2, 3, float("nan")]])
def test_malformed_coco_boxes_are_named(tmp_path: Path, box: list[object]) -> None:
    with pytest.raises(PhotosError, match="annotation 0"):
        read_boxes(coco(tmp_path / "b.json", {"a.jpg": box}), [photo("a.jpg")])


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("a.jpg,1,2,3,x", "something else than numbers for a box (not used): line 3"),
        ("a.jpg,1,2,3,inf", "a number that is not finite (not used): line 3"),
        ("a.jpg,10,20,3,30", "a negative width or height (not used): line 3"),
        ("a.jpg,1,2,1,8", "a box without area (not used): line 3"),
    ],
)
def test_one_malformed_line_is_told_of_and_the_rest_is_used(
    tmp_path: Path, row: str, match: str
) -> None:
    file = csv(tmp_path / "b.csv", "path,x1,y1,x2,y2", "a.jpg,1,1,9,9", row)
    boxes = read_boxes(file, [photo("a.jpg")])
    assert [tuple(r.box) for r in boxes.detections] == [(1, 1, 9, 9)]
    assert boxes.notes == (f"{file}: annotations that have {match}",)


def test_a_line_without_a_box_is_a_photo_without_an_object(tmp_path: Path) -> None:
    file = csv(tmp_path / "b.csv", "path,x1,y1,x2,y2", "a.jpg,1,1,9,9", "b.jpg,,,,")
    boxes = read_boxes(file, [photo("a.jpg"), photo("b.jpg")])
    assert [r.photo_id for r in boxes.detections] == ["a.jpg"]
    assert boxes.notes == ()


def test_a_line_of_too_few_cells_is_refused(tmp_path: Path) -> None:
    file = csv(tmp_path / "b.csv", "path,x1,y1,x2,y2", "a.jpg,1,1,2,2", "a.jpg,1,2,3")
    with pytest.raises(PhotosError, match="line 3: 4 cells"):
        read_boxes(file, [photo("a.jpg")])


def test_scores_are_shares(tmp_path: Path) -> None:
    file = csv(tmp_path / "b.csv", "path,x1,y1,x2,y2,score", "a.jpg,1,1,2,2,97")
    with pytest.raises(PhotosError, match=r"score that is not between 0 and 1.*line 2"):
        read_boxes(file, [photo("a.jpg")])


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("0 .5 .5 .1", "are not `class cx cy"),
        ("0 50 40 10 10", "look like pixels"),
        ("x .5 .5 .1 .1", "something else than numbers"),
    ],
)
def test_malformed_yolo_lines_are_named(tmp_path: Path, line: str, match: str) -> None:
    folder = yolo(tmp_path, "a.txt", f"0 .5 .5 .1 .1\n{line}\n")
    boxes = read_boxes(folder, [photo("a.jpg")])
    assert len(boxes.detections) == 1
    (note,) = boxes.notes
    assert match in note
    assert note.endswith("a.txt, line 2")


# Reading


def test_coco(tmp_path: Path) -> None:
    file = coco(tmp_path / "b.json", {"x/a.jpg": [10, 20, 30, 40]}, width=100, height=80)
    boxes = read_boxes(file, [photo("x/a.jpg")])
    (row,) = boxes.detections
    assert (row.photo_id, row.rank, row.category, row.score) == ("x/a.jpg", 0, "watch", 1.0)
    assert row.box == Box(10, 20, 40, 60)
    assert boxes.notes == ()


def test_table(tmp_path: Path) -> None:
    file = csv(
        tmp_path / "b.csv",
        "path,x1,y1,x2,y2,category,score",
        "a.jpg,1,2,3,4,clock,0.3",
        "a.jpg,5,6,7,8,,",
        "b.jpg,-5,-5,500,500,cup,0.5",
    )
    rows = read_boxes(file, [photo("b.jpg"), photo("a.jpg"), photo("c.jpg")]).detections
    assert [(r.photo_id, r.rank, r.category, r.score) for r in rows] == [
        ("b.jpg", 0, "cup", 0.5),
        ("a.jpg", 0, "unnamed", 1.0),
        ("a.jpg", 1, "clock", 0.3),
    ]
    assert rows[0].box == Box(0, 0, 100, 80)


@pytest.mark.parametrize("below", ["", "labels/"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "cup\nclock\n"),
        ("data.yaml", "names: [cup, clock]"),
        ("data.yaml", "names: {0: cup, 1: clock}"),
    ],
)
def test_yolo(tmp_path: Path, below: str, name: str, text: str) -> None:
    yolo(tmp_path, name, text)
    yolo(tmp_path, f"{below}x/a.txt", "1 0.5 0.5 0.2 0.5\n\n0 0.1 0.1 0.2 0.2 0.4\n")
    first, second = read_boxes(tmp_path, [photo("x/a.jpg")]).detections
    assert (first.category, first.score) == ("clock", 1.0)
    assert first.box == pytest.approx((40, 20, 60, 60))
    assert (second.category, second.score) == ("cup", 0.4)


def test_yolo_polygon_without_names(tmp_path: Path) -> None:
    yolo(tmp_path, "a.txt", "0 0.1 0.2 0.5 0.1 0.3 0.9")
    (row,) = read_boxes(tmp_path, [photo("a.jpg")]).detections
    assert row.category == ""
    assert row.box == pytest.approx((10, 8, 50, 72))


def test_broken_names(tmp_path: Path) -> None:
    yolo(tmp_path, "a.txt", "0 .5 .5 .1 .1")
    for text in ("names: [", "nothing: 1", "names: 3", "- 1"):
        yolo(tmp_path, "data.yaml", text)
        with pytest.raises(PhotosError, match="category names"):
            read_boxes(tmp_path, [photo("a.jpg")])


# Matching


def test_a_name_never_matches_by_its_end(tmp_path: Path) -> None:
    file = coco(tmp_path / "b.json", {"1.jpg": [1, 1, 2, 2]})
    with pytest.raises(PhotosError, match=r"no name .* matches a photo: it has 1.jpg.*11.jpg"):
        read_boxes(file, [photo("11.jpg"), photo("x/21.jpg")])


def test_the_full_path_wins(tmp_path: Path) -> None:
    file = csv(
        tmp_path / "b.csv",
        "path,x1,y1,x2,y2",
        "b/1.jpg,1,1,2,2",
        "./a/1.jpg,3,3,4,4",
        "b\\2.jpg,5,5,6,6",
    )
    photos = [photo("a/1.jpg"), photo("b/1.jpg"), photo("b/2.jpg")]
    rows = read_boxes(file, photos).detections
    assert [(r.photo_id, r.box.x1) for r in rows] == [
        ("a/1.jpg", 3),
        ("b/1.jpg", 1),
        ("b/2.jpg", 5),
    ]


def test_the_file_name_counts_only_where_it_is_unique(tmp_path: Path) -> None:
    photos = [photo("a/1.jpg"), photo("b/1.jpg"), photo("b/2.jpg"), photo("b/3.jpg")]
    names = ["images/1.jpg", "images/2.jpg", "b/3.jpg", "c/3.jpg"]
    boxes = read_boxes(coco(tmp_path / "b.json", {name: [1, 1, 2, 2] for name in names}), photos)
    assert [r.photo_id for r in boxes.detections] == ["b/2.jpg", "b/3.jpg"]
    (note,) = boxes.notes
    assert "2 (images/1.jpg, c/3.jpg)" in note


def test_paths_beside_the_file_and_absolute_ones(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    photos = [
        Photo(n, str(root), n, "", "", "", PhotoState.READABLE, "", "", 9, 9, 1, 1, "")
        for n in ("a/1.jpg", "b/1.jpg")
    ]
    file = csv(
        tmp_path / "b.csv", "path,x1,y1,x2,y2", "photos/a/1.jpg,1,1,2,2", f"{root}/b/1.jpg,3,3,4,4"
    )
    assert [r.photo_id for r in read_boxes(file, photos).detections] == ["a/1.jpg", "b/1.jpg"]


def test_yolo_with_two_photos_of_one_stem(tmp_path: Path) -> None:
    yolo(tmp_path, "a.txt", "0 .5 .5 .1 .1")
    yolo(tmp_path, "b.txt", "0 .5 .5 .1 .1")
    boxes = read_boxes(tmp_path, [photo("a.jpg"), photo("a.png"), photo("b.c.jpg"), photo("b.jpg")])
    assert [r.photo_id for r in boxes.detections] == ["b.jpg"]
    assert len(boxes.notes) == 1


# Boxes that cannot be used


def test_boxes_drawn_on_another_picture_are_not_used(tmp_path: Path) -> None:
    file = coco(tmp_path / "b.json", {"a.jpg": [1, 1, 2, 2]}, width=80, height=100)
    boxes = read_boxes(file, [photo("a.jpg", (100, 80))])
    assert boxes.detections == []
    assert "80 x 100 there, 100 x 80 here" in boxes.notes[0]


def test_boxes_outside_and_of_unreadable_photos(tmp_path: Path) -> None:
    file = csv(
        tmp_path / "b.csv",
        "path,x1,y1,x2,y2",
        "a.jpg,200,200,300,300",
        "a.jpg,5,5,5,9",
        "b.jpg,1,1,2,2",
    )
    boxes = read_boxes(file, [photo("a.jpg"), photo("b.jpg", (0, 0))])
    assert boxes.detections == []
    assert boxes.notes == (
        f"{file}: annotations that have a box without area (not used): line 3",
        "boxes without area inside the photo are not used: line 2",
    )


def test_names_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    """Ten aliases deep, the text of the last name would be of ten billion letters."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: [*a9]"]))
    (tmp_path / "1.txt").write_text("0 0.5 0.5 0.2 0.2")
    with pytest.raises(PhotosError, match="a name is not text"):
        read_boxes(tmp_path, [])
