"""The built site: complete, without a request to anywhere, searchable, and fit for everybody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

import closeup
from closeup.evaluate.checks import TITLES
from tests.conftest import ROOT
from tests.web.browsing import DARK, DESK, PHONE, browser, fits, is_accessible, opened

__all__ = ["browser"]


def build(root: Path, to: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(to)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("site") / "site"
    done = build(ROOT, to)
    assert done.returncode == 0, done.stderr
    return to


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(name, how, id=f"{name}-{kind}")
        for name, kind, how in (
            ("index", "desk", DESK), ("index", "phone", PHONE), ("index", "dark", DARK),
            ("trust", "desk", DESK), ("trust", "phone", PHONE),
            ("api", "desk", DESK), ("api", "phone", PHONE),
        )
    ],
)  # fmt: skip
def test_everybody_can_use_a_page(
    browser: Browser, address: str, name: str, how: dict[str, Any]
) -> None:
    how = {**how, "reduced_motion": "reduce"}
    with opened(browser, address, how, f"{name}.html") as page:
        expect(page.locator("h1")).to_be_visible()
        assert fits(page)
        is_accessible(page)


@pytest.mark.slow
def test_the_search_works_from_the_disk(browser: Browser, site: Path) -> None:
    with opened(browser, f"{site.as_uri()}/", DESK, "index.html") as page:
        words = page.get_by_role("textbox", name="Search")
        words.press_sequentially("coverage")  # searched for at each key
        expect(page.locator(".md-search-result__item").first).to_contain_text("overage")
        page.locator(".md-search-result__link").first.click()
        expect(page).to_have_url(re.compile(r"\.html\?h=coverage"))


@pytest.mark.slow
def test_no_page_names_a_file_elsewhere(site: Path) -> None:
    """Nothing that a page loads by itself lies on another host."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf8")
        loaded = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?([^\s\">]+)", text)
        loaded += re.findall(r"<link\b(?![^>]*canonical)[^>]*\bhref=\"?([^\s\">]+)", text)
        assert loaded
        assert not [name for name in loaded if re.match(r"[a-z]+:|//", name)], page


@pytest.mark.slow
def test_a_dead_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [index.md, missing.md]\nhooks: []\n"
        "plugins: [search]\ntheme: {name: mkdocs}\nextra_css: []\n", encoding="utf8"
    )  # fmt: skip
    (tmp_path / "docs").mkdir()
    page = "# Page\n\n[one](none.md) [two](#none) ![three](none.png)\n"
    (tmp_path / "docs" / "index.md").write_text(page, encoding="utf8")
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten\n", encoding="utf8")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    for wrong in ("'none.md'", "'#none'", "'none.png'", "'missing.md'", "forgotten.md"):
        assert wrong in done.stderr, done.stderr


def test_every_picture_is_shown_small_and_made_by_the_script() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf8") for page in pages)
    shown = set(re.findall(r"\]\((?:docs/)?images/([\w.]+)\)", text))
    there = {file.name: file.stat().st_size for file in (ROOT / "docs" / "images").iterdir()}
    assert shown == there.keys()
    assert max(there.values()) < 150_000
    script = (ROOT / "tools" / "pictures.py").read_text(encoding="utf8")
    assert all(f"``{name}``" in script for name in there)


def test_every_check_has_its_entry() -> None:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf8")
    entries = re.findall(r"^### (CU\d+): .+?\n\n(.*?)(?=\n<a id|\Z)", text, re.M | re.S)
    assert [code for code, _ in entries] == sorted(TITLES)
    for code, said in entries:
        assert "*Do:*" in said, code
        assert f'<a id="{code.lower()}"></a>' in text, code


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf8")
    shown = set(re.findall(r"^::: closeup\.(\w+)$", text, re.M))
    assert shown == set(closeup.__all__) - {"__version__"}
