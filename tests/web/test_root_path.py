"""Behind a proxy that gives the service a sub-path of its own."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from closeup.model.model import Model
from closeup.web.guard import AccessPolicy
from closeup.web.serve.app import make_serve_app
from tests.web.browsing import DESK, opened
from tests.web.conftest import CONFIG, TOKEN, Ask, running

ROOT = "/models/apples"
PAGE = {"accept": "text/html"}


@contextmanager
def proxy(target: str, strips: bool = True) -> Iterator[str]:
    """A reverse proxy: passes what is below ROOT on, usually without ROOT, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{ROOT}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.removeprefix(ROOT) if strips else self.path
            with closing(HTTPConnection(urlsplit(target).netloc)) as there:
                there.request(self.command, path, body, dict(self.headers))
                with there.getresponse() as said:
                    data = said.read()
            self.send_response(said.status)
            for name, value in said.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "date"):
                    self.send_header(name, value)
            with suppress(ConnectionError):  # a page that is left takes its pictures no more
                self.end_headers()
                self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


@pytest.fixture(params=[True, False], ids=["stripped", "left on"])
def behind(request: pytest.FixtureRequest, model: Model, folder: Path) -> Iterator[str]:
    access = AccessPolicy("serve", TOKEN)
    config = replace(CONFIG, access=access, project=folder / "out", root=ROOT)
    with running(make_serve_app(model, config)) as (url, _), proxy(url, request.param) as front:
        yield front


def test_a_visitor_goes_through_everything(browser: Browser, behind: str, photo: Path) -> None:
    with opened(browser, f"{behind}{ROOT}/", DESK) as page:
        expect(page).to_have_url(f"{behind}{ROOT}/login?next={ROOT}/")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{behind}{ROOT}/")
        page.wait_for_load_state()
        page.set_input_files("#file", photo)
        said = page.locator(".answer").first
        expect(said.locator(".nearest img")).to_have_count(6)
        image = "(image) => image.decode().then(() => image.naturalWidth > 0)"
        assert said.locator(".nearest img").first.evaluate(image)
        page.locator(".sample").first.click()
        expect(page.locator(".answer")).to_have_count(2)
        for name, path in (("Model", "about"), ("API", "docs"), ("Ask", "")):
            page.get_by_role("link", name=name, exact=True).click()
            expect(page).to_have_url(f"{behind}{ROOT}/{path}")
            expect(page.locator("[aria-current=page]")).to_have_text(name)
        (cookie,) = page.context.cookies()
        assert cookie.get("path") == ROOT
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{behind}{ROOT}/login")
        assert page.context.cookies() == []


def test_programs_find_what_the_answers_name(behind: str, photo: Path) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=f"{behind}{ROOT}/", headers=bearer) as client:
        files = {"photo": ("a.png", photo.read_bytes())}
        said = client.post("predict?nearest=1", files=files).json()
        picture = said["objects"][0]["nearest"][0]["picture"]
        assert picture.startswith(f"{ROOT}/training/")
        assert httpx2.get(urljoin(behind, picture), headers=bearer).status_code == 200
        document = client.get("openapi.json").json()
        assert document["servers"] == [{"url": ROOT}]
        assert "/predict" in document["paths"]
        text = client.get("docs", headers=PAGE).text
        assert f"{behind}{ROOT}/predict" in text
        assert client.get("healthz").json() == {"status": "ok"}


def test_every_address_on_a_page_is_below_the_root(ask: Ask, folder: Path) -> None:
    with ask(root=ROOT, project=folder / "out", corrections=folder / "out") as client:
        for path in ("/", "/about", "/docs", "/absent"):
            text = client.get(path, headers=PAGE).text
            found = re.findall(r"(?:href|src|action|data-photo)=\"(/[^\"]*)\"", text)
            assert len(found) >= 5
            assert [one for one in found if not one.startswith(f"{ROOT}/")] == []


@pytest.mark.parametrize("target", ["/", "//evil.example", "/other/app", "https://evil.example"])
def test_signing_in_leads_to_this_service_and_no_other(ask: Ask, target: str) -> None:
    with ask(root=ROOT, access=AccessPolicy("serve", TOKEN)) as client:
        sent = client.post("/login", data={"token": TOKEN, "next": target})
        assert sent.headers["location"] == f"{ROOT}/"
        own = client.post("/login", data={"token": TOKEN, "next": f"{ROOT}/about"})
        assert own.headers["location"] == f"{ROOT}/about"


def test_the_root_opens_no_other_way_in(ask: Ask, photo: Path) -> None:
    """What is open without a token stays what it is, with the root and without it."""
    with ask(root=ROOT, access=AccessPolicy("serve", TOKEN)) as client:
        for path in ("/model", "/", "/static/../model", "/static%2f../model"):
            assert client.get(path).status_code in (401, 404)
            assert client.get(ROOT + path).status_code in (401, 404)
        assert client.get(f"{ROOT}/healthz").status_code == 200
        assert client.get(f"{ROOT}/static/base/base.css").status_code == 200
        assert client.get("/static/base/base.css").status_code == 200
        assert client.get(f"{ROOT}x/healthz").status_code == 401
        assert client.get(ROOT, headers={"authorization": f"Bearer {TOKEN}"}).status_code in (
            200, 307
        )  # fmt: skip
