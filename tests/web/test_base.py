"""The base of all web applications: guard, sign-in, error pages, static files."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from closeup.core.errors import UsageError
from closeup.web.base import Site, make_app
from closeup.web.guard import SECURITY_HEADERS, AccessPolicy
from closeup.web.limits import limited
from closeup.web.run import Address, listen, make_access_policy, url_of
from tests.web.conftest import running

TOKEN = "a-token-of-the-tests"
PAGE = {"accept": "text/html"}


def app_of(access: AccessPolicy, folder: Path = Path("absent")) -> FastAPI:
    app = make_app(Site("Test <1>", folder, access))

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("on purpose")

    @app.post("/size")
    async def size(request: Request, times: int = 1) -> int:
        body = await limited(request, most_bytes=10, seconds=5).body()
        return len(body) * times

    return app


OPEN = AccessPolicy("test")


def client_of(access: AccessPolicy = OPEN) -> TestClient:
    return TestClient(app_of(access), base_url="http://127.0.0.1", raise_server_exceptions=False,
                      follow_redirects=False)  # fmt: skip


@pytest.mark.parametrize("path", ["/healthz", "/absent", "/fail", "/static/base/base.css"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_every_answer_carries_the_security_headers(path: str, accept: str) -> None:
    answer = client_of().get(path, headers={"accept": accept})
    for name, value in SECURITY_HEADERS.items():
        if name != "cache-control":
            assert answer.headers[name] == value
    assert "unsafe" not in SECURITY_HEADERS["content-security-policy"]


def test_the_colours_are_those_of_the_report() -> None:
    page = client_of().get("/absent", headers=PAGE).text
    (link,) = re.findall(r'href="([^"]*/tokens\.css)"', page)
    tokens = client_of().get(link)
    assert tokens.status_code == 200
    assert tokens.text == files("closeup.report").joinpath("static/tokens.css").read_text("utf-8")


def test_errors_are_json_for_programs_and_pages_for_people() -> None:
    client = client_of()
    said = client.get("/absent")
    assert said.status_code == 404
    assert said.json()["error"] == {"code": "not_found", "message": "there is nothing at /absent"}
    page = client.get("/absent", headers=PAGE)
    assert page.status_code == 404
    assert "There is nothing at /absent." in page.text
    assert "Test &lt;1&gt;" in page.text
    assert client.get("/size").json()["error"]["code"] == "method_not_allowed"
    assert client.get("/size").headers["allow"] == "POST"
    assert client.post("/size?times=x").json()["error"]["message"].startswith("query.times: ")
    assert client.get("/fail").json()["error"]["code"] == "internal"
    assert "on purpose" not in client.get("/fail").text


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_no_page_that_loads_scripts_from_elsewhere(path: str) -> None:
    assert client_of().get(path).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1", ""])
def test_another_host_name_is_refused(host: str) -> None:
    client = client_of()
    answer = client.get("/healthz", headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["127.0.0.1:9", "LOCALHOST", "[::1]:8000"])
def test_the_own_host_names_are_answered(host: str) -> None:
    assert client_of().get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:81"},
        {"origin": "http://[::1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1"},
    ],
)
def test_other_sites_pages_may_not_post(headers: dict[str, str]) -> None:
    answer = client_of().post("/size", content=b"123", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "wrong_origin"


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}]
)
def test_own_pages_and_programs_may_post(headers: dict[str, str]) -> None:
    assert client_of().post("/size", content=b"123", headers=headers).json() == 3


def test_a_body_beyond_the_limit_is_refused_by_its_header_and_by_counting() -> None:
    client = client_of()
    assert client.post("/size", content=b"1234567890").json() == 10
    assert client.post("/size", content=b"12345678901").status_code == 413
    counted = client.post("/size", content=iter([b"123456", b"123456"]))
    assert counted.status_code == 413
    assert counted.json()["error"]["code"] == "too_large"


def test_without_the_token_nothing_but_health_is_answered() -> None:
    client = client_of(AccessPolicy("test", TOKEN))
    assert client.get("/healthz").status_code == 200
    for path in ("/absent", "/openapi.json", "/size"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    to_form = client.get("/openapi.json", headers=PAGE)
    assert (to_form.status_code, to_form.headers["location"]) == (303, "/login?next=/openapi.json")
    query = client.get("/absent?at=a-2&only=doubted", headers=PAGE)
    form = client.get(query.headers["location"], headers=PAGE)
    assert 'value="/absent?at=a-2&amp;only=doubted"' in form.text


@pytest.mark.parametrize("given", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer é"])
def test_a_wrong_token_is_refused(given: str) -> None:
    headers = {b"authorization": given.encode()}
    assert client_of(AccessPolicy("test", TOKEN)).get("/absent", headers=headers).status_code == 401


@pytest.mark.parametrize("cookie", ["", TOKEN, "a;b;;=", "é=1"])
def test_a_wrong_cookie_is_refused(cookie: str) -> None:
    access = AccessPolicy("test", TOKEN)
    headers = {b"cookie": f"{access.cookie}={cookie}".encode()}
    assert client_of(access).get("/absent", headers=headers).status_code == 401
    assert client_of(access).get("/absent", headers={b"cookie": b"a;b;;="}).status_code == 401


def test_services_of_different_tokens_share_a_browser() -> None:
    policies = [AccessPolicy("test", TOKEN), AccessPolicy("test", TOKEN[::-1])]
    jar: dict[str, str] = {}
    for access in policies:  # cookies do not tell ports apart
        signed_in = client_of(access)
        signed_in.post("/login", data={"token": access.token})
        jar |= dict(signed_in.cookies)
    for access in policies:
        client = client_of(access)
        client.cookies.update(jar)
        assert client.get("/openapi.json").status_code == 200


def test_the_token_opens_by_header_and_by_the_form() -> None:
    client = client_of(AccessPolicy("test", TOKEN))
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/openapi.json", headers=bearer).status_code == 200
    assert client.get("/login?next=/openapi.json", headers=PAGE).text.count("/openapi.json") == 1
    wrong = client.post("/login", data={"token": "wrong", "next": "/"})
    assert wrong.status_code == 403
    assert "The token is wrong" in wrong.text
    right = client.post("/login", data={"token": TOKEN, "next": "/openapi.json"})
    assert (right.status_code, right.headers["location"]) == (303, "/openapi.json")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/openapi.json").status_code == 200
    client.post("/logout")
    assert client.get("/openapi.json").status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil", "/a\nb"])
def test_the_form_sends_nobody_elsewhere(target: str) -> None:
    client = client_of(AccessPolicy("test", TOKEN))
    sent = client.post("/login", data={"token": TOKEN, "next": target})
    assert sent.headers["location"] == "/"


def test_a_login_form_has_its_limits() -> None:
    client = client_of(AccessPolicy("test", TOKEN))
    assert client.post("/login", data={"token": "x" * 20_000}).status_code == 413
    files = {"token": ("a.txt", b"x")}
    assert client.post("/login", files=files).status_code == 400
    form = {"content-type": "multipart/form-data; boundary=B; charset=undefined"}
    assert client.post("/login", content=b"--B--\r\n", headers=form).status_code == 400


def test_the_head_of_an_answer_can_be_had_alone() -> None:
    with running(app_of(OPEN)) as (url, _):
        whole = httpx2.get(f"{url}/healthz")
        head = httpx2.head(f"{url}/healthz")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


def test_static_files_stay_inside_their_folder(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.css").write_text("a{}")
    (tmp_path / "secret").write_text("no")
    client = TestClient(app_of(AccessPolicy("test"), tmp_path), base_url="http://127.0.0.1")
    assert client.get("/static/test/a.css").text == "a{}"
    assert client.get("/static/test/a.css").headers["cache-control"] == "no-cache"
    for path in ("../secret", "%2e%2e/secret", "..%2fsecret", "a%00b", "", "//"):
        assert client.get(f"/static/test/{path}").status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_needs_no_token(host: str) -> None:
    access = make_access_policy("test", host, "", ("Proxy.example",))
    assert host in access.hosts
    assert "proxy.example" in access.hosts


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_other_hosts_need_one(host: str) -> None:
    with pytest.raises(UsageError, match="--token"):
        make_access_policy("test", host, "")
    assert make_access_policy("test", host, TOKEN).hosts == ()


@pytest.mark.parametrize("token", ["short", "x" * 15, "ü" * 20, "line\nbreak" * 3])
def test_a_poor_token_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="16 or more"):
        make_access_policy("test", "0.0.0.0", token)


def test_a_taken_port_is_named() -> None:
    with listen(Address(port=0)) as first:
        port = first.getsockname()[1]
        assert url_of(first, "::1") == f"http://[::1]:{port}"
        with pytest.raises(UsageError, match=f"port {port}"):
            listen(Address(port=port))
    with pytest.raises(UsageError, match="cannot listen"):
        listen(Address("no.such.host.invalid", 0))
