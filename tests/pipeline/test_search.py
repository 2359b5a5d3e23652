"""What each preset tries, and that the model is the one that was measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import closeup
from closeup.core.config import PhotosConfig, RunConfig
from closeup.core.project import Project
from closeup.core.types import Photo, Result
from closeup.pipeline.forecast import forecast
from closeup.report.result import RunResult
from tests import commands, tiny

OPTIONS = {"detector": "tiny-box", "parent": "thing"}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos, and a cache with the tiny networks."""
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    tiny.make_staged_backbone(tmp_path / "cache")
    return tiny.make_photos(tmp_path / "photos", per_label=12)


def tried(result: RunResult) -> list[str]:
    return [str(row.candidate) for row in result.compared]


def test_quick_fits_the_backbone_as_it_is(photos: Path, tmp_path: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", backbone="tiny-stages", preset="quick",
                         **OPTIONS)  # fmt: skip
    assert tried(result) == ["tiny-stages, closeup, ridge"]


def test_by_default_richer_features_of_both_views_are_tried(photos: Path, tmp_path: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", backbone="tiny-stages", **OPTIONS)
    assert tried(result) == ["tiny-stages@cov, closeup, ridge", "tiny-stages@cov, both, ridge"]
    assert sum(row.picked for row in result.compared) == 1


def test_a_backbone_without_feature_maps_is_used_as_it_is(photos: Path, tmp_path: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", backbone="tiny-pool", **OPTIONS)
    assert tried(result) == ["tiny-pool, closeup, ridge", "tiny-pool, both, ridge"]
    assert not [note for note in result.notes if "not tried" in note]


def test_what_the_user_names_is_not_changed(photos: Path, tmp_path: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", backbone="tiny-stages@stages,tiny-pool",
                         view="closeup", head="prototype,ridge", preset="best",
                         **OPTIONS)  # fmt: skip
    assert tried(result)[:4] == [
        "tiny-stages@stages, closeup, prototype", "tiny-stages@stages, closeup, ridge",
        "tiny-pool, closeup, prototype", "tiny-pool, closeup, ridge",
    ]  # fmt: skip
    assert all("cov" not in name and "both" not in name for name in tried(result))


def test_best_joins_enlarges_and_tries_another_head(photos: Path, tmp_path: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", backbone="tiny-stages,tiny-pool",
                         preset="best", **OPTIONS)  # fmt: skip
    names = tried(result)
    assert "tiny-stages@cov+tiny-pool, closeup, ridge" in names
    larger = [name for name in names if "@96" in name or "-32" in name]
    assert larger or [note for note in result.notes if note.startswith("not tried: ")]
    assert [name for name in names if "zoom" in name]
    assert names[-1].endswith("logistic")


def test_a_joined_model_answers_as_it_was_measured(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    closeup.run(photos, out=out, backbone="tiny-stages@cov+tiny-pool", view="both", **OPTIONS)
    results = Project(out).read("results", Result)
    listed = Project(out).read("photos", Photo)
    assert results is not None
    assert listed is not None
    path = {photo.id: photos / photo.path for photo in listed.rows}
    shutil.rmtree(tmp_path / "cache")  # the model folder is all that predicting needs
    model = closeup.load(out / "model")
    for row in results.rows:
        (answer,) = model.predict(path[row.photo_id], always=True).objects
        assert answer.label == row.answer
        assert answer.confidence == pytest.approx(row.confidence, abs=1e-5)


def test_a_variant_that_cannot_be_made_is_named(photos: Path, tmp_path: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", backbone="tiny-pool", preset="best",
                         **OPTIONS)  # fmt: skip
    larger = [name for name in tried(result) if "@96" in name]
    notes = [note for note in result.notes if note.startswith("not tried: ")]
    assert bool(larger) != bool(notes)


def test_the_time_of_each_preset_grows(photos: Path) -> None:
    config = RunConfig(photos=PhotosConfig(source=str(photos)))
    detect = config.detect.model_copy(update={"detector": "tiny-box"})
    train = config.train.model_copy(update={"backbone": ("tiny-stages", "tiny-pool")})
    seconds = forecast(config.model_copy(update={"detect": detect, "train": train}), 36)
    assert 0 < seconds["quick"] < seconds["balanced"] < seconds["best"]


def test_a_long_first_run_tells_the_time_beforehand(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("closeup.cli.project.LONG", 10)
    call = ["run", photos, "--detector", "tiny-box", "--parent", "thing",
            "--backbone", "tiny-stages", "--out", tmp_path / "out"]  # fmt: skip
    done = commands.closeup(*call)
    assert "36 photos; measured on this machine, --preset quick about" in done.stderr
    assert "this run: balanced" in done.stderr
    assert "measured on this machine" not in commands.closeup(*call).stderr
