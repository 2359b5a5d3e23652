"""The recipe that Closeup is measured against: its times add up, and its first half runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.recipe import classify, detect, timing
from tests.conftest import save_photo


@pytest.mark.parametrize(
    ("seconds", "each", "ten"),
    [([], None, None), ([9.0], None, None), ([9.0, 2.0], 2.0, 27.0), ([9.0, 2.0, 4.0], 3.0, 36.0)],
)
def test_the_first_stands_for_itself_alone(
    seconds: list[float], each: float | None, ten: float | None
) -> None:
    assert timing.after_first(seconds) == each
    assert timing.scaled(seconds, 10) == ten


def test_packages_that_are_absent_are_left_out() -> None:
    line = timing.machine("numpy", "surely-no-such-package")
    assert "numpy " in line
    assert "surely" not in line


def test_no_photos(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no photo"):
        detect.photos_in(tmp_path)


def test_a_limit_spreads_over_all_labels(tmp_path: Path) -> None:
    for label in "abc":
        for number in range(4):
            save_photo(tmp_path / label / f"{number}.jpg")
    (tmp_path / "a" / "notes.txt").write_text("no photo")
    assert len(detect.photos_in(tmp_path)) == 12
    assert [file.parent.name for file in detect.photos_in(tmp_path, 3)] == ["a", "b", "c"]
    assert len(detect.photos_in(tmp_path, 99)) == 12


class Found:
    """Stands in for the network: says what it was told to, whatever the photo."""

    def __init__(self, *answers: tuple[int, list[float]]) -> None:
        self.answers = answers

    def __call__(self, images: list[Any]) -> list[dict[str, Any]]:
        import torch

        labels = torch.tensor([label for label, _ in self.answers])
        return [{"boxes": torch.tensor([box for _, box in self.answers]), "labels": labels}]


@pytest.mark.parametrize(
    ("answers", "size", "hit"),
    [
        ((), (64, 48), False),
        (((1, [0.0, 0.0, 9.0, 9.0]),), (64, 48), False),
        (((1, [0.0, 0.0, 9.0, 9.0]), (7, [10.4, 5.0, 63.9, 48.1])), (54, 43), True),
        (((7, [1.0, 1.0, 3.0, 4.0]), (7, [0.0, 0.0, 9.0, 9.0])), (2, 3), True),
    ],
)
def test_the_best_box_of_the_category_is_cut_out(
    tmp_path: Path, answers: tuple[tuple[int, list[float]], ...], size: tuple[int, int], hit: bool
) -> None:
    pytest.importorskip("torchvision")
    photo, target = save_photo(tmp_path / "photo.jpg"), tmp_path / "out" / "crop.jpg"
    network: Any = Found(*answers)
    assert detect.close_up(network, photo, target, 7) == (len(answers), hit)
    with Image.open(target) as opened:
        assert opened.size == size


def test_a_category_that_coco_lacks() -> None:
    pytest.importorskip("torchvision")
    assert detect.category("clock") == 85
    with pytest.raises(SystemExit, match="no category 'watch'"):
        detect.category("watch")


def test_detecting_tells_its_times_and_saves_every_readable_photo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchvision")
    photos, out = tmp_path / "photos", tmp_path / "crops"
    for number, name in enumerate(["a/1.jpg", "a/1.png", "b/1.jpg"]):
        save_photo(photos / name, seed=number)
    (photos / "b" / "2.jpg").write_bytes(b"no photo")
    detect.main([str(photos), "--out", str(out), "--size", "64", "--weights", "random"])
    said = json.loads(capsys.readouterr().out)
    saved = sorted(str(file.relative_to(out)) for file in out.rglob("*.jpg"))
    assert saved == ["a/1.jpg", "a/1.png.jpg", "b/1.jpg"]
    assert (said["photos"], said["unreadable"]) == (3, 1)
    assert said["seconds"] == pytest.approx(said["first_photo"] + 2 * said["per_photo"], abs=0.01)
    assert 0 < sum(said["stages"].values()) <= said["per_photo"] + 0.01
    assert (said["weights"], said["pixels"]) == ("random", 64)
    assert "random boxes" in said["note"]
    assert said["processors_used"] > 0


def test_weights_of_the_detector_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detection = pytest.importorskip("torchvision.models.detection")

    def fetch(**given: object) -> None:
        assert given["weights"] == "DEFAULT"
        print("Downloading")
        raise OSError("no way out")

    monkeypatch.setattr(detection, "fasterrcnn_resnet50_fpn", fetch)
    save_photo(tmp_path / "1.jpg")
    words = [str(tmp_path), "--out", str(tmp_path / "out"), "--size", "64"]
    detect.main(words)
    said = json.loads(capsys.readouterr().out)
    assert (said["photos"], said["weights"], said["per_photo"]) == (1, "random", None)
    with pytest.raises(SystemExit, match=r"cannot be fetched \(no way out\)"):
        detect.main([*words, "--weights", "coco"])


def test_only_broken_photos(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    (tmp_path / "1.jpg").write_bytes(b"no photo")
    words = [str(tmp_path), "--out", str(tmp_path / "out"), "--size", "64", "--weights", "random"]
    with pytest.raises(SystemExit, match="none of the 1 photos"):
        detect.main(words)


@pytest.mark.parametrize("counts", [{}, {"a": 9}, {"a": 9, "b": 0}, {"a": 2, "b": 2}])
def test_too_few_close_ups_to_train_on(tmp_path: Path, counts: dict[str, int]) -> None:
    for label, count in counts.items():
        (tmp_path / label).mkdir()
        for number in range(count):
            (tmp_path / label / f"{number}.jpg").touch()
    with pytest.raises(SystemExit, match="at least two classes"):
        classify.count_images(tmp_path)


def test_close_ups_are_counted_by_class(tmp_path: Path) -> None:
    for name in ["a/1.jpg", "a/2.PNG", "a/notes.txt", "b/1.jpeg", "b/2.jpg", "b/more/3.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert classify.count_images(tmp_path) == {"a": 2, "b": 3}


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    nobody = classify.Backbone("densenet", "DenseNet121", "http://127.0.0.1:1/w.h5")
    monkeypatch.setattr(classify, "BACKBONES", {"densenet121": nobody})
    assert classify.choose_weights("densenet121", "random") == "random"
    assert classify.choose_weights("densenet121", "auto") == "random"
    with pytest.raises(SystemExit, match="cannot be fetched from"):
        classify.choose_weights("densenet121", "imagenet")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.h5").touch()
    assert classify.choose_weights("densenet121", "auto") == "imagenet"
    assert classify.choose_weights("densenet121", "random") == "random"


def test_an_environment_without_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setenv("KERAS_BACKEND", "kept")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    for label in "ab":
        for number in range(3):
            save_photo(tmp_path / label / f"{number}.jpg")
    words = [str(tmp_path), "--backbone", "mobilenetv2", "--weights", "random"]
    with pytest.raises(SystemExit, match=r"bench/recipe/requirements\.txt"):
        classify.main(words)
    with pytest.raises(SystemExit, match="2"):
        classify.main([*words, "--epochs", "0"])
