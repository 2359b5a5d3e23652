"""Going through doubtful cases in a real browser, at a desk and on a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from closeup.core.project import Project
from closeup.core.types import Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions, read_decisions
from closeup.web.review import session as review_session
from closeup.web.review.session import ReviewSession
from tests.web.browsing import DARK, DESK, PHONE, fits, is_accessible
from tests.web.reviewing import with_issues
from tests.web.test_review_page import current, drag, panel_shows, reviewing, said, tiles
from tests.web.test_review_page_more import held

UNSURE = "/?only=unsure&sort=score"


def progress(page: Page, words: str) -> None:
    expect(page.locator(".total [data-progress]")).to_have_text(words)


def inside(place: Locator, page: Page) -> bool:
    """Whether all of it can be seen without scrolling."""
    box, size = place.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    return (box["x"] >= 0 and box["x"] + box["width"] <= size["width"] and box["y"] >= 0
            and box["y"] + box["height"] <= size["height"])  # fmt: skip


def test_a_round_of_doubtful_labels_by_keys(browser: Browser, project: Path) -> None:
    doubted = with_issues(project)
    session = ReviewSession(project)
    first = session.item(doubted[0])
    with reviewing(browser, project, DESK, "/") as page:
        progress(page, "0 of 3 done")
        panel_shows(page, tiles(page).first)
        panel = page.locator("#detail")
        keep = panel.get_by_role("button", name=f"Keep {first.crop.label}")
        suggest = panel.get_by_role("button", name=f"It is {first.suggested}")
        reject = panel.get_by_role("button", name="Reject")
        expect(panel).to_contain_text(f"the model says {first.suggested} 81 %")
        similar = panel.locator(".similar img")
        expect(similar).to_have_count(4)
        assert similar.evaluate_all("(all) => all.every((one) => one.alt !== null)")
        item = session.item(doubted[0])
        size = {p.id: p.width * p.height for p in session.snapshot().data.photos.values()}
        small = item.crop.box.area < 0.4 * size[item.crop.photo_id]
        expect(panel.get_by_alt_text("The close-up")).to_have_count(int(small))
        expect(keep).to_contain_text("✓")
        expect(reject).to_contain_text("✕")
        look = "(one) => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]"
        assert len({str(one.evaluate(look)) for one in (keep, suggest, reject)}) == 3
        assert (keep.bounding_box() or {})["y"] < (reject.bounding_box() or {})["y"]
        is_accessible(page)

        page.keyboard.press("a")
        said(page, "Accepted")
        progress(page, "1 of 3 done")
        panel_shows(page, tiles(page).nth(1))
        page.locator("#message").get_by_role("button", name="Undo").click()
        said(page, "Undone")
        progress(page, "0 of 3 done")
        panel_shows(page, tiles(page).first)
        assert not read_decisions(project)

        page.keyboard.press("s")
        progress(page, "1 of 3 done")
        page.keyboard.press("j")  # past the second one, which is then the last that is open
        panel_shows(page, tiles(page).nth(2))
        page.keyboard.press("r")
        progress(page, "2 of 3 done")
        panel_shows(page, tiles(page).nth(1))
        expect(page.locator(".finished")).to_be_hidden()
        page.keyboard.press("a")
        progress(page, "3 of 3 done")
        finished = page.locator(".finished")
        expect(finished).to_contain_text("All 3 are done")
        expect(finished.get_by_role("link", name="Train")).to_be_visible()
        expect(page.locator('nav [data-count="doubted"]')).to_be_hidden()
        is_accessible(page)
    kinds = [row.decision.kind for row in Decisions(project).rows()]
    assert kinds == [Kind.ACCEPT, Kind.UNDO, Kind.RELABEL, Kind.REJECT, Kind.ACCEPT]


def test_who_does_not_wait_decides_about_each_case_once(browser: Browser, project: Path) -> None:
    doubted = with_issues(project)
    with reviewing(browser, project, DESK, "/") as page:
        panel_shows(page, tiles(page).first)
        with held(page, "**/decisions"):
            for _ in range(2):
                page.keyboard.press("a")
            expect(current(page)).to_have_attribute("data-id", doubted[2])
            page.keyboard.press("r")  # of the others, none is open any more
            expect(current(page)).to_have_attribute("data-id", doubted[2])
        progress(page, "3 of 3 done")
    rows = Decisions(project).rows()
    assert [(row.decision.kind, row.decision.crop) for row in rows] == list(
        zip([Kind.ACCEPT, Kind.ACCEPT, Kind.REJECT], doubted, strict=True)
    )


def test_a_saved_box_goes_on_to_the_next(
    browser: Browser, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_session, "LOW_SCORE", 1.1)
    with reviewing(browser, project, DESK, UNSURE) as page:
        total = tiles(page).count()
        progress(page, f"0 of {total} done")
        for place, how in enumerate(["draw", "pick", "keys"]):
            panel_shows(page, tiles(page).nth(place))
            if how == "draw":
                page.locator("#detail [data-act=edit]").click()
                drag(page, (0.05, 0.05), (0.2, 0.2))
                page.locator("#detail [data-act=save]").click()
            elif how == "pick":
                chosen = page.locator("#detail .chip").first
                expect(chosen).to_contain_text(re.compile(r"clock \d\.\d\d"))
                picture = chosen.locator("svg image")
                assert "/photo/" in str(picture.get_attribute("href"))
                assert (chosen.locator("svg").bounding_box() or {})["width"] > 40
                chosen.click()
            else:
                page.keyboard.press("1")
            progress(page, f"{place + 1} of {total} done")
            panel_shows(page, tiles(page).nth(place + 1))
        page.keyboard.press("l")  # a label is no judgement of the box
        page.keyboard.type("Newmaker")
        page.keyboard.press("Enter")
        said(page, "Relabelled as Newmaker")
        progress(page, f"3 of {total} done")
        page.reload()
        progress(page, f"3 of {total} done")
        panel_shows(page, tiles(page).nth(3))
    assert len(read_decisions(project).boxes) == 3


def without_keys(page: Page) -> bool:
    """Whether nothing that can be seen is about keys."""
    shown = page.locator("kbd, .by-keys").evaluate_all(
        "(all) => all.filter((one) => one.getClientRects().length).length"
    )
    words = page.locator("body").inner_text()
    return not shown and not re.search(r"\b([Pp]ress|keyboard|Enter|Esc)\b", words)


def test_a_round_of_doubtful_labels_on_a_phone(browser: Browser, project: Path) -> None:
    doubted = with_issues(project)
    with reviewing(browser, project, PHONE, "/") as page:
        panel = page.locator("#detail")
        expect(panel).to_be_visible()
        panel_shows(page, tiles(page).first)
        expect(panel.locator("[data-progress]")).to_have_text("0 of 3 done")
        assert fits(page)
        assert panel.evaluate("(side) => side.scrollWidth <= side.clientWidth")
        assert without_keys(page)
        is_accessible(page)
        previous = panel.get_by_role("button", name="Previous")
        following = panel.get_by_role("button", name="Next")
        for button in (previous, following, panel.get_by_role("button", name="Keep"),
                       panel.get_by_role("button", name="Close")):  # fmt: skip
            assert inside(button, page)
        expect(previous).to_be_disabled()
        following.tap()
        panel_shows(page, tiles(page).nth(1))
        previous.tap()
        panel_shows(page, tiles(page).first)

        panel.get_by_role("button", name="Redraw").tap()
        cancel = panel.get_by_role("button", name="Cancel")
        assert inside(cancel, page)
        assert inside(panel.get_by_role("button", name="Save"), page)
        assert without_keys(page)
        cancel.tap()
        expect(page.locator(".drawing")).to_be_hidden()
        panel.get_by_role("button", name="Relabel").tap()
        page.locator("#relabel").get_by_role("button", name="Cancel").tap()
        expect(page.locator("#relabel")).to_be_hidden()
        assert not Decisions(project).rows()

        for place in range(len(doubted)):
            panel_shows(page, tiles(page).nth(place))
            panel.get_by_role("button", name="Keep").tap()
            said(page, "Accepted")
        expect(panel).to_be_hidden()  # nothing is left, and what comes next is shown
        assert inside(page.locator(".finished"), page)
        page.locator("#message").get_by_role("button", name="Undo").tap()
        progress(page, "2 of 3 done")


@pytest.mark.parametrize("path", ["/?sort=photo", "/duplicates", "/log", "/train"])
def test_nothing_is_cut_off_on_a_phone(browser: Browser, project: Path, path: str) -> None:
    joined(project)
    with reviewing(browser, project, PHONE, path) as page:
        assert fits(page)
        assert without_keys(page)
        nav = page.locator(".top nav")
        assert nav.evaluate("(nav) => nav.scrollWidth <= nav.clientWidth")
        cut = page.locator(".cap, .hint, td, .button").evaluate_all(
            "(all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1"
            " && getComputedStyle(one).display !== 'inline').map((one) => one.outerHTML)"
        )
        assert not cut
        if path == "/?sort=photo":
            expect(page.locator("#filters")).to_be_hidden()
            page.get_by_role("button", name="Filter", exact=True).tap()
            expect(page.locator("#filters")).to_be_visible()
            page.get_by_role("button", name="Select several").tap()
            tiles(page).nth(0).tap()
            page.locator("#bar").get_by_role("button", name="Cancel").tap()
            expect(page.locator("#bar")).to_be_hidden()
            tiles(page).nth(0).tap()  # opens it again, as before
            expect(page.locator("#detail")).to_be_visible()


def joined(project: Path) -> list[str]:
    table = Project(project).read("photos", Photo)
    assert table is not None
    names = [row.id for row in table.rows if row.width > 300][:3]
    log = Decisions(project)
    log.append("me", [Decision(Kind.SAME, names[0], other=name) for name in names[1:]])
    log.close()
    return names


@pytest.mark.parametrize("how", [DESK, DARK, PHONE], ids=["desk", "dark", "phone"])
def test_copies_are_left_out_and_one_step_is_one_line(
    browser: Browser, project: Path, how: dict[str, Any]
) -> None:
    first, *copies = joined(project)
    with reviewing(browser, project, how, "/duplicates") as page:
        group = page.locator(f'.group:has([data-member="{first}"])')
        group.get_by_role("button", name="Keep only photo 1").click()
        said(page, "Kept one, 2 copies left out")
        expect(group.locator(".is-left-out")).to_have_count(2)
        is_accessible(page)
        page.goto(page.url.replace("/duplicates", "/log"))
        lines = page.get_by_role("region", name="Decisions").locator("tbody tr")
        expect(lines).to_have_count(2)
        expect(lines.first).to_contain_text("rejected × 2")
        page.wait_for_load_state()
        is_accessible(page)
        with page.expect_navigation():
            lines.first.get_by_role("button", name="Undo decision 3–4").click()
        expect(lines).to_have_count(3)
        page.goto(page.url.replace("/log", "/duplicates"))
        expect(page.locator(".is-left-out")).to_have_count(0)
        if how is DESK:
            page.wait_for_load_state()
            expect(group).to_be_focused()  # its keys work at once
            page.keyboard.press("2")
            said(page, "Kept one, 2 copies left out")
            left = page.locator(".is-left-out")
            assert {left.nth(n).get_attribute("data-member") for n in (0, 1)} == {
                first, copies[1]
            }  # fmt: skip


def test_a_list_of_all_shows_its_first_close_up(browser: Browser, project: Path) -> None:
    with reviewing(browser, project, DESK) as page:
        panel_shows(page, tiles(page).first)
        expect(current(page)).to_have_count(1)
        page.locator("select[name=label]").select_option("Brisandt")
        expect(page.locator("#detail h2")).to_have_text("Brisandt")
