"""A pass for everything gives what passes for one thing each give, and computes nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.config import RunConfig
from closeup.core.project import Project
from closeup.core.types import Crop, Detection, Photo
from closeup.crops import view
from closeup.crops.view import views_of
from closeup.dataset.duplicates import Pair, Signatures
from closeup.detect import Detector
from closeup.learn.embed import Embedder, Embeddings
from closeup.networks import find
from closeup.photos.listing import collect
from closeup.photos.picture import Picture
from closeup.pipeline import one_pass as pass_module
from closeup.pipeline import stages
from closeup.pipeline.features import TrainingSet, features_stage
from closeup.pipeline.stages import Job, Wanted, look
from tests import tiny
from tests.tiny import TINY

KINDS = {"photos": Photo, "detections": Detection, "crops": Crop, "duplicates": Pair}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tiny.make_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Large and small, turned, broken, missed and byte-identical photos."""
    folder = tiny.make_photos(tmp_path / "photos", dark=2)
    (folder / "ash" / "broken.jpg").write_bytes(b"no picture")
    (folder / "ash" / "copy.png").write_bytes((folder / "ash" / "0.png").read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("large", (1300, 1402, 3)), ("odd", (1283, 1401, 3))):
        noise = np.random.default_rng(0).integers(90, 256, size, dtype=np.uint8)
        Image.fromarray(noise).save(folder / "birch" / f"{name}.jpg", exif=exif)
    return folder


def job_of(folder: Path, photos: Path, **crop: Any) -> Job:
    config = RunConfig.model_validate({
        "photos": {"source": str(photos)}, "crop": crop,
        "detect": {"detector": "tiny-box", "parent": ["thing"]},
        "train": {"backbone": "tiny-pool", "view": "both"},
    })  # fmt: skip
    project = Project(folder)
    project.write_config(config)
    return Job(project, config)


def tables(job: Job) -> None:
    """Make the tables of what the pass has seen."""
    photos = stages.photos_stage(job)
    detections = stages.detections_stage(job, photos, find("tiny-box", "detector"))
    crops = stages.crops_stage(job, photos, detections)
    stages.duplicates_stage(job, photos)
    data = TrainingSet(photos, tuple(crop for crop in crops.rows if crop.side), ())
    features_stage(job, data, find("tiny-pool", "backbone"), "both")


def run_one_by_one(job: Job) -> None:
    """Detect, crop, compare and embed, a pass for each."""
    entries, detector = collect(job.config.photos).entries, find("tiny-box", "detector")
    look(job, entries, Wanted(detector))
    photos = stages.photos_stage(job)
    detections = stages.detections_stage(job, photos, detector)
    crops = stages.crops_stage(job, photos, detections)
    look(job, entries, Wanted(detector, signatures=True))
    stages.duplicates_stage(job, photos)
    data = TrainingSet(photos, tuple(crop for crop in crops.rows if crop.side), ())
    features_stage(job, data, find("tiny-pool", "backbone"), "both")


def pass_over(job: Job) -> None:
    wanted = Wanted(find("tiny-box", "detector"), None, find("tiny-pool", "backbone"),
                    views_of("both"), signatures=True)  # fmt: skip
    look(job, collect(job.config.photos).entries, wanted)


def run_at_once(job: Job) -> None:
    pass_over(job)
    tables(job)


def contents(folder: Path) -> dict[str, Any]:
    """What lies in a project, but for when and how fast it was made."""
    project = Project(folder)
    found: dict[str, Any] = {}
    for name, kind in KINDS.items():
        table = project.read(name, kind)
        assert table is not None
        found[name] = (table.rows, table.key, table.meta)
    for file in sorted((folder / "crops").rglob("*.jpg")):
        found[file.relative_to(folder).as_posix()] = file.read_bytes()
    for file in sorted((folder / "embeddings").iterdir()):
        cached = Embeddings.read(file)
        assert cached is not None
        found[file.name] = (cached.keys, cached.vectors.tolist())
    signed = Signatures.read(folder / stages.SIGNATURES_FILE)
    assert signed is not None
    found["signatures"] = (signed.keys, signed.luma.tolist(), signed.layout.tolist())
    return found


def test_no_photo_gives_no_row(tmp_path: Path, photos: Path) -> None:
    job = job_of(tmp_path / "out", photos)
    look(job, [], Wanted(find("tiny-box", "detector")))
    assert job.seen.photos == []


def test_all_at_once_gives_what_one_by_one_gives(tmp_path: Path, photos: Path) -> None:
    run_one_by_one(job_of(tmp_path / "one", photos))
    run_at_once(job_of(tmp_path / "all", photos))
    assert contents(tmp_path / "all") == contents(tmp_path / "one")


@pytest.mark.parametrize("crop", [{"pad": 0.3}, {"quality": 50}, {"on_miss": "drop"}])
def test_all_at_once_gives_what_one_by_one_gives_after_a_change(
    tmp_path: Path, photos: Path, crop: dict[str, Any]
) -> None:
    run_one_by_one(job_of(tmp_path / "one", photos))
    run_at_once(job_of(tmp_path / "all", photos))
    (photos / "cedar" / "1.png").unlink()
    (photos / "cedar" / "new.png").write_bytes((photos / "ash" / "3.png").read_bytes())
    run_one_by_one(job_of(tmp_path / "one", photos, **crop))
    run_at_once(job_of(tmp_path / "all", photos, **crop))
    assert contents(tmp_path / "all") == contents(tmp_path / "one")
    assert not (tmp_path / "all" / "crops" / "cedar" / "1.jpg").exists()


def test_own_boxes_and_photos_are_read_in_one_pass(
    tmp_path: Path, photos: Path, calls: list[str]
) -> None:
    boxes = tmp_path / "boxes.csv"
    rows = [f"ash/{n}.png,5,5,30,30" for n in range(4)] + ["ash/copy.png,900,5,950,30"]
    boxes.write_text("path,x1,y1,x2,y2\n" + "\n".join(rows))
    result = closeup.run(photos, out=tmp_path / "out", **TINY | {"boxes": str(boxes)})
    assert calls.count("read_picture_again") == 0
    assert result.counts.cropped == 4
    assert any("ash/copy.png" in note or "line 6" in note for note in result.notes)
    calls.clear()
    closeup.run(photos, out=tmp_path / "out")
    assert calls == []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is decoded and fed to a network, in any thread."""
    made: list[str] = []
    lock = threading.Lock()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*given: Any, **named: Any) -> Any:
            with lock:
                made.append(name)
            return original(*given, **named)

        monkeypatch.setattr(owner, name, counted)

    count(Detector, "feed")
    count(Embedder, "feed")
    count(pass_module, "read_picture_again")
    count(pass_module, "encode_crop")
    for owner in (view, pass_module):
        count(owner, "cut_out")
    return made


def test_nothing_is_computed_twice(tmp_path: Path, photos: Path, calls: list[str]) -> None:
    closeup.run(photos, out=tmp_path / "out", **TINY)
    assert calls.count("read_picture_again") == 0
    found = calls.count("feed")
    calls.clear()
    closeup.run(photos, out=tmp_path / "out", **TINY)
    assert found > 60
    assert calls == []


def test_the_stages_do_nothing_after_it(tmp_path: Path, photos: Path, calls: list[str]) -> None:
    job = job_of(tmp_path / "out", photos)
    pass_over(job)
    calls.clear()
    tables(job)
    assert calls == []


def test_a_photo_for_which_memory_is_too_small_is_a_row_among_the_others(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pass_module.signature_of

    def sign(picture: Picture) -> Any:
        if max(picture.size) > 1000:
            raise MemoryError
        return original(picture)

    monkeypatch.setattr(pass_module, "signature_of", sign)
    closeup.run(photos, out=tmp_path / "out", **TINY)
    table = Project(tmp_path / "out").read("photos", Photo)
    assert table is not None
    failed = {row.path: row.code for row in table.rows if row.code == "too_large"}
    assert failed == {"birch/large.jpg": "too_large", "birch/odd.jpg": "too_large"}
    assert sum(row.code == "" for row in table.rows) > 30


def test_what_it_had_saved_is_not_taken_for_current_after_a_failure(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_at_once(job_of(tmp_path / "out", photos))
    before = contents(tmp_path / "out")
    original = Project.write_bytes

    def fail_late(self: Project, name: str, data: bytes, **how: Any) -> Path:
        if name.startswith("crops/cedar"):
            raise KeyboardInterrupt
        return original(self, name, data, **how)

    monkeypatch.setattr(Project, "write_bytes", fail_late)
    with pytest.raises(KeyboardInterrupt):
        pass_over(job_of(tmp_path / "out", photos, pad=0.4))
    monkeypatch.undo()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    job = job_of(tmp_path / "out", photos)
    run_at_once(job)
    assert contents(tmp_path / "out") == before
