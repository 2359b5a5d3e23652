"""A service is asked at its pace, again where that helps, and left alone where it says so."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from itertools import count as counting
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closeup.collect.address import Address
from closeup.collect.sources import SOURCES, commons, gbif, inaturalist, openverse, search
from closeup.collect.sources import asking as asking_module
from closeup.collect.sources.asking import ATTEMPTS, Asker, Service
from closeup.collect.sources.found import Found
from closeup.collect.sources.searching import wanted
from closeup.core.errors import SourceError, SourcePaused
from tests.collect.sources.service import Answer, Clock, Play, Request, Server, playing

DAY = 86_400


@contextmanager
def asker(play: Play, **more: object) -> Iterator[tuple[Asker, Server]]:
    limits = {"per_minute": 20, "per_day": 200, "later": ("maxlag",)} | more
    with playing(play) as server:
        service = Service("Openverse", server.base, **limits)  # type: ignore[arg-type]
        clock = server.clock
        with Asker(
            service, "jo@example.org", clock=clock, sleep=clock.sleep, chance=lambda: 0.5
        ) as one:
            yield one, server


def fine(_: Request, before: int) -> Answer:
    return Answer({"number": before})


def then_fine(*answers: Answer) -> Play:
    """These answers first, then good ones."""

    def play(request: Request, before: int) -> Answer:
        return answers[before] if before < len(answers) else fine(request, before)

    return play


def times(server: Server) -> list[float]:
    return [request.at - server.asked[0].at for request in server.asked]


def test_requests_keep_to_the_minute_and_the_day() -> None:
    with asker(fine) as (one, server):
        for _ in range(200):
            one.ask("/", {})
        assert server.most_within(60) == 20
        assert times(server)[-1] == pytest.approx(199 * 3)
        with pytest.raises(
            SourcePaused, match=r"was asked 200 times, enough for a day; run .* again after \d{4}-"
        ) as paused:
            one.ask("/", {})
        assert paused.value.until == pytest.approx(server.asked[0].at + DAY)
        server.clock.now = paused.value.until
        one.ask("/", {})
        assert len(server.asked) == 201
        assert server.most_within(DAY) == 200


def test_repeated_requests_count_as_well() -> None:
    with asker(lambda _, before: Answer(status=503), per_day=3) as (one, server):
        with pytest.raises(SourcePaused, match="was asked 3 times, enough for a day"):
            one.ask("/", {})
        assert len(server.asked) == 3


def test_a_service_is_waited_for_as_long_as_it_asks() -> None:
    date = Answer(status=429, headers={"Retry-After": formatdate(Clock().now + 100)})
    with asker(then_fine(Answer(status=429, headers={"Retry-After": "40"}), date)) as (one, server):
        assert one.ask("/", {}) == {"number": 2}
        assert times(server) == pytest.approx([0, 40, 100])


@pytest.mark.parametrize("header", ["soon", "", "-5", "1e3", "Thu, 99 Foo 2026", "9" * 400])
def test_a_wait_that_says_nothing_is_none(header: str) -> None:
    with asker(then_fine(Answer(status=503, headers={"Retry-After": header}))) as (one, server):
        assert one.ask("/", {}) == {"number": 1}
        assert times(server) == pytest.approx([0, 3])


@pytest.mark.parametrize("status", [429, 503])
def test_a_long_wait_ends_the_run_and_says_when_to_go_on(status: int) -> None:
    busy = Answer(status=status, headers={"Retry-After": "40000"})
    with asker(then_fine(busy)) as (one, server):
        with pytest.raises(SourcePaused, match="Openverse asks to be left alone; run the same"):
            one.ask("/", {})
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=500),
        Answer(status=502, headers={"Content-Type": "text/html"}),
        Answer(b"<html>busy</html>"),
        Answer(b'{"results": ['),
        Answer(b"\xff\xfe"),
        Answer(b"[" * 100_000),
        Answer([1, 2]),
        Answer(b""),
        Answer(b"not gzip", headers={"Content-Encoding": "gzip"}),
        Answer(
            {"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged", "lag": 7}}
        ),
    ],
    ids=lambda answer: f"{answer.status}-{answer.content[:12]!r}",
)
def test_trouble_that_may_pass_is_tried_again_ever_later(answer: Answer) -> None:
    with asker(then_fine(answer, answer, answer), per_minute=600) as (one, server):
        assert one.ask("/", {}) == {"number": 3}
        assert times(server) == pytest.approx([0, 2, 6, 14])
        server.asked.clear()
    with asker(lambda *_: answer) as (one, server):
        with pytest.raises(
            SourceError, match=r"^Openverse: .*, 5 times; try again later$"
        ) as failed:
            one.ask("/", {})
        assert not isinstance(failed.value, SourcePaused)
        assert len(server.asked) == ATTEMPTS


def test_the_lag_of_a_database_is_waited_for() -> None:
    lagged = {"error": {"code": "maxlag", "info": "Waiting", "lag": 7.5}}
    with asker(then_fine(Answer(lagged, headers={"Retry-After": "5"}))) as (one, server):
        assert one.ask("/", {}) == {"number": 1}
        assert times(server) == pytest.approx([0, 5])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer({"detail": "page_size may not exceed 20"}, 401), "refuses: 401 page_size may not"),
        (Answer({"error": "Unprocessable", "status": 422}, 422), "refuses: 422 Unprocessable"),
        (Answer(b"<html>", 403), "refuses: 403$"),
        (
            Answer({"error": {"code": "badvalue", "info": "Odd\nvalue \x1b[31m"}}),
            r"Odd value \\x1b",
        ),
        (Answer(b" " * (32 * 2**20 + 1)), "too large"),
    ],
    ids=["detail", "error", "none", "mediawiki", "large"],
)
def test_a_refusal_is_final(answer: Answer, said: str) -> None:
    with asker(lambda *_: answer) as (one, server):
        with pytest.raises(SourceError, match=said):
            one.ask("/", {})
        assert len(server.asked) == 1


def test_an_answer_that_unpacks_to_too_much_is_refused() -> None:
    bomb = Answer(gzip.compress(b" " * (40 * 2**20)), headers={"Content-Encoding": "gzip"})
    with asker(lambda *_: bomb) as (one, _), pytest.raises(SourceError, match="too large"):
        one.ask("/", {})


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with asker(fine) as (one, server):
        ticks = counting(step=130.0)
        monkeypatch.setattr(one, "_clock", lambda: next(ticks))
        with pytest.raises(SourceError, match="takes too long, 5 times"):
            one.ask("/", {})
        assert len(server.asked) == ATTEMPTS


def test_a_service_that_is_not_there_fails_in_a_sentence() -> None:
    with asker(fine) as (one, server):
        pass
    gone = replace(one.service, base=server.base)
    clock = Clock()
    with (
        Asker(gone, "jo@example.org", clock=clock, sleep=clock.sleep) as another,
        pytest.raises(SourceError, match=r"Openverse: no answer .*, 5 times; try again later"),
    ):
        another.ask("/", {})
    for base in ("ftp://127.0.0.1", "http://[", "nonsense"):
        with (
            Asker(replace(gone, base=base), "jo@example.org", sleep=clock.sleep) as another,
            pytest.raises(SourceError, match="Openverse"),
        ):
            another.ask("/", {})


def test_redirects_are_followed_a_few_times_and_no_token_goes_elsewhere() -> None:
    with playing(fine) as other:

        def moved(request: Request, _: int) -> Answer:
            onwards = {"/moved": f"{other.base}/new", "/loop": "/loop"}[request.path]
            return Answer(status=302, headers={"Location": onwards, "Set-Cookie": "a=b"})

        with asker(moved, token="secret") as (one, server):
            assert one.ask("/moved", {}) == {"number": 0}
            with pytest.raises(SourceError, match="redirects"):
                one.ask("/loop", {})
            assert all(request.headers["Authorization"] for request in server.asked)
            assert all("Cookie" not in request.headers for request in server.asked)
        assert "secret" not in repr(one.service)
    assert "Authorization" not in other.asked[0].headers


def test_neither_a_proxy_nor_a_password_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login jo password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with playing(lambda *_: Answer(status=500)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base)
        with asker(fine) as (one, server):
            assert one.ask("/", {}) == {"number": 0}
    assert "Authorization" not in server.asked[0].headers
    assert not proxy.asked


MODULES = {
    "openverse": openverse,
    "commons": commons,
    "inaturalist": inaturalist,
    "gbif": gbif,
}
# What each service asks for, by its documentation: requests a minute and a day.
DOCUMENTED = {
    "openverse": (20, 200),
    "commons": (60, 10_000),
    "inaturalist": (60, 9_999),
    "gbif": (60, 10_000),
}


def endless(source: str) -> Play:
    """A service that always has one more page, of photos that nobody may use."""

    def play(request: Request, before: int) -> Answer:
        if source == "openverse":
            return Answer({"page_count": 500, "results": [{"url": "https://x.example/1.jpg"}]})
        if source == "commons":
            return Answer({"continue": {"gsroffset": before + 1}, "query": {"pages": []}})
        if source == "inaturalist":
            return Answer({"results": [{"id": before + 1, "photos": [{}]}]})
        if "species" in request.path:
            return Answer({"usageKey": 1, "matchType": "EXACT"})
        return Answer({"endOfRecords": False, "results": [{"key": before, "media": [{}]}]})

    return play


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_stops_within_its_limits(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(openverse.TOKEN, raising=False)
    module = MODULES[source]
    per_minute, per_day = DOCUMENTED[source]
    service = module.service()
    assert service.per_minute <= per_minute
    assert service.per_day <= per_day
    monkeypatch.setattr(module, "service", lambda: replace(service, per_day=90))
    with playing(endless(source)) as server:
        clock = server.clock
        found = search(
            source,
            "x",
            label="a",
            count=10,
            contact="jo@example.org",
            base=server.base,
            clock=clock,
            sleep=clock.sleep,
        )
        if source in ("commons", "inaturalist"):
            with pytest.raises(SourcePaused, match="was asked 90 times, enough for a day; run"):
                list(found)
            assert len(server.asked) == 90
        else:
            assert list(found) == []
            # 20 pages of Openverse; a name, and 9,900 records of GBIF.
            assert len(server.asked) == {"openverse": 20, "gbif": 34}[source]
        assert server.most_within(60) <= per_minute
        assert server.most_at_once == 1
    if source == "gbif":
        assert max(int(request.params.get("offset", 0)) for request in server.asked) == 9_600


def test_a_search_that_is_stopped_keeps_what_came_before() -> None:
    page = {"page_count": 3, "results": [{"url": "https://x.example/1.jpg", "license": "by"}]}
    busy = Answer({"detail": "throttled"}, 429, {"Retry-After": "50000"})
    with playing(lambda _, before: Answer(page) if not before else busy) as server:
        found = search(
            "openverse",
            "x",
            label="a",
            count=9,
            contact="jo@example.org",
            base=server.base,
            clock=server.clock,
            sleep=server.clock.sleep,
        )
        assert next(found).url == "https://x.example/1.jpg"
        with pytest.raises(SourcePaused) as paused:
            next(found)
    assert paused.value.until == pytest.approx(server.clock.now + 50_000)


def test_ctrl_c_while_waiting_ends_at_once_and_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    closed = threading.Event()
    close = asking_module.httpx2.Client.close
    monkeypatch.setattr(
        asking_module.httpx2.Client, "close", lambda self: (close(self), closed.set())
    )
    with playing(endless("inaturalist")) as server:
        found = search(
            "inaturalist",
            "x",
            label="a",
            count=9,
            contact="jo@example.org",
            base=server.base,
            clock=server.clock,
            sleep=interrupted,
        )
        with pytest.raises(KeyboardInterrupt):
            next(found)
        assert closed.is_set()
        assert len(server.asked) == 1


class Told:
    """In an asker's place: answers given beforehand, then empty ones."""

    def __init__(self, documents: list[dict[str, object]]) -> None:
        self.documents = iter(documents)

    def ask(self, *_: object) -> dict[str, object]:
        return next(self.documents, {})


FIELDS = (
    "results page_count query pages continue imageinfo extmetadata Artist value LicenseUrl License "
    "photos id url license_code attribution original_dimensions width user media type license key "
    "identifier usageKey matchType endOfRecords gsroffset index title mime filetype"
)
KEYS = st.sampled_from(FIELDS.split())
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
URLS = st.sampled_from(
    ["https://x.example/1.jpg", "http://[", "https://[::1", "//x", "https://a b"]
)
JSON = st.recursive(
    LEAVES
    | URLS
    | st.sampled_from(["EXACT", "StillImage", "by", "CC BY 4.0", "<b style='display:none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=40, deadline=None)
@given(documents=st.lists(st.dictionaries(KEYS, JSON, max_size=8), max_size=3))
def test_answers_of_any_shape_are_read(source: str, documents: list[dict[str, object]]) -> None:
    module = MODULES[source]
    told = Told([{"usageKey": 1, "matchType": "EXACT"}, *documents])
    found: Generator[Found, None, None] = module.find(told, "x", ("by",))
    for photo in wanted(found, 9, ("by",), Address("", "a"), "x", Counter()):
        assert photo.url.startswith(("http://", "https://"))
        assert photo.licence.startswith("CC BY")
