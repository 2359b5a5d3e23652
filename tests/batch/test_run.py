"""``closeup predict --ray`` on this machine: the same rows, and only what is new."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from closeup.core.errors import ProjectError, UsageError
from tests import tiny
from tests.batch.running import ENGINE, answers, ended, one_process, start
from tests.commands import closeup


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``out/model`` and ``photos``, of which two cannot be read."""
    pytest.importorskip("ray", reason="needs the ray extra")
    base = tmp_path_factory.mktemp("world")
    tiny.make_project(base)
    (base / "photos" / "ash" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (base / "photos" / "ash" / "empty.jpg").write_bytes(b"")
    return base


def test_the_same_rows_and_then_only_what_is_new(world: Path, tmp_path: Path) -> None:
    expected = one_process(world, world / "photos", tmp_path / "one.parquet")
    out = tmp_path / "answers of photos"
    first = ended(start(world, world / "photos", out))
    assert answers(out, expected).equals(expected)
    assert (first["listed"], first["answered"], first["known"]) == (38, 38, 0)
    assert first["counts"] == {"ash": 10, "birch": 10, "cedar": 10, "unknown": 6, "unreadable": 2}
    # the second day: one photo more, one changed, one fixed; and nothing at all is lost
    photos = Path(shutil.copytree(world / "photos", tmp_path / "photos"))
    ended(start(world, photos, tmp_path / "second"))
    shutil.copy(photos / "birch" / "0.png", photos / "ash" / "new.png")
    shutil.copy(photos / "birch" / "1.png", photos / "ash" / "0.png")
    shutil.copy(photos / "birch" / "2.png", photos / "ash" / "broken.png")
    os.utime(photos / "ash" / "0.png", ns=(1, 1))
    second = ended(start(world, photos, tmp_path / "second"))
    assert (second["run"], second["answered"], second["known"]) == (2, 3, 36)
    expected = one_process(world, photos, tmp_path / "two.parquet")
    assert answers(tmp_path / "second", expected).equals(expected)
    assert second["before"] == first["counts"]
    # nothing to do is found out without Ray
    third = closeup("predict", world / "out" / "model", photos, "--out", tmp_path / "second",
                    "--ray", *ENGINE)  # fmt: skip
    assert third.returncode == 0
    assert "39 photos: 0 answered now, 39 before" in third.stdout


def test_wrong_use_is_said_in_one_line(world: Path, tmp_path: Path) -> None:
    from closeup.batch import predict

    model, photos = world / "out" / "model", world / "photos"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ProjectError, match=r"no batch\.json.*new folder"):
        predict(model, photos, out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "batch.json").write_text(
        json.dumps({"format": 1, "model": "another", "always": False})
    )
    with pytest.raises(ProjectError, match="answers of another model"):
        predict(model, photos, out=tmp_path / "old")
    (tmp_path / "old" / "batch.json").write_text("{")
    with pytest.raises(ProjectError, match="damaged"):
        predict(model, photos, out=tmp_path / "old")
    with pytest.raises(UsageError, match="URL that pyarrow knows"):
        predict(model, photos, out="nonsense://x/y")
    for words, said in (
        (("--ray",), "--out DIR"),
        (("--ray", "--out", "x", photos), "one folder"),
        (("--out", "x"), "--ray and --out go together"),
        (("--ray", "--out", "x", "--csv", "y"), "--ray and --out go together"),
    ):
        done = closeup("predict", model, photos, *words, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
