"""Lists of doubtful cases, their questions, copies and the log, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from closeup.core.project import Project
from closeup.core.types import Box, Detection, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.web.review import session as review_session
from closeup.web.review.app import ALL
from closeup.web.review.entries import entries_of
from closeup.web.review.pairs import groups_of
from closeup.web.review.session import Filter, Item, ReviewSession
from tests.web.reviewing import asking, with_issues


@pytest.fixture
def doubted(project: Path) -> list[str]:
    return with_issues(project)


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with asking(project) as client:
        yield client


def decide(client: TestClient, **decision: Any) -> dict[str, Any]:
    answer = client.post("/decisions", json={"decision": decision, "seen": {}})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def start_of(client: TestClient) -> str:
    answer = client.get("/")
    assert answer.status_code == 303
    return answer.headers["location"]


def test_it_opens_on_the_first_list_with_open_cases(doubted: list[str], client: TestClient) -> None:
    assert start_of(client) == "/?only=doubted&sort=suspicion"
    page = client.get("/?only=doubted&sort=suspicion").text
    assert "0 of 3 done" in page
    decide(client, kind="accept", crops=doubted[:1])
    assert "1 of 3 done" in client.get("/?only=doubted&sort=suspicion").text
    decide(client, kind="relabel", crops=doubted[1:], label="other")
    assert "only=doubted" not in start_of(client)
    now = client.app.state.review.session.snapshot()  # type: ignore[attr-defined]
    names = [item.crop.id for item in now.all_items if not item.decided]
    decide(client, kind="accept", crops=names)
    assert start_of(client) == ALL


def test_a_long_list_begins_with_what_is_left(doubted: list[str], project: Path) -> None:
    session = ReviewSession(project)
    wanted = Filter(only="doubted", sort="suspicion")
    assert not session.page(wanted, size=2).top
    photo_of = {i.crop.id: i.crop.photo_id for i in session.snapshot().all_items}
    session.log.append("me", [Decision(Kind.ACCEPT, photo_of[n], n) for n in doubted[:2]])
    page = session.page(wanted, size=2)
    assert [item.crop.id for item in page.items] == doubted[2:]
    assert (page.done, page.total, page.top) == (2, 3, doubted[0])
    whole = session.page(wanted.model_copy(update={"at": page.top}), size=2)
    assert [item.crop.id for item in whole.items] == doubted[:2]


def first_found(session: ReviewSession) -> Item:
    return next(item for item in session.snapshot().all_items if item.score > 0)


@pytest.mark.parametrize(("kind", "leaves"), [
    (Kind.RELABEL, False), (Kind.ACCEPT, True), (Kind.REJECT, True), (Kind.BOXES, True),
    (Kind.NOT_FOUND, True),
])  # fmt: skip
def test_a_tile_leaves_the_unsure_boxes_when_its_box_was_judged(
    project: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, leaves: bool
) -> None:
    monkeypatch.setattr(review_session, "LOW_SCORE", 1.1)
    session = ReviewSession(project)
    item = first_found(session)
    assert "unsure" in item.open_in
    about: dict[str, Any] = {"crop": item.crop.id}
    if kind in {Kind.BOXES, Kind.NOT_FOUND}:
        about = {"boxes": (Box(0, 0, 40, 40),)} if kind is Kind.BOXES else {}
    about |= {"label": "another"} if kind is Kind.RELABEL else {}
    session.log.append("me", [Decision(kind, item.crop.photo_id, **about)])
    after = session.item(item.crop.id)
    assert ("unsure" not in after.open_in) == leaves
    page = session.page(Filter(only="unsure", sort="score"), size=999)
    assert page.done == leaves
    assert after.crop.id in [one.crop.id for one in page.items]  # it can be looked at again


def test_a_label_issue_is_asked_with_what_is_known(
    doubted: list[str], client: TestClient, project: Path
) -> None:
    session = ReviewSession(project)
    item = session.item(doubted[0])
    similar = session.snapshot().data.similar(doubted[0])
    assert len(similar) == 4
    assert doubted[0] not in similar
    page = client.get(f"/detail/{doubted[0]}").text
    assert f"Keep {item.crop.label}" in page
    assert f"It is {item.suggested}" in page
    assert f"says {item.suggested} 81 %, {item.crop.label} 4 %" in page
    for name in similar:
        assert f"/closeup/{name}?" in page
    for file in ("unknown.safetensors", "references.json"):
        (project / "model" / file).unlink()
    assert ReviewSession(project).snapshot().data.similar(doubted[0]) == []


def test_a_mistake_is_asked_with_what_is_known(client: TestClient, project: Path) -> None:
    session = ReviewSession(project)
    wrong = [item for item in session.snapshot().all_items if item.training.misclassified]
    assert wrong
    for item in wrong:
        assert len(session.snapshot().data.similar(item.crop.id)) == 3
        page = client.get(f"/detail/{item.crop.id}").text
        assert f"Keep {item.crop.label}" in page
        assert f"answered {item.training.answer} with" in page
        assert page.count('<img src="/closeup/') >= 3


def test_a_photo_without_an_object_waits_for_a_box(project: Path) -> None:
    session = ReviewSession(project)
    (item,) = session.page(Filter(only="missed"), size=999).items
    assert "missed" in item.open_in
    photo = item.crop.photo_id
    session.log.append("me", [Decision(Kind.RELABEL, photo, item.crop.id, label="another")])
    assert "missed" in session.item(item.crop.id).open_in
    session.log.append("me", [Decision(Kind.BOXES, photo, boxes=(Box(0, 0, 50, 50),))])
    page = session.page(Filter(only="missed"), size=999)
    assert (page.done, page.total) == (1, 1)


def test_the_boxes_of_the_parent_come_first(project: Path) -> None:
    table = Project(project).read("detections", Detection)
    assert table is not None
    photo = table.rows[0].photo_id
    other = Detection(photo, 90, "couch", 0.99, Box(0, 0, 300, 200))
    weak = Detection(photo, 91, "clock", 0.06, Box(5, 5, 50, 50))
    same = replace(weak, rank=92, score=0.055)
    Project(project).write("detections", Detection, [*table.rows, other, weak, same], table.key)
    data = ReviewSession(project).snapshot().data
    found = data.candidates(photo)
    assert [data.is_parent(row) for row in found] == sorted(
        (data.is_parent(row) for row in found), reverse=True
    )
    assert found[-1] == other
    assert weak in found
    assert same not in found  # all but the same box


def joined(project: Path, count: int = 3) -> list[str]:
    """Photos that somebody has said show the same picture."""
    table = Project(project).read("photos", Photo)
    assert table is not None
    names = [row.id for row in table.rows if row.width > 300][:count]
    log = Decisions(project)
    log.append("me", [Decision(Kind.SAME, names[0], other=name) for name in names[1:]])
    log.append("me", [])
    log.close()
    return names


def test_one_of_a_group_is_kept_and_its_copies_are_left_out(project: Path) -> None:
    first, *copies = joined(project)
    seen = dict.fromkeys((first, *copies), 2)
    with asking(project) as client:
        session: ReviewSession = client.app.state.review.session  # type: ignore[attr-defined]
        body = {"decision": {"kind": "keep", "photo": first, "copies": copies}, "seen": seen}
        assert client.post("/decisions", json=body).json()["numbers"] == [3, 4]
        (group,) = [g for g in groups_of(session.snapshot()) if first in [p.id for p in g.photos]]
        assert [
            p.id for p, left in zip(group.photos, group.left_out, strict=True) if left
        ] == copies
        assert not group.open
        assert [item.crop.state for item in session.snapshot().items[first]] == ["cropped"]

        entry = entries_of(session.snapshot().rows, 200)[0]
        assert (entry.numbers, entry.active) == ("3–4", (3, 4))
        page = client.get("/log").text
        assert "rejected</b> × 2" in page
        assert 'data-numbers="3 4"' in page

        seen = dict.fromkeys((first, *copies), 4)
        other = {"kind": "keep", "photo": copies[0], "copies": [first, copies[1]]}
        client.post("/decisions", json={"decision": other, "seen": seen})
        assert [row.decision.kind for row in session.snapshot().rows[4:]] == [
            Kind.REJECT, Kind.ACCEPT
        ]  # fmt: skip
        client.post("/undo", json={"numbers": []})  # both of them
        client.post("/undo", json={"numbers": [3, 4]})
        assert not any(i.verdict.rejected for i in session.snapshot().all_items)
        entries = entries_of(session.snapshot().rows, 200)
        assert [len(one.rows) for one in entries] == [2, 2, 2, 2, 2]
        assert "undid</b> decision 3 to 4" in client.get("/log").text
        wrong = {"kind": "keep", "photo": first, "copies": [first]}
        assert client.post("/decisions", json={"decision": wrong}).status_code == 422


def test_the_newest_entries_of_a_long_log(project: Path) -> None:
    session = ReviewSession(project)
    items = [item for item in session.snapshot().all_items if item.score > 0][:6]
    session.log.append("me", [Decision(Kind.REJECT, i.crop.photo_id, i.crop.id) for i in items])
    session.log.append("me", [Decision(Kind.ACCEPT, items[0].crop.photo_id, items[0].crop.id)])
    newest, before = entries_of(session.log.rows(), 200)
    assert (newest.numbers, before.numbers) == ("7", "1–6")
    assert len(before.named) == 3
    assert [count for _, count in before.kinds] == [6]
    assert len(entries_of(session.log.rows(), 1)) == 1
    session.log.undo("me", [2])
    assert entries_of(session.log.rows(), 200)[-1].active == (1, 3, 4, 5, 6)


@pytest.mark.parametrize("path", ["/train", "/train/stop"])
@pytest.mark.parametrize("headers", [
    {"origin": "http://elsewhere.example"}, {"sec-fetch-site": "cross-site"},
    {"host": "elsewhere.example"}, {"content-type": "text/plain"},
])  # fmt: skip
def test_other_sites_pages_cannot_train(
    client: TestClient, path: str, headers: dict[str, str]
) -> None:
    given = {"content-type": "application/json", **headers}
    assert client.post(path, content="{}", headers=given).status_code in {403, 415}
    assert client.app.state.review.trainer.run is None  # type: ignore[attr-defined]
