"""The examples of RFC 9309, and what sites write instead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closeup.collect.robots import forbidden_by, parse

SIMPLE = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


def test_a_group_that_names_us_often_has_its_rules_once() -> None:
    rules = parse("User-agent: closeup\nUser-agent: x\n" * 9 + "Disallow: /a\nDisallow: /b\n").rules
    assert [rule.pattern for rule in rules] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("other", "/publications/x", True), ("other", "/a/b.gif", False),
        ("other", "/example/", False),
        ("other", "/b.gif?x", True), ("foobot", "/", False), ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True), ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False), ("bazbot", "/a.gif", True),
        ("quxbot", "/x.gif", True),
        ("foobot", "/robots.txt", True),
    ],
)  # fmt: skip
def test_the_simple_example(agent: str, path: str, allowed: bool) -> None:
    assert parse(SIMPLE, agent).allows(path) is allowed


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Allow: /example/page/\nDisallow: /example/page/disallowed.gif", "/example/page/", True),
        ("Allow: /example/page/\nDisallow: /example/page/disallowed.gif",
         "/example/page/disallowed.gif", False),
        ("Disallow: /x\nAllow: /x", "/x", True),
        ("Disallow:", "/x", True),
        ("Disallow: /foo/bar?baz=https://foo.bar", "/foo/bar?baz=https://foo.bar", False),
        ("Disallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", False),
        ("Disallow: /foo/bar/%E3%83%84", "/foo/bar/%e3%83%84", False),
        ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", False),
        ("Disallow: /path/file-with-a-%2A.html", "/path/file-with-a-*.html", False),
        ("Disallow: /path/foo-%24", "/path/foo-$", False),
        ("Disallow: /a*b*c$", "/a-b-b-c", False), ("Disallow: /a*b*c$", "/a-b-c-d", True),
        ("Disallow: /a$b", "/a$b/c", False), ("Disallow: /aa*aa$", "/aaa", True),
        ("disallow : /x # no\r\nDISALLOW:/y", "/y", False), ("Disallow: /X", "/x", True),
        ("Sitemap: https://x\nDisallow: /x", "/x", False),
        ("Crawl-delay: 3\nDisallow: /x", "/x", False),
    ],
)  # fmt: skip
def test_rules(rules: str, path: str, allowed: bool) -> None:
    assert parse(f"User-agent: *\n{rules}").allows(path) is allowed


def test_groups_of_one_agent_are_joined_and_the_own_one_counts_alone() -> None:
    text = ("User-agent: CloseUp/1.0\nDisallow: /a\nUser-agent: *\nDisallow: /\n"
            "User-agent: other\nUser-agent: closeup\nDisallow: /b\nCrawl-delay: 2.5")  # fmt: skip
    rules = parse(text)
    assert [rules.allows(path) for path in ("/a", "/b", "/c")] == [False, False, True]
    assert rules.delay == 2.5
    assert parse("User-agent: closeup-other\nDisallow: /").allows("/")
    assert parse("Disallow: /").allows("/")
    assert parse("<html>\n<body>User-agent: x").allows("/x")


def test_a_pattern_cannot_make_it_search_for_long() -> None:
    rules = parse("User-agent: *\nDisallow: /" + "a*" * 5000 + "b")
    began = time.monotonic()
    assert rules.allows("/" + "a" * 20_000)
    assert time.monotonic() - began < 2


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text())
def test_nothing_breaks_it(text: str, path: str) -> None:
    parse(text).allows("/" + path)
    parse(f"User-agent: *\nDisallow: /{text}").allows("/" + path)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["noai"], "noai"), (["NoAI, nofollow"], "noai"), (["nofollow", "noimageai"], "noimageai"),
        (["otherbot: noai"], ""), (["otherbot: nofollow, noai"], ""), (["*: none"], "none"),
        (["otherbot: noai, closeup: noindex"], "noindex"), (["all"], ""),
        (["noimageindex"], "noimageindex"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["max-snippet:-1, none"], "none"),
        (["googlebot: max-snippet:1, noai"], ""), ([], ""),
    ],
)  # fmt: skip
def test_the_header(values: list[str], found: str) -> None:
    assert forbidden_by([(b"X-Robots-Tag", value.encode()) for value in values]) == found


def test_reserved_rights() -> None:
    assert forbidden_by([(b"tdm-reservation", b" 1 ")]) == "tdm-reservation"
    assert forbidden_by([(b"TDM-Reservation", b"0")]) == ""


def test_the_guide_names_what_is_respected() -> None:
    page = Path(__file__).parents[2] / "docs" / "collect.md"
    text = page.read_text(encoding="utf8")
    for word in ("noai", "noimageai", "noindex", "noimageindex", "none", "TDM-Reservation"):
        assert f"`{word}" in text
