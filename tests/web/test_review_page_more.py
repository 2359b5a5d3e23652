"""The review page where things go wrong easily: slow answers, several boxes, two people, Back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Route, expect

from closeup.core.project import Project
from closeup.core.types import Box, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions, read_decisions
from closeup.web.review.app import ALL as EVERY
from closeup.web.review.app import make_review_app
from tests.web.browsing import DESK, PHONE, fits, opened
from tests.web.conftest import running
from tests.web.reviewing import config_of
from tests.web.test_review_page import current, drag, panel_shows, reviewing, said, tiles

LONG = "Wanduhrenfabrik" * 13
LEFT, RIGHT = Box(10, 20, 90, 100), Box(200, 20, 280, 100)


def photos(project: Path) -> Sequence[Photo]:
    table = Project(project).read("photos", Photo)
    assert table is not None
    return [photo for photo in table.rows if photo.width > 300 and "grey" not in photo.id]


def decided(project: Path, *decisions: Decision, who: str = "tester") -> None:
    log = Decisions(project)
    for decision in decisions:
        log.append(who, [decision])
    log.close()


def with_two_boxes(project: Path) -> str:
    photo = photos(project)[0].id
    decided(
        project,
        Decision(Kind.BOXES, photo, boxes=(LEFT, RIGHT)),
        Decision(Kind.RELABEL, photo, crop=photo, label="left"),
        Decision(Kind.RELABEL, photo, crop=f"{photo}-2", label="right"),
    )
    return photo


@contextmanager
def held(page: Page, address: str) -> Iterator[None]:
    """Nothing is answered there until the end of the block, in which something must be asked."""
    waiting: list[Route] = []

    def keep(route: Route) -> None:
        waiting.append(route)

    page.route(address, keep)
    yield
    while not waiting:
        page.wait_for_timeout(20)
    page.unroute(address)
    for route in waiting:
        with suppress(Error):  # the page may have given it up
            route.continue_()


def chip(page: Page) -> list[float]:
    """The first of the detector's boxes."""
    given = page.locator("#detail .chip").first.get_attribute("data-box")
    return [float(value) for value in str(given).split()]


def two_photos(page: Page) -> tuple[Any, Any]:
    """The first tile, which the panel shows, and the second one."""
    tiles(page).nth(0).click()
    panel_shows(page, tiles(page).nth(0))
    return tiles(page).nth(0), tiles(page).nth(1)


def test_no_box_is_chosen_before_its_photo_is_shown(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, DESK) as page:
        _, second = two_photos(page)
        with held(page, "**/detail/*"):
            page.keyboard.press("j")
            page.keyboard.press("1")
            said(page, "still loading")
        panel_shows(page, second)
        assert not read_decisions(project)
        page.keyboard.press("1")
        said(page, "Box saved")
        assert list(read_decisions(project).boxes) == [second.get_attribute("data-photo")]


def test_drawing_begins_once_the_photo_is_shown(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, DESK) as page:
        first, second = two_photos(page)
        with held(page, "**/detail/*"):
            page.keyboard.press("j")
            page.keyboard.press("e")
            expect(page.locator(".drawing")).to_be_hidden()
        panel_shows(page, second)
        expect(page.locator(".drawing")).to_be_visible()
        own = chip(page)
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Enter")
        said(page, "Box saved")
        page.keyboard.press("k")
        panel_shows(page, second)
        ((photo, (box,)),) = read_decisions(project).boxes.items()
        assert photo == second.get_attribute("data-photo")
        assert list(box)[:2] == pytest.approx(own[:2], abs=0.01)

        with held(page, "**/detail/*"):
            page.keyboard.press("k")  # what is left before it is shown, is not drawn on
            page.keyboard.press("e")
            page.keyboard.press("j")
        panel_shows(page, second)
        expect(page.locator(".drawing")).to_be_hidden()
        page.keyboard.press("k")
        panel_shows(page, first)
        expect(page.locator(".drawing")).to_be_hidden()


def widen(page: Page) -> None:
    """Draw the chosen box wider, by keyboard."""
    panel_shows(page, current(page))
    page.keyboard.press("e")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    said(page, "Box saved")


def test_labels_stay_with_their_boxes(browser: Browser, project: Path) -> None:
    photo = with_two_boxes(project)
    with reviewing(browser, project, DESK, f"/?at={photo}-2") as page:
        widen(page)
        page.keyboard.press("k")  # it has gone on to the next
        left, right = read_decisions(project).boxes[photo]
        assert left == LEFT
        assert right[:2] == RIGHT[:2]
        assert right.x2 > RIGHT.x2
        expect(page.locator("#detail h2")).to_contain_text("right")
        expect(page.locator(".history li")).to_have_count(4)
        chosen = chip(page)
        page.keyboard.press("1")
        expect(page.locator("#detail h2")).not_to_contain_text("right")
        page.keyboard.press("k")
        expect(page.locator(".history li")).to_have_count(5)
        after = read_decisions(project).boxes[photo]
        assert list(after[-1]) == pytest.approx(chosen, abs=0.01)
        assert after[:-1] in ((LEFT,), ())  # the detector's box may be around the same object


def test_a_box_for_a_rejected_closeup_brings_it_back(browser: Browser, project: Path) -> None:
    photo = with_two_boxes(project)
    decided(project, Decision(Kind.REJECT, photo, crop=f"{photo}-2"))
    (size,) = [(p.width, p.height) for p in photos(project) if p.id == photo]
    with reviewing(browser, project, DESK, f"/?at={photo}-2") as page:
        panel_shows(page, current(page))
        page.keyboard.press("e")
        drag(page, (0.75, 0.6), (0.95, 0.9))
        page.keyboard.press("Enter")
        said(page, "Box saved")
        left, right = read_decisions(project).boxes[photo]
        assert left == LEFT
        assert list(right) == pytest.approx(
            [0.75 * size[0], 0.6 * size[1], 0.95 * size[0], 0.9 * size[1]], abs=0.01 * max(size)
        )
        expect(page.locator(f'#grid > [data-id="{photo}-2"] .cap')).to_contain_text("right")


def test_a_rejected_closeup_keeps_its_box_when_another_is_drawn(
    browser: Browser, project: Path
) -> None:
    photo = with_two_boxes(project)
    decided(project, Decision(Kind.REJECT, photo, crop=photo))
    with reviewing(browser, project, DESK, f"/?at={photo}-2") as page:
        widen(page)
        left, right = read_decisions(project).boxes[photo]
        assert (left, right.x1) == (LEFT, RIGHT.x1)
        assert read_decisions(project).verdict(photo, photo).rejected


def test_back_leads_to_a_page_that_works(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, DESK) as page:
        every = page.locator(".total strong").inner_text()
        page.locator("select[name=label]").select_option("Brisandt")
        expect(page.locator(".total strong")).not_to_have_text(every)
        page.go_back()
        expect(page.locator(".total strong")).to_have_text(every)
        page.wait_for_load_state()
        tiles(page).nth(0).click()
        panel_shows(page, tiles(page).nth(0))
        page.keyboard.press("l")
        expect(page.locator("#relabel")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()


def test_two_people_are_told_of_one_another_about_pairs(browser: Browser, project: Path) -> None:
    one, other = (photo.id for photo in photos(project)[:2])
    decided(project, Decision(Kind.SAME, one, other=other), who="somebody")
    place = f'[data-a="{min(one, other)}"][data-b="{max(one, other)}"]'
    with (
        running(make_review_app(config_of(project))) as (url, _),
        opened(browser, url, DESK) as first,
        opened(browser, url, DESK) as second,
    ):
        for page in (first, second):
            page.goto(f"{url}/duplicates")
        first.locator(f"{place} [data-act=different]").click()
        said(first, "Separated")
        keep = second.locator(f"{place} [data-act=same]")
        with held(second, "**/decisions"):
            keep.click()
            keep.click()  # before the answer: this one, too, has seen nothing of it
        expect(second.locator("#error")).to_contain_text("somebody else has just decided")
        apart = second.locator(f"{place} [data-act=different]")
        expect(apart).to_have_attribute("aria-pressed", "true")
        expect(keep).to_have_attribute("aria-pressed", "false")
        pair = (min(one, other), max(one, other))
        assert read_decisions(project).pairs == {pair: False}
        keep.click()
        said(second, "Kept together")
        expect(keep).to_have_attribute("aria-pressed", "true")
        assert read_decisions(project).pairs == {pair: True}


def test_a_new_closeup_comes_only_once(
    browser: Browser, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from closeup.web.review import session

    monkeypatch.setattr(session.ReviewSession.page, "__defaults__", (12,))
    how = {"viewport": {"width": 1200, "height": 400}}
    with reviewing(browser, project, how, "/?sort=score&state=found") as page:
        every = int(page.locator(".total strong").inner_text())
        first, _ = two_photos(page)
        photo = first.get_attribute("data-photo")
        page.keyboard.press("e")
        page.keyboard.press("+")
        page.keyboard.press("Enter")
        said(page, "Box saved")
        expect(page.locator(f'#grid > [data-photo="{photo}"]')).to_have_count(2)
        while page.locator("#more").count():
            page.mouse.move(300, 300)
            page.mouse.wheel(0, 3000)
            page.wait_for_timeout(200)
        names = tiles(page).evaluate_all("(all) => all.map((one) => one.dataset.id)")
        assert len(names) == len(set(names)) > every


@pytest.mark.parametrize("path", ["/duplicates", "/log"])
def test_the_last_decision_is_taken_back_on_every_page(
    browser: Browser, project: Path, path: str
) -> None:
    decided(project, Decision(Kind.NOT_FOUND, photos(project)[0].id))
    with reviewing(browser, project, DESK, path) as page:
        badge = page.locator("[data-count=decided]")
        expect(badge).to_have_text("1")
        with page.expect_navigation():  # the page is loaded anew
            page.keyboard.press("u")
        expect(badge).to_be_hidden()
        assert not read_decisions(project)
        page.keyboard.press("u")
        said(page, "no decision to undo")


@pytest.mark.parametrize("path", [EVERY, "/duplicates", "/log"])
def test_long_labels_fit_a_phone(browser: Browser, project: Path, path: str) -> None:
    one, other = (photo.id for photo in photos(project)[:2])
    decided(
        project,
        Decision(Kind.RELABEL, one, crop=one, label=LONG[:200]),
        Decision(Kind.SAME, one, other=other),
    )
    with reviewing(browser, project, PHONE, path) as page:
        assert fits(page)
        if path == EVERY:
            tile = page.locator(f'#grid > [data-id="{one}"]')
            tile.tap()
            panel_shows(page, tile)
            assert fits(page)
            panel = page.locator("#detail")
            assert panel.evaluate("(side) => side.scrollWidth <= side.clientWidth")
            panel.get_by_role("button", name="Relabel").tap()
            assert page.locator("#relabel").evaluate("(box) => box.scrollWidth <= box.clientWidth")
            page.locator(f'#label-list [data-label="{LONG[:200]}"]').tap()
            said(page, "Relabelled")
            toast = page.locator("#message")
            assert toast.evaluate("(words) => words.scrollWidth <= words.clientWidth")


def test_a_label_with_several_spaces_is_found(browser: Browser, project: Path) -> None:
    table = Project(project).read("photos", Photo)
    assert table is not None
    first, *others = table.rows
    rows = [replace(first, label="two  words"), *others]
    Project(project).write("photos", Photo, rows, table.key, table.meta)
    with reviewing(browser, project, DESK) as page:
        page.locator("select[name=label]").select_option(label="two words")
        expect(page.locator(".total strong")).to_have_text("1")
