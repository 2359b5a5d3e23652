"""``--finetune`` through the whole flow: used, read back and served like a frozen backbone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import closeup
from closeup.core.errors import UsageError
from closeup.core.project import Project
from closeup.core.types import Photo, Result
from closeup.networks import Network
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
    "wrong", [{"backbone": "tiny,nano-embed"}, {"backbone": "tiny@flip"}, {"view": "both"}]
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
def test_a_finetuned_model_answers_as_it_was_measured(tmp_path: Path, cache: Path) -> None:
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
