"""``closeup collect`` as people meet it, and a run on what it has collected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from closeup.collect import Address, Limits, collect
from closeup.collect.collecting import gather
from closeup.collect.record import LOG_FILE, read_collected
from closeup.collect.searches import Search, find
from closeup.core.errors import SourceError, SourcePaused, UsageError
from tests import commands, tiny
from tests.collect.farm import Farm, farm
from tests.collect.test_again import write_list
from tests.collect.test_farm import access

QUICK = ("--contact", "me@example.org", "--rate", "1000")


@pytest.fixture
def site() -> Iterator[Farm]:
    with farm() as running:
        yield running


def served(site: Farm, photos: Path, label: str = "") -> list[Address]:
    """The photos of a folder with one sub-folder per label, as addresses of this machine."""
    found = []
    for file in sorted(photos.rglob("*.*")):
        path = f"/{file.relative_to(photos).as_posix()}".replace(" ", "%20")
        site.answers[path] = file.read_bytes()
        url = f"http://127.0.0.1:{site.port}{path}"
        found.append(Address(url, label or file.parent.name, licence="CC BY 4.0", creator="Ann"))
    return found


def test_from_a_list_to_a_model(
    site: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    listed = served(site, tiny.make_photos(tmp_path / "original", per_label=12))
    listed.append(Address(f"http://127.0.0.1:{site.port}/status-404/1.jpg", "ash"))
    listing, photos = write_list(tmp_path / "list.csv", listed), tmp_path / "photos"
    done = commands.closeup("collect", listing, "--out", photos, *QUICK, "--allow-private")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "37 addresses: 36 saved, 0 duplicates, 0 refused, 1 failed\nasked for 37 now in "
    )
    assert "\n12     0          0        1       ash\n" in done.stdout
    assert "\n      1  the server answers 404 Not Found\n" in done.stdout
    assert f"Next: closeup run {photos} --out {photos}-closeup\n" in done.stderr
    ran = commands.closeup("run", photos, "--out", tmp_path / "project", "--json",
                           "--detector", "tiny-box", "--backbone", "tiny-pool",
                           "--parent", "thing")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["labels"] == {"ash": 12, "birch": 12, "cedar": 12}
    assert result["unreadable"] == 0


@pytest.mark.slow
def test_from_real_photos_to_a_model(
    site: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    listed = served(site, shared / "photos" / "apples")
    found = gather_all(listed, tmp_path / "photos")
    assert found == len(listed)
    rows = read_collected(tmp_path / "photos")
    assert {(row.licence, row.creator, row.type) for row in rows} == {
        ("CC BY 4.0", "Ann", "image/jpeg")
    }
    ran = commands.closeup("run", tmp_path / "photos", "--out", tmp_path / "project", "--json",
                           "--detector", "tiny-box", "--backbone", "tiny-pool",
                           "--parent", "thing")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    labels = json.loads(ran.stdout)["labels"]
    assert labels == dict(Counter(row.label for row in rows if row.status == "saved"))


def gather_all(listed: list[Address], folder: Path) -> int:
    """Collect from this machine; how many photos are there afterwards, copies included."""
    from closeup.collect import Limits

    found = collect(listed, folder, contact="me@example.org", allow_private=True,
                    limits=Limits(rate=1000))  # fmt: skip
    return found.saved + found.duplicate


def test_results_for_programs(site: Farm, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"http://127.0.0.1:{site.port}/photo/1.jpg\n")
    words = (
        "collect",
        tmp_path / "list.txt",
        "--out",
        tmp_path / "photos",
        "--label",
        "x",
        "--json",
    )
    refused = commands.closeup(*words, *QUICK)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["refused"] == 1
    again = commands.closeup(*words[:-1], *QUICK, "--allow-private")
    assert "--allow-private --retry refused" in again.stdout
    assert "nothing was asked for again; to try those again, add --retry refused\n" in again.stderr
    done = commands.closeup(*words, *QUICK, "--allow-private", "--retry", "refused,failed")
    assert done.returncode == 0
    assert json.loads(done.stdout)["saved"] == 1
    assert "collecting photos: " in done.stderr


def test_it_needs_a_contact_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOSEUP_CONTACT", raising=False)
    (tmp_path / "list.txt").write_text("http://a.test/1.jpg x\n")
    done = commands.closeup("collect", tmp_path / "list.txt", "--out", tmp_path / "photos")
    assert done.returncode == 2
    assert "--contact you@example.org), none is given; it is sent to every site" in done.stderr
    assert not (tmp_path / "photos").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_interrupted_it_stops_and_keeps_what_it_has(site: Farm, tmp_path: Path) -> None:
    urls = [*(site.url(f"/photo/{n}.jpg", f"h{n}.test") for n in range(5)),
            site.url("/silent/1.jpg", "a.test")]  # fmt: skip
    listing = write_list(tmp_path / "list.csv", [Address(url, "x") for url in urls])
    words = [sys.executable, "-m", "tests.collect.child", str(listing), str(tmp_path / "photos")]
    log, end = tmp_path / "photos" / LOG_FILE, time.monotonic() + 60
    with subprocess.Popen(words, stderr=subprocess.PIPE, env={**os.environ}) as child:
        while len(list((tmp_path / "photos" / "x").glob("[!.]*.jpg"))) < 5:
            assert time.monotonic() < end
            assert child.poll() is None
            time.sleep(0.005)
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)
    assert child.returncode != 0
    assert not log.exists()
    assert [row.status for row in read_collected(tmp_path / "photos")] == ["saved"] * 5


def test_interrupted_in_a_notebook_it_stops(
    site: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import Future

    listed = [
        Address(site.url("/photo/1.jpg"), "x"),
        Address(site.url("/silent/1.jpg", "b.test"), "x"),
    ]
    result = Future.result

    def interrupted(future: Future[None], timeout: float | None = None) -> None:
        if future.done():
            return result(future, timeout)
        end = time.monotonic() + 30
        while not list(tmp_path.rglob("*.jpg")) and time.monotonic() < end:
            time.sleep(0.005)
        raise KeyboardInterrupt

    async def notebook() -> None:
        monkeypatch.setattr(Future, "result", interrupted)
        try:
            gather(listed, tmp_path, access(replace(Limits(), rate=1000)))
        finally:
            monkeypatch.setattr(Future, "result", result)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(notebook())
    assert time.monotonic() - began < 15  # not the 20 seconds of silence
    assert [row.status for row in read_collected(tmp_path)] == ["saved"]


def test_it_works_where_a_loop_is_running(tmp_path: Path) -> None:

    async def notebook() -> int:
        return collect([Address("ftp://a.test/x", "x")], tmp_path, contact="a@b.org").failed

    assert asyncio.run(notebook()) == 1


WANTED = Search("openverse", "a  watch", "omega", 5)


def found(count: int, then: Exception | None = None, asked: list[dict[str, object]] | None = None):  # type: ignore[no-untyped-def]
    """A source that gives some addresses, then perhaps stops."""

    def ask(source: str, words: str, **more: object) -> Iterator[Address]:
        if asked is not None:
            asked.append({"source": source, "words": words, **more})
        for n in range(count):
            yield Address(f"http://a.test/{n}.jpg", "omega", licence="CC BY 4.0", title=f"{n} é\n")
        if then is not None:
            raise then

    return ask


def test_a_search_is_kept_as_a_list_and_asked_once(tmp_path: Path) -> None:
    asked: list[dict[str, object]] = []
    said: list[str] = []
    first = find(WANTED, tmp_path, "a@b.org", ask=found(4, asked=asked))
    again = find(WANTED, tmp_path, "a@b.org", ask=found(9, asked=asked), say=said.append)
    assert [one.url for one in first] == [one.url for one in again]
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("found-openverse-")
    assert said == [f"4 addresses were found before; delete {file} to search again"]
    assert asked[0]["count"] == 5
    other = find(replace(WANTED, count=6), tmp_path, "a@b.org", ask=found(6))
    assert len(other) == 6


def test_a_search_that_is_paused_gives_what_it_has_and_goes_on_later(tmp_path: Path) -> None:
    said: list[str] = []
    paused = SourcePaused("come back tomorrow", 0.0)
    assert len(find(WANTED, tmp_path, "a@b.org", ask=found(2, paused), say=said.append)) == 2
    assert said[0] == "come back tomorrow"
    assert [path.name[:7] for path in tmp_path.iterdir()] == [".found-"]
    assert len(find(WANTED, tmp_path, "a@b.org", ask=found(5))) == 5
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["found-"]


def test_a_search_that_was_interrupted_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        find(WANTED, tmp_path, "a@b.org", ask=found(3, KeyboardInterrupt()))  # type: ignore[arg-type]
    assert len(find(WANTED, tmp_path, "a@b.org", ask=found(1, SourceError("no")))) == 3


def test_a_search_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="finds nothing for 'a  watch'"):
        find(WANTED, tmp_path, "a@b.org", ask=found(0))
    with pytest.raises(SourceError, match="broken"):
        find(WANTED, tmp_path, "a@b.org", ask=found(0, SourceError("broken")))
    with pytest.raises(UsageError, match="--from needs --label"):
        find(replace(WANTED, label=""), tmp_path, "a@b.org", ask=found(1))
    assert not list(tmp_path.iterdir())


def test_a_search_by_the_command_line(
    site: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def ask(source: str, words: str, **more: object) -> Iterator[Address]:
        assert (source, words, more["licences"]) == ("commons", "a watch", ("cc0", "by"))
        yield Address(
            f"http://127.0.0.1:{site.port}/photo/1.jpg", str(more["label"]), licence="CC0"
        )

    monkeypatch.setattr("closeup.collect.searches.search", ask)
    done = commands.closeup("collect", "--from", "commons", "a watch", "--label", "omega",
                            "--licence", "cc0,by", "--out", tmp_path, *QUICK,
                            "--allow-private")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 address found\n" in done.stderr
    assert "      1  CC0\n" in done.stdout
    (row,) = read_collected(tmp_path)
    assert (row.label, row.licence, row.status) == ("omega", "CC0", "saved")


def test_the_farm_is_private_to_everybody_else(site: Farm, tmp_path: Path) -> None:
    assert access().allowed("127.0.0.1")
    found = collect([Address(f"http://127.0.0.1:{site.port}/photo/1.jpg", "x")], tmp_path,
                    contact="a@b.org")  # fmt: skip
    assert found.refused == 1
    assert not site.asked.requests
