"""Photos of a pool that are suggested, labelled as review does it, and trained on."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import Project
from closeup.core.types import Example, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.pipeline.planning import plan
from closeup.pipeline.suggested import Suggested, read_suggested
from tests import commands, tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project ``out``, and a ``pool``: new photos, a copy, dark ones, a broken one."""
    base = tmp_path_factory.mktemp("suggest")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(base / "cache", patch)
        closeup.run(tiny.make_photos(base / "photos"), out=base / "out", threshold=0.3, **tiny.TINY)
    pool = base / "pool"
    pool.mkdir()
    for n in range(20):
        pixels = np.random.default_rng([7, n]).integers(60, 250, (50, 60, 3), dtype=np.uint8)
        pixels[10:-10, 15:-15] = np.random.default_rng([8, n]).integers(0, 255, 3)
        Image.fromarray(np.maximum(pixels, 90)).save(pool / f"new{n}.png")
    for n in range(3):
        Image.new("RGB", (50, 60), (20 + n, 20, 20)).save(pool / f"dark{n}.png")
    shutil.copy(base / "photos" / "ash" / "1.png", pool / "had.png")
    shutil.copy(pool / "new1.png", pool / "twice.png")
    (pool / "broken.jpg").write_bytes(b"no picture")
    return base


@pytest.fixture
def out(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, to be worked on."""
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))
    shutil.copytree(base / "out", tmp_path / "out")
    return tmp_path / "out"


def decide(out: Path, *decisions: Decision) -> None:
    with closing(Decisions(out)) as log:
        log.append("tester", decisions)


def label(row: Suggested, name: str) -> Decision:
    return Decision(Kind.RELABEL, row.photo_id, row.photo_id, label=name)


def sides(out: Path) -> dict[str, str]:
    """The side of each photo, by path."""
    project = Project(out)
    photos, rows = project.read("photos", Photo), project.read("dataset", Example)
    assert photos is not None
    assert rows is not None
    paths = {photo.id: photo.path for photo in photos.rows}
    return {paths[row.photo_id]: row.split for row in rows.rows}


def test_every_photo_of_the_pool_is_accounted_for(base: Path, out: Path) -> None:
    found = closeup.suggest(out, base / "pool", count=10)
    # Of two files with the same content one is new; the one of the project is known.
    assert (found.photos, found.found, found.not_found) == (26, 20, 3)
    assert (found.known, found.unreadable) == (2, 1)
    names = [Path(row.path).name for row in found.suggested]
    assert len(names) == len(set(names)) == 10
    assert not {"had.png", "broken.jpg"} & set(names)
    assert not {"new1.png", "twice.png"} <= set(names)
    missed = [row for row in found.suggested if not row.found]
    assert len(missed) == 1
    assert Path(missed[0].path).name == "dark2.png"  # the one with the highest score
    assert missed[0].reason == "no object found"
    assert 0.01 < missed[0].score < 0.3
    assert read_suggested(Project(out)) == found.suggested
    assert sorted({row.group for row in found.suggested}) == list(
        range(len({row.group for row in found.suggested}))
    )


def test_what_is_labelled_joins_training_and_leaves_the_test_part_alone(
    base: Path, out: Path
) -> None:
    before = sides(out)
    rows = closeup.suggest(out, base / "pool", count=12).suggested
    found = [row for row in rows if row.found]
    decide(out, *(label(row, ("ash", "birch", "elm")[n % 3]) for n, row in enumerate(found[:6])))
    decide(out, Decision(Kind.REJECT, found[6].photo_id, found[6].photo_id))
    result = closeup.train(out)
    after = sides(out)
    assert {path: after[path] for path in before} == before
    new = {path: side for path, side in after.items() if path not in before}
    assert new == {row.path: "train" for row in found[:6]}
    assert "elm" in closeup.load(out / "model").labels
    assert any("6 photos that `closeup suggest` named" in note for note in result.notes)
    assert any("not tested" in note and "elm" in note for note in result.notes)
    assert not any("ignored" in note for note in result.notes)
    # A new draw of the split does not test them either.
    closeup.run(out=out, new_split=True, seed=5)
    assert {sides(out)[row.path] for row in found[:6]} == {"train"}


def test_labels_can_be_undone(base: Path, out: Path) -> None:
    row = closeup.suggest(out, base / "pool", count=3).suggested[-1]
    decide(out, label(row, "ash"))
    assert row.path in {entry.path for entry in plan(Project(out).config(), out).collection.entries}
    with closing(Decisions(out)) as log:
        log.undo("tester", [1])
    closeup.train(out)
    assert row.path not in sides(out)


def test_asking_again_keeps_what_was_decided_and_names_others(base: Path, out: Path) -> None:
    first = closeup.suggest(out, base / "pool", count=5).suggested
    same = closeup.suggest(out, base / "pool", count=5).suggested
    assert same == first
    decide(out, label(first[0], "ash"), Decision(Kind.NOT_FOUND, first[1].photo_id))
    again = closeup.suggest(out, [base / "pool"], count=5)
    assert not {row.photo_id for row in again.suggested} & {first[0].photo_id, first[1].photo_id}
    assert again.known == 4
    kept = {row.photo_id for row in read_suggested(Project(out))}
    assert {first[0].photo_id, first[1].photo_id} < kept
    closeup.train(out)
    assert first[0].path in sides(out)


def test_the_pool_is_looked_at_once(base: Path, out: Path) -> None:
    closeup.suggest(out, base / "pool", count=5)
    stages: list[str] = []
    before = {file: file.stat().st_mtime_ns for file in (out / "pool").rglob("*.*")}
    closeup.suggest(out, base / "pool", count=7, progress=lambda stage, *_: stages.append(stage))
    assert "embed" not in stages
    assert {file: file.stat().st_mtime_ns for file in (out / "pool").rglob("*.*")} == before
    assert not list((out / "pool").rglob("*.jpg"))  # no close-up of a pool is saved


def test_a_labelled_photo_that_is_a_copy_of_a_test_photo_is_left_out(base: Path, out: Path) -> None:
    before = sides(out)
    row = closeup.suggest(out, base / "pool", count=5).suggested[-1]
    tested = next(path for path, side in before.items() if side == "test")
    photos = Project(out).read("photos", Photo)
    assert photos is not None
    twin = next(photo for photo in photos.rows if photo.path == tested)
    decide(out, label(row, twin.label), Decision(Kind.SAME, row.photo_id, other=twin.id))
    closeup.train(out)
    assert sides(out)[tested] == "test"
    assert sides(out)[row.path] == ""


def test_what_cannot_be_suggested_is_refused_with_the_reason(
    base: Path, out: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        closeup.suggest(out, base / "pool", count=0)
    with pytest.raises(ProjectError, match="not a Closeup project"):
        closeup.suggest(tmp_path / "none", base / "pool")
    closeup.crop(base / "photos", out=tmp_path / "crops", **tiny.TINY)
    with pytest.raises(ProjectError, match="closeup train"):
        closeup.suggest(tmp_path / "crops", base / "pool")
    closeup.run(out=out, which="all")
    with pytest.raises(UsageError, match="--which"):
        closeup.suggest(out, base / "pool")


def test_the_command_says_what_it_found_and_what_comes_next(base: Path, out: Path) -> None:
    done = commands.closeup("suggest", out, base / "pool", "--count", 4)
    assert done.returncode == 0, done.stderr
    assert "26 photos: 20 new with the object found, 3 without, 2 known already or " in (
        done.stdout
    )
    assert f"closeup review {out}" in done.stdout
