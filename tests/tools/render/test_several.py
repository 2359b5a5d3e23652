"""Photos of several watches: the same everywhere, each with its maker and its box."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from closeup.core.types import Box
from tools.render.scenes import MAKERS
from tools.render.several import render_group, write_groups


def test_equal_numbers_give_equal_bytes() -> None:
    one, other = (render_group(2, 5, MAKERS[:3], size=320) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels)
    assert one.boxes == other.boxes


def test_each_watch_is_there_and_apart_from_the_others() -> None:
    for index in range(6):
        group = render_group(0, index, MAKERS[1:4], size=320)
        assert group.makers == MAKERS[1:4]
        height, width = group.pixels.shape[:2]
        boxes = [Box(*box) for box in group.boxes]
        for number, box in enumerate(boxes):
            assert box == box.clip(width, height)
            assert min(box.width, box.height) > 30
            assert all(box.iou(other) < 0.2 for other in boxes[:number])


def test_the_set_has_no_folders_of_labels_and_a_coco_file(tmp_path: Path) -> None:
    write_groups(tmp_path, 2)
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["0001.jpg", "0002.jpg"]
    assert all((tmp_path / "photos" / i["file_name"]).is_file() for i in content["images"])
    assert len(content["annotations"]) == 6
    assert [category["name"] for category in content["categories"]] == list(MAKERS)
