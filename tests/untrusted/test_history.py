"""The history of a stranger's project: nothing outside is read, written or trusted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import closeup
from closeup.core.errors import CloseupError, ModelError, ProjectError
from tests import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strange-history")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        photos = tiny.make_photos(folder / "photos")
        closeup.run(photos, out=folder / "out", **tiny.TINY)
        closeup.train(folder / "out", head="prototype")
    return folder


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project, beside a file that nobody may touch."""
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine.jpg").write_bytes(b"mine")
    yield Path(shutil.copytree(base / "out", tmp_path / "project"))
    assert [file.read_bytes() for file in (tmp_path / "outside").iterdir()] == [b"mine"]


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def files_of(project: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((project / "history/1/model.json").read_text())["files"]
    return found


@pytest.mark.parametrize("name", ["../outside/mine.jpg", "../closeup.toml", "/tmp/x", "a\0b"])
def test_a_card_cannot_have_files_written_elsewhere(project: Path, name: str) -> None:
    files, config = files_of(project), (project / "closeup.toml").read_bytes()
    change(project / "history/1/model.json", files={**files, name: files["head.safetensors"]})
    with pytest.raises(ModelError, match="outside the folder"):
        closeup.train(project, restore=1)
    assert (project / "closeup.toml").read_bytes() == config


@pytest.mark.parametrize("sha", ["../../../outside/mine.jpg", "../1/model.json", "", "A" * 64])
def test_nor_read_from_elsewhere(project: Path, sha: str) -> None:
    change(project / "history/1/model.json", files={**files_of(project), "head.safetensors": sha})
    with pytest.raises(ProjectError, match="no longer kept"):
        closeup.train(project, restore=1)


def test_a_file_that_is_not_what_its_name_says_is_not_used(project: Path) -> None:
    file = project / "history" / "files" / files_of(project)["head.safetensors"]
    file.unlink()
    file.write_bytes(b"something else")
    with pytest.raises(ModelError, match="is missing or has changed"):
        closeup.train(project, restore=1)


def test_a_card_that_names_too_little_is_not_used(project: Path) -> None:
    change(project / "history/1/model.json", files={})
    with pytest.raises(ModelError, match="has no hash for"):
        closeup.train(project, restore=1)


@pytest.mark.parametrize(
    "name", ["history", "history/files", "history/1", "history/1/training.json",
             "history/1/scores.json", "history/in-use.json"],
)  # fmt: skip
def test_what_leads_outside_is_refused(project: Path, name: str) -> None:
    target = project.parent / "elsewhere"
    (project / name).rename(target)
    (project / name).symlink_to(target)
    before = sorted(str(path) for path in target.rglob("*"))
    with pytest.raises(CloseupError, match=r"leads outside|outside the folder"):
        closeup.train(project, restore=1)
    assert sorted(str(path) for path in target.rglob("*")) == before


@pytest.mark.parametrize("pointer", ["{}", "[]", '{"number": 9}', '{"number": "1"}', "{", "null"])
def test_a_pointer_that_points_nowhere_is_made_anew(project: Path, pointer: str) -> None:
    (project / "history" / "in-use.json").write_text(pointer)
    training = closeup.train(project).training
    assert training is not None
    assert training.number == 2
    assert closeup.history(project).in_use == 2


@pytest.mark.parametrize(
    "options", [{"train": {"head": ["nonsense"]}}, {"crop": {"pad": -1}}, {"split": {"x": 1}}]
)
def test_options_that_are_none(project: Path, options: dict[str, Any]) -> None:
    change(project / "history/1/training.json", options=options)
    with pytest.raises(ProjectError, match="the options of training 1 cannot be used"):
        closeup.train(project, restore=1)


def test_boxes_that_the_history_names_are_not_followed_unasked(project: Path) -> None:
    file = project / "history/1/training.json"
    options = json.loads(file.read_text())["options"]
    options["detect"]["boxes"] = str(project.parent / "outside" / "mine.jpg")
    change(file, options=options)
    with pytest.raises(CloseupError):
        closeup.train(project, restore=1)
