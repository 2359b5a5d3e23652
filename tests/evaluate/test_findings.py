"""What the checks are told: copies, groups and sizes; and what is said of paddings."""

from __future__ import annotations

import csv
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.project import Project
from closeup.core.types import Example, Photo, PhotoState
from closeup.evaluate.checks import TITLES, Check, CheckState
from closeup.evaluate.findings import Evaluation, Facts, Findings, read_evaluation, run_checks
from closeup.report.result import RunResult
from tests import tiny
from tests.tiny import TINY

NOTHING = Evaluation("", None, {}, (), None, Findings(None, (), None, None, (), {}), None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tiny.make_cache(tmp_path / "cache", monkeypatch)


def photo(name: str, label: str, *, group: str = "", split: str = "", sha256: str = "") -> Photo:
    root = "/test" if split else "/mine"
    return Photo(name, root, f"{label}/x.jpg", label, group, split, PhotoState.READABLE, "", "",
                 9, 9, 1, 1, sha256 or name)  # fmt: skip


def row(photo: Photo, group: str, split: str = "train", number: int = 0) -> Example:
    return Example(f"{photo.id}-{number}", photo.id, photo.label, group, split, True, "")


def check(
    code: str,
    photos: list[Photo],
    examples: list[Example],
    *pairs: tuple[str, str],
    own_test: bool = False,
) -> Check:
    facts = Facts(photos, [], examples, False, own_test, pairs)
    found = run_checks(facts, NOTHING)
    assert [one.code for one in found] == [c for c in TITLES if c < "CU4"]  # see test_progress
    return next(one for one in found if one.code == code)


def of_run(result: RunResult, code: str) -> Check:
    return next(found for found in result.checks if found.code == code)


def test_only_what_was_trained_on_is_a_leak() -> None:
    mine, test = photo("m", "a", sha256="s"), photo("t", "a", split="test", sha256="s")
    tested = row(test, "m", "test")
    out = check("CU101", [mine, test], [row(mine, "m", ""), tested], own_test=True)
    assert "1 photo left out" in out.detail
    leak = check("CU101", [mine, test], [row(mine, "m"), tested], own_test=True)
    assert "1 test photo with a copy" in leak.detail
    # Both are called a/x.jpg: the folder tells them apart.
    assert f"{test.file} = {mine.file}" in leak.detail
    named = replace(mine, path="a/y.jpg")
    other = check("CU101", [named, test], [row(named, "m"), tested], own_test=True)
    assert other.detail.endswith(": a/x.jpg = a/y.jpg")


def test_copies_of_test_photos_that_were_left_out_did_no_harm(tmp_path: Path, cache: Path) -> None:
    photos = tiny.make_photos(tmp_path / "photos", 10)
    test = tmp_path / "test"
    for label in ("ash", "birch", "cedar"):
        (test / label).mkdir(parents=True)
        for number in (0, 1):
            shutil.copy(photos / label / f"{number}.png", test / label)
        (photos / label / "1.png").rename(photos / label / "other-name.png")
    result = closeup.run(photos, out=tmp_path / "out", test=test, **TINY)
    leak = of_run(result, "CU101")
    assert leak.state is CheckState.ISSUE  # whoever made the split should know
    assert "6 photos left out" in leak.detail
    assert "8 different training photos" in of_run(result, "CU102").detail


def test_the_users_groups_are_no_copies() -> None:
    photos = [photo(f"{label}{n}", label, group="g") for label in "ab" for n in range(3)]
    examples = [row(p, "a0") for p in photos]
    assert check("CU104", photos, examples).state is CheckState.SKIPPED
    assert (
        check("CU102", photos, examples).detail
        == "each of the 2 classes has 3 different training photos"
    )
    near = check("CU104", photos, examples, ("a0", "b0"), ("a0", "gone"))
    assert near.state is CheckState.ISSUE
    assert near.detail == "1 group of copies with different labels"
    same = [replace(p, sha256="s") if p.id in {"a0", "b2"} else p for p in photos]
    assert check("CU104", same, examples).state is CheckState.ISSUE


def test_copies_count_once_in_the_sizes() -> None:
    photos = [photo(f"{label}{n}", label) for label in "ab" for n in range(3)]
    examples = [row(p, p.id) for p in photos]
    examples.append(row(photos[0], "a0", number=1))  # a second close-up
    examples.append(row(photo("b9", "b"), "b9", "test"))
    found = check("CU102", [*photos, photo("b9", "b")], examples, ("a0", "a1"), ("a1", "a2"))
    assert found.detail == "a has 1 different training photo, b 3"


def test_close_ups_of_one_photo_with_several_labels_are_no_copies() -> None:
    photos = [photo("a0", "a"), photo("b0", "b")]
    examples = [row(photos[0], "a0"), replace(row(photos[0], "a0", number=1), label="b"),
                row(photos[1], "b0")]  # fmt: skip
    assert check("CU104", photos, examples).state is CheckState.SKIPPED


def test_an_evaluation_keeps_its_keys_on_disk(tmp_path: Path, cache: Path) -> None:
    photos = tiny.make_photos(tmp_path / "photos")
    result = closeup.run(photos, out=tmp_path / "out", compare_photo=True, **TINY)
    project = Project(tmp_path / "out")
    found = read_evaluation(project)
    assert found is not None
    assert found == Evaluation(**{f.name: getattr(result, f.name) for f in fields(Evaluation)})
    stored = project.read_json("scores.json")
    assert stored is not None
    assert stored.keys() == {
        "key", "scores", "log", "compared", "trust", "findings", "crop_gain", "attributes",
        "training_notes"
    }  # fmt: skip
    assert stored["findings"].keys() == {
        "suspects", "suspect_crops", "curve", "covered", "pads", "alike", "limits"
    }  # fmt: skip
    assert stored["trust"]["unlike"] == result.to_json()["trust"]["unlike"]
    for name in stored:
        project.write_json("scores.json", {k: v for k, v in stored.items() if k != name})
        # Earlier versions knew neither.
        is_new = name in {"attributes", "training_notes"}
        assert read_evaluation(project) == (found if is_new else None)
    for name, value in {"scores": 3, "compared": [{}], "trust": {}, "findings": None}.items():
        project.write_json("scores.json", {**stored, name: value})
        assert read_evaluation(project) is None


def test_groups_of_a_list_are_no_copies(tmp_path: Path, cache: Path) -> None:
    folder = tiny.make_photos(tmp_path / "photos", per_label=12)
    with (tmp_path / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for label in ("ash", "birch", "cedar"):
            for n in range(12):
                writer.writerow([folder / label / f"{n}.png", label, f"visit {n // 2}"])
    result = closeup.run(tmp_path / "list.csv", out=tmp_path / "out", **TINY)
    assert "copies" not in of_run(result, "CU104").detail
    sizes = of_run(result, "CU102").detail
    assert sizes == "each of the 3 classes has 8 different training photos"


def test_paddings_say_nothing_where_the_model_sees_whole_photos(
    tmp_path: Path, cache: Path
) -> None:
    photos = tiny.make_photos(tmp_path / "photos")
    said = "paddings were not compared"
    for _ in range(2):  # read back as well
        result = closeup.run(photos, out=tmp_path / "out", pads="0,0.1", view="photo", **TINY)
        assert result.findings.pads == ()
        assert sum(said in note for note in result.notes) == 1
    plain = closeup.run(photos, out=tmp_path / "out", pads=(), view="photo", **TINY)
    assert not any(said in note for note in plain.notes)


def test_paddings_are_compared_as_the_model_sees_them(tmp_path: Path, cache: Path) -> None:
    photos = tiny.make_photos(tmp_path / "photos")
    rng = np.random.default_rng(0)
    # Hard photos that are told apart by their upper edge, so that the views' scores differ.
    for number, label in enumerate(("ash", "birch", "cedar")):
        for file in (photos / label).glob("*.png"):
            pixels = rng.integers(100, 200, (60, 60, 3), dtype=np.uint8)
            pixels[:4, :, number] = 100 + rng.integers(0, 120)
            Image.fromarray(pixels).save(file)
    result = closeup.run(photos, out=tmp_path / "out", pads="0,0.1", view="both", **TINY)
    alone = closeup.run(photos, out=tmp_path / "alone", pads="0,0.1", view="closeup", **TINY)
    # The run's own padding is among them, and gives the run's own score.
    assert result.findings.pads[1].mean == pytest.approx(result.compared[0].mean)
    assert alone.findings.pads[1].mean == pytest.approx(alone.compared[0].mean)
    assert result.compared[0].mean != pytest.approx(alone.compared[0].mean)
    assert result.notes == alone.notes
