"""Rights go through a project beside everything else: nothing is trained again for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import closeup
from closeup.core.project import Project
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from closeup.photos.rights import read_rights
from tests import commands, tiny
from tests.collecting import BY, failed, saved, write_collected
from tests.pipeline.test_stage_keys import keys_of

OPTIONS: dict[str, Any] = {**tiny.TINY, "preset": "quick"}


def collect(photos: Path, **given: str) -> Path:
    """As if all photos but those of the last label had been collected; one address failed."""
    files = [file for label in ("ash", "birch") for file in sorted((photos / label).iterdir())]
    rows = [saved(file, photos, **{**BY, **given}) for file in files]
    return write_collected(photos, [*rows, failed("https://gone.example/1")])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("rights")
    with pytest.MonkeyPatch.context() as patch:
        tiny.make_cache(folder / "cache", patch)
        collect(tiny.make_photos(folder / "photos"))
        closeup.run(folder / "photos", out=folder / "out", **OPTIONS)
        yield folder


@pytest.fixture(autouse=True)
def _cache(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_CACHE", str(base / "cache"))


@pytest.fixture
def work(base: Path, tmp_path: Path) -> Path:
    """A copy with photos of its own, which the project takes for the same."""
    shutil.copytree(base / "photos", tmp_path / "photos")
    shutil.copytree(base / "out", tmp_path / "out")
    closeup.run(tmp_path / "photos", out=tmp_path / "out", **OPTIONS)
    return tmp_path


def check_of(printed: dict[str, Any]) -> dict[str, Any]:
    (found,) = [check for check in printed["checks"] if check["code"] == "CU105"]
    assert isinstance(found, dict)
    return found


def test_a_run_says_whose_the_photos_are(base: Path) -> None:
    printed = closeup.run(out=base / "out").to_json()
    assert (printed["photos"], printed["unreadable"]) == (30, 0)
    (by,) = printed["rights"]["licences"]
    assert (by["name"], by["photos"], by["asks"]) == ("CC BY 4.0", 20, ["attribution"])
    assert len(printed["rights"]["unknown"]) == 10
    assert check_of(printed)["state"] == "issue"
    assert "cedar/0.png" in check_of(printed)["detail"]
    page = (base / "out" / "report.html").read_text()
    assert 'id="rights"' in page
    assert 'href="https://creativecommons.org/licenses/by/4.0/"' in page
    assert "20 of 30 photos in use have a known licence" in page
    credits = (base / "out" / "ATTRIBUTION.md").read_text()
    assert credits.count("“An ash” by Ada") == 20
    assert all(name in credits for name in read_rights(Project(base / "out")))


def test_another_licence_changes_the_report_and_trains_nothing(work: Path) -> None:
    out, before = work / "out", keys_of(work / "out")
    collect(work / "photos", licence="CC BY-NC 4.0", licence_url="")
    printed = closeup.run(out=out).to_json()
    assert keys_of(out) == {**before, "report": keys_of(out)["report"]} != before
    assert "20 not for commercial use" in check_of(printed)["detail"]
    assert "CC BY-NC 4.0" in (out / "report.html").read_text()
    assert "CC BY-NC 4.0" in (out / "ATTRIBUTION.md").read_text()


def test_a_run_without_a_change_writes_nothing(work: Path) -> None:
    names = ("rights.parquet", "ATTRIBUTION.md", "report.html")
    before = [(work / "out" / name).stat().st_mtime_ns for name in names]
    closeup.run(out=work / "out")
    assert [(work / "out" / name).stat().st_mtime_ns for name in names] == before


def test_a_deleted_page_of_credits_comes_back(work: Path) -> None:
    text = (work / "out" / "ATTRIBUTION.md").read_bytes()
    (work / "out" / "ATTRIBUTION.md").unlink()
    closeup.run(out=work / "out")
    assert (work / "out" / "ATTRIBUTION.md").read_bytes() == text


def test_what_is_no_longer_known_is_taken_back(work: Path) -> None:
    (work / "photos" / "collected.parquet").unlink()
    printed = closeup.run(out=work / "out").to_json()
    assert printed["rights"] is None
    assert check_of(printed)["state"] == "not_applicable"
    assert not (work / "out" / "rights.parquet").exists()
    assert not (work / "out" / "ATTRIBUTION.md").exists()
    assert 'id="rights"' not in (work / "out" / "report.html").read_text()


def test_a_rejected_photo_is_not_counted(work: Path) -> None:
    (one, *_) = read_rights(Project(work / "out"))
    log = Decisions(work / "out")
    log.append("tester", [Decision(Kind.REJECT, photo=one, crop=one)])
    log.close()
    rights = closeup.run(out=work / "out").to_json()["rights"]
    assert rights["licences"][0]["photos"] == 19
    assert rights["photos"] == 29


def test_groups_of_the_list_stay_together(work: Path) -> None:
    collect(work / "photos", group="one session")
    photos = Project(work / "out")
    closeup.run(out=work / "out")
    from closeup.core.types import Example

    table = photos.read("dataset", Example)
    assert table is not None
    sides = {row.split for row in table.rows if row.label in ("ash", "birch")}
    assert len(sides) == 1


def test_photos_of_ones_own_have_no_rights(work: Path) -> None:
    (work / "photos" / "collected.parquet").unlink()
    done = commands.closeup("run", work / "photos", "--out", work / "new", "--json", "--detector",
                            "tiny-box", "--backbone", "tiny-pool", "--parent", "thing")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rights"] is None
    assert not {path.name for path in (work / "new").iterdir()} & {"rights.parquet",
                                                                  "ATTRIBUTION.md"}  # fmt: skip


def test_close_ups_alone_are_credited_too(work: Path) -> None:
    closeup.crop(work / "photos", out=work / "cut", detector="tiny-box", parent="thing")
    credits = (work / "cut" / "ATTRIBUTION.md").read_text()
    assert "cut out of these photos" in credits
    assert credits.count("\n- ") == 20
    shown = {
        path.stem for label in ("ash", "birch") for path in (work / "cut/crops" / label).iterdir()
    }
    assert all(f"\n- {name}: " in credits for name in shown)


def test_a_suggested_photo_brings_what_is_known_of_it(work: Path) -> None:
    pool = tiny.make_photos(work / "pool", per_label=12)
    write_collected(pool, [saved(file, pool, **{**BY, "creator": "Bea"})
                           for file in (pool / "cedar").iterdir()])  # fmt: skip
    found = closeup.suggest(work / "out", pool, count=3).suggested
    log = Decisions(work / "out")
    log.append("tester", [Decision(Kind.RELABEL, photo=row.photo_id, crop=row.photo_id, label="ash")
                          for row in found])  # fmt: skip
    log.close()
    closeup.run(out=work / "out")
    known = read_rights(Project(work / "out"))
    for row in found:
        assert (row.photo_id in known) == ("/cedar/" in row.path)
    assert any(row.creator == "Bea" for row in known.values())


LICENCES = ("CC BY 4.0", "cc-by-sa-2.0", "")


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder on this machine alone; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_real_photos(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collected, cut by a real detector, trained on, reported and exported in one sitting."""
    if not (shared / "photos" / "apples").is_dir():
        pytest.skip("the shared photos of apples are absent")
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    weights, photos = shared / "weights" / "picodet_s_416.coco.onnx", tmp_path / "photos"
    assert commands.closeup("models", "add", weights, "--name", "picodet_s").returncode == 0
    tiny.make_backbone(tmp_path / "cache")
    table = ["url,label,license,author"]
    with served(shared / "photos" / "apples") as address:
        for label in ("Granny-Smith", "Red-Delicious"):
            files = sorted((shared / "photos" / "apples" / label).glob("*.jp*g"))[:12]
            table += [f"{address}/{label}/{file.name},{label},{LICENCES[n % 3]},creator {n}"
                      for n, file in enumerate(files)]  # fmt: skip
        table.append(f"{address}/nothing.jpg,Granny-Smith,,")
        (tmp_path / "list.csv").write_text("\n".join(table))
        done = commands.closeup("collect", tmp_path / "list.csv", "--out", photos, "--contact",
                                "a@b.example", "--allow-private", "--rate", "500")  # fmt: skip
        assert done.returncode == 0, done.stderr
    result = closeup.run(photos, out=tmp_path / "out", detector="picodet_s", parent="apple",
                         backbone="tiny-pool", preset="quick")  # fmt: skip
    assert result.rights is not None
    assert [(one.name, one.photos) for one in result.rights.licences] == [
        ("CC BY 4.0", 8), ("CC BY-SA 2.0", 8)
    ]  # fmt: skip
    assert len(result.rights.unknown) == 8
    page = result.report.read_text()
    assert "16 of 24 photos in use have a known licence" in page
    done = commands.closeup("export", tmp_path / "out", tmp_path / "coco", "--to", "coco")
    assert done.returncode == 0, done.stderr
    assert "creator 0" in (tmp_path / "coco" / "ATTRIBUTION.md").read_text()
