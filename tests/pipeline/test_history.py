"""The history of a project: what is kept, replaced, compared, restored and pruned."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.cli.history import table, training_lines
from closeup.core.errors import ModelError, ProjectError, UsageError
from closeup.core.project import Project
from closeup.core.types import Crop, Result
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.learn import heads
from closeup.learn.heads.fitting import fit
from closeup.model.history import read_answers, read_history
from tests import commands, tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings, of which the second is in use."""
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        photos = tiny.make_photos(folder / "photos", per_label=20, dark=2)
        closeup.run(photos, out=folder / "out", **tiny.TINY)
        closeup.train(folder / "out", head="prototype")
    return folder


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))
    return Path(shutil.copytree(base / "out", tmp_path / "out"))


def spoil(patch: pytest.MonkeyPatch) -> None:
    """From now on, heads learn shuffled labels and so answer at random."""

    def shuffled(kind, vectors, labels, folds, seed, blocks):  # type: ignore[no-untyped-def]
        order = np.random.default_rng(1).permutation(len(labels))
        return fit(kind, vectors, [labels[i] for i in order], folds, seed, blocks)

    patch.setattr(heads, "fit", shuffled)


def in_use(project: Path) -> tuple[str, str, str]:
    """The keys of the model, the scores and the results."""
    card = json.loads((project / "model" / "model.json").read_text())
    scores = json.loads((project / "scores.json").read_text())
    results = Project(project).read("results", Result)
    assert results is not None
    return card["key"], scores["key"], results.key


def test_each_training_is_an_entry(project: Path) -> None:
    found = closeup.history(project)
    first, second = found.trainings
    assert (found.in_use, found.restorable) == (2, (1, 2))
    assert first.changes is None
    assert second.changes is not None
    assert dict(second.changes.options) == {"train.head": ([], ["prototype"])}
    assert (first.looks, second.looks, second.same_test, second.new_split) == (1, 2, True, False)
    assert second.against is not None
    assert second.against.number == 1
    assert second.against.n == second.test == 14
    assert set(in_use(project)) == {second.key}
    answers = read_answers(Project(project), 2)
    assert len(answers) == first.train + first.test
    assert all(row.answer for row in answers)


def test_a_command_repeated_trains_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {str(f): f.stat().st_mtime_ns for f in project.rglob("*") if f.is_file()}
    result = closeup.train(project)
    assert result.training is not None
    assert (result.training.number, result.training.used) == (2, True)
    after = {str(f): f.stat().st_mtime_ns for f in project.rglob("*") if f.is_file()}
    assert {name for name in after if after[name] != before.get(name)} <= {
        str(project / "report.html")  # the notes of the first command are not repeated
    }


def test_a_clearly_worse_model_is_kept_but_not_used(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, files = in_use(project), (project / "model" / "head.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        spoil(patch)
        result = closeup.train(project, head="ridge", augment=1)
    assert result.training is not None
    assert (result.training.number, result.training.used) == (3, False)
    assert in_use(project) == old
    assert (project / "model" / "head.safetensors").read_bytes() == files
    assert result.scores is not None
    assert result.scores.macro_f1 == result.training.macro_f1
    (note,) = (note for note in result.notes if "clearly worse" in note)
    assert "training 2, which stays in use" in note
    assert f"closeup train {project} --restore 3" in note
    assert "This model is not in use" in result.report.read_text()
    assert next(c for c in result.checks if c.code == "CU401").state == "issue"
    # The same command says the same, and trains nothing.
    again = closeup.train(project)
    assert again.training is not None
    assert (again.training.number, again.training.used) == (3, False)
    assert note in again.notes
    assert len(closeup.history(project).trainings) == 3
    # By hand it can be taken all the same.
    taken = closeup.train(project, restore=3)
    assert taken.training is not None
    assert taken.training.used
    assert set(in_use(project)) == {result.key}
    assert "This model is not in use" not in taken.report.read_text()
    assert closeup.load(project / "model").labels
    repeated = closeup.train(project)
    assert repeated.training is not None
    assert repeated.training.number == 3
    assert "restored by hand" in "\n".join(table(closeup.history(project)))


def test_restoring_brings_back_model_scores_options_and_report(project: Path) -> None:
    first = closeup.history(project).trainings[0]
    result = closeup.train(project, restore=1)
    assert set(in_use(project)) == {first.key}
    assert Project(project).config().train.head == ()
    assert result.key == first.key
    assert result.training is not None
    assert result.training.number == 1
    again = closeup.run(out=project)
    assert again.key == first.key
    assert len(closeup.history(project).trainings) == 2
    assert closeup.history(project).in_use == 1


def test_restoring_where_the_photos_have_changed(project: Path) -> None:
    crops = Project(project).read("crops", Crop)
    assert crops is not None
    crop = next(c for c in crops.rows if c.side)
    with closing(Decisions(project)) as log:
        log.append("me", [Decision(Kind.REJECT, photo=crop.photo_id, crop=crop.id)])
    result = closeup.train(project, restore=1)
    assert set(in_use(project)) == {closeup.history(project).trainings[0].key}
    assert len(closeup.history(project).trainings) == 2  # nothing was trained
    assert any("have changed since training 1" in note for note in result.notes)
    trained = closeup.train(project).training
    assert trained is not None
    assert trained.number == 3
    assert trained.changes is not None
    assert trained.changes.removed.count == 1
    assert dict(trained.changes.decisions) == {"reject": (0, 1)}


def test_what_cannot_be_restored_is_said(project: Path) -> None:
    with pytest.raises(ProjectError, match="no training 9; trainings that can be restored: 1, 2"):
        closeup.train(project, restore=9)
    with pytest.raises(UsageError, match="brings its own options, got head"):
        closeup.train(project, restore=1, head="mlp")
    card = json.loads((project / "history" / "1" / "model.json").read_text())
    (project / "history" / "files" / card["files"]["head.safetensors"]).write_bytes(b"other")
    old = in_use(project)
    with pytest.raises(ModelError, match="is missing or has changed"):
        closeup.train(project, restore=1)
    assert in_use(project) == old
    done = commands.closeup("train", project, "--restore", "7")
    assert done.returncode == 1
    assert "no training 7" in done.stderr


def test_another_split_is_a_break(project: Path) -> None:
    training = closeup.train(project, seed=5).training
    assert training is not None
    assert (training.used, training.new_split, training.against, training.looks) == (
        True, True, None, 1)  # fmt: skip
    assert any("another split" in line for line in table(closeup.history(project)))


def test_old_models_are_pruned(project: Path) -> None:
    closeup.train(project, head="logistic", keep=0)
    closeup.train(project, head="ridge", pads="0.3")
    found = closeup.history(project)
    best = found.best
    assert best is not None
    models = {row.number: row.model for row in found.trainings}
    kept = {models[found.in_use], models[best.number]}  # trainings of one model share it
    assert {models[number] for number in found.restorable} == kept
    assert len(found.trainings) == 4
    gone = next(n for n in (1, 2, 3, 4) if n not in found.restorable)
    with pytest.raises(ProjectError, match=f"training {gone} is no longer kept"):
        closeup.train(project, restore=gone)
    assert closeup.load(project / "model").labels
    assert "-: its model is no longer kept" in table(found)[-2]


def test_a_restored_model_is_kept(project: Path) -> None:
    closeup.train(project, restore=1)
    closeup.train(project, head="logistic", keep=0)
    assert 1 in closeup.history(project).restorable


def test_the_files_of_models_are_stored_once(project: Path) -> None:
    closeup.train(project, head="logistic")
    graphs = {f.stat().st_ino for f in project.glob("model/*/graph.onnx")}
    stored = {f.stat().st_ino for f in (project / "history" / "files").iterdir()}
    assert graphs <= stored
    cards = [json.loads((project / "history" / n / "model.json").read_text())["files"]
             for n in "123"]  # fmt: skip
    assert len(stored) == len({sha for card in cards for sha in card.values()})
    assert cards[0]["backbone/graph.onnx"] == cards[1]["backbone/graph.onnx"]


def test_without_hard_links_files_are_copied(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", none)
    closeup.train(project, restore=1)
    assert set(in_use(project)) == {closeup.history(project).trainings[0].key}
    assert closeup.load(project / "model").labels


def test_a_project_without_history_opens_with_its_model_as_the_first_entry(project: Path) -> None:
    key = in_use(project)[0]
    shutil.rmtree(project / "history")
    assert closeup.history(project).trainings == ()
    result = closeup.train(project, head="logistic")
    first, second = closeup.history(project).trainings
    assert (first.number, first.key, first.used) == (1, key, True)
    assert first.out_of_fold is None
    assert first.macro_f1 is not None
    assert second.against is not None
    assert second.against.n == 14  # on the test part they can be compared
    assert second.used  # its out-of-fold answers are not known, so nothing speaks against it
    assert result.key == second.key
    assert closeup.train(project, restore=1).key == key


def test_a_photo_added_and_one_renamed(base: Path, project: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(base / "photos", tmp_path / "photos"))
    (photos / "ash" / "0.png").rename(photos / "ash" / "renamed.png")
    pixels = np.asarray(Image.open(photos / "ash" / "1.png"))[::-1]
    Image.fromarray(np.ascontiguousarray(pixels)).save(photos / "ash" / "new.png")
    training = closeup.run(photos, out=project).training
    assert training is not None
    assert training.changes is not None
    assert training.changes.added.first == ("ash/new.png",)
    assert training.changes.removed.count == 0
    assert "1 photo added" in str(training.changes)


def test_what_is_printed_is_never_cut(project: Path) -> None:
    done = commands.closeup("history", project)
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert "*  2" in done.stdout
    as_json = json.loads(commands.closeup("history", project, "--json").stdout)
    assert [row["in_use"] for row in as_json["trainings"]] == [False, True]
    training = closeup.history(project).trainings[1]
    assert training_lines(training)[0].startswith(
        "training 2: in use   (changed: head default → prototype"
    )
    assert commands.closeup("history", project / "model").returncode == 1


def test_a_damaged_entry_is_passed_over(project: Path) -> None:
    (project / "history" / "1" / "training.json").write_text("{")
    result = closeup.train(project, head="logistic")
    assert any("history/1/training.json is damaged" in note for note in result.notes)
    assert [row.number for row in read_history(Project(project)).trainings] == [2, 3]
