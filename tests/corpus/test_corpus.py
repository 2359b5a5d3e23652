"""Every bad picture ends as one row with a reason, and leaves the good ones as they were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from closeup.core.config import PhotosConfig
from closeup.core.project import Project
from closeup.core.types import Crop, Detection, Photo, PhotoState
from closeup.photos.listing import list_photos
from tests import corpus
from tests.corpus.encode import encode, smooth
from tools.render.photos import write_photos

ROOM = 64
"""Megabytes that a run over the bombs may take more than one without them."""
EVIL = "x\x1b[2J\nready: <script>alert(1)<"
"""A label that would clear the screen, fake a line and run in a browser."""

_RUN = """
import resource, sys
from closeup.cli import main
try:
    main()
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(NOTE, "w") as note:
        note.write(f"peak {peak / 1024:.0f}")
"""


@dataclass(frozen=True)
class Done:
    """What a process printed, and the most memory it had, in megabytes."""

    code: int
    out: str
    err: str
    peak: float


def closeup(note: Path, *words: object) -> Done:
    """Run the command line in a process of its own."""
    code = _RUN.replace("NOTE", repr(str(note)))
    command = [sys.executable, "-W", "error", "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    peak = float(note.read_text().split()[1])
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode(), peak)


def run(base: Path, name: str) -> Done:
    """A whole run over ``base/photos`` with the networks of the package."""
    return closeup(
        base / f"{name}.txt", "run", base / "photos", "--out", base / name, "--parent", "clock",
        "--detector", "nano-clock", "--backbone", "nano-embed", "--threads", "2",
    )  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """Three runs over one folder: good photos alone, bad ones too, and the bombs as well."""

    base: Path
    made: list[corpus.Made]
    good: Done
    tame: Done
    all: Done


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    base = tmp_path_factory.mktemp("corpus")
    photos = base / "photos"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(base / "cache"))
        write_photos(photos, per_maker=3, size=320, workers=1)
        good = run(base, "good")
        evil = photos / EVIL
        evil.mkdir()
        for n in range(3):
            (evil / f"{n}.jpg").write_bytes(encode(smooth(seed=900 + n), "JPEG"))
        corpus.make(photos / "bad", bombs=False)
        tame = run(base, "tame")
        shutil.rmtree(photos / "bad")
        made = corpus.make(photos / "bad")
        everything = run(base, "all")
    return Runs(base, made, good, tame, everything)


def rows_of(runs: Runs, name: str) -> dict[str, Photo]:
    table = Project(runs.base / name).read("photos", Photo)
    assert table is not None
    assert len({p.path for p in table.rows}) == len(table.rows)
    return {p.path: p for p in table.rows}


def shown(path: bytes) -> str:
    return path.decode("utf8", "backslashreplace")


def test_an_empty_corpus_has_no_rows(tmp_path: Path) -> None:
    assert [m for m in corpus.make(tmp_path) if not m.outcomes] == []
    assert len({m.path for m in corpus.make(tmp_path / "again")}) >= 300


@pytest.mark.slow
def test_every_file_ends_as_the_one_row_its_kind_says(runs: Runs) -> None:
    assert runs.all.code == 0, runs.all.err
    rows = {p: row for p, row in rows_of(runs, "all").items() if p.startswith("bad/")}
    wrong = []
    for one in runs.made:
        row = rows.pop("bad/" + shown(one.path), None)
        outcome = "passed over" if row is None else row.code or "readable"
        if outcome not in one.outcomes:
            wrong.append((one, outcome, row and row.reason))
        if row is not None:
            assert (row.state is PhotoState.READABLE) == (row.code == "") == (row.width > 0)
    assert not wrong
    assert not rows
    assert len(runs.made) >= 300
    assert len(corpus.KINDS) >= 30


@pytest.mark.slow
def test_every_row_goes_on_through_the_stages(runs: Runs) -> None:
    photos = rows_of(runs, "all")
    crops = Project(runs.base / "all").read("crops", Crop)
    assert crops is not None
    assert Counter(c.photo_id for c in crops.rows) == Counter(p.id for p in photos.values())
    for crop in crops.rows:
        if crop.file:
            assert (runs.base / "all" / crop.file).stat().st_size > 0


@pytest.mark.slow
def test_good_photos_are_bit_for_bit_as_without_the_bad_ones(runs: Runs) -> None:
    assert runs.good.code == 0, runs.good.err
    good, everything = rows_of(runs, "good"), rows_of(runs, "all")
    assert len(good) == 15
    assert all(everything[path] == row for path, row in good.items())
    ids = {row.id for row in good.values()}
    one, other = Project(runs.base / "good"), Project(runs.base / "all")
    for name, row in (("detections", Detection), ("crops", Crop)):
        rows = [[r for r in p.read(name, row).rows if r.photo_id in ids] for p in (one, other)]
        assert rows[0] == rows[1]
        assert rows[0]
    for crop in one.read("crops", Crop).rows:
        assert (one.folder / crop.file).read_bytes() == (other.folder / crop.file).read_bytes()
    vectors = [embeddings(p.folder) for p in (one, other)]
    assert vectors[0]
    assert all(np.array_equal(vector, vectors[1][key]) for key, vector in vectors[0].items())


def embeddings(folder: Path) -> dict[str, np.ndarray]:
    (file,) = (folder / "embeddings").glob(f"closeup-{'?' * 16}.safetensors")
    with safe_open(file, framework="numpy") as stored:
        keys = json.loads(stored.metadata()["keys"])
        return dict(zip(keys, stored.get_tensor("embeddings"), strict=True))


@pytest.mark.slow
def test_bombs_take_no_memory(runs: Runs) -> None:
    assert runs.tame.code == 0, runs.tame.err
    assert runs.all.peak < runs.tame.peak + ROOM


def acts(text: str) -> set[str]:
    """Characters in a text that a terminal would act on, line ends aside."""
    turning = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cs")} | (
        turning & set(text)
    )


@pytest.mark.slow
def test_names_cannot_act_on_the_terminal(runs: Runs) -> None:
    assert "x\\x1b[2J\\nready: <script>" in runs.all.out
    assert not acts(runs.all.out + runs.all.err)
    assert not [line for line in runs.all.out.splitlines() if line.startswith("ready")]


@pytest.mark.slow
def test_names_cannot_act_in_the_report(runs: Runs) -> None:
    page = (runs.base / "all" / "report.html").read_text(encoding="utf8")
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 1  # the page's own
    assert "<script>alert" not in page
    assert "<b>bold" not in page


@pytest.mark.slow
def test_predict_answers_for_every_file(runs: Runs) -> None:
    note = runs.base / "predict.txt"
    answers = runs.base / "answers"
    done = closeup(note, "predict", runs.base / "all" / "model", runs.base / "photos" / "bad",
                   "--threads", "2", "--json", "--csv", answers / "a.csv",
                   "--parquet", answers / "a.parquet", "--draw", answers / "drawn")  # fmt: skip
    assert done.code == 0, done.err
    assert not acts(done.out + done.err)
    lines = [json.loads(line) for line in done.out.splitlines()]
    rows = sum("passed over" not in one.outcomes for one in runs.made)
    assert len(lines) == rows
    for line in lines:
        assert bool(line["objects"]) != bool(line["error"])
        if line["error"]:
            assert len(line["error"]["message"]) > 10
    assert len(list((answers / "drawn").iterdir())) == sum(not line["error"] for line in lines)
    table = closeup(note, "predict", runs.base / "all" / "model", runs.base / "photos" / "bad" /
                    "names", runs.base / "photos" / "bad" / "names-not-text")  # fmt: skip
    assert table.code == 0, table.err
    assert not acts(table.out)


@pytest.mark.slow
def test_only_bad_files_are_refused_with_what_to_do(runs: Runs, tmp_path: Path) -> None:
    for name in ("other-files", "bombs"):
        shutil.copytree(runs.base / "photos" / "bad" / name, tmp_path / "photos" / name)
    done = closeup(tmp_path / "n.txt", "run", tmp_path / "photos", "--out", tmp_path / "out",
                   "--detector", "nano-clock", "--backbone", "nano-embed")  # fmt: skip
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("closeup: ")
    assert "Traceback" not in done.err
    assert any(one in last for one in ("bomb", "page.jpg", "byte.gif"))
    assert "photo" in last


@pytest.mark.parametrize("bombs", [False, True])
def test_reading_alone(tmp_path: Path, bombs: bool) -> None:
    made = corpus.make(tmp_path / "c", bombs=bombs)
    rows = list_photos(PhotosConfig(source=str(tmp_path / "c")))
    assert len(rows) == sum("passed over" not in one.outcomes for one in made)
    assert all(os.fsencode(p.path).decode("utf8") == p.path for p in rows)
