"""The split of a project through its runs."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import closeup
from closeup.core.project import Project
from closeup.core.types import Example, Photo
from closeup.dataset.kept import Place, read_split, split_id
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from tests import tiny
from tests.commands import closeup as command

ANEW = "drawn anew"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny.need_onnx()
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        photos = tiny.make_photos(folder / "photos", per_label=8)
        closeup.run(photos, out=folder / "out", **tiny.TINY)
    return folder


@pytest.fixture
def out(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished project."""
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))
    return Path(shutil.copytree(base / "out", tmp_path / "out"))


def places(out: Path) -> tuple[Place, ...]:
    table = read_split(Project(out))
    assert table is not None
    return table.rows


def rows_of(out: Path) -> tuple[Example, ...]:
    table = Project(out).read("dataset", Example)
    assert table is not None
    assert table.meta["split"] == split_id(Project(out))
    return table.rows


def join_sides(out: Path) -> str:
    """A person says that a test and a training photo show the same; returns the test photo."""
    of_side = {row.split: row.photo_id for row in rows_of(out)}
    with closing(Decisions(out)) as log:
        log.append("tester", [Decision(Kind.SAME, of_side["test"], other=of_side["train"])])
    return of_side["test"]


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_rejected_close_up_moves_no_other(out: Path, side: str) -> None:
    before, rows = places(out), rows_of(out)
    row = next(row for row in rows if row.split == side)
    with closing(Decisions(out)) as log:
        log.append("tester", [Decision(Kind.REJECT, row.photo_id, row.crop_id)])
    closeup.run(out=out)
    assert places(out) == before
    after = {r.crop_id: (r.split, r.fold) for r in rows_of(out)}
    assert after.pop(row.crop_id) == ("", -1)
    assert after == {r.crop_id: (r.split, r.fold) for r in rows if r != row}


def test_what_moved_is_named_until_the_dataset_changes_again(out: Path) -> None:
    photo = join_sides(out)
    first, again = closeup.run(out=out), closeup.run(out=out)
    paths = {p.id: p.path for p in Project(out).read("photos", Photo).rows}
    moved = [note for note in first.notes if "moved from the test part" in note]
    assert [note.rsplit(": ")[-1] for note in moved] == [paths[photo]]
    assert again.notes == first.notes
    later = closeup.run(out=out, near_duplicates=False)
    assert not any("moved" in note for note in later.notes)
    assert next(row for row in rows_of(out) if row.photo_id == photo).split == "train"


def test_a_run_that_is_killed_between_split_and_dataset_goes_on_with_it(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join_sides(out)
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    expected = closeup.run(out=whole)
    write = Project.write

    def killed(self: Project, name: str, *rest: Any, **more: Any) -> Any:
        if name == "dataset":
            raise KeyboardInterrupt
        return write(self, name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Project, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            closeup.run(out=out)
    assert closeup.run(out=out).notes == expected.notes
    for name in ("split.parquet", "dataset.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_new_split_is_asked_for_once(out: Path) -> None:
    first, name = places(out), split_id(Project(out))
    same = closeup.train(out, new_split=True)
    assert any("drawn anew and is the same as before" in note for note in same.notes)
    assert (places(out), split_id(Project(out))) == (first, name)
    done = command("train", out, "--seed", "5", "--new-split", "--json")
    assert ANEW in " ".join(json.loads(done.stdout)["notes"])
    other = places(out)
    assert other != first
    assert split_id(Project(out)) != name
    assert "new_split" not in (out / "closeup.toml").read_text()
    closeup.train(out, head="prototype")
    assert places(out) == other


@pytest.mark.parametrize("option", [{"seed": 3}, {"test_fraction": 0.5}, {"folds": 3}])
def test_what_a_split_is_drawn_by_draws_it_anew(out: Path, option: dict[str, Any]) -> None:
    name, before = split_id(Project(out)), places(out)
    result = closeup.train(out, **option)
    assert any(ANEW in note for note in result.notes)
    assert places(out) != before
    closeup.train(out, seed=0, test_fraction=0.2, folds=5)
    assert (places(out), split_id(Project(out))) == (before, name)


def test_a_project_of_an_earlier_version_keeps_its_split(out: Path) -> None:
    rows, table = rows_of(out), pq.read_table(out / "dataset.parquet")
    pq.write_table(table.drop_columns(["fold"]), out / "dataset.parquet")
    (out / "split.parquet").unlink()
    closeup.run(out=out, test_fraction=None)
    assert {(r.crop_id, r.split) for r in rows_of(out)} == {(r.crop_id, r.split) for r in rows}
    assert {r.fold for r in rows_of(out) if r.split == "train"} == set(range(5))
