from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closeup.collect.address import Address
from closeup.collect.collecting import collect
from closeup.collect.lists import read_addresses
from closeup.collect.record import read_collected
from closeup.core.errors import PhotosError, UsageError

A, B = "http://a.test/1.jpg", "https://b.test/2,3.jpg?x=1"


def listed(folder: Path, text: str, name: str = "list.csv", label: str = "") -> list[Address]:
    file = folder / name
    file.write_text(text, encoding="utf8")
    return read_addresses(file, label)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", f'url,label\n{A},x\n"{B}",y\n{A},x\n'),
        ("list.csv", f"sep=;\nImage URL;Class\n{A};x\n{B};y\n"),
        ("list.tsv", f"label\turl\nx\t{A}\ny\t{B}\n"),
        ("list.txt", f"# mine\n\n{A} x\r\n{B}\ty \n"),
        ("list.txt", f'label,link\nx,{A}\ny,"{B}"\n'),
        ("list.jsonl", f'{{"url": "{A}", "label": "x"}}\n{{"url": "{B}", "label": "y"}}\n'),
        ("list.ndjson", f'{{"url":"{A}","label":"x"}}\r\n{{"url":"{B}","label":"y","n":"\u2028"}}'),
    ],
)
def test_a_list_is_read_in_its_order_and_each_address_once(
    tmp_path: Path, name: str, text: str
) -> None:
    assert listed(tmp_path, text, name) == [Address(A, "x"), Address(B, "y")]


def test_a_text_file_in_utf_16(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{A} Zürich\n{B} y\n", encoding="utf-16")
    assert read_addresses(tmp_path / "list.txt") == [Address(A, "Zürich"), Address(B, "y")]


def test_rights_have_other_usual_names(tmp_path: Path) -> None:
    text = ("identifier,label,license,license_url,author,foreign_landing_url,title,attribution,"
            "source,group\n"
            f"{A},x,BY 4.0,https://l.test,Ann,https://p.test,T,by Ann,S,g1\n")  # fmt: skip
    assert listed(tmp_path, text) == [
        Address(A, "x", "g1", "BY 4.0", "https://l.test", "Ann", "https://p.test", "T", "by Ann",
                "S")
    ]  # fmt: skip


def test_parquet_as_large_sets_have_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": [A, B], "TEXT": ["a caption", None]}), tmp_path / "a.parquet")
    assert read_addresses(tmp_path / "a.parquet", "x") == [Address(A, "x"), Address(B, "x")]
    with pytest.raises(PhotosError, match=r"lacks the column label \(it has: url, text\).*--label "
                       r"LABEL for all \(a caption is no label\)"):  # fmt: skip
        read_addresses(tmp_path / "a.parquet")


def test_a_label_for_those_without(tmp_path: Path) -> None:
    assert listed(tmp_path, f"{A}\n{B} y\n", "a.txt", "x") == [Address(A, "x"), Address(B, "y")]
    assert listed(tmp_path, f"url,label\n{A},\n", label="x") == [Address(A, "x")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", f"url,label\n{A},\n", r"a\.csv, line 2: http.* has no label; fill it in"),
        ("a.txt", f"{A} x\n{B}\n", r"a\.txt, line 2: https.* has no label"),
        ("a.csv", "url,label\n,x\n", "line 2: the address is empty"),
        ("a.csv", "path,label\na.jpg,x\n", "lacks the column url"),
        ("a.csv", "url,label\n", "holds no address"),
        ("a.txt", "# nothing\n", "holds no address"),
        ("a.txt", f"{A} x\nno address\n", "line 2: expected a web address"),
        ("a.csv", f"url,uri_,label\n{A},x\n", "line 2: 2 cells"),
        ("a.csv", f"link,href,label\n{A},{A},x\n", "could both be the url"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(PhotosError, match=message):
        listed(tmp_path, text, name)


def test_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="is a folder"):
        read_addresses(tmp_path)
    with pytest.raises(PhotosError, match="cannot be read"):
        read_addresses(tmp_path / "gone.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(PhotosError, match=r"UTF-8|readable|lacks"):
        read_addresses(tmp_path / "a.txt")


@pytest.mark.parametrize("contact", ["", "me", "a b@c.org", "me@x.org\r\nHost: y", "x" * 300,
                                     "ftp://x.org", "(me@x.org)",
                                     "https://user:pw@x.org"])  # fmt: skip
def test_a_contact_is_needed(tmp_path: Path, contact: str) -> None:
    with pytest.raises(UsageError, match="contact: expected a mail or web address of yours"):
        collect([Address(A, "x")], tmp_path / "out", contact=contact)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("contact", ["me@example.org", "mailto:me@example.org",
                                     "https://example.org/bot"])  # fmt: skip
def test_a_contact_is_a_mail_or_web_address(tmp_path: Path, contact: str) -> None:
    found = collect([Address("ftp://a.test/x", "x")], tmp_path, contact=contact)
    assert (found.failed, found.asked) == (1, 1)


def test_addresses_are_text_and_the_first_of_two_counts(tmp_path: Path) -> None:
    half, first = Address("ftp://a.test/\ud800", "x", creator="Ann"), Address("ftp://a.test/1", "x")
    none = Address("ftp://a.test/1", "x", creator=None)  # type: ignore[arg-type]
    assert none == first
    listing = [first, half, Address("ftp://a.test/1", "x", licence="by")]
    assert collect(listing, tmp_path, contact="me@example.org").addresses == 2
    rows = read_collected(tmp_path)
    assert [(row.url, row.licence) for row in rows] == [
        ("ftp://a.test/1", ""), ("ftp://a.test/\\ud800", "")
    ]  # fmt: skip


def test_values_that_cannot_be(tmp_path: Path) -> None:
    from closeup.collect import Limits

    with pytest.raises(UsageError, match="retry: expected failed or refused, got saved"):
        collect([], tmp_path, contact="me@example.org", retry="saved")
    with pytest.raises(UsageError, match="rate: expected more than 0"):
        Limits(rate=0)
    with pytest.raises(UsageError, match="jobs: expected at least 1"):
        Limits(jobs=0)
    with pytest.raises(PhotosError, match="lacks its label"):
        collect([Address(A, "")], tmp_path, contact="me@example.org")
