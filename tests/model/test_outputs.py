"""Nothing of the user's is replaced: every kind of target, through every kind of output."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from closeup.core.errors import UsageError
from closeup.core.project import write_atomically
from closeup.core.types import Answer, Box
from closeup.model import answers
from closeup.model.outputs import descriptor, require_free, write_output
from closeup.model.prediction import Prediction
from tests import tiny
from tests.commands import closeup

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such files on Windows")

ANSWER = Prediction("a.jpg", True, (Answer(Box(0, 0, 2, 2), "clock", 0.9, "ash", 0.8, ()),))


def picture(file: Path, kind: str = "JPEG") -> None:
    Image.fromarray(np.full((8, 8, 3), 120, np.uint8)).save(file, kind)


def text(content: str) -> Callable[[Path], None]:
    return lambda file: file.write_text(content, encoding="utf8") and None


def in_project(file: Path) -> None:
    (file.parent / "closeup.toml").write_text("")
    file.write_text("key,value\n")


def in_project_deep(file: Path) -> None:
    (file.parent.parent / "closeup.toml").write_text("")
    file.write_text("key,value\n")


def in_model(file: Path) -> None:
    (file.parent / "card.json").write_text("{}")
    file.write_text("key,value\n")


def linked_to(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def link(file: Path) -> None:
        there = file.parent / f"there{file.suffix}"
        make(there)
        file.symlink_to(there)

    return link


def parquet(**columns: list[object]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), file)

    return write


def old_csv(file: Path) -> None:
    answers.write_csv([ANSWER], file)


def old_parquet(file: Path) -> None:
    answers.write_parquet([ANSWER], file)


NEVER, ONLY_IF_ASKED, FREE = "never", "with --overwrite", "free"
LABELS = "path,label\na.jpg,ash\n"

TARGETS: list[tuple[str, str, Callable[[Path], None], str]] = [
    ("csv", "photo.jpg", picture, NEVER),
    ("csv", "photo.csv", picture, NEVER),
    ("csv", "photo.png", lambda f: picture(f, "PNG"), NEVER),
    ("csv", "photo.webp", lambda f: picture(f, "WEBP"), NEVER),
    ("csv", "photo", lambda f: picture(f, "TIFF"), NEVER),
    ("csv", "labels.csv", text(LABELS), NEVER),
    ("csv", "labels.csv", text("\ufeffLabel;Path\nash;a.jpg\n"), NEVER),
    ("csv", "labels.tsv", text("path\tlabel\tgroup\na.jpg\tash\t1\n"), NEVER),
    ("csv", "labels.parquet", parquet(path=["a.jpg"], label=["ash"]), NEVER),
    ("csv", "crops.parquet", in_project, NEVER),
    ("csv", "mine.csv", in_project_deep, NEVER),
    ("csv", "graph.onnx", in_model, NEVER),
    ("csv", "link.jpg", linked_to(picture), NEVER),
    ("csv", "link.csv", linked_to(text(LABELS)), NEVER),
    ("csv", "notes.txt", text("mine"), ONLY_IF_ASKED),
    ("csv", "empty.csv", text(""), ONLY_IF_ASKED),
    ("csv", "sales.csv", text("month,total\n1,2\n"), ONLY_IF_ASKED),
    ("csv", "answers.parquet", old_parquet, NEVER),
    ("csv", "link.txt", linked_to(text("mine")), ONLY_IF_ASKED),
    ("csv", "answers.csv", old_csv, FREE),
    ("csv", "link-answers.csv", linked_to(old_csv), FREE),
    ("parquet", "labels.parquet", parquet(path=["a.jpg"], label=["ash"]), NEVER),
    ("parquet", "photo.parquet", picture, NEVER),
    ("parquet", "photos.parquet", in_project, NEVER),
    ("parquet", "sales.parquet", parquet(month=[1], total=[2]), ONLY_IF_ASKED),
    ("parquet", "answers.csv", old_csv, NEVER),
    ("parquet", "broken.parquet", text("PAR1"), ONLY_IF_ASKED),
    ("parquet", "answers.parquet", old_parquet, FREE),
    ("draw", "1.jpg", picture, NEVER),
    ("draw", "1.jpg", linked_to(picture), NEVER),
    ("draw", "1.jpg", text("mine"), ONLY_IF_ASKED),
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    tiny.make_project(folder)
    return folder


@pytest.mark.parametrize(("option", "name", "make", "verdict"), TARGETS)
@posix
def test_a_target_is_replaced_only_if_that_destroys_nothing(
    base: Path, tmp_path: Path, option: str, name: str, make: Callable[[Path], None], verdict: str
) -> None:
    folder = tmp_path / "given" / "deep"
    folder.mkdir(parents=True)
    target = folder / name
    make(target)
    before = {p: p.read_bytes() for p in folder.parent.rglob("*") if p.is_file()}
    words = ["predict", base / "out" / "model", base / "photos" / "ash" / "1.png", f"--{option}",
             folder if option == "draw" else target]  # fmt: skip
    plain = closeup(*words)
    assert plain.returncode == (0 if verdict == FREE else 2), plain.stderr
    if verdict == FREE:
        return
    assert name in plain.stderr
    assert plain.stdout == ""
    assert {p: p.read_bytes() for p in before} == before
    asked = closeup(*words, "--overwrite")
    assert asked.returncode == (2 if verdict == NEVER else 0), asked.stderr
    unchanged = {p: p.read_bytes() for p in before} == before
    assert unchanged == (verdict == NEVER)
    assert target.is_symlink() == (make.__name__ == "link")


def test_answers_replace_earlier_answers(base: Path, tmp_path: Path) -> None:
    photo = base / "photos" / "ash" / "1.png"
    words = ["predict", base / "out" / "model", photo, "--csv", tmp_path / "a.csv", "--parquet",
             tmp_path / "a.parquet", "--draw", tmp_path / "drawn"]  # fmt: skip
    assert closeup(*words).returncode == 0
    first = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(first) == 3
    again = closeup(*words)
    assert again.returncode == 0, again.stderr
    assert {file: file.read_bytes() for file in first} == first


@posix
def test_a_pipe_is_written_to(base: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "answers.csv"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    done = closeup("predict", base / "out" / "model", base / "photos" / "ash" / "1.png", "--csv",
                   pipe)  # fmt: skip
    reader.join(10)
    assert done.returncode == 0, done.stderr
    assert read[0].startswith("photo,found,")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@posix
def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    require_free(Path(os.devnull), answers.is_csv)
    write_output(Path(os.devnull), b"away")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@posix
@pytest.mark.parametrize("to_file", [False, True])
def test_standard_output_holds_the_table_alone(base: Path, tmp_path: Path, to_file: bool) -> None:
    words = [sys.executable, "-m", "closeup", "predict", base / "out" / "model",
             base / "photos" / "ash" / "1.png", "--csv", "/dev/stdout"]  # fmt: skip
    out = tmp_path / "out.csv"
    out.write_text("already there\n")
    with out.open("a") as stream:
        done = subprocess.run(
            words, check=True, text=True, stderr=subprocess.PIPE,
            stdout=stream if to_file else subprocess.PIPE,
        )  # fmt: skip
    lines = out.read_text().splitlines()[1:] if to_file else done.stdout.splitlines()
    assert lines[0].startswith("photo,found,")
    assert len(lines) == 2
    assert out.read_text().startswith("already there\n")


def test_names_of_open_files() -> None:
    assert descriptor(Path("/dev/stdout")) == 1
    assert descriptor(Path("/dev/fd/63")) == 63
    assert descriptor(Path("/proc/self/fd/5")) == 5
    assert descriptor(Path("/dev/fd/x")) is None
    assert descriptor(Path("answers.csv")) is None


@posix
def test_the_mode_of_a_file_stays_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    before = os.umask(0o027)
    try:
        write_atomically(file, b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o604)
    write_atomically(file, b"2")
    assert (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) == (0o604, b"2")


@posix
def test_a_link_to_nothing_yet_is_kept(tmp_path: Path) -> None:
    link, there = tmp_path / "link.csv", tmp_path / "there.csv"
    link.symlink_to(there)
    require_free(link, answers.is_csv)
    write_output(link, b"1")
    assert link.is_symlink()
    assert there.read_bytes() == b"1"


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        require_free(tmp_path, answers.is_csv, overwrite=True)


@pytest.mark.parametrize("name", ["fresh.jpg", "fresh-answer.jpg"])
def test_the_demo_replaces_no_photo(tmp_path: Path, name: str) -> None:
    out = tmp_path / "demo"
    (out / "photos").mkdir(parents=True)
    picture(out / name)
    before = (out / name).read_bytes()
    done = closeup("demo", "--out", out, "--per-maker", 4)
    assert done.returncode == 2
    assert name in done.stderr
    assert (out / name).read_bytes() == before
    assert not list((out / "photos").iterdir())
