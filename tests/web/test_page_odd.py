"""The page in a real browser: odd photos, a folder, a photo that is gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from closeup.model.model import Model
from closeup.web.serve.app import make_serve_app
from tests.web.browsing import DESK, opened
from tests.web.conftest import CONFIG, running

SIZE = "(image) => [image.naturalWidth, image.naturalHeight]"


@pytest.fixture(scope="module")
def url(model: Model) -> Iterator[str]:
    with running(make_serve_app(model, CONFIG)) as (address, _):
        yield address


def turned(exif: Image.Exif) -> None:
    exif[274] = 6


def finer(exif: Image.Exif) -> None:
    """Half as many pixels each way as there are, at 144 dots per inch."""
    exif[296], exif[282], exif[283] = 2, 144.0, 144.0
    exif[256], exif[257] = 60, 40
    exif.get_ifd(0x8769).update({0xA002: 60, 0xA003: 40})


@pytest.mark.parametrize(
    ("name", "change", "size"),
    [("turned.webp", turned, (80, 120)), ("finer.jpg", finer, (120, 80))],
    ids=["turned", "finer"],
)
def test_photos_that_browsers_show_otherwise_are_drawn_by_the_service(
    browser: Browser, url: str, tmp_path: Path, name: str, change: object, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    assert callable(change)
    change(exif)
    Image.new("RGB", (120, 80), (200, 180, 160)).save(tmp_path / name, exif=exif)
    with opened(browser, url, DESK) as page:
        page.set_input_files("#file", tmp_path / name)
        said = page.locator(".answer")
        expect(said.locator(".found")).to_contain_text("Detected as")
        image = said.locator(".photo img")
        expect(image).to_be_visible()
        assert tuple(image.evaluate(SIZE)) == size
        expect(said.locator(".boxes rect")).to_have_count(0)  # they are in the picture


def test_a_dropped_folder_is_told(browser: Browser, url: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with opened(browser, url, DESK) as page:
        client = page.context.new_cdp_session(page)
        data = {"items": [], "files": [str(tmp_path / "photos")], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            client.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
        expect(page.locator(".answer .problem")).to_have_text("This file cannot be read.")


@contextmanager
def chosen_early(browser: Browser, url: str, photo: Path) -> Iterator[tuple[Page, Route]]:
    """A page on which a photo was chosen, and its script, which has not been sent yet."""
    waiting: list[Route] = []

    def keep(route: Route) -> None:
        waiting.append(route)

    with browser.new_page() as page:
        page.route("**/ask.js", keep)
        with page.expect_request("**/ask.js"):
            page.goto(url, wait_until="commit")
        page.set_input_files("#file", photo)
        expect(page.locator(".answer")).to_have_count(0)
        yield page, waiting[0]


def test_a_photo_that_is_gone_after_it_was_chosen_is_told(
    browser: Browser, url: str, photo: Path, tmp_path: Path
) -> None:
    gone = Path(shutil.copy(photo, tmp_path / "gone.png"))
    with chosen_early(browser, url, gone) as (page, script):
        gone.unlink()
        script.continue_()
        expect(page.locator(".answer .problem")).to_have_text("This file cannot be read.")


def test_a_photo_that_is_chosen_before_the_script_has_loaded_is_sent(
    browser: Browser, url: str, photo: Path
) -> None:
    with chosen_early(browser, url, photo) as (page, script):
        script.continue_()
        expect(page.locator(".answer .label")).not_to_be_empty()
        expect(page.locator(".answer")).to_have_count(1)


def test_without_scripts_the_form_works_and_nothing_else_is_offered(
    browser: Browser, model: Model, folder: Path, photo: Path
) -> None:
    app = make_serve_app(model, replace(CONFIG, project=folder / "out"))
    with (
        running(app) as (url, _),
        # Ends with its context: a page closed by itself as the answer replaces it may stay open.
        browser.new_context(java_script_enabled=False) as context,
    ):
        page = context.new_page()
        page.goto(url)
        expect(page.locator(".samples")).to_be_hidden()
        page.set_input_files("#file", photo)
        with page.expect_response("**/predict?draw=1") as answer:
            page.get_by_role("button", name="Send").click()
        assert answer.value.headers["content-type"] == "image/jpeg"
