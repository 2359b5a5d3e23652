"""People's decisions over what Closeup found by itself: every photo keeps exactly its place."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import closeup
from closeup.core.config import CropConfig, DetectConfig
from closeup.core.errors import DatasetError
from closeup.core.project import Project
from closeup.core.types import Box, Crop, CropState, Detection, Example, Photo, PhotoState
from closeup.crops.cut import find_crops
from closeup.decisions.apply import decided_crops, decided_pairs, notes_on, without_gone
from closeup.decisions.fold import NOTHING, Current, Verdict
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from tests import tiny

OPTIONS = {"detector": "tiny-box", "backbone": "tiny-pool", "parent": "thing"}


def photo(name: str, label: str = "ash", state: PhotoState = PhotoState.READABLE) -> Photo:
    size = 100 if state is PhotoState.READABLE else 0
    return Photo(name, "", name, label, "", "", state, "", "", size, size, 1, 1, name)


PHOTOS = [photo("a"), photo("b", "elm"), photo("bad", state=PhotoState.UNREADABLE), photo("none")]
FOUND = {
    "a": [Detection("a", 0, "thing", 0.9, Box(10, 10, 40, 40)),
          Detection("a", 1, "thing", 0.5, Box(60, 60, 90, 90))],
    "b": [Detection("b", 0, "thing", 0.4, Box(0, 0, 50, 50))],
}  # fmt: skip


def decided(current: Current, which: str = "best") -> dict[str, Crop]:
    config = CropConfig.model_validate({"which": which})
    crops = decided_crops(PHOTOS, FOUND, config, DetectConfig(parent=("thing",)), current)
    return {crop.id: crop for crop in crops}


def test_without_decisions_and_without_photos_nothing_changes() -> None:
    detect = DetectConfig(parent=("thing",))
    plain = find_crops(PHOTOS, FOUND, CropConfig(), detect)
    assert decided_crops(PHOTOS, FOUND, CropConfig(), detect, NOTHING) == plain
    assert decided_crops([], {}, CropConfig(), detect, Current(boxes={"a": ()})) == []
    assert list(decided(Current(boxes={"gone": ()})).values()) == plain


def test_a_rejected_close_up_has_no_file_and_a_relabelled_one_another_folder() -> None:
    now = decided(Current({"a": {"a": Verdict(rejected=True)}, "b": {"b": Verdict("oak")}}))
    assert (now["a"].state, now["a"].file) == (CropState.REJECTED, "")
    assert now["a"].box == Box(10, 10, 40, 40)
    assert (now["b"].label, now["b"].file) == ("oak", "crops/oak/b.jpg")


def test_a_persons_boxes_all_count_whatever_was_asked_for() -> None:
    mine = (Box(0, 0, 20, 20), Box(50, 50, 120, 90))
    now = decided(Current(boxes={"none": mine, "a": ()}))
    assert [(now[n].box, now[n].score, now[n].category) for n in ("none", "none-2")] == [
        (mine[0], 1.0, ""), (Box(50, 50, 100, 90), 1.0, ""),
    ]  # fmt: skip
    assert now["a"].state is CropState.NOT_FOUND
    assert now["a"].stand_in
    assert "marked in review" in now["a"].reason


def test_an_unreadable_photo_stays_unreadable_and_that_is_said() -> None:
    current = Current({"bad": {"bad": Verdict("oak", True)}}, {"bad": (Box(0, 0, 9, 9),)})
    assert decided(current) == decided(NOTHING)
    (note,) = notes_on(current, PHOTOS, [])[-1:]
    assert "1 photo now unreadable were ignored: bad" in note


def test_what_is_gone_is_named() -> None:
    current = Current({"gone": {"gone": Verdict("oak")}, "a": {"a-7": Verdict("oak")}},
                      pairs={("a", "lost"): True, ("a", "b"): True})  # fmt: skip
    notes = notes_on(current, PHOTOS, list(decided(current).values()))
    assert [note.split(": ")[1] for note in notes] == ["gone, lost", "a-7"]
    kept = without_gone(current, PHOTOS)
    assert kept.pairs == {("a", "b"): True}
    assert notes_on(kept, PHOTOS, [replace(decided(NOTHING)["a"], id="a-7")]) == []


def test_pairs_are_joined_and_cut() -> None:
    current = Current(pairs={("a", "b"): False, ("c", "d"): True})
    assert decided_pairs([("b", "a"), ("b", "c")], current) == [("b", "c"), ("c", "d")]
    assert decided_pairs([], NOTHING) == []


verdicts = st.builds(Verdict, st.sampled_from(["", "oak"]), st.booleans(), st.booleans())
boxes = st.lists(st.sampled_from([Box(0, 0, 20, 20), Box(50, 50, 90, 90), Box(200, 0, 300, 9)]),
                 unique=True, max_size=3).map(tuple)  # fmt: skip
ids = [p.id for p in PHOTOS]


@given(
    st.builds(
        Current,
        st.dictionaries(st.sampled_from(ids), st.dictionaries(
            st.sampled_from([*ids, "a-2", "none-2"]), verdicts)),
        st.dictionaries(st.sampled_from(ids), boxes),
    ),
    st.sampled_from(["best", "largest", "all"]),
)  # fmt: skip
def test_every_photo_ends_in_exactly_one_state_or_has_close_ups(
    current: Current, which: str
) -> None:
    now = list(decided(current, which).values())
    by_photo = {name: [crop for crop in now if crop.photo_id == name] for name in ids}
    assert sum(map(len, by_photo.values())) == len(now)
    for name, mine in by_photo.items():
        states = Counter(crop.state for crop in mine)
        assert mine
        assert not states[CropState.NOT_FOUND] or len(mine) == 1
        assert (states[CropState.UNREADABLE] == 1) == (name == "bad")
        assert len({crop.id for crop in mine}) == len(mine)
    files = [crop.file for crop in now if crop.file]
    assert len(set(files)) == len(files)


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished project beside its photos; two of each label are too dark to find anything."""
    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    tiny.make_detector(tmp_path / "cache")
    tiny.make_backbone(tmp_path / "cache")
    photos = tiny.make_photos(tmp_path / "photos", dark=2)
    closeup.run(photos, out=tmp_path / "out", **OPTIONS)
    return tmp_path / "out"


def tables(folder: Path) -> tuple[dict[str, Photo], dict[str, Crop], dict[str, Example]]:
    project = Project(folder)
    read = [
        project.read(name, row)
        for name, row in (("photos", Photo), ("crops", Crop), ("dataset", Example))
    ]  # type: ignore[list-item]
    photos, crops, dataset = ([] if table is None else table.rows for table in read)
    return (
        {p.path: p for p in photos},
        {c.photo_id: c for c in crops},  # type: ignore
        {e.photo_id: e for e in dataset},
    )  # type: ignore


def test_a_round_of_review_and_back(done: Path) -> None:
    by_path, before, _ = tables(done)
    names = {path: p.id for path, p in by_path.items()}
    scores = Project(done).read_json("scores.json")
    wrong, moved, dark, unseen = (
        names[path] for path in ("ash/0.png", "birch/0.png", "ash/10.png", "cedar/1.png")
    )
    log = Decisions(done)
    log.append("ann", [
        Decision(Kind.REJECT, wrong, wrong),
        Decision(Kind.RELABEL, moved, moved, label="cedar"),
        Decision(Kind.BOXES, dark, boxes=(Box(5, 5, 30.5, 30),)),
        Decision(Kind.NOT_FOUND, unseen),
        Decision(Kind.ACCEPT, names["ash/2.png"], names["ash/2.png"]),
        Decision(Kind.SAME, names["ash/3.png"], other=names["birch/3.png"]),
        Decision(Kind.NOT_FOUND, "gone"),
    ])  # fmt: skip
    result = closeup.train(done)
    counts = result.counts
    assert (counts.photos, counts.cropped, counts.not_found, counts.rejected) == (36, 29, 6, 1)
    assert counts.labels == {"ash": 11, "birch": 11, "cedar": 13}
    _, crops, examples = tables(done)
    assert (crops[wrong].state, examples[wrong].split) == (CropState.REJECTED, "")
    assert examples[wrong].reason == "rejected in review"
    assert (crops[moved].label, examples[moved].label) == ("cedar", "cedar")
    assert (done / "crops" / "cedar" / f"{moved}.jpg").is_file()
    assert not (done / "crops" / "birch" / f"{moved}.jpg").exists()
    assert not (done / "crops" / "ash" / f"{wrong}.jpg").exists()
    assert (crops[dark].state, crops[dark].box) == (CropState.CROPPED, Box(5, 5, 30.5, 30))
    assert crops[unseen].state is CropState.NOT_FOUND
    pair = [examples[names[path]] for path in ("ash/3.png", "birch/3.png")]
    assert pair[0].group == pair[1].group
    assert pair[0].split == pair[1].split
    assert any("1 photo no longer in the collection" in note for note in result.notes)
    review = result.to_json()["review"]
    assert review["decisions"] == {"accept": 1, "reject": 1, "relabel": 1, "not_found": 2,
                                   "boxes": 1, "same": 1, "different": 0}  # fmt: skip
    assert (review["before"]["closeups"], review["after"]["closeups"]) == (30, 29)
    assert review["before"]["macro_f1"]["value"] > 0
    page = result.report.read_text()
    assert "Decisions in review" in page
    assert "1 rejected in review" in page
    assert [path for path in by_path if not (done.parent / "photos" / path).is_file()] == []
    again = closeup.train(done)
    assert again.to_json()["review"] == review
    (done / "before-review.json").write_text('{"state": {"n": 3}}')  # damaged: not known any more
    assert closeup.train(done).to_json()["review"] == {**review, "before": None}
    log.undo("ann", range(1, 8))
    log.close()
    assert closeup.train(done).to_json()["review"] is None
    assert tables(done)[1] == before
    after = Project(done).read_json("scores.json")
    assert scores is not None
    assert after is not None
    assert after["scores"] == scores["scores"]


def test_saved_close_ups_show_what_was_decided(done: Path) -> None:
    by_path, _, _ = tables(done)
    name = by_path["ash/1.png"].id
    Decisions(done).append("ann", [Decision(Kind.BOXES, name, boxes=(Box(0, 0, 10, 10),))])
    closeup.run(out=done)
    crop = tables(done)[1][name]
    saved = np.asarray(Image.open(done / crop.file))
    assert saved.shape == (crop.side, crop.side, 3)
    assert crop.side == 12
    before = (done / crop.file).stat().st_mtime_ns
    closeup.run(out=done)
    assert (done / crop.file).stat().st_mtime_ns == before


def test_an_accepted_label_is_doubted_no_more(done: Path) -> None:
    photos = done.parent / "photos"
    for name in ("2.png", "5.png"):  # an ash that is called a birch
        (photos / "ash" / name).rename(photos / "birch" / f"ash-{name}")
    first = closeup.run(out=done, on_miss="drop")
    by_path, _, _ = tables(done)
    if not first.findings.label_issue_crops:
        pytest.fail("the tiny project should have label issues")
    Decisions(done).append("ann", [Decision(Kind.ACCEPT, p.id, p.id) for p in by_path.values()])
    key = Project(done).read("crops", Crop)
    second = closeup.train(done)
    assert second.findings.label_issue_crops == ()
    after = Project(done).read("crops", Crop)
    assert key is not None
    assert after is not None
    assert key.key == after.key
    assert first.scores == second.scores


def test_a_label_that_was_rejected_altogether_is_given_up(done: Path) -> None:
    by_path, _, _ = tables(done)
    mine = {path: p.id for path, p in by_path.items()}
    cedar = [name for path, name in mine.items() if path.startswith("cedar")]
    birch = [name for path, name in mine.items() if path.startswith("birch")]
    log = Decisions(done)
    log.append("ann", [Decision(Kind.REJECT, name, name) for name in cedar])
    assert closeup.train(done).scores.labels == ("ash", "birch")  # type: ignore[union-attr]
    log.append("ann", [Decision(Kind.REJECT, name, name) for name in birch])
    with pytest.raises(DatasetError, match="at least 2 labels"):
        closeup.train(done)
    log.close()


def test_decisions_before_the_first_training_leave_no_score_to_compare(
    tmp_path: Path, done: Path
) -> None:
    out = tmp_path / "fresh"
    closeup.crop(tmp_path / "photos", out=out, detector="tiny-box", parent="thing")
    by_path, _, _ = tables(out)
    name = by_path["ash/1.png"].id
    Decisions(out).append("ann", [Decision(Kind.REJECT, name, name)])
    for _ in range(2):
        review = closeup.train(out, backbone="tiny-pool").reviewed
        assert review is not None
        assert review.before is None
        assert review.after.n > 0
