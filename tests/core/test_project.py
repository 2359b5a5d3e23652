from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from closeup.core.config import resolve
from closeup.core.errors import ProjectError
from closeup.core.project import Project, Table, file_hash, key_of, read_table, write_atomically
from closeup.core.types import Box, Crop, CropState, Detection

ROWS = [
    Detection("a-1", 0, "clock", 0.5, Box(1, 2, 3.5, 4)),
    Detection("a-1", 1, "cell phone", 0.25, Box(0, 0, 1, 1)),
]


def test_no_table_is_none(tmp_path: Path) -> None:
    assert Project(tmp_path / "new").read("detections", Detection) is None


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_tables_round_trip(tmp_path: Path, rows: list[Detection]) -> None:
    project = Project(tmp_path / "p")
    project.write("detections", Detection, rows, "k", {"n": 1})
    assert project.read("detections", Detection) == Table(tuple(rows), "k", {"n": 1})


def test_states_round_trip_as_their_enum(tmp_path: Path) -> None:
    row = Crop(
        "i", "p", "", CropState.NOT_FOUND, "no clock", True, Box(0, 0, 4, 4), Box(0, 0, 4, 4),
        4, "", 0.0, "",
    )  # fmt: skip
    project = Project(tmp_path / "p")
    project.write("crops", Crop, [row], "k")
    table = project.read("crops", Crop)
    assert table is not None
    assert table.rows == (row,)
    assert table.rows[0].state is CropState.NOT_FOUND


@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense", None])
def test_damaged_table_is_named(tmp_path: Path, damage: bytes | None) -> None:
    project = Project(tmp_path / "p")
    project.write("detections", Detection, ROWS, "k")
    file = project.folder / "detections.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(ProjectError, match=r"detections\.parquet is damaged"):
        project.read("detections", Detection)


def test_table_of_other_rows_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.write("crops", Detection, ROWS, "k")
    with pytest.raises(ProjectError, match="does not hold Crop rows"):
        read_table(project.folder / "crops.parquet", Crop)


def test_stage_computes_once_per_key(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    seen: list[Table[Detection] | None] = []

    def compute(old: Table[Detection] | None) -> list[Detection]:
        seen.append(old)
        return ROWS

    first = project.stage("detections", Detection, "k1", compute)
    assert project.stage("detections", Detection, "k1", compute) == first
    project.stage("detections", Detection, "k2", compute)
    assert seen == [None, first]


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ProjectError, match="for --out a new one"):
        Project(tmp_path)


def test_the_model_of_a_project_is_taken_for_a_slip(tmp_path: Path) -> None:
    Project(tmp_path).write_config(resolve({"photos": {"source": "p"}}))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    with pytest.raises(ProjectError, match=re.escape(f"did you mean {tmp_path.resolve()}?")):
        Project(tmp_path / "model")


def test_a_file_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ProjectError, match="is a file"):
        Project(tmp_path / "x")


def test_config_round_trips(tmp_path: Path) -> None:
    config = resolve({"photos": {"source": 'a "quoted" folder'}, "detect": {"parent": ("clock",)}})
    project = Project(tmp_path / "p")
    project.write_config(config)
    assert Project(tmp_path / "p").config() == config


def test_an_empty_folder_has_no_config(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not a Closeup project"):
        Project(tmp_path).config()


def test_failed_write_names_the_file_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(ProjectError, match="cannot write"):
        write_atomically(tmp_path / "t", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_key_depends_on_every_part_and_nothing_else() -> None:
    base = key_of("s", 1, ROWS, {"a": 1})
    assert base == key_of("s", 1, list(ROWS), {"a": 1})
    assert len({base, key_of("s", 2, ROWS, {"a": 1}), key_of("s", 1, ROWS[:1], {"a": 1})}) == 3
    assert base != key_of("t", 1, ROWS, {"a": 1}) != key_of("s", 1, ROWS, {"a": 2})


def test_key_refuses_what_has_no_value() -> None:
    with pytest.raises(TypeError, match="object"):
        key_of("s", 1, object())


def test_a_file_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_hash(tmp_path / "a") == file_hash(io.BytesIO(b"abc")) == known
    with (tmp_path / "a").open("rb") as stream:
        assert file_hash(stream) == known
    with pytest.raises(OSError, match="No such file"):
        file_hash(tmp_path / "none")
