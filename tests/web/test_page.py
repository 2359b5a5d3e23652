"""The page in a real browser: drop a photo, read its answer; on a phone too; accessible."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from closeup.model import Model
from closeup.web.guard import Door
from closeup.web.serve import make_serve_app
from tests.web.conftest import CONFIG, TOKEN, running

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True,
                         "has_touch": True}  # fmt: skip
DESK: dict[str, Any] = {"viewport": {"width": 1200, "height": 860}}
DARK: dict[str, Any] = {**DESK, "color_scheme": "dark"}

DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name, {type: "image/png"}));
  document.getElementById("ask").dispatchEvent(
    new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""
PAINTED = "(canvas) => canvas.getContext('2d').getImageData(192, 192, 1, 1).data[3] === 255"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no browser: install chromium")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=program,
                                       args=["--no-sandbox", "--disable-gpu"])  # fmt: skip
        yield started
        started.close()


@pytest.fixture(scope="module")
def url(model: Model) -> Iterator[str]:
    with running(make_serve_app(model, CONFIG)) as (address, _):
        yield address


@contextmanager
def opened(browser: Browser, url: str, how: dict[str, Any]) -> Iterator[Page]:
    """A page in which nothing may go wrong: no error on its console, nothing from elsewhere."""
    context = browser.new_context(**how)
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("pageerror", lambda err: wrong.append(str(err)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "blob:")) else
            wrong.append(asked.url))  # fmt: skip
    page.goto(url)
    yield page
    context.close()
    assert not [words for words in wrong if "status of 4" not in words]


def is_accessible(page: Page) -> None:
    """No violation that axe-core calls serious or critical."""
    found = Axe().run(page).response["violations"]
    bad = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found
           if one["impact"] in {"serious", "critical"}]  # fmt: skip
    assert not bad


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("how", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
def test_a_dropped_photo_is_answered(
    browser: Browser, url: str, model: Model, photo: Path, how: dict[str, Any]
) -> None:
    answer = model.predict(photo).objects[0]
    with opened(browser, url, how) as page:
        page.evaluate(DROP, ["new.png", base64.b64encode(photo.read_bytes()).decode()])
        said = page.locator(".answer")
        expect(said.locator(".label")).to_have_text(answer.label)
        expect(said.locator(".sure")).to_contain_text("% sure")
        expect(said.locator(".guesses li")).to_have_count(len(model.labels))
        expect(said.locator(".boxes rect.line")).to_have_attribute("x", f"{answer.box.x1:g}")
        expect(said.locator(".closeup")).to_be_visible()
        assert said.locator(".closeup").evaluate(PAINTED)
        expect(page.locator("#status")).to_contain_text(f"new.png: {answer.label}")
        assert fits(page)
        is_accessible(page)
        said.get_by_role("button").click()
        expect(said).to_have_count(0)


@pytest.mark.parametrize("path", ["/", "/about", "/docs", "/absent"])
def test_the_pages_are_accessible_and_fit_a_phone(browser: Browser, url: str, path: str) -> None:
    with opened(browser, url, PHONE) as page:
        page.goto(url + path)
        expect(page.locator("h1")).to_be_visible()
        assert fits(page)
        is_accessible(page)


def test_broken_missing_and_odd_photos_are_told_apart(
    browser: Browser, url: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with Image.open(folder / "photos" / "ash" / "1.png") as picture:
        picture.save(tmp_path / "odd.tiff")  # which no Chromium shows
    dark = folder / "photos" / "ash" / "10.png"
    with opened(browser, url, DESK) as page:
        page.set_input_files("#file", [tmp_path / "broken.png", dark, tmp_path / "odd.tiff"])
        broken, missing, odd = (page.locator(".answer").nth(i) for i in range(3))
        expect(broken.locator(".problem")).to_contain_text("not a picture in any known format")
        expect(missing.locator(".found")).to_contain_text("the whole photo was judged")
        expect(missing.locator(".boxes rect")).to_have_count(0)
        expect(odd.locator("img")).to_be_visible()
        assert odd.locator("img").evaluate("(image) => image.naturalWidth") > 0
        expect(page.locator(".wait:visible")).to_have_count(0)
        is_accessible(page)


def test_a_visitor_signs_in_asks_and_signs_out(browser: Browser, model: Model, photo: Path) -> None:
    app = make_serve_app(model, replace(CONFIG, door=Door("serve", TOKEN)))
    with running(app) as (url, _), opened(browser, url, PHONE) as page:
        expect(page).to_have_url(f"{url}/login?next=/")
        is_accessible(page)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.set_input_files("#file", photo)
        expect(page.locator(".answer .label")).not_to_be_empty()
        assert fits(page)
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{url}/login")
