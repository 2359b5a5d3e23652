"""A round of review in a real browser: filter, reject, relabel, redraw, undo, train, report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import closeup
from closeup.core.project import Project
from closeup.core.types import Photo
from closeup.decisions.kinds import Kind
from closeup.decisions.log import Decisions, read_decisions
from closeup.web.guard import AccessPolicy
from closeup.web.review.app import ALL as EVERY
from closeup.web.review.app import ReviewConfig, make_review_app
from tests.web.browsing import DARK, DESK, PHONE, fits, is_accessible, opened
from tests.web.conftest import TOKEN, running
from tests.web.reviewing import PER_MAKER, config_of

ALL = 5 * PER_MAKER + 2


@contextmanager
def reviewing(
    browser: Browser, project: Path, how: dict[str, Any], path: str = EVERY
) -> Iterator[Page]:
    app = make_review_app(config_of(project))
    with running(app) as (url, _), opened(browser, url, how) as page:
        if path != "/":
            page.goto(url + path)
        yield page


def tiles(page: Page) -> Any:
    return page.locator("#grid > .tile")


def current(page: Page) -> Any:
    return page.locator("#grid > .is-current")


def said(page: Page, words: str) -> None:
    """What was acknowledged; a later message replaces it."""
    expect(page.locator("#message")).to_contain_text(words)


def panel_shows(page: Page, tile: Any) -> None:
    expect(page.locator("#detail .chosen")).to_have_attribute(
        "data-id", tile.get_attribute("data-id")
    )


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the photo; places are shares of its width and height."""
    area = page.locator("#detail .frame svg").bounding_box()
    assert area is not None

    def at(place: tuple[float, float]) -> tuple[float, float]:
        return area["x"] + place[0] * area["width"], area["y"] + place[1] * area["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)))
    page.mouse.move(*at(end))
    page.mouse.up()


def round_of_review(page: Page) -> str:
    """Filter, reject, relabel, redraw, undo; the id of the photo whose box was drawn."""
    expect(page.locator(".total strong")).to_have_text(str(ALL))
    page.locator("select[name=label]").select_option("Brisandt")
    expect(page.locator(".total strong")).to_have_text(str(PER_MAKER))
    page.keyboard.press("Escape")
    page.locator("h1").evaluate("() => document.activeElement.blur()")

    rejected = current(page).get_attribute("data-id")
    panel_shows(page, current(page))
    page.keyboard.press("r")
    said(page, "Rejected")
    expect(page.locator(f'#grid > [data-id="{rejected}"]')).to_have_class(re.compile("is-rejected"))

    relabelled = current(page).get_attribute("data-id")
    assert relabelled != rejected
    page.keyboard.press("l")
    page.keyboard.type("corv")
    page.keyboard.press("Enter")
    said(page, "Relabelled as Corvelle")
    expect(page.locator(f'#grid > [data-id="{relabelled}"] .cap')).to_contain_text("Corvelle")

    redrawn = current(page)
    photo = str(redrawn.get_attribute("data-photo"))
    panel_shows(page, redrawn)
    page.keyboard.press("e")
    page.locator("#detail [data-act=remove]").click()
    drag(page, (0.2, 0.25), (0.6, 0.75))
    page.keyboard.press("Enter")
    said(page, "Box saved")
    expect(page.locator(f'#grid > [data-photo="{photo}"] .stamp')).to_have_text("box drawn")

    undone = current(page).get_attribute("data-id")
    page.keyboard.press("n")
    said(page, "Marked as no object")
    page.keyboard.press("u")
    said(page, "Undone")
    expect(page.locator(f'#grid > [data-id="{undone}"]')).to_have_class(re.compile("is-found"))
    return photo


def test_a_round_of_review_changes_the_report(browser: Browser, project: Path) -> None:
    before = (project / "report.html").read_text()
    with reviewing(browser, project, DESK) as page:
        photo = round_of_review(page)
        is_accessible(page)

        now = read_decisions(project)
        rows = Project(project).read("photos", Photo)
        assert rows is not None
        size = {p.id: (p.width, p.height) for p in rows.rows}[photo]
        (box,) = now.boxes[photo]
        wanted = [0.2 * size[0], 0.25 * size[1], 0.6 * size[0], 0.75 * size[1]]
        assert list(box) == pytest.approx(wanted, abs=0.01 * max(size))
        kept = {kind: n for kind, n in now.counts().items() if n}
        assert kept == {Kind.REJECT: 1, Kind.RELABEL: 1, Kind.BOXES: 1}
        assert now.undone == 1

        closeup.train(project)
        report = (project / "report.html").read_text()
        assert report != before
        page.reload()  # the tables were written anew under the running server
        page.locator("select[name=state]").select_option("rejected")
        expect(page.locator(".total strong")).to_have_text("1")
        assert fits(page)
    page_of_report(browser, project, kept)


def page_of_report(browser: Browser, project: Path, kept: dict[Kind, int]) -> None:
    context = browser.new_context(**DESK)
    page = context.new_page()
    page.goto((project / "report.html").as_uri() + "#review")  # which opens the section
    rows = page.locator("#review table").first.locator("tbody tr")
    expect(rows).to_have_count(len(kept))
    for place, words in enumerate([
        "rejected 1 1 close-up left out of training and test",
        "relabelled 1 1 close-up with a label that differs from the photo’s",
        "boxes drawn or chosen 1 1 photo cut by a box that a person drew or chose",
    ]):  # fmt: skip
        assert " ".join(rows.nth(place).inner_text().split()) == words
    expect(page.locator("#review")).to_contain_text("1 decision was undone")
    found = page.locator("#review tr").filter(has_text="close-ups found").locator("td")
    assert [found.nth(n).inner_text() for n in (0, 1)] == [
        str(5 * PER_MAKER),
        str(5 * PER_MAKER - 1),
    ]
    expect(page.locator('a[href^="http://127.0.0.1:8100/"]').first).to_be_attached()
    is_accessible(page)
    context.close()


def test_several_at_once_and_all_of_it_undone_at_once(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, DESK) as page:
        tiles(page).nth(1).click()
        tiles(page).nth(4).click(modifiers=["Shift"])
        tiles(page).nth(6).click(modifiers=["Control"])
        expect(page.locator("#chosen")).to_have_text("5 selected")
        is_accessible(page)
        page.locator("#bar").get_by_role("button", name="Reject").click()
        said(page, "Rejected: 5")
        expect(page.locator(".is-rejected")).to_have_count(5)
        expect(page.locator("#bar")).to_be_hidden()
        page.keyboard.press("u")
        said(page, "Undone")
        expect(page.locator(".is-rejected")).to_have_count(0)
        page.keyboard.press("Control+a")
        expect(page.locator("#chosen")).to_have_text(f"{ALL} selected")
        page.keyboard.press("Escape")
        expect(page.locator("#bar")).to_be_hidden()
    assert not read_decisions(project)


def test_boxes_are_moved_added_picked_and_left_by_keys_alone(
    browser: Browser, project: Path
) -> None:
    with reviewing(browser, project, DESK, "/?label=Dornwick") as page:
        here = current(page)
        photo = here.get_attribute("data-photo")
        panel_shows(page, here)
        page.keyboard.press("e")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("Escape")
        expect(page.locator(".drawing")).to_be_hidden()
        assert not Decisions(project).rows()
        page.keyboard.press("e")
        page.keyboard.press("Delete")
        page.keyboard.press("+")
        page.keyboard.press("Enter")
        said(page, "Box saved")
        page.keyboard.press("k")  # it has gone on to the next
        expect(page.locator("#detail .chosen")).to_have_attribute("data-photo", str(photo))
        (own,) = read_decisions(project).boxes[photo]
        shown = page.locator("#detail .chosen")
        width = float(shown.get_attribute("data-width") or 0)
        assert own.x1 == pytest.approx(0.3 * width)
        expect(shown).to_contain_text("drawn or chosen by a person")
        first = page.locator("#detail .chip").first.get_attribute("data-box")
        page.keyboard.press("1")
        said(page, "Box saved")
        page.keyboard.press("k")
        expect(page.locator(".history li")).to_have_count(2)
        (picked,) = read_decisions(project).boxes[photo]
        assert list(picked) == pytest.approx([float(value) for value in str(first).split()])


def test_where_nothing_was_found_a_box_can_be_drawn(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, DESK, "/?state=not_found") as page:
        tile = page.locator('#grid > [data-id^="grey"]')
        tile.click()
        panel_shows(page, tile)
        page.get_by_role("button", name="Draw box").click()
        drag(page, (0.1, 0.1), (0.5, 0.6))
        page.get_by_role("button", name="Save").click()
        said(page, "Box saved")
        expect(page.locator('#grid > [data-photo^="grey"] .stamp')).to_have_text("box drawn")
        page.reload()
        expect(page.locator('#grid > [data-photo^="grey"]')).to_have_count(0)


def test_two_people_are_told_of_one_another(browser: Browser, project: Path) -> None:
    app = make_review_app(config_of(project))
    with (
        running(app) as (url, _),
        opened(browser, url, DESK) as one,
        opened(browser, url, DESK) as two,
    ):
        for page in (one, two):
            page.goto(url + EVERY)
            tiles(page).nth(2).click()
            panel_shows(page, tiles(page).nth(2))
        one.keyboard.press("r")
        said(one, "Rejected")
        two.keyboard.press("a")
        expect(two.locator("#error")).to_contain_text("somebody else has just decided")
        expect(tiles(two).nth(2)).to_have_class(re.compile("is-rejected"))
    assert [row.decision.kind for row in Decisions(project).rows()] == [Kind.REJECT]


def test_a_server_that_is_gone_is_told(browser: Browser, project: Path) -> None:
    with running(make_review_app(config_of(project))) as (url, end):
        context = browser.new_context(**DESK)
        page = context.new_page()
        page.goto(url + EVERY)
        tiles(page).nth(0).click()
        panel_shows(page, tiles(page).nth(0))
        page.route("**/decisions", lambda route: route.abort())
        page.keyboard.press("r")
        expect(page.locator("#error")).to_contain_text("Not saved")
        expect(page.locator(".is-rejected")).to_have_count(0)
        context.close()
        end.set()


def test_a_round_on_a_phone(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, PHONE) as page:
        assert fits(page)
        is_accessible(page)
        tiles(page).nth(1).tap()
        panel = page.locator("#detail")
        expect(panel).to_be_visible()
        panel_shows(page, tiles(page).nth(1))
        is_accessible(page)
        panel.get_by_role("button", name="Reject").tap()
        said(page, "Rejected")
        panel_shows(page, tiles(page).nth(2))  # the next one, still open
        panel.get_by_role("button", name="Relabel").tap()
        page.locator("#label-words").fill("a new one")
        page.get_by_role("option", name="New label: a new one").tap()
        said(page, "Relabelled as a new one")
        panel.get_by_role("button", name="Close").tap()
        expect(panel).to_be_hidden()
        page.get_by_role("button", name="Select several").tap()
        tiles(page).nth(4).tap()
        tiles(page).nth(5).tap()
        page.locator("#bar").get_by_role("button", name="Accept").tap()
        said(page, "Accepted: 2")
        assert fits(page)
    kinds = [row.decision.kind for row in Decisions(project).rows()]
    assert kinds == [Kind.REJECT, Kind.RELABEL, Kind.ACCEPT, Kind.ACCEPT]


def test_more_come_as_one_scrolls(
    browser: Browser, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from closeup.web.review import session

    monkeypatch.setattr(session.ReviewSession.page, "__defaults__", (12,))
    with reviewing(browser, project, {"viewport": {"width": 390, "height": 400}}) as page:
        had = tiles(page).count()
        assert had < ALL
        while had < ALL:  # counted once a round: more may come between two counts
            page.mouse.wheel(0, 3000)
            expect(tiles(page)).not_to_have_count(had)
            had = tiles(page).count()
        names = tiles(page).evaluate_all("(all) => all.map((one) => one.dataset.id)")
        assert len(set(names)) == ALL
        expect(page.locator("#more")).to_have_count(0)


@pytest.mark.parametrize("how", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
@pytest.mark.parametrize("path", ["/", EVERY, "/duplicates", "/log", "/train", "/absent"])
def test_the_pages_are_accessible_and_fit(
    browser: Browser, reviewed: Path, how: dict[str, Any], path: str
) -> None:
    with reviewing(browser, reviewed, how, path) as page:
        expect(page.locator("h1")).to_have_count(1)
        assert fits(page)
        is_accessible(page)
        if path == EVERY and how is not PHONE:
            page.get_by_role("button", name="Keyboard shortcuts").click()
            expect(page.locator("#help")).to_be_visible()
            is_accessible(page)


def test_pairs_are_told_apart_and_decisions_listed_and_undone(
    browser: Browser, project: Path
) -> None:
    table = Project(project).read("photos", Photo)
    assert table is not None
    one, other = (photo.id for photo in table.rows[:2])
    log = Decisions(project)
    log.append("somebody", [closeup_pair(one, other)])
    log.close()
    with reviewing(browser, project, DESK, "/duplicates") as page:
        group = page.locator(".group").filter(has=page.locator(f'[data-a="{min(one, other)}"]'))
        group.get_by_role("button", name="Separate").first.click()
        said(page, "Separated")
        expect(group.get_by_role("button", name="Separate").first).to_have_attribute(
            "aria-pressed", "true"
        )
        page.get_by_role("link", name="Decisions").click()
        expect(page.get_by_role("region", name="Decisions").locator("tbody tr")).to_have_count(2)
        page.wait_for_load_state()  # its script is there, too
        page.locator("tbody tr").first.get_by_role("button").click()
        expect(page.get_by_role("region", name="Decisions").locator("tbody tr")).to_have_count(3)
        page.get_by_label("Your name").fill("Ada")
        page.get_by_role("button", name="Change").click()
        expect(page.get_by_label("Your name")).to_have_value("Ada")
    assert read_decisions(project).pairs == {(min(one, other), max(one, other)): True}


def closeup_pair(one: str, other: str) -> Any:
    from closeup.decisions.kinds import Decision

    return Decision(Kind.SAME, one, other=other)


def test_with_a_token_one_signs_in_first(browser: Browser, project: Path) -> None:
    config = ReviewConfig(project, AccessPolicy("review", TOKEN), "tester")
    with running(make_review_app(config)) as (url, _), opened(browser, url, DESK) as page:
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Close-ups").click()
        expect(tiles(page)).to_have_count(ALL)
        page.wait_for_load_state()
        tiles(page).nth(0).click()
        panel_shows(page, tiles(page).nth(0))
        page.keyboard.press("a")
        said(page, "Accepted")
