"""Killed and run again, longer lists, other labels: nothing twice, nothing lost, always one end."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from closeup.collect.address import Address
from closeup.collect.collecting import gather
from closeup.collect.record import LOG_FILE, Collected, Log, Status, read_collected
from closeup.collect.settle import safe_name
from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import file_hash
from tests.collect.farm import Farm, farm, photo
from tests.collect.test_farm import QUICK, access, rows_of

SAVED, DUPLICATE, FAILED, REFUSED = Status


@pytest.fixture
def site() -> Iterator[Farm]:
    with farm() as running:
        yield running


def files_in(folder: Path) -> dict[str, str]:
    """Every file but the table, with its hash."""
    return {
        file.relative_to(folder).as_posix(): file_hash(file)
        for file in folder.rglob("*")
        if file.is_file() and file.name != "collected.parquet"
    }


def lasting(folder: Path) -> list[Collected]:
    """The rows without what another run makes different: times and attempts."""
    return [replace(row, time="", attempts=0) for row in read_collected(folder)]


def mixed(site: Farm, count: int) -> list[Address]:
    """Good photos, some of them twice and under two labels, and some trouble."""
    for n in range(0, count, 10):
        site.answers[f"/copy/{n}.jpg"] = photo(n)
        site.answers[f"/original/{n}.jpg"] = photo(n)
    urls = []
    for n in range(count):
        name = {0: "copy", 5: "original", 3: "status-404", 7: "forbidden"}.get(n % 10, "photo")
        number = n - n % 10 if n % 5 == 0 else n
        urls.append(site.url(f"/{name}/{number}.jpg", f"host{n % 4}.test"))
    return [Address(url, f"label {n % 3}", creator="somebody") for n, url in enumerate(urls)]


def write_list(file: Path, listed: list[Address]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["url", "label", "creator"])
        writer.writerows((one.url, one.label, one.creator) for one in listed)
    return file


def kill_when(size: int, listing: Path, folder: Path) -> None:
    """Start collecting in another process, and kill it once its log has grown to `size` bytes."""
    words = [sys.executable, "-m", "tests.collect.child", str(listing), str(folder)]
    log, end = folder / LOG_FILE, time.monotonic() + 60
    with subprocess.Popen(words, stderr=subprocess.PIPE, env={**os.environ}) as child:
        while child.poll() is None and time.monotonic() < end:
            if log.exists() and log.stat().st_size >= size:
                break
            time.sleep(0.002)
        child.kill()
        child.wait()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_any_number_of_times_the_end_is_the_same(
    site: Farm, tmp_path: Path, kills: int
) -> None:
    listed = mixed(site, 60 * kills)
    gather(listed, tmp_path / "at once", access())
    there = [one for one in site.asked.requests if one.path != "/robots.txt"]
    assert max(Counter((one.host, one.path) for one in there).values()) == 1
    site.asked.requests.clear()
    listing = write_list(tmp_path / "list.csv", listed)
    folder = tmp_path / "killed"
    for number in range(kills):
        kill_when(1 + 1500 * (number % 7), listing, folder)
        assert len(read_collected(folder)) <= len(listed)
    gather(listed, folder, access())
    assert lasting(folder) == lasting(tmp_path / "at once")
    assert files_in(folder) == files_in(tmp_path / "at once")
    times = Counter((one.host, one.path) for one in site.asked.requests)
    again = sum(n - 1 for (_, path), n in times.items() if path != "/robots.txt")
    # Only what was under way when it was killed: on 4 hosts, 3 each.
    assert again <= kills * 4 * QUICK.per_host


def test_a_torn_line_of_the_log_is_left_out(site: Farm, tmp_path: Path) -> None:
    listed = mixed(site, 20)
    gather(listed, tmp_path, access())
    rows = read_collected(tmp_path)
    (tmp_path / "collected.parquet").unlink()
    log = Log(tmp_path)
    log.add(list(rows))
    log.close()
    whole = log.file.read_bytes()
    log.file.write_bytes(whole[:-20])
    site.asked.requests.clear()
    gather(listed, tmp_path, access())
    assert lasting(tmp_path) == [replace(row, time="", attempts=0) for row in rows]
    assert [one.path for one in site.asked.requests if one.path != "/robots.txt"] == [
        "/" + rows[-1].url.split("/", 3)[-1]
    ]


def test_a_photo_that_the_log_promised_is_fetched_again(site: Farm, tmp_path: Path) -> None:
    listed = [Address(site.url(f"/photo/{n}.jpg"), "x") for n in range(3)]
    gather(listed, tmp_path, access())
    rows = read_collected(tmp_path)
    (tmp_path / "collected.parquet").unlink()
    (tmp_path / rows[1].path).unlink()
    log = Log(tmp_path)
    log.add(list(rows))
    log.close()
    assert gather(listed, tmp_path, access()).asked == 1
    assert (tmp_path / rows[1].path).is_file()


def test_a_longer_list_costs_what_is_new(site: Farm, tmp_path: Path) -> None:
    listed = mixed(site, 40)
    gather(listed[5:30], tmp_path, access())
    site.asked.requests.clear()
    found = gather(listed, tmp_path, access())
    assert found.asked == 15
    assert found.addresses == 40
    assert [row.key for row in read_collected(tmp_path)] == [(a.url, a.label) for a in listed]
    site.asked.requests.clear()
    assert gather(listed, tmp_path, access()).asked == 0
    assert not site.asked.requests
    gather(listed, tmp_path / "at once", access())
    assert lasting(tmp_path) == lasting(tmp_path / "at once")
    assert files_in(tmp_path).keys() >= files_in(tmp_path / "at once").keys()


def test_rows_of_another_list_stay(site: Farm, tmp_path: Path) -> None:
    first = [Address(site.url("/photo/1.jpg"), "x")]
    second = [Address(site.url("/photo/2.jpg"), "y")]
    gather(first, tmp_path, access())
    found = gather(second, tmp_path, access())
    assert found.addresses == 1
    assert {row.label for row in read_collected(tmp_path)} == {"x", "y"}


def test_failures_are_asked_for_again_only_on_request(site: Farm, tmp_path: Path) -> None:
    listed = [Address(site.url("/status-500/1.jpg"), "x"), Address(site.url("/photo/1.jpg"), "x")]
    gather(listed, tmp_path, access())
    assert gather(listed, tmp_path, access()).asked == 0
    before = rows_of(tmp_path)[listed[0].url, "x"]
    assert before.attempts == QUICK.attempts
    site.answers["/status-500/1.jpg"] = photo(99)
    found = gather(listed, tmp_path, access(), frozenset({FAILED}))
    assert (found.asked, found.saved) == (1, 2)
    after = rows_of(tmp_path)[listed[0].url, "x"]
    assert (after.status, after.reason, after.attempts) == (SAVED, "", QUICK.attempts + 1)


def test_what_was_deleted_stays_away(site: Farm, tmp_path: Path) -> None:
    site.answers["/again.jpg"] = photo(7)
    site.answers["/once.jpg"] = photo(7)
    listed = [Address(site.url("/once.jpg"), "x"), Address(site.url("/photo/1.jpg"), "x")]
    gather(listed, tmp_path, access())
    (tmp_path / rows_of(tmp_path)[listed[0].url, "x"].path).unlink()
    listed.append(Address(site.url("/again.jpg"), "x"))
    gather(listed, tmp_path, access(), frozenset({FAILED}))
    assert len(files_in(tmp_path)) == 1
    rows = rows_of(tmp_path)
    assert rows[site.url("/again.jpg"), "x"].status is DUPLICATE


def test_the_first_in_the_list_has_the_photo(site: Farm, tmp_path: Path) -> None:
    site.answers["/one.jpg"] = site.answers["/two.jpg"] = site.answers["/three.jpg"] = photo(1)
    urls = [site.url(f"/{name}.jpg") for name in ("one", "two", "three")]
    listed = [Address(urls[0], "apple"), Address(urls[1], "Apple "), Address(urls[2], "pear")]
    found = gather(listed, tmp_path, access())
    assert (found.saved, found.duplicate, found.conflicts) == (1, 2, 1)
    rows = [rows_of(tmp_path)[one.url, one.label] for one in listed]
    assert len({row.path for row in rows}) == 1
    assert rows[0].path.startswith("apple/")
    assert rows[1].reason == f"the same photo as {urls[0]}"
    assert rows[2].reason == (
        f"the same photo as {urls[0]}, which is labelled 'apple' and comes first in the list"
    )
    assert list(files_in(tmp_path)) == [rows[0].path]


def test_one_address_under_two_labels_is_asked_for_once(site: Farm, tmp_path: Path) -> None:
    url = site.url("/photo/1.jpg")
    gather([Address(url, "a"), Address(url, "b")], tmp_path, access())
    assert site.asked.times("/photo/1.jpg") == 1
    rows = rows_of(tmp_path)
    assert (rows[url, "a"].status, rows[url, "b"].status) == (SAVED, DUPLICATE)
    assert "labelled 'a'" in rows[url, "b"].reason


def test_a_corrected_label_moves_the_photo(site: Farm, tmp_path: Path) -> None:
    url = site.url("/photo/1.jpg")
    gather([Address(url, "wrong")], tmp_path, access())
    found = gather([Address(url, "right", licence="by")], tmp_path, access())
    assert found.asked == 0
    (row,) = read_collected(tmp_path)
    assert (row.label, row.licence, row.status) == ("right", "by", SAVED)
    assert list(files_in(tmp_path)) == [row.path]
    assert row.path.startswith("right/")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    "label",
    ["../up", "..", ".", "CON", "nul.txt", "a/b", "a\\b", "trailing. ", ".hidden", "__pycache__",
     "new\nline", "\u202eturned", "n\u0303", "x" * 400, "🍎", "a:b*?", "%41", "café",
     "Collected.parquet", "closeup.toml"],
)  # fmt: skip
def test_any_label_gets_a_safe_folder(site: Farm, tmp_path: Path, label: str) -> None:
    gather([Address(site.url("/photo/1.jpg"), label)], tmp_path / "photos", access())
    (row,) = read_collected(tmp_path / "photos")
    assert row.label == label
    (file,) = files_in(tmp_path / "photos")
    folder, _ = file.split("/")
    assert len(folder.encode()) <= 130
    assert folder.isprintable()
    assert not folder.startswith(".")
    assert folder.rstrip(". ") == folder
    assert folder.upper() not in ("CON", "NUL.TXT", "COLLECTED.PARQUET", "CLOSEUP.TOML")
    assert list(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_labels_that_look_alike_share_a_folder(site: Farm, tmp_path: Path) -> None:
    labels = ["Omega", "omega", "OMEGA.", "n\u0303", "\u00f1"]
    listed = [Address(site.url(f"/photo/{n}.jpg"), label) for n, label in enumerate(labels)]
    gather(listed, tmp_path, access())
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"Omega", "\u00f1"}
    assert [row.label for row in read_collected(tmp_path)] == labels


def test_labels_of_systems_are_told_apart() -> None:
    names = [safe_name(label) for label in ("CON", "con", "%43ON", "C", "COM1", "com1.jpg", "")]
    assert len({name.casefold() for name in names}) == len(names)
    assert not {"con", "com1"} & {name.casefold().partition(".")[0] for name in names}


def test_files_of_others_are_left_alone(site: Farm, tmp_path: Path) -> None:
    listed = [Address(site.url("/photo/1.jpg"), "x"), Address(site.url("/photo/2.jpg"), "x")]
    gather(listed, tmp_path / "first", access())
    paths = [row.path for row in read_collected(tmp_path / "first")]
    folder = tmp_path / "second"
    (folder / "x").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / paths[0]).write_text("mine")
    (folder / paths[1]).write_bytes((tmp_path / "first" / paths[1]).read_bytes())
    gather(listed, folder, access())
    rows = read_collected(folder)
    assert (folder / paths[0]).read_text() == (folder / "notes.txt").read_text() == "mine"
    assert [row.path for row in rows] == [f"x/{rows[0].sha256}.jpg", paths[1]]
    assert all(file_hash(folder / row.path) == row.sha256 for row in rows)


def test_a_file_that_is_called_like_a_label_is_left_alone(site: Farm, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    (tmp_path / ".new-ideas").mkdir()
    urls = [site.url(f"/photo/{n}.jpg") for n in range(2)]
    gather([Address(urls[0], "x"), Address(urls[1], "y")], tmp_path, access())
    rows = rows_of(tmp_path)
    assert (rows[urls[0], "x"].status, rows[urls[1], "y"].status) == (FAILED, SAVED)
    assert (
        "a file of yours has the name of this photo or of its folder" in rows[urls[0], "x"].reason
    )
    gather([Address(urls[1], "x")], tmp_path, access())
    row = rows_of(tmp_path)[urls[1], "x"]
    assert (row.status, (tmp_path / row.path).is_file()) == (SAVED, True)
    assert (tmp_path / "x").read_text() == "mine"
    assert (tmp_path / ".new-ideas").is_dir()


def test_a_photo_that_somebody_moved_stays_there(site: Farm, tmp_path: Path) -> None:
    listed = [Address(site.url("/photo/1.jpg"), "x")]
    gather(listed, tmp_path, access())
    (file,) = files_in(tmp_path)
    (tmp_path / "y").mkdir()
    (tmp_path / file).rename(tmp_path / "y" / "z.jpg")
    assert gather(listed, tmp_path, access()).asked == 0
    assert list(files_in(tmp_path)) == ["y/z.jpg"]


def test_lists_that_are_run_in_turn_keep_their_photos(site: Farm, tmp_path: Path) -> None:
    site.answers["/one.jpg"] = site.answers["/two.jpg"] = photo(1)
    first = [Address(site.url("/one.jpg"), "a"), Address(site.url("/photo/1.jpg"), "a")]
    second = [Address(site.url("/photo/2.jpg"), "b"), Address(site.url("/two.jpg"), "b")]
    gather(first, tmp_path, access())
    gather(second, tmp_path, access())
    once = lasting(tmp_path)
    for listed in (first, second, first):
        assert gather(listed, tmp_path, access()).asked == 0
        assert lasting(tmp_path) == once
    assert rows_of(tmp_path)[site.url("/two.jpg"), "b"].status is DUPLICATE


def test_a_project_or_a_damaged_table_is_refused(site: Farm, tmp_path: Path) -> None:
    listed = [Address(site.url("/photo/1.jpg"), "x")]
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        gather(listed, tmp_path / "file", access())
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "closeup.toml").touch()
    with pytest.raises(UsageError, match="project folder"):
        gather(listed, tmp_path / "project", access())
    (tmp_path / "collected.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ProjectError, match="restore it from a copy"):
        gather(listed, tmp_path, access())
    assert (tmp_path / "collected.parquet").read_bytes() == b"PAR1 and nothing"
    assert not site.asked.requests


def test_a_table_that_leads_outside_is_refused(site: Farm, tmp_path: Path) -> None:
    from closeup.collect.record import write_collected

    listed = [Address(site.url("/photo/1.jpg"), "x")]
    gather(listed, tmp_path / "photos", access())
    (row,) = read_collected(tmp_path / "photos")
    for path in ("../secret.jpg", "x/\0.jpg", str(tmp_path / "secret.jpg")):
        write_collected(tmp_path / "photos", [replace(row, path=path)])
        with pytest.raises(ProjectError, match="outside"):
            gather(listed, tmp_path / "photos", access())
    write_collected(tmp_path / "photos", [replace(row, path="x/" + "a" * 5000)])
    assert gather(listed, tmp_path / "photos", access()).asked == 0
