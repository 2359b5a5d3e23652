"""Each option of the configuration is in the keys of the stages it decides, and of no others.

An option without an entry in :data:`OPTIONS` fails a test, so a new one cannot be forgotten.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import closeup
from closeup.core.config import RunConfig
from closeup.core.project import Project
from closeup.core.types import Crop, Detection, Example, Photo
from tests import tiny

TABLES = {"photos": Photo, "detections": Detection, "crops": Crop, "dataset": Example}
# What comes after a stage holds its key.
FROM_CROPS = {"crops", "dataset", "train", "report"}
FROM_DATASET = {"dataset", "train", "report"}
TRAIN = {"train", "report"}
ALONE = {"report"}

# Option -> another value, and the stages whose key must then be another. The report shows the
# whole configuration, so all change its key. `source`, `test` and `boxes` are files: what is in
# them counts, see the tests below. So do the labels and parts that `ignore_split` and `label_level`
# give the photos, which are the same here; see tests/photos/test_layouts.py.
OPTIONS: dict[str, tuple[Any, set[str]]] = {
    "photos.source": ("copy", {"photos", "report"}),
    "photos.test": ("tests", {"photos", *FROM_CROPS, "detections"}),
    "photos.ignore_split": (True, ALONE),
    "photos.label_level": (1, ALONE),
    "photos.max_pixels": (10**7, ALONE),
    "detect.detector": ("tiny-other", {"detections", *FROM_CROPS}),
    "detect.parent": ("any", FROM_CROPS),
    "detect.threshold": (0.2, FROM_CROPS),
    "detect.boxes": ("boxes.csv", {"detections", *FROM_CROPS}),
    "detect.boxes_frame": ("upright", ALONE),  # decides the boxes, whose rows count
    "detect.labels_from": ("photos", ALONE),  # likewise; see test_labels_from_boxes.py
    "crop.which": ("largest", FROM_CROPS),
    "crop.pad": (0.3, FROM_CROPS),
    "crop.on_miss": ("drop", FROM_CROPS),
    "crop.min_size": (50, FROM_CROPS),
    "crop.quality": (80, FROM_CROPS),
    "split.near_duplicates": (False, FROM_DATASET),
    "split.test_fraction": (0.4, FROM_DATASET),
    "split.folds": (3, FROM_DATASET),
    "split.seed": (1, FROM_DATASET),
    "train.preset": ("quick", TRAIN),
    "train.backbone": ("tiny-stages", TRAIN),
    "train.view": ("both", TRAIN),
    "train.head": ("prototype", TRAIN),
    "train.compare_photo": (True, TRAIN),
    "train.pads": ((0.0,), TRAIN),
    "train.augment": (1, TRAIN),
    "train.coverage": (0.8, TRAIN),
    "train.accuracy": (0.9, TRAIN),
    "train.miss_rate": (0.3, TRAIN),
    "train.flip": (False, TRAIN),
    "train.epochs": (3, TRAIN),
    "history.keep": (1, ALONE),
    "report.explain": (True, ALONE),
    "engine.threads": (1, ALONE),
}
# How a graph runs changes the last digits: its precision and engine are part of the keys of what
# it makes, where they differ. Fine-tuning and boxes by another detector need PyTorch,
# and have tests of their own.
# `attributes` names columns of a table, see test_attributes.py.
ELSEWHERE = {"engine.engine", "engine.precision", "train.finetune", "detect.boxes_by",
             "photos.attributes"}  # fmt: skip


def fields() -> set[str]:
    """Every option, found by looking."""
    return {
        f"{section}.{name}"
        for section, field in RunConfig.model_fields.items()
        for name in field.annotation.model_fields  # type: ignore[union-attr]
    }


def test_every_option_is_looked_at() -> None:
    assert fields() == set(OPTIONS) | ELSEWHERE


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small finished project, with what the other values name beside it."""
    tiny.need_onnx()
    folder = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(folder / "cache"))
        tiny.make_detector(folder / "cache")
        other = json.loads(
            (tiny.make_detector(folder / "cache", "tiny-other") / "card.json").read_text()
        )
        other["input"]["pad"] = [0, 0, 0]
        (folder / "cache" / "networks" / "tiny-other" / "card.json").write_text(json.dumps(other))
        tiny.make_backbone(folder / "cache")
        tiny.make_staged_backbone(folder / "cache")
        tiny.make_photos(folder / "photos", per_label=4, dark=1)
        shutil.copytree(folder / "photos", folder / "copy")
        for label in ("ash", "birch", "cedar"):
            (folder / "tests" / label).mkdir(parents=True)
            shutil.copy(folder / "photos" / label / "1.png", folder / "tests" / label / "x.png")
        rows = [f"{p.relative_to(folder / 'photos')},5,5,40,40"
                for p in sorted((folder / "photos").rglob("*.png"))]  # fmt: skip
        (folder / "boxes.csv").write_text("\n".join(["path,x1,y1,x2,y2", *rows]))
        closeup.run(folder / "photos", out=folder / "out", detector="tiny-box",
                    backbone="tiny-pool", parent="thing")  # fmt: skip
        yield folder


@pytest.fixture(autouse=True)
def _cache(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))


def keys_of(out: Path) -> dict[str, str]:
    """The key of every stage, as it is stored."""
    found = {}
    for name, row in TABLES.items():
        table = Project(out).read(name, row)
        assert table is not None
        found[name] = table.key
    found["train"] = json.loads((out / "scores.json").read_text())["key"]
    found["report"] = (out / "report.html").read_bytes().splitlines()[-1].decode()
    return found


def test_nothing_changed_changes_no_key(base: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    assert keys_of(out) == keys_of(base / "out")
    closeup.run(out=out)
    after = keys_of(out)
    assert {k: v for k, v in after.items() if k != "report"} == {
        k: v for k, v in keys_of(base / "out").items() if k != "report"
    }


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_an_option_is_in_the_keys_of_what_it_decides(
    base: Path, tmp_path: Path, option: str
) -> None:
    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    value, expected = OPTIONS[option]
    name = option.split(".")[1]
    if name in ("source", "test", "boxes"):
        value = base / value
    if name == "source":
        closeup.run(value, out=out)
    else:
        closeup.run(out=out, **{name: value})
    before, after = keys_of(base / "out"), keys_of(out)
    assert {name for name in before if before[name] != after[name]} == expected
