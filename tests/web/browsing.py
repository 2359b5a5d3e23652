"""A real browser for tests, in which nothing may go wrong unseen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True,
                         "has_touch": True}  # fmt: skip
DESK: dict[str, Any] = {"viewport": {"width": 1200, "height": 860}}
DARK: dict[str, Any] = {**DESK, "color_scheme": "dark"}

PATIENCE = 20_000
"""Milliseconds that a page on a busy machine is given for whatever it is to do."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with the module: while it is open, its event loop runs in the tests' thread."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no browser: install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=program,
                                       args=["--no-sandbox", "--disable-gpu"])  # fmt: skip
        yield started
        started.close()


@contextmanager
def opened(browser: Browser, url: str, how: dict[str, Any], path: str = "") -> Iterator[Page]:
    """A page in which nothing may go wrong: no error on its console, nothing from elsewhere."""
    context = browser.new_context(**how)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("pageerror", lambda err: wrong.append(str(err)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "blob:")) else
            wrong.append(asked.url))  # fmt: skip
    page.goto(url + path)
    yield page
    context.close()
    assert not [words for words in wrong if "status of 4" not in words]


def is_accessible(page: Page) -> None:
    """No violation that axe-core calls serious or critical."""
    found = Axe().run(page).response["violations"]
    bad = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found
           if one["impact"] in {"serious", "critical"}]  # fmt: skip
    assert not bad, bad


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
