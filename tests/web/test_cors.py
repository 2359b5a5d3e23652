"""Pages of other sites that may use the API, and those that may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from closeup.core.errors import UsageError
from closeup.model.model import Model
from closeup.web.guard import AccessPolicy
from closeup.web.run import make_access_policy
from closeup.web.serve import app
from closeup.web.serve.app import make_serve_app
from tests.web.browsing import DESK
from tests.web.conftest import CONFIG, TOKEN, Ask, running

SHOP = "https://shop.example"
FROM_SHOP = {"origin": SHOP, "sec-fetch-site": "cross-site"}
BEARER = {"authorization": f"Bearer {TOKEN}"}
JPEG = {"content-type": "image/jpeg"}
ACCESS = AccessPolicy("serve", TOKEN, cors=(SHOP, "http://localhost:3000"))
ALLOWED = "access-control-allow-origin"


def test_a_named_site_gets_answers_and_reads_them(ask: Ask, photo: Path) -> None:
    with ask(access=ACCESS) as client:
        said = client.post("/predict", content=photo.read_bytes(),
                           headers=JPEG | FROM_SHOP | BEARER)  # fmt: skip
        assert said.json()["found"]
        assert said.headers[ALLOWED] == SHOP
        assert said.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in said.headers
        for path in ("/model", "/openapi.json"):
            assert client.get(path, headers=FROM_SHOP | BEARER).headers[ALLOWED] == SHOP


def test_it_reads_errors_too(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    with ask(access=ACCESS) as client:
        no_token = client.post("/predict", content=b"x", headers=JPEG | FROM_SHOP)
        no_photo = client.post("/predict", content=b"x", headers=JPEG | FROM_SHOP | BEARER)
        no_host = client.get("/model", headers=FROM_SHOP | BEARER | {"host": ""})
        no_query = client.post("/predict?draw=z", content=b"x", headers=JPEG | FROM_SHOP | BEARER)

        def fails(*_args: object, **_options: object) -> None:
            raise RuntimeError("on purpose")

        monkeypatch.setattr(app, "read_photos", fails)
        with pytest.raises(RuntimeError, match="on purpose"):
            client.post("/predict", content=b"x", headers=JPEG | FROM_SHOP | BEARER)
        client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
        crashed = client.post("/predict", content=b"x", headers=JPEG | FROM_SHOP | BEARER)
    answers = [no_token, no_photo, no_query, crashed]
    assert [one.status_code for one in answers] == [401, 400, 422, 500]
    assert [one.headers[ALLOWED] for one in (*answers, no_host)] == [SHOP] * 5


def test_a_preflight_needs_no_token(ask: Ask) -> None:
    asks = {"access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type"}  # fmt: skip
    with ask(access=ACCESS) as client:
        said = client.options("/predict", headers=FROM_SHOP | asks)
        assert said.status_code == 204
        assert said.headers[ALLOWED] == SHOP
        assert said.headers["access-control-allow-methods"] == "GET, POST"
        assert "authorization" in said.headers["access-control-allow-headers"]
        for origin in ("https://evil.example", "null", f"{SHOP}.evil.example", SHOP.upper(), ""):
            refused = client.options("/predict", headers={"origin": origin} | asks)
            assert refused.status_code == 401
            assert ALLOWED not in refused.headers
        assert client.options("/predict", headers=FROM_SHOP).status_code == 401


@pytest.mark.parametrize("path", ["/login", "/logout", "/correct?label=ash", "/predict/", "/x"])
def test_it_may_use_nothing_but_the_answers(ask: Ask, folder: Path, path: str) -> None:
    with ask(access=ACCESS, corrections=folder / "out") as client:
        said = client.post(path, content=b"x", headers=FROM_SHOP | BEARER)
        assert (said.status_code, said.json()["error"]["code"]) == (403, "wrong_origin")
        assert ALLOWED not in said.headers


def test_its_visitors_cookies_do_not_count_elsewhere(ask: Ask, photo: Path) -> None:
    """A site that is not named can send nothing, cookie or not, and reads nothing."""
    with ask(access=ACCESS) as client:
        client.post("/login", data={"token": TOKEN})
        assert client.get("/model").status_code == 200
        assert client.get("/model", headers=FROM_SHOP).status_code == 401
        evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        said = client.post("/predict", content=photo.read_bytes(), headers=JPEG | evil)
        assert said.status_code == 403
        assert said.headers["vary"] == "Origin"
        assert ALLOWED not in client.get("/model", headers=evil).headers


def test_without_the_option_nothing_changes(ask: Ask) -> None:
    with ask() as client:
        said = client.post("/predict", content=b"x", headers=FROM_SHOP)
        assert said.status_code == 403
        assert not {"vary", ALLOWED} & set(said.headers)


@pytest.mark.parametrize(
    "given",
    ["*", "null", "https://*.shop.example", "https://shop.example/a", "https://a@b", "ftp://a",
     "shop.example", "https://a:x", "", "https://", "https://a?b", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="--cors"):
        make_access_policy("serve", "127.0.0.1", "", (), (given,))


def test_origins_are_written_as_browsers_send_them() -> None:
    given = ("https://Shop.example/", "http://localhost:3000", "https://a:443", "http://[::1]:81",
             "https://shop.example")  # fmt: skip
    assert make_access_policy("serve", "127.0.0.1", "", (), given).cors == (
        "https://shop.example", "http://localhost:3000", "https://a", "http://[::1]:81"
    )  # fmt: skip


FETCH = """async ([url, token]) => {
  const headers = {authorization: `Bearer ${token}`, "content-type": "application/json"};
  const body = JSON.stringify({image: "bm8gcGhvdG8="});
  const said = await fetch(`${url}/predict`, {method: "POST", headers, body}).catch(() => null);
  return said && [said.status, (await said.json()).error.code];
}"""


def test_a_real_browser_lets_a_named_site_in_and_no_other(browser: Browser, model: Model) -> None:
    other = make_serve_app(model, CONFIG)
    with running(other) as (site, _):
        access = AccessPolicy("serve", TOKEN, cors=(site,))
        with running(make_serve_app(model, replace(CONFIG, access=access))) as (url, _):
            context = browser.new_context(**DESK, bypass_csp=True)  # the site's own policy
            page = context.new_page()
            page.goto(f"{site}/healthz")
            assert page.evaluate(FETCH, [url, TOKEN]) == [400, "not_an_image"]
            assert page.evaluate(FETCH, [url, "wrong"]) == [401, "token_needed"]
            page.goto(f"{site.replace('127.0.0.1', 'localhost')}/healthz")
            assert page.evaluate(FETCH, [url, TOKEN]) is None
            context.close()
