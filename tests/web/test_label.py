"""Suggested photos in review: shown, labelled by keys, trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Locator, Page, expect

import closeup
from closeup.core.project import Project
from closeup.core.types import Example
from closeup.decisions.log import read_decisions
from closeup.pipeline.suggested import TABLE, Suggested, is_labelled, read_suggested
from closeup.web.review.app import make_review_app
from closeup.web.review.session import Filter, ReviewSession
from tests.web.browsing import DARK, DESK, PHONE, fits, is_accessible, opened
from tests.web.conftest import running
from tests.web.reviewing import asking, config_of, copy_of
from tools.render.photos import write_photos


@pytest.fixture(scope="module")
def asked(reviewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's project with suggestions; one of them is as if nothing had been found."""
    base = tmp_path_factory.mktemp("asked")
    project = copy_of(reviewed, base / "watches")
    write_photos(base / "pool", per_maker=4, seed=9, workers=1)
    closeup.suggest(project, base / "pool", count=9)
    rows = list(read_suggested(Project(project)))
    rows[-1] = replace(rows[-1], found=False, score=0.02, reason="no object found")
    Project(project).write(TABLE, Suggested, rows, "k")
    return project


@pytest.fixture
def project(asked: Path, tmp_path: Path) -> Path:
    return copy_of(asked, tmp_path / "watches")


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with asking(project) as client:
        yield client


@contextmanager
def labelling(browser: Browser, project: Path, how: dict[str, Any] = DESK) -> Iterator[Page]:
    with running(app_of(project)) as (url, _), opened(browser, url, how) as page:
        page.goto(f"{url}/label")
        yield page


def app_of(project: Path) -> FastAPI:
    return make_review_app(config_of(project))


def waiting(page: Page) -> Locator:
    return page.locator(".one:not(.is-done)")


def given(project: Path) -> dict[str, str]:
    """The labels that were given, by photo."""
    decisions = read_decisions(project)
    return {row.photo_id: decisions.verdict(row.photo_id, row.photo_id).label
            for row in read_suggested(Project(project)) if is_labelled(row, decisions)}  # fmt: skip


def test_suggested_photos_have_a_page_and_are_on_no_other(
    client: TestClient, project: Path, reviewed: Path
) -> None:
    page = client.get("/label").text
    rows = read_suggested(Project(project))
    assert len(rows) == 9
    for row in rows:
        assert page.count(f'data-photo="{row.photo_id}"') == 1
        assert row.photo_id not in client.get("/").text
        assert row.photo_id in client.get("/?only=suggested").text
        assert client.get(f"/photo/{row.photo_id}?size=512").status_code == 200
    assert page.count("data-box=") == 1
    assert 'data-count="suggested">9<' in page
    with asking(reviewed) as plain:
        assert 'href="/label"' not in plain.get("/").text
    missed = ReviewSession(project).item(rows[-1].photo_id)
    assert missed.crop.state == "not_found"


def test_labels_are_decisions_and_can_be_undone(client: TestClient, project: Path) -> None:
    row = read_suggested(Project(project))[0]
    body = {"decision": {"kind": "relabel", "crops": [row.photo_id], "label": "Averlund"}}
    answer = client.post("/decisions", json=body).json()
    assert answer["counts"]["suggested"] == 8
    assert given(project) == {row.photo_id: "Averlund"}
    late = client.post("/decisions", json={**body, "seen": {row.photo_id: 0}}).json()
    assert late["overtaken"] == [row.photo_id]
    client.post("/undo", json={"numbers": answer["numbers"]})
    assert given(project) == {}


def test_decided_groups_are_gone_and_trained_photos_are_like_any_other(project: Path) -> None:
    session = ReviewSession(project)
    group = session.batches()[0]
    with asking(project) as client:
        crops = [item.crop.id for item in group]
        body = {"decision": {"kind": "relabel", "crops": crops, "label": "Averlund"}}
        assert client.post("/decisions", json=body).status_code == 200
    assert group[0].crop.id not in {i.crop.id for batch in session.batches() for i in batch}
    closeup.train(project)
    page = session.page(Filter(), size=1000)
    assert set(crops) <= {item.crop.id for item in page.items}
    examples = Project(project).read("dataset", Example)
    assert examples is not None
    mine = {row.crop_id: row.split for row in examples.rows if row.crop_id in crops}
    assert mine == dict.fromkeys(crops, "train")


def test_a_round_of_labelling_by_keys(browser: Browser, project: Path) -> None:
    with labelling(browser, project) as page:
        expect(waiting(page)).to_have_count(9)
        first = page.locator(".batch").first
        expect(first).to_be_focused()
        # The answer of the model for all but one of the group, which is left out, then decided.
        size = first.locator(".one").count()
        answer = first.locator(".one").first.get_attribute("data-answer")
        left = first.locator(".one").last.get_attribute("data-photo")
        if size > 1:
            page.keyboard.press("ArrowLeft")
            first.locator(".one").last.focus()
            page.keyboard.press("x")
            first.focus()
            page.keyboard.press("Enter")
            expect(waiting(page)).to_have_count(9 - size + 1)
            expect(page.locator("#message")).to_contain_text(f"{answer}: {size - 1}")
        page.keyboard.press("2")
        expect(waiting(page)).to_have_count(9 - size)
        expect(page.locator('[data-count="suggested"]')).to_have_text(str(9 - size))
        second = first.locator('[data-do="label"]').nth(1).get_attribute("data-label")
        assert given(project)[left] == second
        assert list(given(project).values()).count(answer) >= size - 1
        # Whatever is left gets a label of its own; the box of the missed one is taken over.
        while waiting(page).count():
            had = waiting(page).count()
            page.keyboard.press("l")
            page.keyboard.type("Newmaker")
            page.keyboard.press("Enter")
            expect(waiting(page)).not_to_have_count(had)
        expect(page.locator("#message")).to_contain_text("Undo")
        expect(page.locator('[data-count="suggested"]')).to_be_hidden()
    missed = next(row for row in read_suggested(Project(project)) if not row.found)
    assert len(given(project)) == 9
    assert read_decisions(project).boxes[missed.photo_id]


def test_labelling_is_undone_by_a_key(browser: Browser, project: Path) -> None:
    with labelling(browser, project) as page:
        page.keyboard.press("r")
        expect(page.locator("#message")).to_contain_text("not used")
        page.keyboard.press("u")
        expect(waiting(page)).to_have_count(9)
        assert read_decisions(project).verdicts == {}


@pytest.mark.parametrize("how", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
def test_the_page_is_accessible_and_fits(
    browser: Browser, asked: Path, how: dict[str, Any]
) -> None:
    with labelling(browser, asked, how) as page:
        assert fits(page)
        is_accessible(page)
