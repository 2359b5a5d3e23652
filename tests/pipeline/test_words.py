"""Photos found by words: baked into a detector, or by boxes that PyTorch drew once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import closeup
from closeup.api import settings
from closeup.core.errors import PhotosError, UsageError
from closeup.core.project import Project
from closeup.core.types import Box, Crop, Detection, Photo
from closeup.model.card import read_card
from closeup.networks.convert import open_vocabulary
from closeup.pipeline import written_boxes
from closeup.pipeline.planning import plan
from tests import commands, tiny
from tests.networks.convert.hub_words import words_hub
from tests.networks.hub_server import Hub

WORDS = "Pocket watch, compass"
PARENT = ("compass", "pocket watch")
NAMES = ("owlv2", "grounding-dino")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    tiny.make_photos(folder / "photos", per_label=4)
    tiny.make_photos(folder / "few", per_label=1)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, which only wait for one another."""
    torch = pytest.importorskip("torch", reason="the networks are built with it")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def hub(base: Path) -> Iterator[Hub]:
    tiny.need_onnx()
    with words_hub(base, *NAMES) as hub:
        if not (base / "cache" / "networks" / "tiny-pool").is_dir():
            tiny.make_backbone(base / "cache")
        yield hub


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of the photos that PyTorch has looked at."""
    seen: list[tuple[int, int]] = []
    find = open_vocabulary.Grounded.find

    def counted(self: Any, photo: Any) -> Any:
        seen.append(photo.size)
        return find(self, photo)

    monkeypatch.setattr(open_vocabulary.Grounded, "find", counted)
    return seen


def shut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on there is neither a hub nor PyTorch."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for module in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)


def test_a_project_of_words(
    base: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    result = closeup.run(
        base / "photos", out=out, detector="owlv2", parent=WORDS, backbone="tiny-pool"
    )
    assert result.counts.cropped > 0
    detect = Project(out).config().detect
    assert (detect.detector, sorted(detect.parent)) == ("owlv2", [*PARENT])
    assert read_card(out / "model").detector.startswith("owlv2@compass-pocket-watch-")
    table = Project(out).read("detections", Detection)
    assert table is not None
    assert {row.category for row in table.rows} <= set(PARENT)
    shut_off(monkeypatch)
    again = closeup.run(out=out, threshold=0.2)
    assert again.counts.photos == result.counts.photos
    known = plan(settings(out, {}), out)
    assert known.missing == ()
    assert [step.left for step in known.steps][:2] == [0, 0]
    photo = next((base / "photos").rglob("*.png"))
    program = f"""
import sys
for name in ("torch", "transformers", "timm", "torchvision", "huggingface_hub", "onnx"):
    sys.modules[name] = None
import closeup
answer = closeup.load({str(out / "model")!r}).predict({str(photo)!r}, always=True)
print(answer.label)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"ash", "birch", "cedar"}


def test_boxes_are_drawn_once(
    base: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked: list[Any]
) -> None:
    photos, out = Path(shutil.copytree(base / "few", tmp_path / "photos")), tmp_path / "out"
    result = closeup.crop(photos, out=out, boxes_by="grounding-dino", parent=WORDS)
    count = result.counts.photos
    assert len(looked) == count == result.counts.cropped
    assert any("grounding-dino needs PyTorch" in note for note in result.notes)
    detect = Project(out).config().detect
    assert (detect.boxes_by, detect.boxes, detect.detector) == ("grounding-dino", "", "")
    assert detect.parent == PARENT
    content = json.loads((out / "boxes.json").read_text())
    assert content["info"]["words"] == list(PARENT)
    assert len(content["images"]) == count
    crops, rows = Project(out).read("crops", Crop), Project(out).read("photos", Photo)
    assert crops is not None
    assert rows is not None
    best = {a["image_id"]: a for a in reversed(content["annotations"])}
    number = {image["file_name"]: image["id"] for image in content["images"]}
    for crop in crops.rows:
        path = next(row.path for row in rows.rows if row.id == crop.photo_id)
        x, y, width, height = best[number[path]]["bbox"]
        assert crop.box == pytest.approx(Box(x, y, x + width, y + height), abs=0.05)
    # The very file serves another project, as anybody's boxes do.
    other = closeup.crop(photos, out=tmp_path / "other", boxes=out / "boxes.json", parent=WORDS)
    assert other.counts == result.counts

    looked.clear()
    shutil.copy(base / "few" / "ash" / "0.png", photos / "birch" / "same-bytes.png")
    with monkeypatch.context() as patch:
        shut_off(patch)
        (out / "crops.parquet").unlink()
        assert closeup.crop(out=out).counts.photos == count + 1
    assert not looked
    closeup.crop(out=out, parent="compass")
    assert len(looked) == count


def test_a_kill_loses_no_boxes(
    base: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked: list[Any]
) -> None:
    monkeypatch.setattr(written_boxes, "EVERY", 0.0)
    counted, out = open_vocabulary.Grounded.find, tmp_path / "out"

    def killed(self: Any, photo: Any) -> Any:
        if len(looked) == 2:
            raise KeyboardInterrupt
        return counted(self, photo)

    options: Any = {"out": out, "boxes_by": "grounding-dino", "parent": WORDS}
    with monkeypatch.context() as patch:
        patch.setattr(open_vocabulary.Grounded, "find", killed)
        with pytest.raises(KeyboardInterrupt):
            closeup.crop(base / "few", **options)
    assert len(json.loads((out / "boxes.json").read_text())["images"]) == 2
    assert closeup.crop(**options).counts.photos == len(looked)


def test_a_model_of_drawn_boxes(base: Path, hub: Hub, tmp_path: Path) -> None:
    """Without a detector of its own, or with one of words beside it."""
    options: Any = {"boxes_by": "grounding-dino", "parent": WORDS, "backbone": "tiny-pool"}
    alone = closeup.run(base / "photos", out=tmp_path / "alone", **options)
    assert read_card(alone.model).detector == ""
    assert any("--detector omdet-turbo" in note for note in alone.notes)
    assert read_card(alone.model).detect.boxes_by == ""
    both = closeup.run(base / "photos", out=tmp_path / "both", detector="owlv2", **options)
    assert read_card(both.model).detector.startswith("owlv2@")
    assert both.counts == alone.counts


def test_a_plan_knows_the_network_of_the_words_and_fetches_nothing(
    base: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut_off(monkeypatch)
    out = tmp_path / "out"
    options: Any = {"parent": WORDS, "backbone": "tiny-pool", "preset": "quick"}
    drawn = plan(settings(out, {**options, "boxes_by": "grounding-dino"}, base / "few"), out)
    assert (drawn.missing, drawn.seconds) == ((), {})
    other = {**options, "parent": "sundial", "detector": "owlv2"}
    assert plan(settings(out, other, base / "few"), out).missing == ("owlv2",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_by": "grounding-dino"}, "grounding-dino finds what you name"),
        ({"boxes_by": "d-fine-n", "parent": "clock"}, r"--boxes-by takes grounding-dino, not"),
        ({"boxes_by": "grounding-dino", "parent": "x", "boxes": "b.csv"}, "both in use"),
        ({"boxes_by": "grounding-dino", "parent": "!?"}, None),
        ({"detector": "omdet-turbo"}, "omdet-turbo finds what you name"),
        ({"detector": "grounding-dino", "parent": "clock"}, "--boxes-by grounding-dino"),
    ],
)
def test_what_is_refused(
    base: Path, tmp_path: Path, options: dict[str, Any], message: str | None
) -> None:
    if message is None:
        return
    with pytest.raises(UsageError, match=message):
        closeup.crop(base / "few", out=tmp_path / "out", **options)
    assert not (tmp_path / "out" / "closeup.toml").exists()


def test_nothing_is_found(
    base: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_vocabulary.Grounded, "find", lambda *_: [])
    with pytest.raises(PhotosError, match="found no compass or pocket watch in any of the"):
        closeup.crop(base / "few", out=tmp_path / "out", boxes_by="grounding-dino", parent=WORDS)


def test_damaged_boxes_are_drawn_again(
    base: Path, hub: Hub, tmp_path: Path, looked: list[Any]
) -> None:
    out = tmp_path / "out"
    options: Any = {"boxes_by": "grounding-dino", "parent": WORDS}
    closeup.crop(base / "few", out=out, **options)
    first = (out / "boxes.json").read_bytes()
    sound = json.loads(first)
    assert written_boxes.read_boxes_file(sound) is not None
    for damaged in ([], {}, sound | {"categories": []}, sound | {"images": None}):
        assert written_boxes.read_boxes_file(damaged) is None
    (out / "boxes.json").write_bytes(first[:-20])
    closeup.crop(out=out)
    assert (out / "boxes.json").read_bytes() == first
    assert len(looked) == 2 * len(sound["images"])


def test_the_command_line(base: Path, hub: Hub, tmp_path: Path) -> None:
    tiny.make_detector(base / "cache")
    photos = base / "few"
    said = commands.closeup("scout", photos, "--detector", "tiny-box,owlv2", "--parent", WORDS,
                            "--sample", 3)  # fmt: skip
    lines = said.stdout.splitlines()
    header = next(n for n, line in enumerate(lines) if line.startswith("detector: parent"))
    names = [line.split(":")[0] for line in lines[header + 1 : header + 3]]
    assert names == ["tiny-box", "owlv2"]
    assert any(line.startswith("seconds a photo: tiny-box ") for line in lines)
    found = json.loads(commands.closeup("scout", photos, "--detector", "tiny-box,owlv2",
                                        "--parent", WORDS, "--json").stdout)  # fmt: skip
    assert list(found["detectors"]) == ["tiny-box", "owlv2"]
    assert {c["name"] for c in found["detectors"]["owlv2"]["categories"]} <= set(PARENT)
    told = commands.closeup("crop", photos, "--boxes-by", "grounding-dino", "--parent", WORDS,
                            "--out", tmp_path / "out").stderr  # fmt: skip
    assert "grounding-dino takes" in told
    assert "s a photo on this machine: about" in told
    assert "so the model has no detector" in told
    pulled = commands.closeup("models", "pull", "owlv2", "--words", WORDS).stdout
    assert "owlv2@compass-pocket-watch-" in pulled
    assert "licence Apache-2.0" in pulled
    assert (
        "--boxes-by grounding-dino" in commands.closeup("models", "pull", "grounding-dino").stdout
    )
