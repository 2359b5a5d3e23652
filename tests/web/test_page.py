"""The page in a real browser: drop a photo, read its answer; on a phone too; accessible."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from closeup.model.model import Model
from closeup.web.guard import AccessPolicy
from closeup.web.serve.app import make_serve_app
from tests.web.browsing import DARK, DESK, PHONE, fits, is_accessible, opened
from tests.web.conftest import CONFIG, TOKEN, running

DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name, {type: "image/png"}));
  document.getElementById("ask").dispatchEvent(
    new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""
LOADED = "(image) => image.decode().then(() => image.naturalWidth > 0)"
PAINTED = "(canvas) => canvas.getContext('2d').getImageData(192, 192, 1, 1).data[3] === 255"


@pytest.fixture(scope="module")
def url(model: Model, folder: Path) -> Iterator[str]:
    config = replace(CONFIG, project=folder / "out")
    with running(make_serve_app(model, config)) as (address, _):
        yield address


@pytest.mark.parametrize("how", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
def test_a_dropped_photo_is_answered(
    browser: Browser, url: str, model: Model, photo: Path, how: dict[str, Any]
) -> None:
    answer = model.predict(photo).objects[0]
    with opened(browser, url, how) as page:
        page.evaluate(DROP, ["new.png", base64.b64encode(photo.read_bytes()).decode()])
        said = page.locator(".answer")
        expect(said.locator(".label")).to_have_text(answer.label)
        expect(said.locator(".sure")).to_contain_text("% confidence")
        expect(said.locator(".guesses li")).to_have_count(len(model.labels))
        expect(said.locator(".boxes rect.line")).to_have_attribute("x", f"{answer.box.x1:g}")
        expect(said.locator(".closeup")).to_be_visible()
        assert said.locator(".closeup").evaluate(PAINTED)
        expect(page.locator("#status")).to_contain_text(f"new.png: {answer.label}")
        expect(said.locator(".nearest li")).to_have_count(6)
        expect(said.locator(".nearest li").first).to_have_text(answer.label)
        assert said.locator(".nearest img").first.evaluate(LOADED)
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
        expect(missing.locator(".found")).to_contain_text("the whole photo was classified")
        expect(missing.locator(".boxes rect")).to_have_count(0)
        expect(odd.locator(".photo img")).to_be_visible()
        assert odd.locator(".photo img").evaluate("(image) => image.naturalWidth") > 0
        expect(page.locator(".wait:visible")).to_have_count(0)
        is_accessible(page)


def test_a_visitor_signs_in_asks_and_signs_out(browser: Browser, model: Model, photo: Path) -> None:
    app = make_serve_app(model, replace(CONFIG, access=AccessPolicy("serve", TOKEN)))
    with running(app) as (url, _), opened(browser, url, PHONE) as page:
        expect(page).to_have_url(f"{url}/login?next=/")
        is_accessible(page)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("The token is wrong.")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#file")).to_have_count(1)
        page.wait_for_load_state()  # its script is there, too
        page.set_input_files("#file", photo)
        expect(page.locator(".answer .label")).not_to_be_empty()
        assert fits(page)
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{url}/login")
