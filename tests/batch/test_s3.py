"""Photos and answers on S3, against a server on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closeup.batch import files
from closeup.batch.asks import Predict
from closeup.batch.files import Store, file_system
from closeup.batch.parts import read_parts, settle
from closeup.batch.source import list_source
from closeup.batch.worker import Job, answer_shard, read_source, shard_of
from closeup.core.config import EngineConfig
from closeup.core.errors import PhotoError, ProjectError
from closeup.model.model import load_model
from closeup.photos.listing import list_paths
from tests import tiny
from tests.batch.running import MARK, ended, kill_left, one_process, start
from tests.commands import closeup

ENGINE = EngineConfig(engine="onnxruntime")
USER = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server."""
    pytest.importorskip("flask", reason="needs moto[server]")
    program = shutil.which("moto_server", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs moto[server]")
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("w") as stream:
        process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", "0"], stderr=stream,
                                   stdout=stream)  # fmt: skip
    try:
        yield _address(log, process)
    finally:
        process.kill()
        process.wait()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 100
    while time.monotonic() < end and process.poll() is None:
        found = [word for word in log.read_text().split() if word.startswith("http://127.")]
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with an empty bucket ``photos``, and the environment to use it."""
    for name, value in (USER | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(files, "PAUSES", ())
    files._opened.cache_clear()
    post(f"{server}/moto-api/reset")
    urllib.request.urlopen(urllib.request.Request(f"{server}/photos", method="PUT")).close()
    yield server
    files._opened.cache_clear()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("world")
    tiny.make_project(base)
    (base / "photos" / "ash" / "empty.jpg").write_bytes(b"")
    return base


def upload(folder: Path) -> None:
    system, top = file_system("s3://photos/all")
    for file in folder.rglob("*.*"):
        with system.open_output_stream(f"{top}/{file.relative_to(folder).as_posix()}") as stream:
            stream.write(file.read_bytes())


def test_photos_and_answers(s3: str, world: Path) -> None:
    upload(world / "photos")
    listed = list(list_source("s3://photos/all"))
    here = [path.relative_to(world / "photos").as_posix()
            for path in list_paths([world / "photos"])]  # fmt: skip
    assert [one.photo for one in listed] == [f"s3://photos/all/{name}" for name in here]
    assert all(one.mtime_ns > 0 for one in listed)
    assert len(list(list_source("s3://photos/all/*/1.png"))) == 3
    store = Store("s3://photos/answers of mine")
    (row,) = shard_of(listed).to_pylist()
    model = load_model(world / "out" / "model", ENGINE)
    ask = Predict(world / "out" / "model", False)
    job, answer = Job(store.folder, 1, ask, ENGINE), ask.open(ask.model, ENGINE)
    report = answer_shard(answer, job, row["photo"], row["source"], row["id"])
    assert (report.photos, report.errors, report.failed) == (len(here), 1, "")
    parts = read_parts(store)
    settle(store, parts)
    assert read_parts(store).counts() == parts.counts()
    system, top = file_system(store.folder)
    found = pq.read_table(f"{top}/answers/{report.part}", filesystem=system)
    labels = dict(zip(found["source"].to_pylist(), found["label"].to_pylist(), strict=True))
    local = model.predict_many(list_paths([world / "photos"]))
    assert list(labels.values()) == [one.label if one.objects else "" for one in local]


def test_what_is_not_there(s3: str) -> None:
    gone = read_source("s3://photos/gone.png")
    assert isinstance(gone, PhotoError)
    assert gone.code == "missing"
    assert Store("s3://photos/nothing").read("batch.json") is None
    with pytest.raises(ProjectError, match="cannot be used"):
        Store("s3://no-such-bucket/out").write("x", b"data")


def post(url: str, text: str = "") -> None:
    """Tell the server something beside S3."""
    said = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, text.encode(), said, method="POST")).close()


@pytest.mark.parametrize("given", [USER, {}])
def test_wrong_or_missing_credentials_give_one_line(
    s3: str, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    if not given:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        files._opened.cache_clear()
    post(f"{s3}/moto-api/reset-auth", "0")  # from now on it checks who asks
    try:
        with pytest.raises(
            ProjectError, match=r"check .*the credentials in the environment"
        ) as caught:
            list(list_source("s3://photos/all"))
        assert "\n" not in str(caught.value)
        with pytest.raises(ProjectError, match=r"check .*the credentials in the environment"):
            Store("s3://photos/out").write("x", b"data")
    finally:
        post(f"{s3}/moto-api/reset-auth", "inf")


def test_a_command_with_wrong_credentials_says_one_line(s3: str, world: Path) -> None:
    model = world / "out" / "model"
    post(f"{s3}/moto-api/reset-auth", "0")
    try:
        done = closeup("predict", model, "s3://photos/all", "--ray", "--out", "s3://photos/out")
    finally:
        post(f"{s3}/moto-api/reset-auth", "inf")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("closeup: s3://photos/all: access was denied; check the credentials")


@pytest.mark.slow
def test_a_run_that_is_killed_and_run_again(s3: str, world: Path, tmp_path: Path) -> None:
    """Photos listed and read on the store, answers written there, as one process gives them."""
    pytest.importorskip("ray", reason="needs the ray extra")
    photos = tiny.make_photos(tmp_path / "photos", per_label=40, dark=2)
    (photos / "ash" / "empty.jpg").write_bytes(b"")
    upload(photos)
    out, top = "s3://photos/out", "s3://photos/all"
    store, marker = Store(out), f"{os.getpid()}-s3"
    process = start(world, top, out, **{MARK: marker})
    end = time.monotonic() + 200
    while not (known := store.names("answers")) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    kill_left(marker)
    process.communicate(timeout=60)
    assert known
    assert store.read("manifest.parquet") is None
    summary = ended(start(world, top, out))
    assert summary["listed"] == 127
    assert 0 < int(str(summary["answered"])) < 127
    expected = one_process(world, photos, tmp_path / "one.parquet")
    system, folder = file_system(f"{out}/answers")
    found = pq.read_table(folder, filesystem=system).select(expected.column_names)
    names = [name.replace(top, str(photos)) for name in found["photo"].to_pylist()]
    found = found.set_column(0, "photo", pa.array(names))
    assert found.sort_by("photo").equals(expected)
    assert store.names() == ["answers", "batch.json", "manifest.parquet"]
