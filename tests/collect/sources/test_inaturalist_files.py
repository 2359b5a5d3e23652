"""iNaturalist's open data, read from its four files."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

from closeup.collect.address import Address
from closeup.collect.sources import inaturalist_files, search
from closeup.core.errors import SourceError, UsageError
from closeup.photos.licences import CODES

TABLES = {
    "taxa": """
        taxon_id|ancestry|rank_level|rank|name|active
        47221|48460/1/47120|20|genus|Apis|true
        47219|48460/1/47120/47221|10|species|Apis mellifera|true
        199|48460/1/47120/47221/47219|5|subspecies|Apis mellifera ligustica|true
        472|48460/1/47120|20|genus|Bombus|true
        903|48460/1|20|genus|Bombus|false
        901|48460/47126|20|genus|Oenanthe|true
        902|48460/1|20|genus|Oenanthe|true
    """,
    "observations": """
        observation_uuid|observer_id|taxon_id|quality_grade|observed_on
        u1|7|47219|research|2020-01-01
        u2|8|199|research|2020-01-01
        u3|7|47219|casual|2020-01-01
        u4|7|472|research|2020-01-01
        u5|9|47219|research|2020-01-01
    """,
    "photos": """
        photo_uuid|photo_id|observation_uuid|observer_id|extension|license|width|height|position
        p1|101|u1|7|jpeg|CC-BY|2048|1536|0
        p2|102|u1|7|jpg|CC-BY|2048|1536|1
        p3|103|u2|8|jpg|CC0|2048|1536|0
        p4|104|u2|8|jpg|CC-BY-NC|2048|1536|1
        p5|105|u3|7|jpg|CC-BY|2048|1536|0
        p6|106|u4|7|jpg|CC-BY-SA|2048|1536|0
        p7|107|u5|9|jpg|CC-BY-SA|||0
        p8|108|u5|9|jpg|CC-BY|120|90|0
        p9|../9|u5|9|jpg|CC-BY|2048|1536|0
        p10|110|too few fields
    """,
    "observers": """
        observer_id|login|name
        7|jo|"Jo" O'Berg
        8|ana|
    """,
}
BUCKET = "https://inaturalist-open-data.s3.amazonaws.com/photos"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for table, text in TABLES.items():
        lines = dedent(text).lstrip().replace("|", "\t")
        (tmp_path / f"{table}.csv.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def searched(folder: Path, words: str, count: int = 100, **more: object) -> list[Address]:
    return list(
        search(
            "inaturalist",
            words,
            label="bee",
            count=count,
            contact="jo@example.org",
            folder=folder,
            **more,  # type: ignore[arg-type]
        )
    )


def test_a_taxon_and_what_is_below_it_from_research_grade_observations(folder: Path) -> None:
    left_out = Counter[str]()
    found = searched(folder, "apis mellifera", left_out=left_out)
    assert found[0] == Address(
        url=f"{BUCKET}/101/large.jpeg",
        label="bee",
        group="inaturalist:u1",
        licence="CC BY 4.0",
        licence_url="https://creativecommons.org/licenses/by/4.0/",
        creator='"Jo" O\'Berg',
        landing_page="https://www.inaturalist.org/photos/101",
        title="Apis mellifera",
        attribution='(c) "Jo" O\'Berg, some rights reserved (CC BY 4.0), via iNaturalist',
        source="inaturalist",
    )
    assert [(photo.url, photo.group) for photo in found[1:]] == [
        (f"{BUCKET}/102/large.jpg", "inaturalist:u1"),
        (f"{BUCKET}/103/large.jpg", "inaturalist:u2"),
        (f"{BUCKET}/107/large.jpg", "inaturalist:u5"),
    ]
    assert found[2].creator == "ana"
    assert found[2].attribution == "(c) ana, no rights reserved (CC0 1.0), via iNaturalist"
    assert found[2].title == "Apis mellifera ligustica"
    # Its observer is in no file.
    assert found[3].creator == ""
    assert found[3].attribution.startswith('"Apis mellifera", CC BY-SA 4.0 (https://')
    assert left_out == {"too small": 1, "no address": 1}
    assert searched(folder, "apis mellifera", 2) == found[:2]
    assert [photo.url for photo in searched(folder, "APIS", licences=CODES)] == [
        f"{BUCKET}/{number}"
        for number in (
            "101/large.jpeg",
            "102/large.jpg",
            "103/large.jpg",
            "104/large.jpg",
            "107/large.jpg",
        )
    ]


def test_small_batches_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = searched(folder, "Apis")
    monkeypatch.setattr(inaturalist_files, "OBSERVATIONS_AT_ONCE", 1)
    monkeypatch.setattr(inaturalist_files, "PHOTOS_AT_ONCE", 1)
    assert searched(folder, "Apis") == everything


def test_files_may_be_unpacked(folder: Path) -> None:
    everything = searched(folder, "Apis")
    for path in list(folder.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert searched(folder, "Apis") == everything


def test_a_name_of_no_taxon_or_of_two_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no taxon 'honey bee'; give its scientific name"):
        searched(folder, "honey bee")
    with pytest.raises(
        UsageError, match="2 taxa are called 'Oenanthe'; give one by its number: 901, 902"
    ):
        searched(folder, "Oenanthe")
    assert searched(folder, "902") == []
    # Of the two called Bombus, one is no longer in use.
    assert [photo.title for photo in searched(folder, "Bombus")] == ["Bombus"]


@pytest.mark.parametrize("table", TABLES)
def test_a_file_that_is_missing_damaged_or_another_is_named(folder: Path, table: str) -> None:
    path = folder / f"{table}.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=rf"{table}.csv.gz: the file is damaged or cut off"):
        searched(folder, "Apis")
    path.write_bytes(b"not gzip")
    with pytest.raises(SourceError, match=rf"{table}.csv.gz: the file is damaged or cut off"):
        searched(folder, "Apis")
    path.write_bytes(gzip.compress(b"something\telse\n1\t2\n"))
    with pytest.raises(SourceError, match=rf"{table}.csv.gz: expected the columns"):
        searched(folder, "Apis")
    path.unlink()
    with pytest.raises(SourceError, match=rf"{table}.csv.gz is missing"):
        searched(folder, "Apis")


def test_files_are_never_held_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inaturalist_files, "OBSERVATIONS_AT_ONCE", 100)
    with gzip.open(folder / "photos.csv.gz", "at", compresslevel=1) as stream:
        for number in range(40_000):
            stream.write(f"q{number}\t{number}\tother\t7\tjpg\tCC-BY\t2048\t1536\t0\n")
    assert len(gzip.decompress((folder / "photos.csv.gz").read_bytes())) > 1_500_000
    tracemalloc.start()
    try:
        assert len(searched(folder, "Apis")) == 4
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
