"""``--finetune`` through the whole flow: used, read back and served like a frozen backbone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import closeup
from closeup.core.errors import UsageError
from closeup.core.project import Project
from closeup.core.types import Photo, Result
from closeup.learn.finetune import Diverged, Finetuned, finetune
from closeup.networks import Network
from closeup.pipeline import search, team, tune
from closeup.pipeline.fit import Fit
from closeup.pipeline.stages import Job
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


@pytest.fixture
def second(cache: Path) -> str:
    """A backbone beside ``tiny`` that wants its pictures prepared in another way."""
    folder = cache / "networks" / "second"
    shutil.copytree(cache / "networks" / "tiny", folder)
    card = json.loads((folder / "card.json").read_text())
    card["name"], card["input"]["color"] = "second", "rgb"
    (folder / "card.json").write_text(json.dumps(card))
    return "second"


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["fine-tuned", "both together"])
def test_a_finetuned_model_answers_as_it_was_measured(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    # On photos this plain the frozen backbone makes no mistakes either.
    take(kept, monkeypatch)
    result = measured(tmp_path, backbone="tiny")
    assert "The whole backbone (tiny)" in result.report.read_text()
    stamp = stamps(tmp_path)
    again = closeup.run(out=tmp_path / "out")
    assert again.scores == result.scores
    assert stamps(tmp_path) == stamp


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept",
    ["fine-tuned second", "fine-tuned tiny and fine-tuned second together",
     "frozen and fine-tuned second together", "all together"],
)  # fmt: skip
def test_several_finetuned_backbones_answer_as_they_were_measured(
    tmp_path: Path, cache: Path, second: str, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    take(kept, monkeypatch)
    result = measured(tmp_path, backbone=f"tiny,{second}", preset="best", head="ridge")
    names = ["second"] if "tiny" not in kept and "all" not in kept else ["tiny", "second"]
    page = result.report.read_text()
    told = "backbone (second) was" if len(names) == 1 else "backbones (tiny and second) were"
    assert f"The whole {told} fine-tuned" in page
    assert ("and of the frozen backbone (tiny@cov" in page) == ("frozen" in kept or "all" in kept)
    assert len(stamps(tmp_path)) == 2
    name = closeup.load(result.model).card.backbone
    assert name.endswith("+".join(f"{one}-finetuned" for one in names))
    assert ("@cov" in name) == ("frozen" in kept or "all" in kept)


@pytest.mark.slow
def test_of_several_each_that_can_be_trained_is(
    tmp_path: Path, cache: Path, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges_once(network: Network, *args: Any, **kwargs: Any) -> Finetuned:
        if network.card.name == "tiny":
            raise Diverged("training diverged in epoch 1")
        return finetune(network, *args, **kwargs)

    monkeypatch.setattr(tune, "finetune", diverges_once)
    result = measured(tmp_path, backbone=f"tiny,nano-embed,{second}", preset="best", head="ridge")
    assert "tiny was not fine-tuned: training diverged in epoch 1" in result.notes
    (told,) = [note for note in result.notes if "nano-embed was not fine-tuned" in note]
    assert "PyTorch weights" in told
    (told,) = [note for note in result.notes if "held out" in note]
    assert re.search(r"held out is 1\.000 frozen, 0\.\d+ fine-tuned and [01]\.\d+ both together; "
                     r"the frozen backbone was kept \(best of the others [-+]", told)  # fmt: skip


@pytest.mark.slow
def test_without_the_preset_best_the_first_alone_is_trained(
    tmp_path: Path, cache: Path, second: str
) -> None:
    measured(tmp_path, backbone=f"tiny,{second}", head="ridge")
    assert len(stamps(tmp_path)) == 1


def take(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the team of this name kept, whatever is best; each must answer by the mean."""

    def best(job: Job, frozen: Fit, tuned: Sequence[Fit], place: Path) -> Fit:
        found = {one.name: one for one in team.teams(frozen, tuned)}
        for one in found.values():
            made = team.together(job, one, place)
            mean = np.average([logits(fit) for fit in one.fits], axis=0, weights=one.weights)
            # A picture for the largest input, made smaller by the graph, is not quite the same.
            np.testing.assert_allclose(logits(made), mean, rtol=0, atol=0.01 * np.ptp(mean))
        return team.together(job, found[kept], place)

    monkeypatch.setattr(tune, "best_of", best)


def logits(fit: Fit) -> NDArray[np.float64]:
    (layer,) = fit.fitted.head.layers
    return fit.train.vectors @ layer.weights.T + layer.bias


def measured(tmp_path: Path, **options: Any) -> closeup.RunResult:
    """A run whose model gives the same answers as the run measured, which is tested."""
    photos = tiny.make_photos(tmp_path / "photos", per_label=16)
    result = closeup.run(photos, out=tmp_path / "out", detector="tiny-box", parent="thing",
                         finetune=True, epochs=2, threads=1, **options)  # fmt: skip
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
    return result


def stamps(tmp_path: Path) -> list[int]:
    """When each result of fine-tuning was written."""
    return [f.stat().st_mtime_ns for f in (tmp_path / "out" / "finetune").rglob("result.*")]


def run(tmp_path: Path, per_label: int = 8, **options: Any) -> closeup.RunResult:
    photos = tiny.make_photos(tmp_path / "photos", per_label=per_label)
    return closeup.run(photos, out=tmp_path / "out", detector="tiny-box", parent="thing",
                       backbone="tiny", finetune=True, epochs=1, threads=1, **options)  # fmt: skip


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
    result = run(tmp_path, pads=(0, 0.5), compare_photo=True)
    assert result.log["kind"] == "finetune"
    assert any("paddings and whole photos were not compared" in note for note in result.notes)
    assert "fine-tuning helped" in result.report.read_text()
    assert closeup.load(result.model).card.backbone == "tiny-finetuned"
