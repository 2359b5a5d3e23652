"""Two thousand addresses and every kind of trouble: each is a row, and sites are left in peace."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from closeup.collect.address import Address
from closeup.collect.collecting import Access, gather
from closeup.collect.limits import Limits
from closeup.collect.record import LOG_FILE, Collected, Status, read_collected
from closeup.core.project import file_hash
from tests.collect.farm import LARGEST, Farm, allowed, farm, resolve

QUICK = Limits(
    jobs=32, per_host=3, rate=1000, connect=5, read=1.5, total=3, max_bytes=LARGEST,
    max_pixels=1_000_000, attempts=2, backoff=0.05, longest_wait=20,
)  # fmt: skip
SAVED, DUPLICATE, FAILED, REFUSED = Status
PRIVATE = "this leads to a private address"
FORBIDS = "the site forbids this use of the photo"

TROUBLE = {
    "flaky": (SAVED, ""), "busy": (SAVED, ""), "busy-date": (SAVED, ""), "slow": (SAVED, ""),
    "redirect": (SAVED, ""), "elsewhere": (SAVED, ""), "gzip": (SAVED, ""), "png": (SAVED, ""),
    "chunked": (SAVED, ""), "cookie": (SAVED, ""), "otherbot": (SAVED, ""),
    "forbidden/but-not-this": (SAVED, ""),
    "status-204": (FAILED, "the server answers 204"),
    "status-206": (FAILED, "the server answers 206"),
    "status-403": (FAILED, "the server answers 403 Forbidden"),
    "status-404": (FAILED, "the server answers 404 Not Found"),
    "status-410": (FAILED, "the server answers 410"),
    "status-418": (FAILED, "the server answers 418"),
    "status-500": (FAILED, "the server answers 500"),
    "html": (FAILED, "this is a web page, not a photo"), "xhtml": (FAILED, "this is a web page"),
    "svg": (FAILED, "this is an SVG drawing"), "zip": (FAILED, "this is a ZIP archive"),
    "pdf": (FAILED, "this is a PDF document"), "json": (FAILED, "this is a text document"),
    "text": (FAILED, "this is not a picture"), "noise": (FAILED, "this is not a picture"),
    "empty": (FAILED, "the file is empty"), "ico": (FAILED, "this is a picture of a kind"),
    "half-a-jpeg": (FAILED, "the end of the picture is missing"),
    "pixel-bomb": (FAILED, ""), "large": (FAILED, "larger than 0.1 MB"),
    "endless": (FAILED, "larger than 0.1 MB"), "lying-length": (FAILED, "larger than 0.1 MB"),
    "gzip-bomb": (FAILED, "larger than 0.1 MB"),
    "gzip-broken": (FAILED, "the server's compressed answer is broken"),
    "br": (FAILED, "the server sends an encoding"),
    "silent": (FAILED, "nothing more came for"), "drip": (FAILED, "not complete after 3 s"),
    "informational": (FAILED, "not complete after 3 s"),
    "truncated": (FAILED, "the answer ended too early"),
    "too-short": (FAILED, "the end of the picture is missing"),
    "reset": (FAILED, "the "), "hang-up": (FAILED, "the server's answer is not proper HTTP"),
    "garbage": (FAILED, "the server's answer is not proper HTTP"),
    "header-flood": (FAILED, "the server's answer is not proper HTTP"),
    "broken-chunks": (FAILED, "the server's answer is not proper HTTP"),
    "loop": (FAILED, "redirects that lead in a circle"), "chain": (FAILED, "more than 5 redirects"),
    "to-file": (FAILED, "only http and https"), "to-data": (FAILED, "only http and https"),
    "to-script": (FAILED, "only http and https"), "to-mapped": (REFUSED, PRIVATE),
    "to-port": (FAILED, "this is no valid web address"), "to-umlaut": (SAVED, ""),
    "to-nowhere": (FAILED, "a redirect that leads nowhere"),
    "to-nonsense": (FAILED, ""),
    "to-private": (REFUSED, PRIVATE), "to-metadata": (REFUSED, PRIVATE),
    "to-localhost": (REFUSED, PRIVATE),
    "to-user": (REFUSED, "the address holds a name or password"),
    "to-forbidden": (REFUSED, "robots.txt forbids it"),
    "to-closed": (REFUSED, "robots.txt forbids it"),
    "forbidden": (REFUSED, "robots.txt forbids it"),
    "noai": (REFUSED, f"{FORBIDS} (noai)"), "noimageai": (REFUSED, f"{FORBIDS} (noimageai)"),
    "noindex": (REFUSED, f"{FORBIDS} (none)"), "tdm": (REFUSED, f"{FORBIDS} (tdm-reservation)"),
}  # fmt: skip
"""What becomes of a photo of each name, and how its reason begins."""

HOSTS = {
    "norobots.test": (SAVED, "", "absent"), "huge.test": (SAVED, "", "allowed"),
    "moved.test": (SAVED, "", "allowed"), "mixed.test": (SAVED, "", "allowed"),
    "closed.test": (REFUSED, "robots.txt forbids it", "disallowed"),
    "sick.test": (FAILED, "robots.txt cannot be read: the server answers 503", "unreachable"),
    "unknown.test": (FAILED, "the host's name is not known", "unreachable"),
    "private.test": (REFUSED, PRIVATE, ""),
    "astray.test": (FAILED, "robots.txt leads to an address that is refused", "unreachable"),
    "nowhere.test": (SAVED, "", "absent"),
}  # fmt: skip
"""What becomes of the photos of a host, and what the table says of its robots.txt."""

ODD = {
    "ftp://a.test/x.jpg": (FAILED, "only http and https"),
    "not an address": (FAILED, "only http and https"),
    "http://[::1]/x.jpg": (REFUSED, PRIVATE), "http://localhost/x.jpg": (REFUSED, PRIVATE),
    "http://printer.local/x.jpg": (REFUSED, PRIVATE),
    "http://192.168.0.1/x.jpg": (REFUSED, PRIVATE),
    "http://[::ffff:127.0.0.1]/x.jpg": (REFUSED, PRIVATE),
    "http://me:secret@a.test/x.jpg": (REFUSED, "the address holds a name or password"),
    "http://" + "a" * 300 + ".test/x.jpg": (FAILED, ""),
    "http:///x.jpg": (FAILED, "this is no valid"), "http://a..test/x": (FAILED, "this is no valid"),
    "http://a.test:65536/x.jpg": (FAILED, "this is no valid"),
    "http://a.test:-1/x.jpg": (FAILED, "this is no valid"),
    "https://.a.test/x.jpg": (FAILED, "this is no valid"),
}  # fmt: skip


def access(limits: Limits = QUICK, **more: bool) -> Access:
    return Access("me@example.org", limits, resolve=resolve, allowed=allowed, **more)  # type: ignore[arg-type]


@pytest.fixture
def site() -> Iterator[Farm]:
    with farm() as running:
        yield running


def rows_of(folder: Path) -> dict[tuple[str, str], Collected]:
    return {row.key: row for row in read_collected(folder)}


def everything(site: Farm, total: int) -> list[Address]:
    """Troubles, odd hosts and addresses, copies, and good photos for the rest."""
    urls = [site.url(f"/{name}/{n}.jpg", f"{'abcdef'[n]}.test") for name in TROUBLE for n in (0, 1)]
    urls += [site.url(f"/{n}.jpg", host) for host in HOSTS for n in range(3)]
    urls += ODD
    photos = total - len(urls)
    urls += [site.url(f"/photo/{n}.jpg", f"host{n % 40}.test") for n in range(photos)]
    return [Address(url, f"label {n % 7}", licence="cc0") for n, url in enumerate(urls)]


@pytest.mark.parametrize("total", [400, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_address_is_a_row(site: Farm, tmp_path: Path, total: int) -> None:
    listed = everything(site, total)
    done: list[tuple[int, int]] = []
    found = gather(listed, tmp_path, access(), progress=lambda _, now, all: done.append((now, all)))
    rows = rows_of(tmp_path)
    assert [row.key for row in read_collected(tmp_path)] == [(a.url, a.label) for a in listed]
    assert found.addresses == len(listed) == total
    assert done[0] == (0, total)
    assert done[-1] == (total, total)
    wrong = []
    for url, label in rows:
        row = rows[url, label]
        name = url.split("/", 3)[-1].rpartition("/")[0] if ".test:" in url else ""
        host = url.partition("//")[2].partition(":")[0]
        status, reason = TROUBLE.get(name, (SAVED, ""))
        if host in HOSTS:
            status, reason, robots = HOSTS[host]
            assert row.robots == robots, row
        status, reason = ODD.get(url, (status, reason))
        if row.status != status or not row.reason.startswith(reason) or bool(row.reason) == (
            status is SAVED
        ):  # fmt: skip
            wrong.append((row.url, row.status, row.reason))
    assert not wrong, wrong[:20]
    saved = [row for row in rows.values() if row.status is SAVED]
    for row in saved:
        file = tmp_path / row.path
        assert file_hash(file) == row.sha256
        assert (row.width, row.height, row.http_status) == (32, 24, 200)
        assert (row.bytes, file.parent.name) == (file.stat().st_size, row.label)
    on_disk = {f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*") if f.is_file()}
    assert on_disk == {row.path for row in saved} | {"collected.parquet"}
    assert "/%C3%BC/to-umlaut/0.jpg" in site.asked.paths("a.test")
    check_manners(site.asked.most, site)


def check_manners(most: Counter[str], site: Farm) -> None:
    """What the server saw: no forbidden request, no cookie, never more at once than allowed."""
    asked = site.asked.requests
    for one in asked:
        path = one.path
        assert not path.startswith("/forbidden") or path.startswith("/forbidden/but-not-this")
        assert one.host not in ("private.test", "localhost", "unknown.test")
        assert one.host not in ("closed.test", "sick.test") or path == "/robots.txt"
        assert set(one.headers) == {"host", "user-agent", "accept", "accept-encoding"}
        assert one.headers["user-agent"].startswith("closeup/")
        assert one.headers["user-agent"].endswith("(me@example.org)")
        assert one.headers["accept-encoding"] == "identity"
    for host, count in most.items():
        assert count <= (QUICK.per_host if host else QUICK.jobs), host
    times = Counter((one.host, one.path) for one in asked)
    robots = {host: count for (host, path), count in times.items() if path == "/robots.txt"}
    assert {host for host, count in robots.items() if count > 1} <= {"sick.test"}
    assert max(times.values()) <= QUICK.attempts
    first_seen: dict[str, str] = {}
    for one in asked:
        first_seen.setdefault(one.host, one.path)
    assert set(first_seen.values()) <= {"/robots.txt", "/other-robots"}


def test_no_host_is_asked_more_often_than_its_rate(site: Farm, tmp_path: Path) -> None:
    slow = replace(QUICK, rate=20, per_host=4)
    urls = [site.url(f"/photo/{n}.jpg", f"{host}.test") for n in range(12) for host in "ab"]
    gather([Address(url, "x") for url in urls], tmp_path, access(slow))
    for host in ("a.test", "b.test"):
        times = [one.began for one in site.asked.requests if one.host == host]
        assert len(times) == 13
        assert times[-1] - times[0] >= 12 / 20 - 0.04


def test_retry_after_is_kept_by_the_whole_host(site: Farm, tmp_path: Path) -> None:
    urls = [site.url("/busy/1.jpg"), *(site.url(f"/photo/{n}.jpg") for n in range(20))]
    one_by_one = replace(QUICK, per_host=1)
    found = gather([Address(url, "x") for url in urls], tmp_path, access(one_by_one))
    assert found.saved == 21
    asked = [one for one in site.asked.requests if one.host == "a.test"]
    first = next(n for n, one in enumerate(asked) if one.path == "/busy/1.jpg")
    assert asked[first + 1].began - asked[first].began >= 0.95


def test_who_asks_to_wait_until_tomorrow_is_left_alone(site: Farm, tmp_path: Path) -> None:
    urls = [site.url("/come-tomorrow/1.jpg"), *(site.url(f"/photo/{n}.jpg") for n in range(9))]
    began = time.monotonic()
    gather([Address(url, "x") for url in urls], tmp_path, access(replace(QUICK, per_host=1)))
    assert time.monotonic() - began < 10
    assert site.asked.paths("a.test") == ["/robots.txt", "/come-tomorrow/1.jpg"]
    rows = list(rows_of(tmp_path).values())
    assert {row.status for row in rows} == {FAILED}
    asks = [row.reason for row in rows if row.reason.startswith("the site asks to wait 24 h")]
    assert len(asks) == 9
    assert all(reason.endswith("run again then with --retry failed") for reason in asks)


def test_robots_are_ignored_only_where_that_is_asked_for(site: Farm, tmp_path: Path) -> None:
    urls = [
        site.url("/forbidden/1.jpg"),
        site.url("/noai/1.jpg"),
        site.url("/1.jpg", "closed.test"),
    ]
    gather([Address(url, "x") for url in urls], tmp_path, access(ignore_robots=True))
    rows = rows_of(tmp_path).values()
    assert {(row.status, row.robots) for row in rows} == {(SAVED, "ignored")}
    assert not [one for one in site.asked.requests if one.path == "/robots.txt"]


def test_a_name_that_changes_its_address_gains_nothing(site: Farm, tmp_path: Path) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]])

    async def rebind(host: str, port: int) -> Sequence[str]:
        return next(answers)

    # Each answer makes the connection end, so the name is looked up again.
    urls = [site.url("/status-404/1.jpg"), site.url("/status-404/2.jpg")]
    one = replace(QUICK, per_host=1, jobs=1)
    there = Access("me@example.org", one, allowed=allowed, resolve=rebind)  # type: ignore[arg-type]
    gather([Address(url, "x") for url in urls], tmp_path, there)
    reasons = defaultdict(list)
    for row in rows_of(tmp_path).values():
        reasons[row.status].append(row.reason)
    assert reasons[REFUSED]
    assert all(reason.startswith(PRIVATE) for reason in reasons[REFUSED])


MEASURE = """
import sys, resource
from pathlib import Path
from closeup.collect.address import Address
from closeup.collect.collecting import gather
from tests.collect.test_farm import access
port, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
urls = [f"http://host{n % 20}.test:{port}/photo/{n}.jpg" for n in range(count)]
found = gather([Address(url, "x") for url in urls], folder, access())
assert found.saved == count, found
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_list(site: Farm, tmp_path: Path) -> None:
    kilobytes = []
    for count in (200, 2000):
        words = [
            sys.executable,
            "-c",
            MEASURE,
            str(site.port),
            str(count),
            str(tmp_path / str(count)),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        kilobytes.append(int(done.stdout))
    assert kilobytes[1] - kilobytes[0] < 25_000, kilobytes
    assert not (tmp_path / "2000" / LOG_FILE).exists()
