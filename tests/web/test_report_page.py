"""The report in a real browser: accessible, opened by links, searched, enlarged, printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from closeup.report.page import render_report
from tests import tiny
from tests.report.test_report import bare, full, scores
from tests.web.browsing import DARK, DESK, PHONE, fits, is_accessible, opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a real run, its mistakes explained."""
    base = tmp_path_factory.mktemp("reported")
    tiny.make_project(base, explain=True)
    return (base / "out" / "report.html").as_uri()


@contextmanager
def shown(browser: Browser, html: str, folder: Path, **how: Any) -> Iterator[Page]:
    (folder / "page.html").write_text(html, encoding="utf-8")
    with opened(browser, (folder / "page.html").as_uri(), DESK | how) as page:
        yield page


@pytest.mark.parametrize("how", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
def test_it_is_accessible_and_fits(browser: Browser, report: str, how: dict[str, Any]) -> None:
    with opened(browser, report, how) as page:
        is_accessible(page)
        page.get_by_role("button", name="Open all").click()
        expect(page.locator("details.section:not([open])")).to_have_count(0)
        page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
        is_accessible(page)
        assert fits(page)


def test_the_first_screen_says_what_matters(browser: Browser, report: str) -> None:
    with opened(browser, report, DESK) as page:
        for part in (".verdict", ".figures li >> nth=3", ".strip img:visible >> nth=0"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= DESK["viewport"]["height"], part
        expect(page.locator("details.section[open]")).to_have_count(0)


@pytest.mark.parametrize("script", [True, False])
def test_a_link_of_the_contents_opens_its_section(
    browser: Browser, report: str, script: bool
) -> None:
    with opened(browser, report, DESK | {"java_script_enabled": script}) as page:
        section = page.locator("#confusions")
        expect(section).to_be_hidden()
        page.get_by_role("link", name="Confusions").click()
        expect(section).to_be_visible()
        expect(page.get_by_role("heading", name="Confusions")).to_be_in_viewport()
        expect(page.get_by_role("navigation")).to_be_in_viewport()  # it stays


def test_a_picture_is_enlarged_without_a_script(browser: Browser, report: str) -> None:
    with opened(browser, report, DESK | {"java_script_enabled": False}) as page:
        figure = page.locator(".strip figure").first
        photo = figure.locator("img").first
        expect(photo).to_be_hidden()
        small = figure.locator("img").last.bounding_box()
        figure.get_by_role("button").click()
        expect(photo).to_be_visible()
        large = figure.locator("img").last.bounding_box()
        assert small is not None
        assert large is not None
        assert large["width"] > 2 * small["width"]
        page.keyboard.press("Escape")
        expect(photo).to_be_hidden()


def test_long_tables_are_searched_by_class(browser: Browser, tmp_path: Path) -> None:
    labels = [*(f"Label {number:03}" for number in range(299)), "E\u0301toile"]
    html = render_report(bare(scores=scores(labels, labels, labels)))
    with shown(browser, html, tmp_path) as page:
        page.get_by_role("link", name="Classes").click()
        rows = page.locator("#labels tbody tr")
        field = page.get_by_role("searchbox")
        field.fill(" label 29")
        expect(rows.filter(visible=True)).to_have_count(9)
        expect(page.locator("#labels").get_by_role("status")).to_have_text("9 found")
        field.fill("\u00c9TOILE")  # the accent is no character of its own here
        expect(rows.filter(visible=True)).to_have_count(1)
        field.fill("")
        expect(rows.filter(visible=True)).to_have_count(302)  # two of the bare page
        is_accessible(page)


def test_no_text_of_a_stranger_becomes_a_script(browser: Browser, tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='gone'\"><script>document.title='gone'</script>"
    html = render_report(full(evil))
    assert "<script>document" not in html
    # Even if it were not escaped, nothing but the page's own script may run.
    broken = html.replace("<main", "<script>document.title = 'gone'</script><main", 1)
    (tmp_path / "page.html").write_text(broken, encoding="utf-8")
    context = browser.new_context(**DESK)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.title() != "gone"
    expect(page.get_by_role("button", name="Open all")).to_be_visible()
    context.close()


def test_printing_opens_all_sections_and_leaves_out_what_is_for_the_screen(
    browser: Browser, report: str
) -> None:
    with opened(browser, report, DESK) as page:
        expect(page.locator("#made")).to_be_hidden()
        page.emulate_media(media="print")
        expect(page.get_by_role("navigation")).to_be_hidden()
        for section in page.locator(".inside").all():
            box = section.bounding_box()
            assert box is not None
            assert box["height"] > 30


def test_a_page_without_pictures_or_scores_works(browser: Browser, tmp_path: Path) -> None:
    html = render_report(bare(scores=None))
    with shown(browser, html, tmp_path) as page:
        expect(page.locator(".verdict")).to_contain_text("Not measured")
        is_accessible(page)
