"""Each source, played from answers made by hand from its documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from closeup.collect.address import Address
from closeup.collect.sources import SOURCES, search
from closeup.core.errors import SourceError, UsageError
from closeup.photos.licences import CODES, read_licence
from tests.collect.sources.service import Clock, Server, playing, recorded

WORDS = {
    "openverse": "speedmaster watch",
    "commons": "speedmaster  watch ",
    "inaturalist": "honey bee",
    "gbif": "Apis mellifera",
}
CC = "https://creativecommons.org/"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOSEUP_OPENVERSE_TOKEN", raising=False)


def searched(
    server: Server, source: str, words: str = "", count: int = 200, **more: object
) -> list[Address]:
    return list(asking(server, source, words, count, **more))


def asking(
    server: Server, source: str, words: str = "", count: int = 200, **more: object
) -> Iterator[Address]:
    return search(
        source,
        words or WORDS[source],
        label="omega",
        count=count,
        contact="jo@example.org",
        base=server.base,
        clock=server.clock,
        sleep=server.clock.sleep,
        chance=lambda: 0.5,
        **more,  # type: ignore[arg-type]
    )


def test_openverse_gives_what_may_be_used_with_its_own_attribution() -> None:
    left_out = Counter[str]()
    with playing(recorded("openverse")) as server:
        found = searched(server, "openverse", left_out=left_out)
    assert [photo.url for photo in found] == [
        "https://live.staticflickr.com/65535/1_b.jpg",
        "https://live.staticflickr.com/65535/2_b.jpg",
        "https://live.staticflickr.com/65535/3_b.jpg",
        "https://live.staticflickr.com/65535/6_b.jpg",
        "https://museum.example/9.jpg",
    ]
    assert found[0] == Address(
        url="https://live.staticflickr.com/65535/1_b.jpg",
        label="omega",
        licence="CC BY 2.0",
        licence_url=f"{CC}licenses/by/2.0/",
        creator="Jo Berg",
        landing_page="https://www.flickr.com/photos/jo/1",
        title="Speedmaster 1",
        attribution='"Speedmaster 1" by Jo Berg is licensed under CC BY 2.0. To view a copy of '
        f"this license, visit {CC}licenses/by/2.0/.",
        source="openverse",
    )
    sa4 = f"{CC}licenses/by-sa/4.0/"
    assert found[1].attribution == f"Photo by Ana Lima, CC BY-SA 4.0 ({sa4}), via Openverse"
    assert found[4].licence == "CC BY"
    assert left_out == {
        "under by-nc": 1,
        "not a photo": 1,
        "found twice": 1,
        "no address": 1,
        "too small": 1,
        "no known licence": 1,
    }
    assert len(server.asked) == 2


def test_commons_gives_text_for_html_a_served_width_and_nothing_that_is_not_free() -> None:
    left_out = Counter[str]()
    with playing(recorded("commons")) as server:
        found = searched(server, "commons", left_out=left_out)
    files = "https://upload.wikimedia.org/wikipedia/commons"
    assert [(photo.url, photo.licence, photo.creator) for photo in found] == [
        (f"{files}/thumb/a/ab/Watch_11.jpg/1280px-Watch_11.jpg", "CC BY-SA 4.0", "Jo & Ana"),
        (f"{files}/thumb/a/ab/Watch_12.jpg/1280px-Watch_12.jpg", "Public domain", "NASA"),
        (f"{files}/a/ab/Watch_13.jpg", "CC BY 3.0", "M. Roy"),
        (f"{files}/thumb/a/ab/Watch_21.jpg/1280px-Watch_21.jpg", "CC0 1.0", "Own work"),
    ]
    assert [photo.attribution for photo in found] == [
        f"Jo & Ana, CC BY-SA 4.0 <{CC}licenses/by-sa/4.0/>, via Wikimedia Commons",
        "NASA, Public domain, via Wikimedia Commons",
        "Please credit M. Roy, example.org, CC BY 3.0 "
        f"<{CC}licenses/by/3.0/>, via Wikimedia Commons",
        f"Own work, CC0 1.0 <{CC}publicdomain/zero/1.0/>, via Wikimedia Commons",
    ]
    assert found[0].title == "Watch on a table"
    assert found[1].title == "Watch 12"
    assert found[0].landing_page == "https://commons.wikimedia.org/wiki/File:Watch_11.jpg"
    assert left_out == {
        "not free": 2,  # one of them says so beside a free licence
        "not a photo": 2,
        "no known licence": 3,  # one names two licences that contradict each other
        "under gfdl": 1,
    }


def test_inaturalist_groups_the_photos_of_an_observation_and_checks_each_licence() -> None:
    left_out = Counter[str]()
    with playing(recorded("inaturalist")) as server:
        found = searched(server, "inaturalist", left_out=left_out)
    bucket = "https://inaturalist-open-data.s3.amazonaws.com/photos"
    assert [(photo.url, photo.group, photo.licence) for photo in found] == [
        (f"{bucket}/1/large.jpg", "inaturalist:101", "CC BY 4.0"),
        (f"{bucket}/2/large.jpg", "inaturalist:101", "CC BY 4.0"),
        (f"{bucket}/4/large.jpg", "inaturalist:105", "CC0 1.0"),
        (f"{bucket}/7/large.jpg", "inaturalist:110", "CC BY-SA 4.0"),
        (f"{bucket}/8/large.jpeg", "inaturalist:115", "CC BY 4.0"),
    ]
    assert [photo.creator for photo in found] == ["Jo Berg", "Jo Berg", "Ana Lima", "Marco", ""]
    assert found[0].attribution == "(c) Jo Berg, some rights reserved (CC BY), via iNaturalist"
    assert found[0].landing_page == "https://www.inaturalist.org/photos/1"
    assert found[0].title == "Apis mellifera"
    assert left_out == {
        "under by-nc": 1,
        "no known licence": 1,
        "not free": 1,
        "found twice": 1,
        "no address": 1,
    }
    assert [request.params["id_above"] for request in server.asked] == ["0", "105", "115"]


def test_gbif_goes_by_the_photos_licence_and_never_by_its_records() -> None:
    left_out = Counter[str]()
    with playing(recorded("gbif")) as server:
        found = searched(server, "gbif", left_out=left_out)
    bucket = "https://inaturalist-open-data.s3.amazonaws.com/photos"
    assert [(photo.url, photo.group, photo.licence) for photo in found] == [
        # Its record is CC0; the next photo of it is CC BY-NC, and the third has no licence.
        (f"{bucket}/1/large.jpg", "gbif:2005380410", "CC BY 4.0"),
        (f"{bucket}/4/large.jpg", "gbif:2005380411", "CC0 1.0"),
        ("https://museum.example/a/original.jpg", "gbif:2005380412", "CC BY-SA 4.0"),
    ]
    assert found[0].attribution == (
        f"Jo Berg, CC BY 4.0, {CC}licenses/by/4.0/, iNaturalist, via GBIF, "
        "https://www.gbif.org/occurrence/2005380410"
    )
    assert found[2].landing_page == "https://www.gbif.org/occurrence/2005380412"
    assert left_out == {
        "under by-nc": 1,
        "no known licence": 1,
        "no address": 1,
        "under all-rights-reserved": 1,
        "not a photo": 1,
    }
    assert [request.params.get("offset") for request in server.asked] == [None, "0", "300"]


def test_gbif_searches_for_no_words_that_name_no_taxon() -> None:
    with playing(recorded("gbif")) as server:
        for words in ("speedmaster watch", "Apis nonsense"):
            with pytest.raises(UsageError, match=f"no species, genus or family '{words}'"):
                searched(server, "gbif", words)
    assert {request.path for request in server.asked} == {"/v1/species/match"}


@pytest.mark.parametrize("source", ["openverse", "commons", "inaturalist"])
def test_no_results_are_no_error(source: str) -> None:
    with playing(recorded(source)) as server:
        assert searched(server, source, "nothing at all") == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_says_who_asks_and_asks_one_thing_at_a_time(source: str) -> None:
    with playing(recorded(source)) as server:
        found = searched(server, source)
    assert server.most_at_once == 1
    for request in server.asked:
        assert request.headers["User-Agent"].startswith("closeup/")
        assert request.headers["User-Agent"].endswith(" (jo@example.org)")
        assert "Cookie" not in request.headers
        assert "Authorization" not in request.headers
    assert {(photo.label, photo.source) for photo in found} == {("omega", source)}
    for photo in found:
        assert read_licence(photo.licence, photo.licence_url).code in CODES
        assert photo.attribution


@pytest.mark.parametrize("source", SOURCES)
def test_enough_in_the_middle_of_a_page_asks_for_no_further_one(source: str) -> None:
    with playing(recorded(source)) as server:
        everything = searched(server, source)
        pages = len(server.asked)
        server.asked.clear()
        assert searched(server, source, count=2) == everything[:2]
    assert len(server.asked) < pages


@pytest.mark.parametrize("source", SOURCES)
def test_a_page_is_asked_for_when_its_photos_are(source: str) -> None:
    with playing(recorded(source)) as server:
        found = asking(server, source)
        assert not server.asked
        next(found)
        first = len(server.asked)
        assert first == (2 if source == "gbif" else 1)
        found.close()  # type: ignore[attr-defined]
    assert len(server.asked) == first


@pytest.mark.parametrize("source", SOURCES)
def test_only_the_licences_asked_for(source: str) -> None:
    with playing(recorded(source)) as server:
        everything = searched(server, source)
        server.asked.clear()
        answered_all = recorded(source)

    def careless(request: object, before: int) -> object:
        """A service that gives everything, whatever licences it is asked for."""
        params = dict(request.params)  # type: ignore[attr-defined]
        params |= {"license": "by,by-sa,cc0,pdm"} if source == "openverse" else {}
        params |= {"photo_license": "cc-by,cc-by-sa,cc0"} if source == "inaturalist" else {}
        return answered_all(type(request)(0, request.path, params, {}), before)  # type: ignore

    with playing(careless) as server:  # type: ignore[arg-type]
        free = searched(server, source, licences=("cc0",))
    assert free == [photo for photo in everything if photo.licence.startswith("CC0")]
    assert free


def test_openverse_is_sent_its_token_and_then_allows_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_OPENVERSE_TOKEN", "secret-of-jo")
    with playing(recorded("openverse")) as server:
        began = server.clock.now
        searched(server, "openverse")
    assert {request.headers["Authorization"] for request in server.asked} == {"Bearer secret-of-jo"}
    assert server.clock.now - began == pytest.approx(0.6)


def test_wrong_arguments_are_refused_before_anything_is_asked() -> None:
    with playing(recorded("openverse")) as server:
        for source, more, message in (
            ("flickr", {}, "no source 'flickr'; choose from openverse, commons"),
            ("openverse", {"words": " "}, "words to search for"),
            ("openverse", {"words": "x", "count": 0}, "at least 1"),
            ("openverse", {"words": "x", "licences": ("gfdl",)}, "choose from cc0"),
            ("openverse", {"words": "x", "folder": Path()}, "only iNaturalist"),
        ):
            with pytest.raises(UsageError, match=message):
                asking(server, source, **({"words": "x"} | more))  # type: ignore[arg-type]
        for contact in ("", "jo", "jo@exämple.org", "jo@example.org\nX: y", "a" * 300 + "@b.c"):
            with pytest.raises(UsageError, match="contact: expected a mail or web address"):
                search("openverse", "x", label="a", count=1, contact=contact)
        with pytest.raises(UsageError, match="no photos under pdm"):
            searched(server, "inaturalist", licences=("pdm",))
        assert not server.asked


def test_a_service_that_knows_no_such_page_refuses() -> None:
    with (
        playing(recorded("openverse"), Clock()) as server,
        pytest.raises(SourceError, match="Openverse refuses: 404 not recorded"),
    ):
        searched(server, "openverse", "unheard of")
    assert len(server.asked) == 1
