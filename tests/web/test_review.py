"""What ``closeup review`` answers and writes, without a browser."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import closeup
from closeup.core.config import RunConfig
from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.types import Box, Crop, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions, read_decisions
from closeup.web.review.app import ALL, make_review_app
from closeup.web.review.session import PAGE, SORTS, Filter, ReviewSession
from tests import tiny
from tests.web.conftest import running
from tests.web.reviewing import asking, config_of, copy_of


@pytest.fixture
def project(folder: Path, tmp_path: Path) -> Path:
    """``a`` has crops of `ash` and `elm`; nothing is found in one photo."""
    return copy_of(folder / "out", tmp_path / "out")


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with asking(project) as client:
        yield client


def crops_of(project: Path) -> list[Crop]:
    table = Project(project).read("crops", Crop)
    assert table is not None
    return list(table.rows)


def send(client: TestClient, decision: dict[str, Any], seen: dict[str, int] | None = None) -> Any:
    return client.post("/decisions", json={"decision": decision, "seen": seen or {}})


def test_a_folder_without_close_ups_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"closeup\.toml|not a Closeup project"):
        make_review_app(config_of(tmp_path))
    project = Project(tmp_path / "new")
    project.write_config(RunConfig.model_validate({"photos": {"source": "photos"}}))
    with pytest.raises(ProjectError, match="closeup crop --out"):
        make_review_app(config_of(tmp_path / "new"))


@pytest.fixture
def single(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one photo, which lies in ``photos/ash`` beside it."""
    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    tiny.make_detector(tmp_path / "cache")
    (tmp_path / "photos" / "ash").mkdir(parents=True)
    Image.new("RGB", (80, 60), "white").save(tmp_path / "photos" / "ash" / "1.png")
    closeup.crop(tmp_path / "photos", out=tmp_path / "out", detector="tiny-box", parent="thing")
    return tmp_path / "out"


def test_one_photo_alone_can_be_reviewed(single: Path) -> None:
    with asking(single) as client:
        assert '<strong class="num">1</strong> close-up' in client.get(ALL).text
        (crop,) = crops_of(single)
        assert send(client, {"kind": "accept", "crops": [crop.id]}).json()["numbers"] == [1]


def test_a_photo_that_vanished_or_changed_is_told(single: Path) -> None:
    (crop,) = crops_of(single)
    file = single.parent / "photos" / "ash" / "1.png"
    shutil.rmtree(single / "crops")
    with asking(single) as client:
        assert client.get(f"/closeup/{crop.id}").status_code == 200  # cut from the photo again
    Image.new("RGB", (70, 60), "black").save(file)
    with asking(single) as client:
        assert client.get(ALL).status_code == 200
        changed = client.get(f"/closeup/{crop.id}")
        file.unlink()
        gone = client.get(f"/photo/{crop.photo_id}")
    for answer in (changed, gone):
        assert answer.status_code == 404
        assert "1.png" in answer.json()["error"]["message"]


def test_every_page_answers(client: TestClient, project: Path) -> None:
    for path in (ALL, "/tiles", "/duplicates", "/log", "/train", "/train/state",
                 "/?only=doubted&sort=suspicion", "/?sort=nonsense&state=nonsense&only=nonsense",
                 "/?at=no-such", "/healthz",
                 "/static/review/htmx.min.js", "/static/review/review.css"):  # fmt: skip
        assert client.get(path).status_code == 200, path
    for crop in crops_of(project):
        page = client.get(f"/detail/{crop.id}")
        assert page.status_code == 200
        assert crop.photo_id in page.text


def test_every_close_up_is_listed_once_however_it_is_sorted_and_paged(project: Path) -> None:
    session = ReviewSession(project)
    every = sorted(crop.id for crop in crops_of(project))
    for sort in SORTS:
        names, after = [], ""
        while True:
            page = session.page(Filter(sort=sort, after=after), size=7)
            names += [item.crop.id for item in page.items]
            after = page.after
            if not after:
                break
        assert sorted(names) == every
    assert PAGE < 200


def test_filters_keep_what_they_say(project: Path) -> None:
    session = ReviewSession(project)
    ash = session.page(Filter(label="ash"), size=999).items
    assert {item.crop.label for item in ash} == {"ash"}
    missing = session.page(Filter(state="not_found"), size=999).items
    assert {item.crop.state.value for item in missing} == {"not_found"}
    assert not session.page(Filter(only="decided"), size=999).items
    assert len(session.page(Filter(words="ASH/1.p"), size=999).items) == 1


def test_a_name_is_found_however_its_accents_are_written(project: Path) -> None:
    table = Project(project).read("photos", Photo)
    assert table is not None
    rows = [replace(table.rows[0], path="ash/U\u0308bung.png"), *table.rows[1:]]
    Project(project).write("photos", Photo, rows, table.key, table.meta)
    assert len(ReviewSession(project).page(Filter(words="\u00fcbung"), size=999).items) == 1


def test_a_list_goes_on_behind_a_close_up_that_is_gone(project: Path) -> None:
    session, crop = ReviewSession(project), crops_of(project)[0]
    boxes = (Box(0, 0, 20, 20), Box(20, 20, 40, 40))
    session.log.append("me", [Decision(Kind.BOXES, crop.photo_id, boxes=boxes)], {})
    mine = [item.crop.id for item in session.page(Filter(), size=999).items
            if item.crop.photo_id == crop.photo_id]  # fmt: skip
    assert len(mine) == 2
    one = Decision(Kind.BOXES, crop.photo_id, boxes=boxes[:1])
    session.log.append("me", [one], {crop.photo_id: 1})
    every = [item.crop.id for item in session.page(Filter(), size=999).items]
    rest = [item.crop.id for item in session.page(Filter(after=mine[1]), size=999).items]
    assert rest == every[every.index(mine[0]) + 1 :]
    assert [i.crop.id for i in session.page(Filter(after="nobody"), size=999).items] == every
    for sort in set(SORTS) - {"photo", "label"}:  # its photo's others may lie anywhere
        assert len(session.page(Filter(sort=sort, after=mine[1]), size=999).items) == len(every)


def test_a_log_that_was_removed_is_not_written_on(client: TestClient, project: Path) -> None:
    first, second = crops_of(project)[:2]
    send(client, {"kind": "reject", "crops": [first.id]})
    for file in project.glob("decisions.sqlite*"):
        file.unlink()
    assert client.get("/?state=rejected").text.count('<li class="tile') == 0
    done = send(client, {"kind": "reject", "crops": [second.id]}).json()
    assert done["decided"] == 1
    assert [row.decision.crop for row in Decisions(project).rows()] == [second.id]


def test_a_request_has_its_limit(client: TestClient) -> None:
    for body in (bytes(9_000_000), iter([bytes(5_000_000)] * 2)):
        sent = client.post("/decisions", content=body,
                           headers={"content-type": "application/json"})  # fmt: skip
        assert (sent.status_code, sent.json()["error"]["code"]) == (413, "too_large")


def test_decisions_are_written_and_shown_and_undone(client: TestClient, project: Path) -> None:
    first, second = crops_of(project)[:2]
    done = send(client, {"kind": "reject", "crops": [first.id, second.id]}).json()
    assert done["numbers"] == [1, 2]
    assert "rejected" in done["photos"][first.photo_id][first.id]
    rows = Decisions(project).rows()
    assert [(row.who, row.decision.kind, row.decision.crop) for row in rows] == [
        ("tester", Kind.REJECT, first.id), ("tester", Kind.REJECT, second.id)
    ]  # fmt: skip
    assert client.get("/?state=rejected").text.count('<li class="tile') == 2
    undone = client.post("/undo", json={"numbers": []}).json()
    assert undone["decided"] == 0
    assert client.get("/?state=rejected").text.count('<li class="tile') == 0
    assert not read_decisions(project)
    assert client.post("/undo", json={"numbers": []}).json()["numbers"] == []


def test_a_box_is_clipped_to_its_photo_and_moves_the_close_up(
    client: TestClient, project: Path
) -> None:
    crop = crops_of(project)[0]
    before = client.get(f"/closeup/{crop.id}").content
    sent = send(client, {"kind": "boxes", "photo": crop.photo_id, "boxes": [[-5, -5, 20, 20]]})
    assert sent.status_code == 200
    (box,) = read_decisions(project).boxes[crop.photo_id]
    assert tuple(box) == (0, 0, 20, 20)
    after = client.get(f"/closeup/{crop.id}").content
    with Image.open(io.BytesIO(after)) as picture:
        assert picture.format == "JPEG"
    assert after != before


def test_two_people_do_not_overwrite_one_another(project: Path) -> None:
    crop = crops_of(project)[0]
    with asking(project) as one, asking(project) as two:
        assert send(one, {"kind": "reject", "crops": [crop.id]}).json()["numbers"] == [1]
        late = send(two, {"kind": "accept", "crops": [crop.id]}).json()
        assert (late["numbers"], late["overtaken"]) == ([], [crop.photo_id])
        assert "rejected" in late["photos"][crop.photo_id][crop.id]
        again = send(two, {"kind": "accept", "crops": [crop.id]}, late["seen"]).json()
        assert again["numbers"] == [2]
        assert "accepted" in one.get(f"/?at={crop.id}").text


def test_many_people_at_once_lose_nothing(project: Path) -> None:
    crops = crops_of(project)[:8]
    with running(make_review_app(config_of(project))) as (url, _):

        def work(crop: Crop) -> None:
            for number in range(5):
                label = f"label {number}"
                answer = httpx2.post(f"{url}/decisions", timeout=60, json={
                    "decision": {"kind": "relabel", "crops": [crop.id], "label": label},
                    "seen": {crop.photo_id: 10**6}})  # fmt: skip
                acknowledged.extend(answer.json()["numbers"])

        acknowledged: list[int] = []
        threads = [threading.Thread(target=work, args=(crop,)) for crop in crops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(acknowledged) == list(range(1, 41))
    now = read_decisions(project)
    assert {now.verdict(c.photo_id, c.id).label for c in crops} == {"label 4"}


def test_tables_that_another_run_rewrote_are_seen_at_once(
    client: TestClient, project: Path
) -> None:
    held = Project(project)
    table = held.read("crops", Crop)
    photos = held.read("photos", Photo)
    assert table is not None
    assert photos is not None
    gone = photos.rows[0].id
    assert client.get(f"/detail/{gone}").status_code == 200
    held.write("photos", Photo, [p for p in photos.rows if p.id != gone], "other")
    assert client.get(f"/detail/{gone}").status_code == 404
    assert send(client, {"kind": "accept", "crops": [gone]}).status_code == 404


def test_pictures_are_kept_by_browsers_under_the_address_that_names_them(
    client: TestClient,
) -> None:
    page = client.get(ALL).text
    address = "/closeup" + page.split('<img src="/closeup')[1].split('"')[0].replace("&amp;", "&")
    assert "immutable" in client.get(address).headers["cache-control"]
    assert client.get(address.replace("v=", "v=0")).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [
    "/closeup/..%2F..%2Fcloseup.toml", "/closeup/%2Fetc%2Fpasswd", "/photo/..%2Fphotos.parquet",
    "/photo/%00", "/detail/nothing", "/static/review/..%2Fapp.py", "/static/review/%2e%2e/app.py",
    "/closeup/crops%2Fash%2F1.jpg",
])  # fmt: skip
def test_nothing_but_what_the_tables_name_is_given(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert 400 <= answer.status_code < 500
    assert "def " not in answer.text


WRONG: dict[str, Any] = {
    "no kind": {"crops": ["x"]}, "unknown kind": {"kind": "delete", "crops": ["x"]},
    "nothing named": {"kind": "accept", "crops": []},
    "not there": {"kind": "accept", "crops": ["x"]},
    "a path": {"kind": "not_found", "photos": ["../../etc/passwd"]},
    "no box": {"kind": "boxes", "photo": "PHOTO", "boxes": []},
    "a box without size": {"kind": "boxes", "photo": "PHOTO", "boxes": [[5, 5, 5, 9]]},
    "a box outside": {"kind": "boxes", "photo": "PHOTO", "boxes": [[900, 900, 990, 990]]},
    "one box twice": {"kind": "boxes", "photo": "PHOTO", "boxes": [[0, 0, 9, 9], [0, 0, 9, 9]]},
    "three corners": {"kind": "boxes", "photo": "PHOTO", "boxes": [[0, 0, 9]]},
    "no label": {"kind": "relabel", "crops": ["CROP"]},
    "an empty label": {"kind": "relabel", "crops": ["CROP"], "label": "  "},
    "a label of two lines": {"kind": "relabel", "crops": ["CROP"], "label": "a\x07b"},
    "a label where none belongs": {"kind": "accept", "crops": ["CROP"], "label": "ash"},
    "a pair of one": {"kind": "same", "pairs": [["PHOTO", "PHOTO"]]},
    "undo in disguise": {"kind": "undo", "photos": ["PHOTO"]},
    "more than asked": {"kind": "accept", "crops": ["CROP"], "admin": True},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_in_order_is_refused_and_nothing_written(
    client: TestClient, project: Path, name: str
) -> None:
    crop = crops_of(project)[0]
    text = repr(WRONG[name]).replace("PHOTO", crop.photo_id).replace("CROP", crop.id)
    answer = send(client, eval(text))
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]
    assert not Decisions(project).rows()


@pytest.mark.parametrize("headers", [
    {"origin": "http://elsewhere.example"}, {"sec-fetch-site": "cross-site"},
    {"host": "elsewhere.example"}, {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
])  # fmt: skip
def test_other_sites_pages_cannot_decide(
    client: TestClient, project: Path, headers: dict[str, str]
) -> None:
    crop = crops_of(project)[0]
    body = f'{{"decision": {{"kind": "reject", "crops": ["{crop.id}"]}}}}'
    given = {"content-type": "application/json", **headers}
    assert client.post("/decisions", content=body, headers=given).status_code in {403, 415, 422}
    assert client.post("/undo", content="{}", headers=given).status_code in {403, 415, 422}
    assert not Decisions(project).rows()


def test_names_from_files_and_people_are_only_text(project: Path) -> None:
    bad = "<script>alert(1)</script>"
    with asking(project) as client:
        crop = crops_of(project)[0]
        send(client, {"kind": "relabel", "crops": [crop.id], "label": bad})
        client.cookies.set("closeup-review-who", "%3Cscript%3Ex")
        send(client, {"kind": "accept", "crops": [crop.id]}, {crop.photo_id: 1})
        for path in (ALL, "/log", f"/detail/{crop.id}"):
            page = client.get(path).text
            assert "&lt;script&gt;" in page
            assert bad not in page
            assert "<script>x" not in page


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_was_acknowledged_survives_a_kill(project: Path) -> None:
    crops = crops_of(project)
    command = [sys.executable, "-m", "closeup", "review", str(project), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split(" at ")[1].split()[0]
        for number, crop in enumerate(crops, 1):
            answer = httpx2.post(f"{url}/decisions", json={
                "decision": {"kind": "accept", "crops": [crop.id]}})  # fmt: skip
            assert answer.json()["numbers"] == [number]
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    log = Decisions(project)
    assert [row.decision.crop for row in log.rows()] == [crop.id for crop in crops]
    log.append("later", [log.rows()[0].decision])
    assert len(log.rows()) == len(crops) + 1


def test_label_issues_withheld_say_why(project: Path, tmp_path: Path) -> None:
    mine = copy_of(project, tmp_path / "mine")
    scores = json.loads((mine / "scores.json").read_text())
    findings = scores["findings"]
    findings |= {"suspects": None, "suspect_crops": []}
    findings["limits"] |= {"withheld": "half the classes have 3 photos"}
    (mine / "scores.json").write_text(json.dumps(scores))
    with asking(mine) as client:
        assert (
            "Label issues are withheld: half the classes have 3 photos."
            in client.get("/?only=doubted").text
        )
        assert "withheld" not in client.get("/?only=mistakes&words=nosuchfile").text
