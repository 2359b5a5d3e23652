"""How a phone gets in: addresses, one-time links, and their QR codes in terminals."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import segno
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect

from closeup.cli import sharing
from closeup.core.errors import UsageError
from closeup.model.model import Model
from closeup.web.base import Site, make_app
from closeup.web.guard import AccessPolicy, OneTimeKey
from closeup.web.qr import print_qr
from closeup.web.run import Address, checked_root, listen, make_access_policy, urls_of
from closeup.web.serve.app import make_serve_app
from tests.web.browsing import PHONE, fits, is_accessible, opened
from tests.web.conftest import CONFIG, TOKEN, running


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_signs_in_once_and_not_too_late() -> None:
    clock, spent = Clock(), list[bool]()
    key = OneTimeKey(600, clock)
    key.on_spent = spent.append
    assert not key.redeem("")  # before there is any
    first = key.renew()
    assert len(first) >= 22
    assert not key.redeem(first + "x")
    assert spent == []  # a wrong one spends nothing
    assert key.redeem(first)
    assert not key.redeem(first)
    second = key.renew()
    assert second != first
    clock.now = 600
    assert not key.redeem(second)
    assert spent == [True, False]
    third = key.renew()
    assert not key.redeem(second)
    assert key.redeem(third)


def client_with(key: OneTimeKey | None, root: str = "") -> TestClient:
    site = Site("Test", Path("absent"), AccessPolicy("test", TOKEN, key=key), root)
    return TestClient(make_app(site), base_url="http://127.0.0.1", follow_redirects=False)


def test_the_link_gives_the_same_cookie_as_the_token() -> None:
    key = OneTimeKey()
    by_token = client_with(key).post("/login", data={"token": TOKEN}).headers["set-cookie"]
    client = client_with(key)
    sent = client.post("/login", data={"key": key.renew(), "next": "/openapi.json"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/openapi.json")
    assert sent.headers["set-cookie"] == by_token
    assert client.get("/openapi.json").status_code == 200


def test_a_spent_link_opens_nothing_and_says_why() -> None:
    key = OneTimeKey()
    link = key.renew()
    client_with(key).post("/login", data={"key": link})
    for client, given in (
        (client_with(key), link),
        (client_with(None), "x"),
        (client_with(None), link),
    ):
        refused = client.post("/login", data={"key": given, "token": TOKEN})
        assert refused.status_code == 403
        assert "used before, or is too old" in refused.text
        assert "set-cookie" not in refused.headers
        assert client.get("/openapi.json").status_code == 401


def test_who_is_signed_in_may_open_the_link_again_and_spends_no_other() -> None:
    key = OneTimeKey()
    client, link = client_with(key), key.renew()
    for _ in range(2):
        assert client.post("/login", data={"key": link}).status_code == 303
    following = key.renew()
    assert client.post("/login", data={"key": following}).status_code == 303
    assert key.redeem(following)  # another phone can use it


def test_where_scripts_are_off_the_link_is_said_to_need_them() -> None:
    words = "scripts are off in this browser"
    assert words in client_with(OneTimeKey()).get("/login").text
    assert words not in client_with(None).get("/login").text


def test_a_key_in_an_address_is_worth_nothing() -> None:
    """Whatever prefetches, previews or logs addresses neither uses a key up nor gets in."""
    key = OneTimeKey()
    link, client = key.renew(), client_with(key)
    for address in (f"/login?key={link}", f"/login/{link}", f"/?key={link}"):
        client.get(address, headers={"accept": "text/html"})
        client.post(f"/login?key={link}")
    assert client.get("/openapi.json").status_code == 401
    assert key.redeem(link)


def drawn(text: str, encoding: str = "utf-8", **settings: str) -> tuple[str, list[list[bool]]]:
    """What is printed on a terminal, and the modules that it shows, True for dark ones."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            patch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "120", **settings}.items():
            patch.setenv(name, value)
        print_qr(text, stream)
    stream.seek(0)
    printed = stream.read()
    rows: list[list[bool]] = []
    for line in printed.splitlines():
        cells: list[tuple[bool, bool]] = []
        for codes, part in re.findall(r"\x1b\[([\d;]+)m([^\x1b]+)", line):
            upper_dark = lower_dark = " "
            for letter in part:
                if encoding == "utf-8":
                    assert codes.startswith("38;5;16;48;5;231")  # black on white, by number
                    upper_dark, lower_dark = letter in "▀█", letter in "▄█"
                else:
                    upper_dark = lower_dark = "48;5;16" in codes
                cells.append((bool(upper_dark), bool(lower_dark)))
        if encoding == "utf-8":
            rows += [[a for a, _ in cells], [b for _, b in cells]]
        else:
            rows.append([a for a, _ in cells[::2]])
    return printed, rows


LINK = "http://192.168.178.25:8000/login#abcdefghijklmnopqrstuv"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_qr_code_is_the_links_whatever_the_terminals_colours(encoding: str) -> None:
    printed, rows = drawn(LINK, encoding)
    code = segno.make(LINK, micro=False)
    expected = [[bool(one) for one in row] for row in code.matrix_iter(border=4)]
    assert rows[: len(expected)] == expected
    assert not any(map(any, rows[len(expected) :]))  # the last half line is light
    if encoding == "ascii":
        assert printed.isascii()


@pytest.mark.parametrize(
    "settings", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "20"}], ids=str
)
def test_no_qr_code_where_it_could_not_be_read(settings: dict[str, str]) -> None:
    assert drawn(LINK, **settings) == ("", [])


def test_all_addresses_are_named_the_networks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from closeup.web import run

    monkeypatch.setattr(
        run, "_addresses", lambda families: ["192.168.1.9", "fd00::9"][: len(families)]
    )
    with listen(Address("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        names = ["192.168.1.9", "127.0.0.1"]
        assert urls_of(listener, "0.0.0.0") == [f"http://{name}:{port}" for name in names]
    with listen(Address("127.0.0.1", 0)) as listener:
        assert urls_of(listener, "localhost") == [f"http://localhost:{listener.getsockname()[1]}"]
    try:
        both = listen(Address("::", 0))
    except UsageError:
        pytest.skip("no IPv6 here")
    with both:
        port = both.getsockname()[1]
        names = ["192.168.1.9", "[fd00::9]", "127.0.0.1"]
        assert urls_of(both, "::") == [f"http://{name}:{port}" for name in names]
        monkeypatch.setattr(run, "_only_ipv6", lambda _: True)
        monkeypatch.setattr(run, "_addresses", lambda _: ["fd00::9"])
        assert urls_of(both, "::") == [f"http://[fd00::9]:{port}", f"http://[::1]:{port}"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "169.254.1.2", "fe80::1", "fe80::1%eth0", "0.0.0.0", "x"]
)
def test_addresses_that_no_phone_can_open_are_not_named(address: str) -> None:
    from closeup.web.run import _is_reachable

    assert not _is_reachable(address)
    assert _is_reachable("192.168.1.2")
    assert _is_reachable("fd00::2")


def test_only_a_terminal_gets_a_token_made_up_and_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(sharing, "say", shown.append)
    monkeypatch.setattr(sharing, "print_qr", lambda text, _: shown.append(f"QR {text}"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with pytest.raises(UsageError, match="--token"):
        sharing.open_access("serve", "0.0.0.0", "", ())
    piped = sharing.open_access("serve", "0.0.0.0", TOKEN, ())
    assert piped == make_access_policy("serve", "0.0.0.0", TOKEN)
    assert piped.key is None
    assert sharing.invite(piped, ["http://192.168.1.9:1", "http://127.0.0.1:1"]) == ""
    assert shown == ["also at http://127.0.0.1:1"]

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert sharing.open_access("serve", "127.0.0.1", "", ()).key is None
    assert sharing.open_access("serve", "0.0.0.0", TOKEN, ()).token == TOKEN
    proxied = sharing.open_access("serve", "0.0.0.0", TOKEN, ["shop.example"])
    assert proxied.key is None  # our own address would be refused
    with pytest.raises(UsageError, match="--token"):
        sharing.open_access("serve", "0.0.0.0", "", ["shop.example"])
    one, two = (sharing.open_access("serve", "0.0.0.0", "", ()) for _ in range(2))
    assert len(one.token) >= 43
    assert one.token != two.token
    assert one.key is not None
    shown.clear()
    link = sharing.invite(one, ["http://192.168.1.9:1"])
    assert shown[1:] == [f"QR {link}", link]
    assert "10 minutes" in shown[0]
    assert one.token not in " ".join(shown)
    assert one.key.redeem(link.partition("#")[2])
    assert "signed in" in shown[3]
    assert shown[4] == f"QR {shown[5]}"
    assert shown[5] != link


def test_a_phone_signs_in_by_the_link_and_the_address_forgets_it(
    browser: Browser, model: Model, photo: Path
) -> None:
    key = OneTimeKey()
    app = make_serve_app(model, replace(CONFIG, access=AccessPolicy("serve", TOKEN, key=key)))
    with running(app) as (url, _), opened(browser, url, PHONE) as page:
        asked: list[str] = []
        page.on("request", lambda one: asked.append(f"{one.url} {one.headers.get('referer', '')}"))
        link = key.renew()
        page.goto(f"{url}/login#{link}")
        expect(page.locator("#file")).to_have_count(1)
        expect(page).to_have_url(f"{url}/")
        page.wait_for_load_state()
        page.set_input_files("#file", photo)
        expect(page.locator(".answer .label")).not_to_be_empty()
        assert not any(link in one for one in asked)
        page.go_back()
        assert link not in page.url
        page.get_by_role("button", name="Sign out").click()
        page.goto("about:blank")
        page.goto(f"{url}/login#{link}")
        expect(page.get_by_role("alert")).to_contain_text("used before")
        is_accessible(page)
        assert fits(page)


@contextmanager
def at_a_terminal(*words: str) -> Iterator[io.TextIOWrapper]:
    """The command with its messages on a terminal, which is read from."""
    import pty

    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200", "CLOSEUP_TOKEN": ""}
    command = [sys.executable, "-m", "closeup", *words, "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        with io.TextIOWrapper(os.fdopen(ours, "rb", 0), "utf-8", errors="replace") as terminal:
            try:
                yield terminal
            finally:
                process.terminate()
                assert process.wait(30) == 0


def next_link(terminal: io.TextIOWrapper) -> re.Match[str]:
    lines = []
    for line in iter(terminal.readline, ""):
        lines.append(line)
        if found := re.fullmatch(r"http://[^/]+:(\d+)/login#(\S+)\s*", line):
            assert any("▀" in one for one in lines)
            return found
    raise AssertionError("".join(lines))


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_both_commands_show_a_link_that_works_once(folder: Path, reviewed: Path) -> None:
    import httpx2

    for words in (["serve", str(folder / "out" / "model")], ["review", str(reviewed)]):
        with at_a_terminal(*words) as terminal:
            found = next_link(terminal)
            url, form = f"http://127.0.0.1:{found[1]}", {"key": found[2]}
            assert httpx2.get(f"{url}/").status_code == 401
            with httpx2.Client(base_url=url) as phone:
                assert phone.post("/login", data=form).status_code == 303
                page = phone.get("/", headers={"accept": "text/html"}, follow_redirects=True)
                assert page.status_code == 200
            assert httpx2.post(f"{url}/login", data=form).status_code == 403
            following = next_link(terminal)
            assert following[2] != found[2]
            assert httpx2.post(f"{url}/login", data={"key": following[2]}).status_code == 303


@pytest.mark.parametrize(
    "given", ["apples", "//evil.example", "/a//b", "/../a", "/a b", "/a?b", "/ä"]
)
def test_a_wrong_root_path_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="--root-path"):
        checked_root(given)


def test_root_paths_have_one_form() -> None:
    assert [checked_root(one) for one in ("", "/", "/a", "/a/b/", " /a.b_c~d-1 ")] == [
        "", "", "/a", "/a/b", "/a.b_c~d-1"
    ]  # fmt: skip
