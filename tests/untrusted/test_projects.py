"""A stranger's project folder: nothing outside it is written, removed, or read in silence."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

import closeup
from closeup.cli.project import _say_where
from closeup.core.config import RunConfig
from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import Project, encode_table, read_table
from closeup.core.tables import read_parquet
from closeup.core.types import Box, Crop, Detection, Example, Photo, Result
from closeup.dataset.duplicates import Pair
from closeup.dataset.kept import Place
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from tests import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strange")
    tiny.make_project(folder)
    return folder


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a finished project, beside a file that nobody may touch."""
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    tiny.make_detector(tmp_path / "cache")
    tiny.make_backbone(tmp_path / "cache")
    (tmp_path / "outside" / "ash").mkdir(parents=True)
    (tmp_path / "outside" / "mine.jpg").write_bytes(b"mine")
    (tmp_path / "outside" / "ash" / "mine.jpg").write_bytes(b"mine")
    before = inventory(tmp_path / "outside")
    yield Path(shutil.copytree(base / "out", tmp_path / "project"))
    assert inventory(tmp_path / "outside") == before


def inventory(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rewrite(project: Path, name: str, row: type[Any], change: Any, **meta: Any) -> None:
    """Rewrite a table with every row changed, under the key that it had."""
    table = Project(project).read(name, row)
    assert table is not None
    rows = [change(r) for r in table.rows]
    data = encode_table(row, rows, table.key, {**table.meta, **meta})
    (project / f"{name}.parquet").write_bytes(data)


def test_the_copy_itself_is_fine(project: Path) -> None:
    assert closeup.run(out=project).counts.photos == 36


# Tables


@pytest.mark.parametrize("name", ["../outside/mine.jpg", "/outside/mine.jpg"])
def test_a_table_cannot_have_files_removed(project: Path, name: str) -> None:
    file = str(project.parent) + name if name.startswith("/") else name
    rewrite(project, "crops", Crop, lambda c: replace(c, file=file and c.file and file))
    with pytest.raises(ProjectError, match="leads outside the project"):
        closeup.run(out=project, pad=0.3)


def test_nor_can_its_facts(project: Path) -> None:
    rewrite(project, "crops", Crop, lambda c: c, stale=["../outside/mine.jpg"])
    with pytest.raises(ProjectError, match="leads outside the project"):
        closeup.run(out=project, pad=0.3)


def test_paths_of_old_rows_are_not_followed(project: Path) -> None:
    """What is listed is what the configuration names; rows only save reading it again."""
    rewrite(project, "photos", Photo, lambda p: replace(p, root="/", path=f"etc/{p.id}"))
    result = closeup.run(out=project)
    assert result.counts.unreadable == 0
    assert "etc/" not in (project / "report.html").read_text(encoding="utf8")


@pytest.mark.parametrize("name", ["photos", "detections", "crops", "split", "dataset", "results"])
def test_a_table_that_is_a_link_is_refused(project: Path, name: str) -> None:
    (project / f"{name}.parquet").rename(project.parent / "x.parquet")
    (project / f"{name}.parquet").symlink_to(project.parent / "x.parquet")
    with pytest.raises(ProjectError, match=rf"{name}\.parquet leads outside the project"):
        closeup.run(out=project)


@pytest.mark.parametrize(
    "name", ["closeup.toml", "scores.json", "report.html", "signatures.safetensors"]
)
def test_so_is_any_other_file(project: Path, name: str) -> None:
    (project / name).rename(project.parent / "outside.file")
    (project / name).symlink_to(project.parent / "outside.file")
    with pytest.raises(ProjectError, match=rf"{name} leads outside the project"):
        closeup.run(out=project)


@pytest.mark.parametrize("name", ["crops", "model", "embeddings"])
def test_a_folder_that_leads_outside_is_not_written_through(project: Path, name: str) -> None:
    shutil.rmtree(project / name)
    (project / name).symlink_to(project.parent / "outside")
    with pytest.raises(ProjectError, match="leads outside the project"):
        closeup.run(out=project, pad=0.3)


def test_a_label_folder_that_leads_outside_is_not_written_through(project: Path) -> None:
    shutil.rmtree(project / "crops" / "ash")
    (project / "crops" / "ash").symlink_to(project.parent / "outside")
    with pytest.raises(ProjectError, match="leads outside the project"):
        closeup.run(out=project, pad=0.3)


def test_a_project_behind_a_link_is_fine(project: Path) -> None:
    (project.parent / "latest").symlink_to(project)
    assert closeup.run(out=project.parent / "latest").counts.photos == 36


# The configuration


def test_what_the_project_reads_elsewhere_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig.model_validate(
        {"photos": {"source": "/home/somebody", "test": "/t\x1b"}, "detect": {"boxes": "/b.csv"}}
    )
    _say_where(config, {"boxes": Path("/b.csv")}, Path("p"))
    assert capsys.readouterr().err.splitlines() == [
        "photos: /home/somebody (as p/closeup.toml says)",
        "test photos: /t\\x1b (as p/closeup.toml says)",
    ]


def test_it_is_said_by_the_command(project: Path, base: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "closeup", "report", project],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stderr.startswith(f"photos: {base / 'photos'} (as {project / 'closeup.toml'} says)")


@pytest.mark.parametrize(
    "text",
    ["photos = 3", "photos = []", "[photos]", "[photos]\nsource = 1", "[crop]\npad = nan",
     "surprise = 1", "[engine]\nthreads = 1000000000", "x = " + "[" * 100_000, "\x00", "é"],
)  # fmt: skip
def test_a_configuration_that_is_none(project: Path, text: str) -> None:
    (project / "closeup.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises((ProjectError, UsageError), match=r"closeup\.toml|section|photos"):
        closeup.run(out=project)
    with pytest.raises(ProjectError, match=r"closeup\.toml"):
        Project(project).config()


# Decisions


def test_a_log_that_is_a_link_is_not_written_through(project: Path) -> None:
    (project / "decisions.sqlite").symlink_to(project.parent / "outside" / "mine.jpg")
    with pytest.raises(ProjectError, match=r"decisions\.sqlite leads outside"):
        closeup.run(out=project)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("boxes", {"boxes": [[0, 0, float("nan"), 9]]}), ("boxes", {"boxes": [3]}), ("boxes", {}),
     ("relabel", {"label": "a\x1b[2J"}), ("relabel", {"label": "a" * 999}), ("nonsense", {}),
     ("undo", {"undoes": -1}), ("accept", [])],
)  # fmt: skip
def test_a_decision_that_nobody_can_have_made(project: Path, kind: str, value: Any) -> None:
    with closing(Decisions(project)) as log:
        log.append("me", [Decision(Kind.NOT_FOUND, "somewhere")])
    with closing(sqlite3.connect(project / "decisions.sqlite")) as db, db:
        crop = "c" if kind in ("relabel", "accept") else ""
        db.execute(
            "INSERT INTO decisions (batch, time, who, kind, photo, crop, other, value) "
            "VALUES (9, '', '', ?, 'p', ?, '', ?)",
            (kind, crop, json.dumps(value).replace("NaN", "1e999")),
        )
    with pytest.raises(ProjectError, match=r"holds a row that is not a decision \(row 2"):
        closeup.run(out=project)


# Tables that are none


def table_with(**columns: pa.Array) -> bytes:
    rows = [Detection("a", 0, "clock", 0.5, Box(1, 2, 3, 4))]
    whole = pq.read_table(io.BytesIO(encode_table(Detection, rows, "k", {})))
    for name, values in columns.items():
        place = whole.schema.names.index(name)
        whole = whole.set_column(place, name, values)
    sink = io.BytesIO()
    pq.write_table(whole, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("photo_id", pa.array([None], pa.string())),
        ("photo_id", pa.array([3], pa.int64())),
        ("photo_id", pa.array([["a"]])),
        ("rank", pa.array(["0"])),
        ("rank", pa.array([0.5])),
        ("score", pa.array([float("nan")])),
        ("box_x1", pa.array([float("inf")])),
        ("box_y2", pa.array([b"4"])),
    ],
)
def test_columns_of_another_kind(tmp_path: Path, name: str, values: pa.Array) -> None:
    file = tmp_path / "detections.parquet"
    file.write_bytes(table_with(**{name: values}))
    with pytest.raises(ProjectError, match=f"does not hold Detection rows .*{name}"):
        read_table(file, Detection)


@pytest.mark.parametrize(
    "facts",
    [
        b"", b"null", b"[]", b"{}", b"[" * 100_000, b'{"format": 1}', b'{"format": "x"}',
        b'{"format": 1, "row": "Detection"}', b'{"format": 1, "row": "Detection", "key": ""}',
        b'{"format": 1, "row": "Detection", "key": "", "meta": 3}',
        b'{"format": 1e999, "row": "Detection", "key": "", "meta": {}}',
        b'{"format": 0, "row": "Detection", "key": "", "meta": {}}',
        b'{"format": 2, "row": "Detection", "key": "", "meta": {}}',
    ],
)  # fmt: skip
def test_facts_that_are_none(tmp_path: Path, facts: bytes) -> None:
    table = pq.read_table(io.BytesIO(table_with())).replace_schema_metadata({b"closeup": facts})
    file = tmp_path / "detections.parquet"
    pq.write_table(table, file)
    with pytest.raises(ProjectError, match=r"detections\.parquet (is damaged|has format)"):
        read_table(file, Detection)


def test_a_small_file_of_very_many_rows_is_not_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "many.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000_000, pa.int8()), ["a"])
    pq.write_table(pa.table({"photo_id": column}), file, compression="zstd")
    assert file.stat().st_size < 100_000
    with pytest.raises(ValueError, match="10,000,000 rows, too many for its size"):
        read_parquet(file)
    with pytest.raises(ProjectError, match="too many for its size"):
        read_table(file, Detection)


def test_a_small_file_of_very_long_texts_is_not_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "long.parquet"
    column = pa.array(["a" * 1_000_000] * 100)
    pq.write_table(pa.table({"photo_id": column}), file, compression="zstd")
    assert file.stat().st_size < 50_000
    with pytest.raises(ValueError, match="unpacks to more"):
        read_parquet(file)


@pytest.mark.parametrize("damage", ["{", "[]", "null", "{}", '{"scores": 3}', "[" * 100_000])
def test_scores_that_are_none_are_made_anew(project: Path, damage: str) -> None:
    key = json.loads((project / "scores.json").read_text())["key"]
    if damage.startswith('{"'):
        damage = json.dumps({**json.loads(damage), "key": key})
    (project / "scores.json").write_text(damage)
    assert closeup.run(out=project).counts.photos == 36
    assert json.loads((project / "scores.json").read_text())["key"] == key


@pytest.mark.parametrize(
    ("name", "row", "changes"),
    [
        ("crops", Crop, {"photo_id": "nobody"}),
        ("duplicates", Pair, {"a": "nobody"}),
        ("duplicates", Pair, {"b": "nobody"}),
        ("dataset", Example, {"photo_id": "nobody"}),
        ("dataset", Example, {"crop_id": "nobody"}),
        ("results", Result, {"photo_id": "nobody"}),
        ("results", Result, {"crop_id": "nobody"}),
    ],
)
def test_rows_that_tell_of_no_photo_are_made_anew(
    project: Path, name: str, row: type[Any], changes: dict[str, Any]
) -> None:
    before = Project(project).read(name, row)
    assert before is not None
    if not before.rows:  # no two of these photos are alike
        ids = [photo.id for photo in read_table(project / "photos.parquet", Photo).rows]
        pair = replace(Pair(ids[0], ids[1], 1.0), **changes)
        (project / f"{name}.parquet").write_bytes(encode_table(row, [pair], before.key, {}))
    else:
        rewrite(project, name, row, lambda r: replace(r, **changes))
    (project / "report.html").unlink()
    assert closeup.run(out=project).counts.photos == 36
    assert Project(project).read(name, row) == before


@pytest.mark.parametrize(
    "changes", [{"side": "both"}, {"fold": -2}, {"fold": 2**60}, {"sha256": "the same"}]
)
def test_a_split_that_cannot_be_ours_is_refused_and_taken_from_the_dataset_instead(
    project: Path, changes: dict[str, Any]
) -> None:
    before = Project(project).read("split", Place)
    assert before is not None
    rewrite(project, "split", Place, lambda p: replace(p, **changes))
    with pytest.raises(ProjectError, match=r"split\.parquet does not hold one side.*delete it"):
        closeup.run(out=project)
    (project / "split.parquet").unlink()
    closeup.run(out=project)
    assert Project(project).read("split", Place) == before


@pytest.mark.parametrize("place", ["suspect_crops", "alike"])
def test_findings_that_tell_of_no_photo_are_made_anew(project: Path, place: str) -> None:
    stored = json.loads((project / "scores.json").read_text())
    before = stored["findings"][place]
    stored["findings"][place] = ["nobody"] if place == "suspect_crops" else {"nobody": ["nobody"]}
    (project / "scores.json").write_text(json.dumps(stored))
    (project / "report.html").unlink()
    assert closeup.run(out=project).counts.photos == 36
    assert json.loads((project / "scores.json").read_text())["findings"][place] == before


def test_a_page_shows_no_file_that_a_table_names(project: Path) -> None:
    pytest.importorskip("fastapi", reason="closeup review needs the serve extra")
    from closeup.web.review.data import photo_folders, read_data
    from closeup.web.review.pictures import _saved

    data = read_data(project)
    (crop, *_), *_ = data.found.values()
    with pytest.raises(ProjectError, match="leads outside"):
        _saved(data, replace(crop, file="../outside/mine.jpg"), 256)
    (project / "crops" / "ps.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(OSError, match="cannot identify"):
        _saved(data, replace(crop, file="crops/ps.jpg"), 256)
    photos = list(data.photos.values())
    assert photo_folders([]) == []
    assert photo_folders(photos) == [photos[0].root]
    strange = [replace(photos[0], path="/etc/x.jpg"), replace(photos[0], path="../x.jpg")]
    assert photo_folders(strange) == ["/etc", os.path.join(photos[0].root, "..")]  # noqa: PTH118


def test_a_lock_that_is_a_link_is_not_written_through(project: Path) -> None:
    (project / ".closeup-lock").symlink_to(project.parent / "outside" / "mine.jpg")
    with pytest.raises(ProjectError, match=r"cannot write .*\.closeup-lock"):
        closeup.run(out=project)


@pytest.mark.parametrize(
    "about", [{}, {"version": None}, {"version": [1, 2], "photos": [[1]]}, {"photos": 3}, []]
)
def test_parts_of_a_pass_that_are_none_are_passed_over(project: Path, about: Any) -> None:
    from closeup.dataset.duplicates.signature import VERSION
    from closeup.pipeline.resume import FOLDER
    from closeup.pipeline.resume import VERSION as PARTS

    if isinstance(about, dict) and about.get("version"):
        about = {**about, "version": [PARTS, VERSION]}
    (project / FOLDER).mkdir()
    data = save({"a": np.zeros(1, np.float32)}, {"closeup": json.dumps(about)})
    (project / FOLDER / "0.safetensors").write_bytes(data)
    assert closeup.run(out=project, pad=0.3).counts.photos == 36
