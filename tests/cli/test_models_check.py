"""``closeup models check`` and ``models add`` of an ONNX detector."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from closeup.cli.models import models
from tests.conftest import save_photo
from tests.detect.test_add import cells, fake_detector


def test_add_and_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    file = fake_detector(tmp_path / "a.onnx", {"o": cells(0.7, objectness=True)})
    run = CliRunner().invoke
    added = run(models, ["add", str(file), "--name", "mine", "--classes", "thing"])
    assert added.exit_code == 0
    assert "read as YOLOX with its decoding" in added.output
    out = tmp_path / "drawn"
    checked = run(models, ["check", "mine", "--out", str(out)])
    assert checked.exit_code == 0
    assert "chelsea.webp: thing 0.63" in checked.output
    assert len(list(out.iterdir())) == 3
    save_photo(tmp_path / "own.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    own = ["check", "mine", str(tmp_path / "*.png"), "--out", str(tmp_path / "more")]
    looked = run(models, own)
    assert looked.exit_code == 0
    assert "own.png: thing" in looked.output
    assert "broken.png: " in looked.output
    assert len(list((tmp_path / "more").iterdir())) == 4
    refused = run(models, ["check", "mine", "--out", str(out)])
    assert "holds something already" in str(refused.exception)
    scores = [0.5, *[0.1] * 79]
    file = fake_detector(tmp_path / "b.onnx", {"o": cells(*scores, objectness=True)})
    more = ["--name", "wrong", "--classes", "coco80", "--family", "yolov5"]
    assert run(models, ["add", str(file), *more]).exit_code == 0
    wrong = run(models, ["check", "wrong"])
    assert wrong.exit_code == 1
    assert "wrong does not agree with the golden photos" in wrong.output
