"""``--finetune`` through the whole flow: used, read back and served like a frozen backbone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import closeup
from closeup.core.errors import UsageError
from closeup.core.project import Project
from closeup.core.types import Photo, Result
from closeup.learn.finetune import Diverged, Finetuned, finetune
from closeup.networks import Network
from closeup.pipeline import search, tune
from tests import tiny

pytest.importorskip("torch", reason="fine-tuning needs the torch extra")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Network) -> Path:
    folder = tmp_path / "cache"
    shutil.copytree(network.folder, folder / "networks" / network.folder.name)
    monkeypatch.setenv("CLOSEUP_CACHE", str(folder))
    tiny.make_detector(folder)
    return folder


@pytest.mark.parametrize(
    "wrong", [{"backbone": "tiny+nano-embed"}, {"backbone": "tiny@flip"}, {"view": "photo"}]
)
def test_what_cannot_be_finetuned_is_refused(
    tmp_path: Path, cache: Path, wrong: dict[str, str]
) -> None:
    photos = tiny.make_photos(tmp_path / "photos")
    given = {"backbone": "tiny", **wrong}
    with pytest.raises(UsageError, match="--finetune"):
        closeup.run(photos, out=tmp_path / "out", detector="tiny-box", parent="thing",
                    finetune=True, **given)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["fine-tuned", "together"])
def test_a_finetuned_model_answers_as_it_was_measured(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    # On photos this plain the frozen backbone makes no mistakes either.
    best = tune._together if kept == "together" else lambda _, frozen, tuned, members: tuned
    monkeypatch.setattr(tune, "_best", best)
    photos = tiny.make_photos(tmp_path / "photos", per_label=16)
    result = closeup.run(photos, out=tmp_path / "out", detector="tiny-box", parent="thing",
                         backbone="tiny", finetune=True, epochs=2, threads=1)  # fmt: skip
    assert result.scores is not None
    assert result.trust is not None
    project = Project(tmp_path / "out")
    rows, listed = project.read("results", Result), project.read("photos", Photo)
    assert rows is not None
    assert listed is not None
    files = {photo.id: photo.file for photo in listed.rows}
    model = closeup.load(result.model)
    for row in rows.rows:
        (answer,) = model.predict(files[row.photo_id], always=True).objects
        assert (answer.label, answer.confidence) == (row.answer, pytest.approx(row.confidence))
    assert "The whole backbone" in result.report.read_text()
    stamp = (tmp_path / "out" / "finetune" / "result.safetensors").stat().st_mtime_ns
    again = closeup.run(out=tmp_path / "out")
    assert again.scores == result.scores
    assert (tmp_path / "out" / "finetune" / "result.safetensors").stat().st_mtime_ns == stamp


def run(tmp_path: Path, per_label: int = 8) -> closeup.RunResult:
    photos = tiny.make_photos(tmp_path / "photos", per_label=per_label)
    return closeup.run(photos, out=tmp_path / "out", detector="tiny-box", parent="thing",
                       backbone="tiny", finetune=True, epochs=1, threads=1)  # fmt: skip


def spoiled(change: Callable[[Finetuned], Finetuned]) -> Callable[..., Finetuned]:
    def made(*args: Any, **kwargs: Any) -> Finetuned:
        return change(finetune(*args, **kwargs))

    return made


def test_a_useless_one_leaves_the_backbone_frozen(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    even = spoiled(
        lambda found: replace(found, probabilities=np.full_like(found.probabilities, 0.5))
    )
    monkeypatch.setattr(tune, "finetune", even)
    result = run(tmp_path)
    assert result.log["kind"] == "ridge"
    page = result.report.read_text()
    assert "fine-tuning did not help" in page
    assert "the frozen backbone was kept" in page
    again = closeup.run(out=tmp_path / "out")  # reads the training back, and what was said of it
    assert again.notes == result.notes
    assert again.report.read_text() == page
    assert closeup.load(result.model).card.backbone == "tiny@cov"


def test_one_that_diverges_leaves_the_backbone_frozen(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(*args: Any, **kwargs: Any) -> Finetuned:
        raise Diverged("training diverged in epoch 1")

    monkeypatch.setattr(tune, "finetune", diverged)
    result = run(tmp_path)
    assert result.log["kind"] == "ridge"
    assert "The frozen backbone was kept" in result.report.read_text()


def test_with_nothing_to_hold_out_nothing_is_trained(tmp_path: Path, cache: Path) -> None:
    result = run(tmp_path, per_label=1)
    assert result.log["kind"] == "ridge"
    assert "nothing was fine-tuned" in result.report.read_text()
    assert not (tmp_path / "out" / "finetune").exists()


def test_a_better_one_is_kept(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Than a frozen head that is undecided."""
    fit = search.fit_candidate

    def undecided(*args: Any) -> Any:
        made, row = fit(*args)
        even = np.full_like(made.predictions.probabilities, 0.5)
        return replace(made, predictions=replace(made.predictions, probabilities=even)), row

    monkeypatch.setattr(search, "fit_candidate", undecided)
    result = run(tmp_path)
    assert result.log["kind"] == "finetune"
    assert "fine-tuning helped" in result.report.read_text()
    assert closeup.load(result.model).card.backbone == "tiny-finetuned"
