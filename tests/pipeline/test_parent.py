"""A run without a parent: what scouting recommends is chosen once, said, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.config import RunConfig
from closeup.core.errors import UsageError
from closeup.core.project import Project
from closeup.core.types import Crop
from closeup.detect import Detector
from closeup.model.card import read_card
from closeup.photos.listing import Entry
from closeup.pipeline import scouting
from closeup.pipeline.scouting import read_scouted, sampled
from tests import tiny

TINY = {"detector": "tiny-box", "backbone": "tiny-pool"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tiny.make_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def photos(cache: Path, tmp_path: Path) -> Path:
    return tiny.make_photos(tmp_path / "photos", dark=2)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was given to a detector."""
    seen: list[object] = []
    feed = Detector.feed

    def counting(self: Detector, photo: object) -> object:
        seen.append(photo)
        return feed(self, photo)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "feed", counting)
    return seen


def config_of(out: Path) -> RunConfig:
    return Project(out).config()


def crops_of(out: Path) -> list[tuple[str, str, str]]:
    table = Project(out).read("crops", Crop)
    assert table is not None
    return [(crop.id, crop.category, crop.file) for crop in table.rows]


def test_the_choice_is_said_and_kept(
    photos: Path, tmp_path: Path, looked_at: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scouting, "SAMPLE", 12)
    out = tmp_path / "out"
    result = closeup.run(photos, out=out, **TINY)
    assert len(looked_at) == result.counts.photos == 36  # none twice
    assert result.parent == config_of(out).detect.parent == ("thing",)
    assert result.scouted is not None
    assert (result.scouted.photos, result.scouted.of) == (12, 36)
    assert 0.5 < result.scouted.found <= 1
    said = "12 of the 36 photos were scouted: the parent is thing, found in "
    said += f"{result.scouted.found:.0%}"
    assert any(said in note for note in result.notes)
    value = result.to_json()
    assert value["parent"] == ["thing"]
    assert value["scouted"] == json.loads((out / "scouted.json").read_text())
    assert said in result.report.read_text()
    assert "--parent thing" in " ".join(result.report.read_text().split())

    again = closeup.run(out=out)
    assert len(looked_at) == 36
    assert (again.parent, again.scouted, again.notes) == (("thing",), result.scouted, result.notes)
    named = closeup.run(photos, out=tmp_path / "named", parent="thing", **TINY)
    assert named.scouted is None
    assert not (tmp_path / "named" / "scouted.json").exists()
    assert crops_of(tmp_path / "named") == crops_of(out)
    assert not any("scouted" in note for note in named.notes)


def test_the_user_decides_later(photos: Path, tmp_path: Path, looked_at: list[object]) -> None:
    out = tmp_path / "out"
    closeup.crop(photos, out=out, detector="tiny-box")
    assert (out / "scouted.json").exists()
    done = closeup.crop(out=out, parent="any")
    assert done.parent == config_of(out).detect.parent == ("any",)
    assert not any("scouted" in note for note in done.notes)
    before = len(looked_at)
    done = closeup.crop(out=out, parent="")  # to choose anew; detections are there
    assert (done.parent, len(looked_at)) == (("thing",), before)


def test_any_where_nothing_is_recommended(cache: Path, tmp_path: Path) -> None:
    for label in ("ash", "birch"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for n in range(4):
            grey = np.full((40 + n, 60, 3), 30, np.uint8)  # a score of 0.12
            Image.fromarray(grey).save(tmp_path / "photos" / label / f"{n}.png")
    for _ in range(2):
        done = closeup.crop(tmp_path / "photos", out=tmp_path / "out", detector="tiny-box")
        assert done.parent == ("any",)
        assert done.counts.cropped == 8
        assert any("every category is accepted, as with --parent any" in n for n in done.notes)
        assert any("no category was detected" in note for note in done.notes)


def test_with_boxes_no_parent_is_chosen(
    photos: Path, tmp_path: Path, looked_at: list[object]
) -> None:
    boxes = tmp_path / "boxes.csv"
    rows = [f"ash/{n}.png,5,5,50,30,bark" for n in range(10)]
    rows += [f"birch/{n}.png,5,5,50,30," for n in range(10)]
    boxes.write_text("\n".join(["path,x1,y1,x2,y2,category", *rows]) + "\n")
    result = closeup.run(photos, out=tmp_path / "out", boxes=boxes, **TINY)
    assert (result.parent, result.scouted, looked_at) == ((), None, [])
    assert result.counts.cropped == 20
    assert read_card(result.model).detect.parent == ("any",)


def test_a_project_of_before_keeps_any(photos: Path, tmp_path: Path) -> None:
    closeup.crop(photos, out=tmp_path / "out", parent="any", detector="tiny-box")
    assert closeup.crop(out=tmp_path / "out").parent == ("any",)


def test_own_test_photos_are_not_scouted(photos: Path, tmp_path: Path) -> None:
    own = tiny.make_photos(tmp_path / "own", per_label=2)
    closeup.crop(photos, out=tmp_path / "out", test=own, detector="tiny-box")
    scouted = read_scouted(Project(tmp_path / "out"), config_of(tmp_path / "out"))
    assert scouted is not None
    assert (scouted.photos, scouted.of) == (36, 42)


@pytest.mark.parametrize(
    "damage",
    [lambda old: "{", lambda old: "[]", lambda old: "{}", lambda old: old.replace("36", '"x"'),
     lambda old: old.replace("thing", "other")],
)  # fmt: skip
def test_a_damaged_record_is_passed_over(
    photos: Path, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    closeup.crop(photos, out=tmp_path / "out", detector="tiny-box")
    file = tmp_path / "out" / "scouted.json"
    file.write_text(damage(file.read_text()))
    done = closeup.crop(out=tmp_path / "out")
    assert done.parent == ("thing",)
    assert not any("scouted" in note for note in done.notes)


def test_a_parent_unknown_to_the_detector_leaves_no_project(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no category 'clock'"):
        closeup.crop(photos, out=tmp_path / "out", parent="clock", detector="tiny-box")
    assert not (tmp_path / "out" / "closeup.toml").exists()


def entries(**counts: int) -> list[Entry]:
    return [Entry(f"{label}-{n}", "/r", f"{label}/{n}", label, "", "")
            for label, count in counts.items() for n in range(count)]  # fmt: skip


def test_a_sample_is_even() -> None:
    photos = entries(a=100, b=10, c=2)
    few = sampled(photos, 12)
    assert [sum(p.label == label for p in few) for label in "abc"] == [5, 5, 2]
    assert few == sorted(few, key=photos.index) == sampled(photos, 12)
    assert sampled(photos, 500) == photos
    assert len(sampled(photos, 2)) == 2
    assert sampled([], 10) == []
    many = entries(**{f"label{n}": 3 for n in range(300)})
    assert len({photo.label for photo in sampled(many, 200)}) == 200
