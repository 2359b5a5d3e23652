"""The whole flow on tiny networks: every photo accounted for, nothing done twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.errors import DatasetError, PhotosError, UsageError
from closeup.core.project import Project
from closeup.core.types import Crop, CropState, Detection, Example, Photo, Result
from closeup.dataset.duplicates import Pair
from closeup.detect import Detector
from closeup.evaluate.checks import TITLES
from tests import tiny
from tests.tiny import TINY


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tiny.make_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tiny.make_photos(tmp_path / "photos", dark=2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> closeup.RunResult:
    """A finished run on such photos, to be read only."""
    base = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(base / "cache", patch)
        tiny.make_photos(base / "photos", dark=2)
        return closeup.run(base / "photos", out=base / "out", **TINY)


def test_an_empty_folder_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(PhotosError, match="no photo"):
        closeup.run(tmp_path / "none", out=tmp_path / "out", **TINY)


def test_one_photo_is_refused_with_what_to_do(tmp_path: Path, cache: Path) -> None:
    folder = tiny.make_photos(tmp_path / "photos", per_label=1)
    for label in ("birch", "cedar"):
        shutil.rmtree(folder / label)
    with pytest.raises(PhotosError, match="at least 2 labels"):
        closeup.run(folder, out=tmp_path / "out", **TINY)


def test_an_unknown_parent_is_refused_before_any_work(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    with pytest.raises(UsageError, match="thing"):
        closeup.run(photos, out=tmp_path / "out", **{**TINY, "parent": "thin"})
    assert not (tmp_path / "out").exists()


def test_every_photo_is_accounted_for(tmp_path: Path, cache: Path, photos: Path) -> None:
    (photos / "ash" / "broken.jpg").write_bytes(b"no picture")
    (photos / "loose.png").write_bytes((photos / "ash" / "0.png").read_bytes())
    result = closeup.run(photos, out=tmp_path / "out", **TINY)
    counts = result.counts
    assert (counts.photos, counts.cropped, counts.not_found, counts.unreadable) == (38, 31, 6, 1)
    project = Project(tmp_path / "out")
    rows = {name: project.read(name, kind) for name, kind in
            {"photos": Photo, "crops": Crop, "dataset": Example}.items()}  # fmt: skip
    assert all(table is not None and len(table.rows) == 38 for table in rows.values())
    states = [crop.state for crop in rows["crops"].rows]  # type: ignore[union-attr]
    assert states.count(CropState.NOT_FOUND) == 6
    assert result.report.is_file()
    assert result.scores.macro_f1.value > 0.6


def test_a_result_is_a_dict_and_a_table_for_notebooks(plain: closeup.RunResult) -> None:
    assert plain.to_dict() == plain.to_json()
    page = plain._repr_html_()
    assert f"on {plain.to_dict()['test']['n']} test close-ups" in page
    assert str(plain.report) in page
    assert "macro-F1: " in repr(plain)
    assert len(repr(plain)) < 1000


def test_the_saved_crops_are_what_the_tables_say(plain: closeup.RunResult) -> None:
    out = plain.report.parent
    table = Project(out).read("crops", Crop)
    assert table is not None
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.jpg")} == {
        crop.file for crop in table.rows
    }
    for crop in table.rows:
        with Image.open(out / crop.file) as picture:
            assert picture.size == (crop.side, crop.side)


def test_running_again_changes_nothing(tmp_path: Path, cache: Path, photos: Path) -> None:
    first = closeup.run(photos, out=tmp_path / "out", **TINY)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in _files(tmp_path / "out")}
    second = closeup.run(out=tmp_path / "out")
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in _files(tmp_path / "out")}
    assert before == after
    assert second.scores == first.scores


def test_a_new_run_elsewhere_gives_the_same_answer(
    tmp_path: Path, cache: Path, photos: Path, plain: closeup.RunResult
) -> None:
    other = closeup.run(photos, out=tmp_path / "other", **TINY)
    assert plain.scores == other.scores
    for name in ("head.safetensors", "model.json"):
        assert (plain.model / name).read_bytes() == (other.model / name).read_bytes()


def test_a_new_photo_costs_only_itself_and_a_removed_one_leaves_no_crop(
    tmp_path: Path, cache: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closeup.run(photos, out=tmp_path / "out", **TINY)
    kept = tmp_path / "out" / "crops" / "birch"
    stamps = {p.name: p.stat().st_mtime_ns for p in kept.iterdir()}
    (photos / "ash" / "0.png").rename(photos / "ash" / "new.png")
    looked_at, cut = [], []
    feed, save = Detector.feed, Project.write_bytes
    monkeypatch.setattr(
        Detector, "feed", lambda self, photo: looked_at.append(photo) or feed(self, photo)
    )
    monkeypatch.setattr(
        Project,
        "write_bytes",
        lambda self, name, *rest, **how: cut.append(name) or save(self, name, *rest, **how),
    )
    closeup.run(out=tmp_path / "out")
    assert len(looked_at) == 1
    assert [name.split("/")[1] for name in cut if name.startswith("crops/")] == ["ash"]
    assert {p.name: p.stat().st_mtime_ns for p in kept.iterdir()} == stamps
    names = [p.name for p in (tmp_path / "out" / "crops" / "ash").iterdir()]
    assert len(names) == 12
    assert not any(name.startswith("0-") for name in names)


def test_dropped_misses_count_as_wrong_end_to_end(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    result = closeup.run(photos, out=tmp_path / "out", on_miss="drop", test_fraction=0.6, **TINY)
    assert result.counts.not_found == 6
    table = Project(tmp_path / "out").read("dataset", Example)
    assert table is not None
    missed = [row for row in table.rows if row.split == "test" and not row.found]
    assert missed
    assert result.scores.macro_f1_end_to_end.value < result.scores.macro_f1.value


def test_own_boxes_need_no_detector(tmp_path: Path, cache: Path, photos: Path) -> None:
    rows = [f"{p.relative_to(photos).as_posix()},5,6,50,40" for p in sorted(photos.rglob("*.png"))]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x1,y1,x2,y2\n" + "\n".join(rows))
    result = closeup.run(photos, out=tmp_path / "out", boxes=boxes, backbone="tiny-pool")
    assert result.counts.not_found == 0
    table = Project(tmp_path / "out").read("detections", Detection)
    assert table is not None
    assert {row.box for row in table.rows} == {(5, 6, 50, 40)}
    model = closeup.load(result.model)
    assert not model.predict(photos / "ash" / "1.png").found


def test_a_model_without_a_detector_says_so(tmp_path: Path, cache: Path, photos: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x1,y1,x2,y2\n" + "".join(
        f"{label}/{n}.png,15,10,45,30\n" for label in ("ash", "birch") for n in range(10)
    ))  # fmt: skip
    options = {"backbone": "tiny-pool", "boxes": str(boxes)}
    alone = closeup.run(photos, out=tmp_path / "alone", **options)
    assert sum("the model has no detector" in note for note in alone.notes) == 1
    assert len(set(alone.notes)) == len(alone.notes)
    beside = closeup.run(photos, out=tmp_path / "beside", detector="tiny-box", **options)
    assert not any("no detector" in note for note in beside.notes)
    assert closeup.load(beside.model).predict(photos / "ash" / "0.png").found


def test_a_label_that_is_gone_leaves_no_folder(tmp_path: Path, cache: Path, photos: Path) -> None:
    closeup.run(photos, out=tmp_path / "out", **TINY)
    (photos / "ash").rename(photos / "fir")
    closeup.run(photos, out=tmp_path / "out", **TINY)
    assert {f.name for f in (tmp_path / "out" / "crops").iterdir()} == {"birch", "cedar", "fir"}


def test_photos_that_cannot_be_read_are_no_mere_lack_of_photos(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    for file in photos.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"no usable photo of ash.*\(ash: unreadable: "):
        closeup.run(photos, out=tmp_path / "out", **TINY)
    result = closeup.crop(photos, out=tmp_path / "crops", detector="tiny-box", parent="thing")
    assert any("none of the 36 photos can be read; the first: ash/0.png" in n
               for n in result.notes)  # fmt: skip


def test_a_label_called_unknown_is_told(tmp_path: Path, cache: Path, photos: Path) -> None:
    (photos / "ash").rename(photos / "unknown")
    result = closeup.run(photos, out=tmp_path / "out", **TINY)
    assert any("the label 'unknown'" in note for note in result.notes)


def test_own_test_folder_is_the_test_part(tmp_path: Path, cache: Path, photos: Path) -> None:
    test = tiny.make_photos(tmp_path / "test", per_label=14)
    for number in range(12):  # the first twelve are copies of the training photos
        for label in ("ash", "birch", "cedar"):
            (test / label / f"{number}.png").unlink()
    result = closeup.run(photos, out=tmp_path / "out", test=test, **TINY)
    assert result.scores.n == 6


@pytest.mark.parametrize("head", ["ridge", "logistic", "mlp", "prototype"])
def test_one_photo_a_label_gives_a_model_that_is_not_measured(
    tmp_path: Path, cache: Path, head: str
) -> None:
    few = tiny.make_photos(tmp_path / "few", per_label=1)
    result = closeup.run(few, out=tmp_path / "out", head=head, **TINY)
    assert result.scores is None
    assert result.to_json()["test"] is None
    assert any("ash, birch, cedar" in note for note in result.notes)
    assert "Not measured" in result.report.read_text()
    answer = closeup.load(result.model).predict(few / "birch" / "0.png")
    assert answer.label == "birch"
    assert closeup.run(out=tmp_path / "out").scores is None


def test_backbones_views_and_heads_are_compared(tmp_path: Path, cache: Path, photos: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", detector="tiny-box", parent="thing",
                         backbone="tiny-pool,tiny-pool@flip", view="closeup,both",
                         head=("ridge", "prototype"))  # fmt: skip
    assert len(result.compared) == 8
    assert sum(row.picked for row in result.compared) == 1
    best = max(result.compared, key=lambda row: row.mean)
    taken = next(row for row in result.compared if row.picked)
    assert taken.mean >= best.mean - best.error
    assert all(row.work >= taken.work for row in result.compared
               if row.mean >= best.mean - best.error)  # fmt: skip
    again = closeup.run(out=tmp_path / "out")
    assert again.compared == result.compared
    assert again.scores == result.scores
    card = closeup.load(result.model).card
    assert (card.backbone, card.view, card.head) == (
        taken.candidate.backbone, taken.candidate.view, taken.candidate.head)  # fmt: skip


def test_a_label_whose_objects_are_missed_is_an_issue(tmp_path: Path, cache: Path) -> None:
    photos = tiny.make_photos(tmp_path / "photos", per_label=40)
    for file in sorted((photos / "cedar").glob("*.png"))[:20]:  # too dark to find
        Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(file)
    result = closeup.run(photos, out=tmp_path / "out", **TINY)
    check = next(check for check in result.checks if check.code == "CU201")
    assert check.state == "issue"
    assert "cedar (20 of 40)" in check.detail


def test_near_duplicates_stay_on_one_side_and_are_shown(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    data = pytest.importorskip("skimage.data", reason="its photo of a cat is used")
    big = Image.fromarray(data.chelsea()).resize((320, 320))
    for number, quality in enumerate((95, 60, 40)):
        big.resize((320 - 40 * number,) * 2).save(photos / "ash" / f"twin{number}.jpg",
                                                  quality=quality)  # fmt: skip
    result = closeup.run(photos, out=tmp_path / "out", **TINY)
    project = Project(tmp_path / "out")
    pairs, rows = project.read("duplicates", Pair), project.read("dataset", Example)
    assert pairs is not None
    assert rows is not None
    near = {frozenset((p.a, p.b)) for p in pairs.rows if "twin" in p.a}
    twins = {e.photo_id for e in rows.rows if e.photo_id.startswith("twin")}
    assert near
    assert all(pair <= twins for pair in near)
    groups = {e.photo_id: (e.group, e.split) for e in rows.rows}
    assert len({groups[name] for name in twins}) == 1
    assert "Near duplicates" in result.report.read_text()
    apart = closeup.run(out=tmp_path / "out", near_duplicates=False)
    rows = project.read("dataset", Example)
    assert rows is not None
    assert len({e.group for e in rows.rows if e.photo_id in twins}) == 3
    assert "Near duplicates" not in apart.report.read_text()


def test_paddings_are_compared(tmp_path: Path, cache: Path, photos: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", pads="0,0.1,0.4", **TINY)
    rows = result.findings.pads
    assert [row.pad for row in rows] == [0, 0.1, 0.4]
    # The run's own padding is among them, and gives the run's own score.
    assert rows[1].mean == pytest.approx(result.compared[0].mean)
    assert "Padding" in result.report.read_text()
    assert closeup.run(out=tmp_path / "out").findings == result.findings


def test_findings_survive_being_read_back(
    tmp_path: Path, cache: Path, plain: closeup.RunResult
) -> None:
    assert [check.code for check in plain.checks] == sorted(TITLES)
    assert plain.findings.curve is not None
    assert plain.to_json()["checks"][0]["code"] == "CU101"
    again = closeup.run(out=shutil.copytree(plain.report.parent, tmp_path / "out"))
    assert again.checks == plain.checks
    assert again.findings == plain.findings
    assert again.trust == plain.trust


def test_a_mistake_is_shown_beside_what_it_was_taken_for(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    test = tiny.make_photos(tmp_path / "test", per_label=14)
    for number in range(12):
        for label in ("ash", "birch", "cedar"):
            (test / label / f"{number}.png").unlink()
    (test / "ash" / "12.png").rename(test / "birch" / "really-ash.png")
    result = closeup.run(photos, out=tmp_path / "out", test=test, **TINY)
    alike = result.findings.alike
    (wrong,) = [name for name in alike if "really-ash" in name]
    rows = Project(tmp_path / "out").read("dataset", Example)
    assert rows is not None
    labels = {e.crop_id: e.label for e in rows.rows}
    assert labels[alike[wrong][0]] == "ash"
    assert "most similar in training" in result.report.read_text()
    assert "depends on" not in result.report.read_text()
    explained = closeup.run(out=tmp_path / "out", explain=True)
    assert "What the answer ash depends on" in explained.report.read_text()
    assert explained.scores == result.scores


def test_copies_across_the_users_own_split_are_left_out(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    test = tiny.make_photos(tmp_path / "test", per_label=14)
    result = closeup.run(photos, out=tmp_path / "out", test=test, **TINY)
    leak = next(check for check in result.checks if check.code == "CU101")
    assert leak.state == "issue"
    assert "30 photos left out" in leak.detail


def test_near_copies_with_different_labels_are_an_issue_whatever_the_groups(
    tmp_path: Path, cache: Path, photos: Path
) -> None:
    with Image.open(photos / "ash" / "0.png") as image:
        image.save(photos / "birch" / "ash-again.jpg", quality=95)
    result = closeup.run(photos, out=tmp_path / "out", **TINY)
    labels = next(check for check in result.checks if check.code == "CU104")
    assert labels.state == "issue"
    assert "1 group of copies with different labels" in labels.detail


@pytest.mark.parametrize("head", ["ridge", "logistic"])
def test_augmented_views_are_learned_from_and_not_judged_by(
    tmp_path: Path, cache: Path, photos: Path, plain: closeup.RunResult, head: str
) -> None:
    result = closeup.run(photos, out=tmp_path / "out", augment=2, head=head, **TINY)
    card = closeup.load(result.model).card
    assert card.counts == closeup.load(plain.model).card.counts
    assert result.scores is not None
    assert plain.scores is not None
    assert result.scores.n == plain.scores.n
    assert result.trust.temperature.n == plain.trust.temperature.n
    assert len(list((tmp_path / "out" / "embeddings").glob("closeup-augmented*"))) == 2
    assert closeup.run(out=tmp_path / "out").scores == result.scores


@pytest.mark.parametrize("view", ["photo", "both"])
def test_a_model_sees_the_views_that_training_saw(
    tmp_path: Path, cache: Path, photos: Path, view: str
) -> None:
    result = closeup.run(photos, out=tmp_path / "out", view=view, **TINY)
    rows = Project(tmp_path / "out").read("results", Result)
    listed = Project(tmp_path / "out").read("photos", Photo)
    assert rows is not None
    assert listed is not None
    files = {photo.id: photo.file for photo in listed.rows}
    model = closeup.load(result.model)
    for row in rows.rows:
        (answer,) = model.predict(files[row.photo_id], always=True).objects
        assert (answer.label, answer.confidence) == (row.answer, pytest.approx(row.confidence))


def test_mlp_head_trains(tmp_path: Path, cache: Path, photos: Path) -> None:
    result = closeup.run(photos, out=tmp_path / "out", head="mlp", **TINY)
    assert 0 <= result.scores.macro_f1.low <= result.scores.macro_f1.value


def test_a_photo_that_changes_is_looked_at_again(tmp_path: Path, cache: Path, photos: Path) -> None:
    closeup.run(photos, out=tmp_path / "out", **TINY)
    Image.fromarray(np.full((99, 77, 3), 222, np.uint8)).save(photos / "ash" / "3.png")
    closeup.run(out=tmp_path / "out")
    table = Project(tmp_path / "out").read("photos", Photo)
    assert table is not None
    changed = next(row for row in table.rows if row.path == "ash/3.png")
    assert (changed.width, changed.height) == (77, 99)


def test_scout_finds_the_category(cache: Path, photos: Path) -> None:
    scouting = closeup.scout(photos, detector="tiny-box")
    table = scouting.to_json()
    assert table["recommended"] == ["thing"]
    assert table["photos"] == 36
    assert closeup.scout(photos, detector="tiny-box", sample=6).to_json()["photos"] == 6


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_close_ups_are_compared_with_whole_photos_on_one_split(
    tmp_path: Path, cache: Path, photos: Path, plain: closeup.RunResult
) -> None:
    result = closeup.run(photos, out=tmp_path / "out", compare_photo=True, **TINY)
    assert plain.crop_gain is None
    assert result.scores == plain.scores
    gain = result.crop_gain
    assert gain is not None
    assert gain.b == pytest.approx(result.scores.macro_f1.value)
    assert gain.delta.low <= gain.delta.value <= gain.delta.high
    assert closeup.run(out=tmp_path / "out").crop_gain == gain
