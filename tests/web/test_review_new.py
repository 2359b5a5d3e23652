"""Collected photos come up in review until somebody has judged them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.project import Project
from closeup.core.types import CropState
from closeup.decisions.kinds import Decision, Kind
from closeup.web.review.session import SORTS, Filter, ReviewSession
from tests import tiny
from tests.collecting import saved, write_collected
from tests.web.reviewing import asking

NEW = Filter(only="new", sort="new")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All photos but those of `cedar` were collected; one of `ash` is there twice, one is black."""
    folder = tmp_path_factory.mktemp("new")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        photos = tiny.make_photos(folder / "photos", dark=1)
        again = np.array(Image.open(photos / "ash" / "3.png"))
        Image.fromarray(np.clip(again.astype(int) + 1, 0, 255).astype(np.uint8)).save(
            photos / "ash" / "again.png"
        )
        write_collected(photos, rows_of(photos, "ash", "birch"))
        closeup.run(photos, out=folder / "out", preset="quick", **tiny.TINY)
        yield folder


def rows_of(photos: Path, *labels: str) -> list[dict[str, object]]:
    return [saved(file, photos) for label in labels for file in sorted((photos / label).iterdir())]


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base / "out", tmp_path / "out"))


def test_collected_photos_are_new_the_most_doubtful_first(project: Path) -> None:
    session = ReviewSession(project)
    page = session.page(NEW)
    assert page.total == 11 + 1 + 11
    items = page.items
    assert {item.path.split("/")[0] for item in items} == {"ash", "birch"}
    lost = [item.crop.state is CropState.NOT_FOUND for item in items]
    assert lost == sorted(lost, reverse=True)
    assert sum(lost) == 2
    copies = [item.path for item in items if item.copied]
    assert copies == ["ash/3.png", "ash/again.png"]
    assert [item.path for item in items[2:4]] == copies
    unsure = [item.doubts[1] for item in items[4:]]
    assert unsure == sorted(unsure)


def test_the_least_sure_label_comes_first(project: Path) -> None:
    session = ReviewSession(project)
    tested = [item for item in session.page(NEW).items
              if item.training.answer and item.score and not item.copied]  # fmt: skip
    sure = [item.training.confidence for item in tested if not item.training.misclassified]
    assert len(sure) > 2
    assert sure == sorted(sure)


def test_what_was_judged_is_done_and_undoing_brings_it_back(project: Path) -> None:
    session = ReviewSession(project)
    one, two, three, *_ = session.page(NEW).items
    done = session.log.append("tester", [
        Decision(Kind.REJECT, photo=one.crop.photo_id, crop=one.crop.id),
        Decision(Kind.NOT_FOUND, photo=two.crop.photo_id),
        Decision(Kind.ACCEPT, photo=three.crop.photo_id, crop=three.crop.id),
    ])  # fmt: skip
    assert (session.page(NEW).done, session.page(NEW).total) == (3, 23)
    session.undo("tester", [done.rows[0].number])
    assert (session.page(NEW).done, session.page(NEW).total) == (2, 23)


def test_saying_that_two_photos_are_the_same_judges_neither(project: Path) -> None:
    session = ReviewSession(project)
    pair = session.snapshot().data.pairs[0]
    session.log.append("tester", [Decision(Kind.SAME, photo=pair.a, other=pair.b)])
    assert session.page(NEW).done == 0


def test_deciding_does_not_move_the_others(project: Path) -> None:
    session = ReviewSession(project)
    key = SORTS["new"][1]
    before = sorted(session.snapshot().all_items, key=key)
    session.log.append("tester", [
        Decision(Kind.REJECT, photo=item.crop.photo_id, crop=item.crop.id) for item in before[::3]
    ])  # fmt: skip
    after = sorted(session.snapshot().all_items, key=key)
    assert [item.crop.id for item in after] == [item.crop.id for item in before]


def test_photos_that_are_collected_later_come_up(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))
    photos = Path(shutil.copytree(base / "photos", tmp_path / "photos"))
    closeup.crop(photos, out=tmp_path / "out", detector="tiny-box", parent="thing")
    session = ReviewSession(tmp_path / "out")
    session.log.append("tester", [
        Decision(Kind.ACCEPT, photo=item.crop.photo_id, crop=item.crop.id)
        for item in session.page(NEW, size=100).items
    ])  # fmt: skip
    page = session.page(NEW)
    assert page.done == page.total == 23
    write_collected(photos, rows_of(photos, "ash", "birch", "cedar"))
    closeup.crop(out=tmp_path / "out")
    page = session.page(NEW)
    assert (page.done, page.total) == (23, 34)
    left = [item.path.split("/")[0] for item in page.items if "new" in item.open_in]
    assert left == ["cedar"] * 11


def test_review_opens_with_them_and_counts(project: Path) -> None:
    with asking(project) as client:
        assert client.get("/").headers["location"] == "/?only=new&sort=new"
        page = client.get("/", params={"only": "new", "sort": "new"}).text
        assert 'data-count="new">23<' in page
        assert 'aria-current="page">New photos' in page
        first = ReviewSession(project).page(NEW).items[0]
        body = {"decision": {"kind": "reject", "crops": [first.crop.id]}, "seen": {}}
        done = client.post("/decisions", json=body)
        assert done.status_code == 200, done.text
        assert done.json()["counts"]["new"] == 22


def test_a_project_of_ones_own_photos_has_nothing_new(project: Path) -> None:
    Project(project).remove(["rights.parquet"])
    with asking(project) as client:
        assert "only=new" not in client.get("/", params={"sort": "photo"}).text
        assert "No close-ups match" in client.get("/", params={"only": "new"}).text
