from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import closeup
from closeup.core.errors import PhotosError, ProjectError
from closeup.core.project import Project
from closeup.photos.frames import as_csv
from tests import tiny


class Frame:
    """As much of a data frame as is asked for."""

    def __init__(self, columns: list[Any], values: list[list[Any]]) -> None:
        self.columns = columns
        self._values = values

    def __getitem__(self, name: Any) -> Iterable[Any]:
        return self._values[self.columns.index(name)]


class NAType:
    """As pandas' missing value: it is no truth value."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    def __ne__(self, other: object) -> Any:
        return self


def test_cells_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = [
        7,
        7.0,
        np.float32(2.5),
        float("nan"),
        NAType(),
        None,
        "007",
        "NA",
        np.int64(3),
        "a,b",
    ]
    paths: list[Any] = [f"{n}.jpg" for n in range(9)] + [Path("/x/9.jpg")]
    lines = as_csv(Frame(["Filename", "label"], [paths, labels])).decode().split("\r\n")
    assert lines[0] == "filename,label"
    assert lines[1] == f"{os.getcwd()}/0.jpg,7"  # noqa: PTH109
    assert [line.split(",", 1)[1] for line in lines[1:-1]] == [
        "7", "7", "2.5", "", "", "", "007", "NA", "3", '"a,b"'
    ]  # fmt: skip
    assert lines[10].startswith("/x/9.jpg,")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "the data frame has no column path .it has: none"),
        (["path", "brand"], "the data frame has no column label .it has: path, brand"),
        (["path", "label", "Label "], "could both be the label"),
        (["path", "label", "x", "x"], "has the column x twice"),
    ],
)
def test_frames_that_cannot_be_used(columns: list[str], message: str) -> None:
    with pytest.raises(PhotosError, match=message):
        as_csv(Frame(columns, [["a"]] * len(columns)))


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frame:
    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    tiny.make_detector(tmp_path / "cache")
    tiny.make_backbone(tmp_path / "cache")
    tiny.make_photos(tmp_path / "photos", per_label=4)
    monkeypatch.chdir(tmp_path)
    paths = sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "photos").rglob("*.png"))
    return Frame(["image", "class"], [paths, [Path(path).parts[-2] for path in paths]])


def test_a_project_keeps_the_frame(frame: Frame, tmp_path: Path) -> None:
    result = closeup.run(frame, out="out", **tiny.TINY)
    assert result.counts.labels == {"ash": 4, "birch": 4, "cedar": 4}
    kept = Path(Project(tmp_path / "out").config().photos.source)
    assert kept.parent == tmp_path / "out" / "given"
    again = closeup.run(out="out")
    assert again.training is not None
    assert again.counts == result.counts
    assert closeup.scout(frame, detector="tiny-box").recommended == ("thing",)


def test_a_frame_that_is_refused_leaves_nothing(frame: Frame, tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="none of them is there"):
        closeup.run(Frame(["path", "label"], [["x.png"], ["a"]]), out="out", **tiny.TINY)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(ProjectError, match="not a Closeup project"):
        closeup.run(frame, out="mine", **tiny.TINY)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_real_libraries(library: str, frame: Frame, tmp_path: Path) -> None:
    frames = pytest.importorskip(library)
    data = {"path": list(frame["image"]), "label": list(frame["class"]), "group": [None] * 12}
    assert as_csv(frames.DataFrame(data)).count(b"\r\n") == 13
    assert b"nan" not in as_csv(frames.DataFrame(data))
